package db

import (
	"context"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

// Hold keeps the rows of a table that match as they are until the transaction
// ends, and returns how many they are: at READ COMMITTED a row that was only
// read may be gone before what was decided on it is written. SQLite has one
// writing transaction at a time and needs no lock. The lock is one server's:
// what must also hold while two servers of a cluster write needs a row that
// both of them change.
func Hold(ctx context.Context, tx bun.Tx, table, where string, args ...any) (int, error) {
	query := "SELECT 1 FROM " + table + " WHERE " + where
	if tx.Dialect().Name() == dialect.MySQL {
		query += " FOR UPDATE"
	}
	var rows []int
	err := tx.NewRaw(query, args...).Scan(ctx, &rows)
	return len(rows), err
}
