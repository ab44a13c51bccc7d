package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"golang.org/x/sync/semaphore"
	"modernc.org/sqlite"
)

// timeLayout is UTC without a zone, the literal MySQL wants. On SQLite it
// makes text that sorts by time and parses back to exactly the same UTC time.
const timeLayout = "2006-01-02 15:04:05.999999"

// closeWithin bounds how long Close waits for a transaction that runs.
const closeWithin = 5 * time.Second

type sqliteDialect struct{ *sqlitedialect.Dialect }

func (sqliteDialect) AppendTime(b []byte, t time.Time) []byte { return appendTime(b, t) }

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '\'')
	b = t.UTC().AppendFormat(b, timeLayout)
	return append(b, '\'')
}

func openSQLite(ctx context.Context, cfg Config, log *slog.Logger) (*DB, error) {
	path, cleanup, err := sqlitePath(cfg.URL)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*DB, error) {
		if cleanup != nil {
			cleanup()
		}
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	// The file holds secrets; SQLite gives its companions the same mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fail(err)
	}
	_ = f.Close()

	syncMode := "FULL"
	if cfg.NoSync || cleanup != nil {
		syncMode = "OFF"
	}
	base, err := sqlite.NewConnector(sqliteDSN(path, syncMode))
	if err != nil {
		return fail(err)
	}
	d := sqlitePools(base)
	d.log, d.path = log, path
	if err := checkWAL(ctx, d.DB.DB); err != nil {
		_ = d.Close()
		return fail(err)
	}
	closeWriter := d.cleanup
	d.cleanup = func() error {
		err := closeWriter()
		if cleanup != nil {
			cleanup()
		}
		return err
	}
	return d, nil
}

// sqlitePools makes the writer and the two pools: of connections that read, and
// of shells for those who wait for the writer's turn, who are as many as they
// like and take no connection from those who read.
func sqlitePools(base driver.Connector) *DB {
	c := &core{}
	w := &writer{core: c, turn: semaphore.NewWeighted(1),
		open: func(ctx context.Context) (rawConn, error) { return connectRaw(ctx, base) }}
	pool := sql.OpenDB(&sqliteConnector{Connector: base, core: c, w: w, reader: true})
	pool.SetMaxOpenConns(64)
	pool.SetMaxIdleConns(4 + 2*runtime.GOMAXPROCS(0)) // few: each keeps pages in memory
	pool.SetConnMaxIdleTime(time.Minute)
	shells := sql.OpenDB(&sqliteConnector{Connector: base, core: c, w: w})
	shells.SetMaxIdleConns(64)
	d := sqliteDialect{sqlitedialect.New()}
	return &DB{
		DB: bun.NewDB(pool, d, bun.WithConnResolver(byKind{shells})), writing: bun.NewDB(shells, d), core: c,
		cleanup: func() error { return w.close(closeWithin) },
	}
}

// checkWAL refuses a file system on which readers and the writer would block
// each other.
func checkWAL(ctx context.Context, pool *sql.DB) error {
	var mode string
	if err := pool.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("journal mode is %q and cannot be made wal: the file system does not support it", mode)
	}
	return nil
}

// byKind sends single statements that write to the shells.
type byKind struct{ shells *sql.DB }

// ResolveConn leaves nil to the pool that reads.
func (b byKind) ResolveConn(_ context.Context, query bun.Query) bun.IConn {
	switch query.(type) {
	case *bun.InsertQuery, *bun.UpdateQuery, *bun.DeleteQuery:
		return b.shells
	}
	return nil
}

// Close does nothing: the shells are closed with the pool of Tx.
func (byKind) Close() error { return nil }

// sqliteDSN names the pragmas of every connection. Writers wait for each other
// in the process by a queue; busy_timeout is for other processes (an audit, a
// backup) at the same file.
func sqliteDSN(path, syncMode string) string {
	q := url.Values{}
	for _, p := range []string{
		"busy_timeout(10000)",
		"journal_mode(WAL)",
		"synchronous(" + syncMode + ")",
		"foreign_keys(ON)",
		"temp_store(MEMORY)",
		"journal_size_limit(16777216)",
	} {
		q.Add("_pragma", p)
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// sqlitePath returns the file behind a URL. A ":memory:" database is a file in
// memory that its handle owns: SQLite's own have no WAL, so that readers would
// fail where they wait in production.
func sqlitePath(raw string) (path string, cleanup func(), err error) {
	rest := strings.TrimPrefix(raw, "sqlite:")
	if rest == ":memory:" {
		parent := "/dev/shm"
		if _, err := os.Stat(parent); err != nil {
			parent = ""
		}
		dir, err := os.MkdirTemp(parent, "hastack-db-")
		if err != nil {
			return "", nil, err
		}
		return filepath.Join(dir, "memory.db"), func() { _ = os.RemoveAll(dir) }, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/") || u.RawQuery != "" {
		return "", nil, errors.New("database url: want sqlite:///absolute/path.db or sqlite::memory:")
	}
	path = filepath.Clean(u.Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", nil, fmt.Errorf("directory of the database: %w", err)
	}
	return path, nil, nil
}
