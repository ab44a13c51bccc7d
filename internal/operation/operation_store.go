package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

// activeStates are the states in which an operation is worked on.
var activeStates = bun.List([]string{Running, Undoing})

// insertOp adds o, which may claim itself (Owner, LeaseUntil, Slot). A slot
// that is taken makes it wait unclaimed; a known idempotency key is ErrExists.
func insertOp(ctx context.Context, tx bun.IDB, o *Op) error {
	_, err := tx.NewInsert().Model(o).Exec(ctx)
	if !db.IsDuplicate(err) {
		return err
	}
	if o.IdempotencyKey != nil {
		known := new(Op)
		err := tx.NewSelect().Model(known).Where("idempotency_key = ?", *o.IdempotencyKey).Scan(ctx)
		if err == nil {
			*o = *known
			return ErrExists
		}
		if !db.IsNoRows(err) {
			return err
		}
	}
	if o.Slot == nil {
		return err
	}
	o.Slot, o.Owner, o.LeaseUntil = nil, "", nil
	_, err = tx.NewInsert().Model(o).Exec(ctx)
	return err
}

// resourceBusy tells whether an unfinished operation has the resource.
func resourceBusy(ctx context.Context, tx bun.IDB, resource string) (bool, error) {
	return tx.NewSelect().Model((*Op)(nil)).
		Where("resource_id = ? AND state IN (?)", resource, activeStates).Exists(ctx)
}

func findOp(ctx context.Context, q bun.IDB, id string) (*Op, error) {
	o := new(Op)
	if err := q.NewSelect().Model(o).Where("id = ?", id).Scan(ctx); err != nil {
		return nil, err
	}
	if o.Journal == nil {
		o.Journal = &Journal{}
	}
	return o, nil
}

// dueOps lists what nobody works on, oldest first.
func dueOps(ctx context.Context, d *db.DB, kinds []string, now time.Time, limit int64) ([]*Op, error) {
	var list []*Op
	err := d.NewSelect().Model(&list).
		Where("state IN (?) AND kind IN (?)", activeStates, bun.List(kinds)).
		Where("owner = '' OR lease_until < ?", now).
		OrderExpr("created_at, id").Limit(limit).Scan(ctx)
	return list, err
}

// firstOf is the oldest unfinished operation on a resource, nil if none.
func firstOf(ctx context.Context, d *db.DB, resource string) (*Op, error) {
	o := new(Op)
	err := d.NewSelect().Model(o).Where("resource_id = ? AND state IN (?)", resource, activeStates).
		OrderExpr("created_at, id").Limit(1).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, nil
	}
	return o, err
}

// claimOp makes owner work on o if nobody does and the resource is free.
func claimOp(ctx context.Context, d *db.DB, o *Op, owner string, now, until time.Time) (bool, error) {
	slot := slotOf(o)
	res, err := d.NewUpdate().Model((*Op)(nil)).
		Set("owner = ?, lease_until = ?, slot = ?, version = version + 1, updated_at = ?", owner, until, slot, now).
		Where("id = ? AND version = ? AND state IN (?)", o.ID, o.Version, activeStates).
		Where("owner = '' OR owner = ? OR lease_until < ?", owner, now).Exec(ctx)
	if db.IsDuplicate(err) {
		return false, nil // an earlier operation has the resource
	}
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return false, err
	}
	o.Owner, o.LeaseUntil, o.Slot = owner, &until, &slot
	o.Version++
	return true, nil
}

// slotOf is what an operation holds from its first step to its end.
func slotOf(o *Op) string {
	if o.ResourceID == "" {
		return o.ID
	}
	return o.ResourceID
}

// casOp writes everything of o that changes, if owner still has it.
func casOp(ctx context.Context, q bun.IDB, o *Op, owner string) error {
	res, err := q.NewUpdate().Model(o).
		Column("state", "step", "journal", "error", "error_kind", "owner", "lease_until", "slot", "updated_at").
		Set("version = version + 1").
		Where("id = ? AND owner = ? AND version = ?", o.ID, owner, o.Version).Exec(ctx)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = errLost
	}
	return err
}

// wasWritten tells after a commit of unknown outcome whether it happened.
func wasWritten(ctx context.Context, d *db.DB, id string, version int64) (bool, error) {
	var now int64
	err := d.NewSelect().Model((*Op)(nil)).Column("version").Where("id = ?", id).Scan(ctx, &now)
	return now > version, err
}

