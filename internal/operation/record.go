package operation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
)

// A recordError is one that a step's own part of the record returned: the
// record was not made, and trying again would not help.
type recordError struct{ error }

func (e *recordError) Unwrap() error { return e.error }

func unwrapRecord(err error) error {
	if e, ok := errors.AsType[*recordError](err); ok {
		return e.error
	}
	return err
}

// record writes the operation as change leaves it, together with what the step
// collected, in one commit. It insists while the database is away: the effect
// is made, and only this or the loss of the operation ends the attempt.
func (t *task) record(ctx context.Context, change func(o *Op) func(context.Context, bun.Tx) error) error {
	next := *t.op
	next.Journal = &Journal{Data: maps.Clone(t.op.Journal.Data), Steps: slices.Clone(t.op.Journal.Steps)}
	end := change(&next)
	parts := next.onRecord
	if end != nil {
		parts = append(slices.Clone(parts), end)
	}
	next.UpdatedAt = t.r.cfg.Clock.Now()
	next.LeaseUntil = t.lease()
	if next.Finished() {
		next.Owner, next.LeaseUntil, next.Slot = "", nil, nil
	}
	pause := retryFirst
	for {
		err := t.write(ctx, &next, parts)
		if err == nil {
			next.Version++
			next.onRecord = nil
			*t.op = next
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if outcomeUnknown(err) || db.IsUnavailable(err) {
			if done, lookErr := wasWritten(ctx, t.r.cfg.DB, next.ID, next.Version); lookErr == nil && done {
				next.Version++
				next.onRecord = nil
				*t.op = next
				return nil
			}
		} else {
			return err
		}
		t.r.cfg.Log.WarnContext(ctx, "record of an operation's step is tried again", "operation_id", t.op.ID, "error", err.Error())
		select {
		case <-clock.System.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, time.Second)
	}
}

// write is one try of record: a single statement when there is nothing else to
// write with it.
func (t *task) write(ctx context.Context, next *Op, parts []func(context.Context, bun.Tx) error) error {
	if len(parts) == 0 {
		return casOp(ctx, t.r.cfg.DB, next, t.r.owner)
	}
	return t.r.cfg.DB.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := casOp(ctx, tx, next, t.r.owner); err != nil {
			return err
		}
		for _, part := range parts {
			if err := part(ctx, tx); err != nil {
				if db.IsUnavailable(err) {
					return err
				}
				return &recordError{err}
			}
		}
		return nil
	})
}

func (t *task) lease() *time.Time {
	until := t.r.cfg.Clock.Now().Add(t.r.cfg.Lease)
	return &until
}

// checkpoint is Op.Checkpoint.
func (t *task) checkpoint(ctx context.Context) error {
	err := t.record(ctx, func(*Op) func(context.Context, bun.Tx) error { return nil })
	if err != nil {
		return fmt.Errorf("checkpoint of operation %s: %w", t.op.ID, unwrapRecord(err))
	}
	return nil
}

// hook is a kind's Done or Failed in the shape of a record's part.
func (t *task) hook(f func(context.Context, bun.Tx, *Op) error, o *Op) func(context.Context, bun.Tx) error {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, tx bun.Tx) error { return f(ctx, tx, o) }
}

// ended closes an entry now.
func (t *task) ended(e Entry) Entry {
	if e.Outcome == OutcomeDone || e.Outcome == OutcomeUndone {
		e.Error = ""
	}
	e.Micros = t.r.cfg.Clock.Now().Sub(e.Start).Microseconds()
	return e
}

// note keeps the entry of a step whose record goes with the next one's.
func (t *task) note(e *Entry) { appendEntry(t.op, t.ended(*e)) }

func (t *task) observe(ctx context.Context, e Entry) {
	if t.r.cfg.Observe != nil {
		t.r.cfg.Observe(ctx, t.op, t.ended(e))
	}
}

// maxEntries bounds the journal of an operation that goes round in circles.
const maxEntries = 200

func appendEntry(o *Op, e Entry) {
	if len(o.Journal.Steps) < maxEntries {
		o.Journal.Steps = append(o.Journal.Steps, e)
	}
}
