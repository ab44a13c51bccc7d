package db

import (
	"context"

	"github.com/uptrace/bun"
)

// Upsert updates a row, or else adds it, also when another transaction adds it
// at the same moment. Both statements take args.
func Upsert(ctx context.Context, tx bun.Tx, update, add string, args ...any) error {
	res, err := tx.NewRaw(update, args...).Exec(ctx)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	if _, err = tx.NewRaw(add, args...).Exec(ctx); IsDuplicate(err) {
		_, err = tx.NewRaw(update, args...).Exec(ctx)
	}
	return err
}
