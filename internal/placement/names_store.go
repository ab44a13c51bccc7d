package placement

import (
	"context"
	"strings"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

// The tables of names (resource_classes, traits) and of a provider's sets
// (provider_traits, provider_aggregates) are all alike.

// selectNames lists the names of a table in order, of only the given ones
// unless only is nil.
func selectNames(ctx context.Context, tx bun.IDB, table string, only []string) ([]string, error) {
	names := []string{}
	q := tx.NewSelect().Table(table).Column("name").Order("name")
	if only != nil {
		q = q.Where("name IN (?)", bun.List(only))
	}
	err := q.Scan(ctx, &names)
	return names, err
}

func insertName(ctx context.Context, tx bun.IDB, table, name string) (isNew bool, err error) {
	found, err := selectNames(ctx, tx, table, []string{name})
	if err != nil || len(found) > 0 {
		return false, err
	}
	_, err = tx.NewInsert().Table(table).Model(&map[string]any{"name": name}).Exec(ctx)
	if db.IsDuplicate(err) { // another was faster
		return false, nil
	}
	return err == nil, err
}

func deleteName(ctx context.Context, tx bun.Tx, table, name string) (int64, error) {
	res, err := tx.NewDelete().Table(table).Where("name = ?", name).Exec(ctx)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func countWhere(ctx context.Context, tx bun.Tx, table, column, value string) (int64, error) {
	return tx.NewSelect().Table(table).Where("? = ?", bun.Ident(column), value).Count(ctx)
}

func replaceSet(ctx context.Context, tx bun.Tx, table, column, provider string, values []string) error {
	if _, err := tx.NewDelete().Table(table).Where("provider_uuid = ?", provider).Exec(ctx); err != nil {
		return err
	}
	if len(values) == 0 {
		return nil
	}
	q := "INSERT INTO ? (provider_uuid, ?) VALUES (?, ?)" + strings.Repeat(", (?, ?)", len(values)-1)
	args := []any{bun.Ident(table), bun.Ident(column)}
	for _, v := range values {
		args = append(args, provider, v)
	}
	_, err := tx.ExecContext(ctx, q, args...)
	return err
}
