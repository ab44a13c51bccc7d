package db

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun/dialect"
)

// Migrated tells whether every migration of sources has been applied; it
// changes nothing. Processes that do not migrate themselves wait for it.
func (d *DB) Migrated(ctx context.Context, sources ...fs.FS) (bool, error) {
	files, err := collect(sources)
	if err != nil {
		return false, err
	}
	kind := goose.DialectSQLite3
	if d.Dialect().Name() == dialect.MySQL {
		kind = goose.DialectMySQL
	}
	p, err := goose.NewProvider(kind, d.DB.DB, files, goose.WithAllowOutofOrder(true), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return false, fmt.Errorf("read migrations: %w", err)
	}
	pending, err := p.HasPending(ctx)
	if err != nil {
		return false, fmt.Errorf("look at the schema: %w", err)
	}
	return !pending, nil
}
