package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun/dialect"

	"github.com/hastack/hastack/internal/clock"
)

// migrateWait bounds how long one process waits for another that migrates.
const migrateWait = 2 * time.Minute

// migrateAttempts is how often a migration is begun while servers come and go.
const migrateAttempts = 6

// Migrate applies the goose files (0001_name.sql, found anywhere in the file
// systems) that this database has not seen yet, in the order of their numbers.
// Numbers are unique over all file systems given; a platform package that
// brings its own table (operation, elect) uses one from 9001 on. Several
// processes may call it at once: one works, the others wait and find it done.
// A server that goes away in the middle is waited for, and the file begun again.
func (d *DB) Migrate(ctx context.Context, sources ...fs.FS) error {
	files, err := collect(sources)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := d.migrate(ctx, files)
		if err == nil || attempt == migrateAttempts || d.path != "" || !(lostConnection(err) || retryable(err) || IsUnavailable(err)) {
			return err
		}
		d.log.WarnContext(ctx, "migration is begun again", "attempt", attempt, "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-clock.System.After(time.Duration(attempt) * time.Second):
		}
	}
}

// migrate is one attempt, under the lock.
func (d *DB) migrate(ctx context.Context, files flatFS) error {
	unlock, err := d.migrationLock(ctx)
	if err != nil {
		return fmt.Errorf("wait for another migration: %w", err)
	}
	defer unlock()
	kind := goose.DialectSQLite3
	if d.Dialect().Name() == dialect.MySQL {
		kind = goose.DialectMySQL
		mariaDB, err := d.setCollation(ctx)
		if err != nil {
			return err
		}
		if mariaDB {
			files = repeatable(files)
		}
	}
	p, err := goose.NewProvider(kind, d.DB.DB, files,
		goose.WithAllowOutofOrder(true), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, m := range done {
		d.log.InfoContext(ctx, "migration applied", "file", m.Source.Path, "duration", m.Duration.String())
	}
	return nil
}

// setCollation makes text compare by its bytes, as SQLite does: the default
// would take "Web" and "web", or "a" and "a ", for the same name. It changes
// what later tables get, never an existing one. It tells whether the server is
// a MariaDB.
func (d *DB) setCollation(ctx context.Context) (mariaDB bool, err error) {
	var version string
	if err := d.NewRaw("SELECT version()").Scan(ctx, &version); err != nil {
		return false, err
	}
	mariaDB = strings.Contains(version, "MariaDB")
	collation := "utf8mb4_0900_bin"
	if mariaDB {
		collation = "utf8mb4_nopad_bin"
	}
	var now string
	if err := d.NewRaw("SELECT @@collation_database").Scan(ctx, &now); err != nil || now == collation {
		return mariaDB, err
	}
	_, err = d.ExecContext(ctx, "ALTER DATABASE CHARACTER SET utf8mb4 COLLATE "+collation)
	return mariaDB, err
}

// migrationLock is held by one process at a time; it ends with the process.
func (d *DB) migrationLock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, migrateWait)
	defer cancel()
	if d.path != "" {
		return lockFile(ctx, d.path+".migrate")
	}
	c, err := d.DB.DB.Conn(ctx)
	if err != nil {
		return nil, err
	}
	var got *int64
	// The name is the server's, so it carries the database's.
	err = c.QueryRowContext(ctx, "SELECT GET_LOCK(LEFT(CONCAT('hastack.migrate.', DATABASE()), 64), 110)").Scan(&got)
	if err == nil && (got == nil || *got != 1) {
		err = errors.New("no lock within 110 s")
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return func() {
		_, _ = c.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK(LEFT(CONCAT('hastack.migrate.', DATABASE()), 64))")
		_ = c.Close()
	}, nil
}

func lockFile(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-clock.System.After(20 * time.Millisecond):
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
	}
}

// flatFS shows the *.sql files of several file systems in one folder, which is
// what goose reads.
type flatFS map[string][]byte

func collect(sources []fs.FS) (flatFS, error) {
	all := flatFS{}
	numbers := map[string]string{}
	for _, src := range sources {
		err := fs.WalkDir(src, ".", func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || path.Ext(p) != ".sql" {
				return err
			}
			name := path.Base(p)
			number, _, _ := strings.Cut(name, "_")
			if other, taken := numbers[number]; taken {
				return fmt.Errorf("two migrations have one number: %s and %s", other, name)
			}
			numbers[number] = name
			all[name], err = fs.ReadFile(src, p)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
	}
	return all, nil
}

// Open opens one file; the folder itself cannot be opened, ReadDir lists it.
func (m flatFS) Open(name string) (fs.File, error) {
	b, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &flatFile{name: name, Reader: bytes.NewReader(b)}, nil
}

// ReadDir lists all files by name.
func (m flatFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var list []fs.DirEntry
	for n, b := range m {
		list = append(list, fs.FileInfoToDirEntry(flatInfo{n, int64(len(b))}))
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

type flatFile struct {
	name string
	*bytes.Reader
}

func (f *flatFile) Stat() (fs.FileInfo, error) { return flatInfo{f.name, f.Size()}, nil }
func (f *flatFile) Close() error               { return nil }

type flatInfo struct {
	name string
	size int64
}

func (i flatInfo) Name() string       { return i.name }
func (i flatInfo) Size() int64        { return i.size }
func (i flatInfo) Mode() fs.FileMode  { return 0o444 }
func (i flatInfo) ModTime() time.Time { return time.Time{} }
func (i flatInfo) IsDir() bool        { return false }
func (i flatInfo) Sys() any           { return nil }
