// Package dbtest gives a test its own migrated database: SQLite in a temporary
// directory, or, when HASTACK_TEST_MYSQL holds the URL of a server and a user
// who may create databases (mysql://root:secret@127.0.0.1:3306/), a fresh one
// there, dropped at the end.
package dbtest

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/ids"
)

// Env is the variable that moves the tests to MariaDB.
const Env = "HASTACK_TEST_MYSQL"

// New opens an empty database, applies the migrations (nil for none) and
// closes it when the test is over.
func New(t testing.TB, migrations ...fs.FS) *db.DB {
	t.Helper()
	return Open(t, db.Config{URL: URL(t), NoSync: true}, migrations...)
}

// Open opens cfg for the length of a test.
func Open(t testing.TB, cfg db.Config, migrations ...fs.FS) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close database: %v", err)
		}
	})
	var given []fs.FS
	for _, m := range migrations {
		if m != nil {
			given = append(given, m)
		}
	}
	if len(given) > 0 {
		if err := d.Migrate(t.Context(), given...); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// URL makes an empty database and returns where it is, for tests that open it
// more than once, as several processes do.
func URL(t testing.TB) string {
	t.Helper()
	server := os.Getenv(Env)
	if server == "" {
		return "sqlite://" + t.TempDir() + "/test.db"
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%s: want mysql://user:password@host:port/", Env)
	}
	name := "test_" + strings.ReplaceAll(ids.UUID(), "-", "")
	u.Path = "/mysql"
	adminExec(t, t.Context(), u.String(), "CREATE DATABASE "+name+" CHARACTER SET utf8mb4")
	t.Cleanup(func() {
		adminExec(t, context.WithoutCancel(t.Context()), u.String(), "DROP DATABASE "+name)
	})
	own := *u
	own.Path = "/" + name
	return own.String()
}

// MySQL reports whether New opens a database on a server.
func MySQL() bool { return os.Getenv(Env) != "" }

func adminExec(t testing.TB, ctx context.Context, target, statement string) {
	t.Helper()
	d, err := db.Open(ctx, db.Config{URL: target})
	if err != nil {
		t.Fatalf("%s: %v", Env, err)
	}
	defer func() { _ = d.Close() }()
	if _, err := d.ExecContext(ctx, statement); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", statement, err))
	}
}
