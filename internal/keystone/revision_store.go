package keystone

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

// BaseModel lets a type that is not named after its table name it.
type BaseModel = bun.BaseModel

type revisionRow struct {
	BaseModel `bun:"table:revisions"`
	Name      string `bun:"name,pk"`
	Value     int64  `bun:"value"`
}

func (s *Service) selectRevisions(ctx context.Context) (map[string]int64, error) {
	var rows []revisionRow
	if err := s.db.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read revisions: %w", err)
	}
	out := make(map[string]int64, len(rows))
	for _, r := range rows {
		out[r.Name] = r.Value
	}
	return out, nil
}

// change runs fn in a transaction that also raises the given revisions. They
// are raised last, to hold the row that all changes share only briefly.
func (s *Service) change(ctx context.Context, fn func(ctx context.Context, tx bun.Tx) error, revisions ...string) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		for _, name := range revisions {
			if err := raise(ctx, tx, name); err != nil {
				return err
			}
		}
		return nil
	})
	// Also after an error: nobody knows what became of a lost commit.
	s.changes.Add(1)
	return err
}

func raise(ctx context.Context, tx bun.Tx, name string) error {
	_, err := tx.NewUpdate().Model((*revisionRow)(nil)).Set("value = value + 1").Where("name = ?", name).Exec(ctx)
	if err != nil {
		return fmt.Errorf("raise revision %s: %w", name, err)
	}
	return nil
}

// findOne reads one row by its id into model.
func findOne(ctx context.Context, q bun.IDB, model any, what, id string) error {
	err := q.NewSelect().Model(model).Where("id = ?", id).Scan(ctx)
	return foundOr404(err, what, id)
}

func foundOr404(err error, what, id string) error {
	if db.IsNoRows(err) {
		return fault.New(fault.NotFound, "could not find %s: %s", what, id)
	}
	return err
}

// list reads the rows that the filter wants, in order of id.
func list[T any](ctx context.Context, q bun.IDB, cols columns, f Filter, limit ...func(*bun.SelectQuery) *bun.SelectQuery) ([]T, error) {
	rows := []T{}
	sel := q.NewSelect().Model(&rows).OrderExpr("id")
	for _, c := range f.Conditions {
		clause, arg, err := cols.clause(c)
		if err != nil {
			return nil, err
		}
		if clause != "" {
			sel = sel.Where(clause, arg)
		}
	}
	if f.Marker != "" {
		sel = sel.Where("id > ?", f.Marker)
	}
	if f.Limit > 0 {
		sel = sel.Limit(int64(f.Limit))
	}
	for _, l := range limit {
		sel = l(sel)
	}
	return rows, sel.Scan(ctx)
}

// listIn reads the rows with those ids, a bounded number a statement.
func listIn[T any](ctx context.Context, q bun.IDB, ids []string) ([]T, error) {
	const chunk = 500
	out := []T{}
	for len(ids) > 0 {
		part := ids[:min(chunk, len(ids))]
		ids = ids[len(part):]
		rows, err := list[T](ctx, q, nil, Filter{}, func(q *bun.SelectQuery) *bun.SelectQuery {
			return q.Where("id IN (?)", bun.List(part))
		})
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	return out, nil
}

// insert adds a row; a taken id or name is a Conflict.
func insert(ctx context.Context, q bun.IDB, model any, what, name string) error {
	_, err := q.NewInsert().Model(model).Exec(ctx)
	return conflict(err, what, name)
}

// hold keeps the row that a new one belongs to until the transaction ends; the
// fault of a body that names it when it is gone.
func hold(ctx context.Context, tx bun.Tx, table, what, id string) error {
	n, err := db.Hold(ctx, tx, table, "id = ?", id)
	if err == nil && n == 0 {
		return fault.New(fault.BadRequest, "could not find %s: %s", what, id)
	}
	return err
}

func conflict(err error, what, name string) error {
	if db.IsDuplicate(err) {
		return fault.New(fault.Conflict, "conflict occurred attempting to store %s - duplicate entry: %s", what, name)
	}
	return err
}

// update writes the named columns of a row that is there.
func update(ctx context.Context, q bun.IDB, model any, what, id, name string, cols ...string) error {
	if len(cols) == 0 {
		return nil
	}
	res, err := q.NewUpdate().Model(model).Column(cols...).WherePK().Exec(ctx)
	if err != nil {
		return conflict(err, what, name)
	}
	return affectedOr404(res, what, id)
}

// remove deletes a row by id.
func remove(ctx context.Context, q bun.IDB, model any, what, id string) error {
	res, err := q.NewDelete().Model(model).Where("id = ?", id).Exec(ctx)
	if err != nil {
		return err
	}
	return affectedOr404(res, what, id)
}

type affected interface{ RowsAffected() (int64, error) }

func affectedOr404(res affected, what, id string) error {
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "could not find %s: %s", what, id)
	}
	return err
}

// unavailable tells a database that does not answer from a mistake of ours.
func unavailable(err error) error {
	if db.IsUnavailable(err) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Unavailable, err, "the identity database does not answer")
	}
	return err
}