// renewLeases prolongs all that owner works on in one statement.
func renewLeases(ctx context.Context, d *db.DB, owner string, until time.Time) error {
	_, err := d.NewUpdate().Model((*Op)(nil)).Set("lease_until = ?", until).
		Where("owner = ? AND state IN (?)", owner, activeStates).Exec(ctx)
	return err
}

// takeOver frees what a dead process of the same host worked on.
func takeOver(ctx context.Context, d *db.DB, host, owner string) (int64, error) {
	res, err := d.NewUpdate().Model((*Op)(nil)).Set("owner = '', lease_until = NULL").
		Where("owner >= ? AND owner < ? AND owner <> ?", host+ownerSep, host+afterSep, owner).
		Where("state IN (?)", activeStates).Exec(ctx)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// release gives back what owner works on, at its orderly end.
func release(ctx context.Context, d *db.DB, owner string) error {
	_, err := d.NewUpdate().Model((*Op)(nil)).Set("owner = '', lease_until = NULL").
		Where("owner = ? AND state IN (?)", owner, activeStates).Exec(ctx)
	return err
}

// releaseOne gives one operation back.
func releaseOne(ctx context.Context, d *db.DB, id, owner string) error {
	_, err := d.NewUpdate().Model((*Op)(nil)).Set("owner = '', lease_until = NULL").
		Where("id = ? AND owner = ? AND state IN (?)", id, owner, activeStates).Exec(ctx)
	return err
}

// signalOp leaves a word for the owner of an unfinished operation.
func signalOp(ctx context.Context, q bun.IDB, id, word string) (bool, error) {
	res, err := q.NewUpdate().Model((*Op)(nil)).Set("signal_name = ?", word).
		Where("id = ? AND state IN (?) AND signal_name <> ?", id, activeStates, signalCancel).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

type signalRow struct {
	ID     string
	Signal string `bun:"signal_name"`
}

// takeSignals returns the words left for owner and wipes the wakes out; a
// cancel stays until the operation ends.
func takeSignals(ctx context.Context, d *db.DB, owner string) ([]signalRow, error) {
	var rows []signalRow
	err := d.NewSelect().Model((*Op)(nil)).Column("id", "signal_name").
		Where("owner = ? AND state IN (?) AND signal_name <> ''", owner, activeStates).Scan(ctx, &rows)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Signal != signalWake {
			continue
		}
		_, err := d.NewUpdate().Model((*Op)(nil)).Set("signal_name = ''").
			Where("id = ? AND signal_name = ?", r.ID, signalWake).Exec(ctx)
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// Find returns one operation, errors as db.IsNoRows if there is none.
func Find(ctx context.Context, q bun.IDB, id string) (*Op, error) {
	o, err := findOp(ctx, q, id)
	if err != nil {
		return nil, fmt.Errorf("operation %s: %w", id, err)
	}
	return o, nil
}

// OfResource lists the operations on a resource, newest first.
func OfResource(ctx context.Context, q bun.IDB, resource string, limit int64) ([]*Op, error) {
	var list []*Op
	err := q.NewSelect().Model(&list).Where("resource_id = ?", resource).
		OrderExpr("created_at DESC, id DESC").Limit(limit).Scan(ctx)
	return list, err
}

// Unfinished lists the operations that are worked on, oldest first: what an
// auditor must leave alone, and what a resource in a transitional state needs.
func Unfinished(ctx context.Context, q bun.IDB) ([]*Op, error) {
	var list []*Op
	err := q.NewSelect().Model(&list).Where("state IN (?)", activeStates).
		OrderExpr("created_at, id").Scan(ctx)
	return list, err
}

// Prune deletes up to limit operations that ended before the given time.
func Prune(ctx context.Context, d *db.DB, before time.Time, limit int64) (int64, error) {
	var old []string
	err := d.NewSelect().Model((*Op)(nil)).Column("id").
		Where("state IN (?) AND created_at < ? AND updated_at < ?", bun.List([]string{Done, Failed}), before, before).
		OrderExpr("created_at").Limit(limit).Scan(ctx, &old)
	if err != nil || len(old) == 0 {
		return 0, err
	}
	res, err := d.NewDelete().Model((*Op)(nil)).Where("id IN (?)", bun.List(old)).Exec(ctx)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// outcomeUnknown tells whether an error leaves open what was written.
func outcomeUnknown(err error) bool {
	return errors.Is(err, db.ErrOutcomeUnknown)
}
