// Package db opens a service's own database and runs its transactions.
//
// Two engines, one behaviour: SQLite (one file per service, WAL, every commit
// on disk before it returns) and MariaDB or MySQL (alone or Galera). Queries
// are built with bun; statements are portable, state changes are
// compare-and-set, nothing here locks rows. Read Tx first, then conn.go, which
// wraps the drivers: it orders SQLite's writers and counts statements.
//
// What it leaves out: models, and anything that knows a service.
package db

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/clock"
)

// Config says which database to open.
type Config struct {
	// URL is one of
	//
	//	sqlite:///var/lib/hastack/nova.db
	//	sqlite::memory:    private to the handle, gone with Close
	//	mysql://user:password@host:port/nova
	//
	// A password with reserved characters is percent-encoded.
	URL string
	// TLS encrypts the connection and verifies the server; nil connects in the
	// clear. SQLite has no use for it.
	TLS *tls.Config
	// Log may be nil.
	Log *slog.Logger
	// NoSync gives up durability on SQLite. Only tests may set it, those that
	// do not look at what survives a crash.
	NoSync bool
}

// A DB is a pool of connections to one service's database. It is safe for
// concurrent use; Close ends it. Single statements may be run on it directly,
// each its own transaction; several that belong together go through Tx.
type DB struct {
	*bun.DB
	writing *bun.DB // where Tx takes its connection; the same pool on MySQL
	core    *core
	log     *slog.Logger
	path    string       // of the SQLite file
	cleanup func() error // after the pools are closed; may be nil
}

// core is what the handle shares with its connections.
type core struct {
	statements atomic.Int64
	commits    atomic.Int64
}

// Stats counts since Open.
type Stats struct {
	Statements int64 // sent to the engine, without begin and commit
	Commits    int64 // that wrote, single statements included; writers that waited for each other share one
}

// Open connects, checks that the engine keeps what it promises and returns the
// handle. The database itself must exist on MySQL; SQLite's file is made.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	switch {
	case strings.HasPrefix(cfg.URL, "sqlite:"):
		return openSQLite(ctx, cfg, log)
	case strings.HasPrefix(cfg.URL, "mysql:"):
		return openMySQL(ctx, cfg, log)
	}
	scheme, _, _ := strings.Cut(cfg.URL, ":")
	return nil, fmt.Errorf("database url: unknown scheme %q, want sqlite: or mysql:", scheme)
}

// Close ends all connections; statements that run are waited for.
func (d *DB) Close() error {
	err := d.DB.Close()
	if d.writing != d.DB {
		err = errors.Join(d.writing.Close(), err)
	}
	if d.cleanup != nil {
		err = errors.Join(err, d.cleanup())
	}
	return err
}

// Stats may be called at any time; the difference of two calls is the cost of
// what ran between them.
func (d *DB) Stats() Stats {
	return Stats{Statements: d.core.statements.Load(), Commits: d.core.commits.Load()}
}

// Limits of Tx's patience. A Galera cluster that changes its writer is back in
// five seconds, so a transaction waits a little longer than that.
const (
	retryFor  = 15 * time.Second
	retryBase = 2 * time.Millisecond
	retryMax  = 500 * time.Millisecond
)

// txKey marks the context of a running Tx.
type txKey struct{ core *core }

// Tx runs fn in one transaction and commits it if fn returns nil; on an error,
// a panic or a cancelled ctx nothing of it remains. When Tx returns nil the
// change is durable.
//
// fn may run several times: a deadlock, a lost Galera certification or a lost
// connection before the commit makes Tx start again, so fn has no effect other
// than its SQL and sets its results anew in each run. fn must use the tx and
// ctx it is given: a write around them is refused, since it would wait for the
// very transaction it is part of. Transactions do not nest.
//
// If the connection is lost during the commit itself, Tx finds out whether it
// happened (commit.go) and returns nil or starts again. Only when that cannot
// be found out either, since no server answers for long, it returns an error
// that is ErrOutcomeUnknown.
func (d *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx bun.Tx) error) error {
	if ctx.Value(txKey{d.core}) != nil {
		return errors.New("transaction inside a transaction of the same database")
	}
	giveUp := clock.System.Now().Add(retryFor)
	ctx = context.WithValue(ctx, patienceKey{}, giveUp)
	pause := retryBase
	for {
		err := d.try(ctx, fn)
		if err == nil || !retryable(err) || ctx.Err() != nil {
			return err
		}
		if clock.System.Now().After(giveUp) {
			return fmt.Errorf("transaction given up after %v: %w", retryFor, err)
		}
		d.log.DebugContext(ctx, "transaction is repeated", "cause", err.Error())
		select {
		case <-clock.System.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return err
		}
		pause = min(2*pause, retryMax)
	}
}

// try is one run of fn.
func (d *DB) try(ctx context.Context, fn func(ctx context.Context, tx bun.Tx) error) (err error) {
	tx, err := d.writing.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	ctx = context.WithValue(ctx, txKey{d.core}, true)
	done := false
	defer func() {
		if !done { // fn failed or panics, which goes on after this
			_ = tx.Rollback()
		}
	}()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	done = true
	if err := tx.Commit(); err != nil {
		if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
			return ctx.Err() // the cancelled context rolled it back
		}
		return err
	}
	return nil
}
