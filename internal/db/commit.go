package db

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/hastack/hastack/internal/clock"
)

// Commits on MySQL and MariaDB whose answer is lost. The connection breaks, or
// the server leaves its cluster, between the COMMIT and its answer: nobody can
// tell from here whether it happened. Repeating might do it twice, and an
// error might deny what was done.
//
// So every transaction that changes rows writes one more, its mark, into the
// table hastack_commits. When the answer to the COMMIT is lost, a new
// connection, wherever it leads, inserts the same mark as "void":
//
//   - it is there already: the transaction committed, and that is the answer;
//   - it goes in: the transaction did not commit and never can any more, since
//     its own mark would be a duplicate: it is repeated;
//   - it has to wait: the transaction is still at it on its old connection,
//     and holds the row until it has decided.
//
// A statement of its own is treated as a transaction of one statement.

// commitsTable holds marks for an hour.
const commitsTable = `CREATE TABLE IF NOT EXISTS hastack_commits (
  id BINARY(16) NOT NULL PRIMARY KEY,
  done BOOLEAN NOT NULL
)`

// A mark is a time-ordered id: 48 bits of milliseconds, 80 at random. The age
// of old marks is told by it, so servers' clocks may differ by minutes.
type mark [16]byte

// settleFor is how long a commit whose answer was lost is looked for at least.
const settleFor = 10 * time.Second

// marks are kept for markAge, and every markSweep-th commit removes older ones.
const (
	markAge   = time.Hour
	markSweep = 512
)

func newMark() mark {
	var m mark
	m.at(clock.System.Now())
	_, _ = rand.Read(m[6:]) // never fails
	return m
}

func (m *mark) at(t time.Time) {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(t.UnixMilli()))
	copy(m[:6], ms[2:])
}

// errNotCommitted says that a commit whose answer was lost did not happen and
// will not.
var errNotCommitted = errors.New("the connection was lost during the commit, which did not happen")

// single runs one statement that changes rows as a transaction.
func (c *conn) single(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	for p := newPatience(ctx); ; {
		res, err := c.singleOnce(ctx, p, query, args)
		if err == nil {
			return res, nil
		}
		if err = c.again(ctx, p, err); err != nil {
			return nil, err
		}
	}
}

func (c *conn) singleOnce(ctx context.Context, p *patience, query string, args []driver.NamedValue) (driver.Result, error) {
	tx, err := c.rawConn.BeginTx(ctx, driver.TxOptions{})
	if err != nil {
		return nil, c.failed(err)
	}
	res, err := c.rawConn.ExecContext(ctx, query, args)
	if err != nil {
		_ = c.failed(err)
		_ = tx.Rollback()
		return nil, err
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return res, c.failed(tx.Commit()) // nothing to find again
	}
	return res, c.commit(ctx, p, tx)
}

// commit marks the transaction and commits it. With an error nothing of it
// remains, unless the error is ErrOutcomeUnknown.
func (c *conn) commit(ctx context.Context, p *patience, tx driver.Tx) error {
	m := newMark()
	if _, err := c.rawConn.ExecContext(ctx, fmt.Sprintf("INSERT INTO hastack_commits (id, done) VALUES (x'%x', 1)", m), nil); err != nil {
		_ = c.failed(err)
		_ = tx.Rollback()
		return err
	}
	err := tx.Commit()
	if err == nil {
		c.sweep(ctx)
		return nil
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == myDeadlock {
		return c.failed(err) // certification: it did not happen
	}
	// Whatever else went wrong: the write set may have been on its way.
	c.spoil()
	return c.settleCommit(ctx, p, m, err)
}

// settleCommit finds out what became of a commit, and that it stays so.
func (c *conn) settleCommit(ctx context.Context, p *patience, m mark, cause error) error {
	// The answer is needed even if the caller has left: it decides whether the
	// effect is there.
	ctx = context.WithoutCancel(ctx)
	if least := clock.System.Now().Add(settleFor); p.until.Before(least) {
		p.until = least
	}
	for {
		done, err := c.claim(ctx, m)
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			return fmt.Errorf("%w: %w", errNotCommitted, cause)
		}
		if !retryable(err) || !p.pause(ctx) {
			c.from.log.ErrorContext(ctx, "nobody can tell whether a transaction was committed", "cause", cause.Error(), "error", err.Error())
			return errors.Join(ErrOutcomeUnknown, cause)
		}
	}
}

// claim makes the mark void on a connection of its own, unless it is done.
func (c *conn) claim(ctx context.Context, m mark) (done bool, err error) {
	raw, term, err := c.from.open(ctx)
	if err != nil {
		return false, err
	}
	defer func() { c.from.witness.closed(term); _ = raw.Close() }()
	_, err = raw.ExecContext(ctx, fmt.Sprintf("INSERT INTO hastack_commits (id, done) VALUES (x'%x', 0)", m), nil)
	if err == nil || !IsDuplicate(err) {
		return false, err
	}
	v, err := oneRow(ctx, raw, fmt.Sprintf("SELECT done FROM hastack_commits WHERE id = x'%x'", m))
	return err == nil && text(v) == "1", err
}

// sweep removes old marks, now and then.
func (c *conn) sweep(ctx context.Context) {
	if mathrand.N(markSweep) != 0 {
		return
	}
	var old mark
	old.at(clock.System.Now().Add(-markAge))
	if _, err := c.rawConn.ExecContext(ctx, fmt.Sprintf("DELETE FROM hastack_commits WHERE id < x'%x' LIMIT %d", old, 4*markSweep), nil); err != nil {
		_ = c.failed(err) // another time
	}
}

// BeginTx begins a transaction, on a new connection if need be.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	for p := newPatience(ctx); ; {
		raw, err := c.rawConn.BeginTx(ctx, opts)
		if err == nil {
			c.inTx, c.wrote, c.changed, c.broken = true, false, false, nil
			return &connTx{Tx: raw, c: c, ctx: ctx}, nil
		}
		if err = c.again(ctx, p, c.failed(err)); err != nil {
			return nil, err
		}
	}
}

type connTx struct {
	driver.Tx
	c   *conn
	ctx context.Context //nolint:containedctx // driver.Tx has none
}

func (t *connTx) Commit() error {
	c := t.c
	broken, wrote, changed := c.broken, c.wrote, c.changed
	if broken != nil {
		t.end()
		_ = t.Tx.Rollback()
		return broken
	}
	var err error
	if changed && c.from.marks {
		err = c.commit(t.ctx, newPatience(t.ctx), t.Tx)
	} else if err = t.Tx.Commit(); err != nil && changed && lostConnection(err) {
		c.spoil()
		err = errors.Join(ErrOutcomeUnknown, err)
	} else {
		err = c.failed(err)
	}
	t.end()
	if err == nil && wrote {
		c.core.commits.Add(1)
	}
	return err
}

func (t *connTx) Rollback() error {
	t.end()
	return t.Tx.Rollback()
}

func (t *connTx) end() { t.c.inTx, t.c.wrote, t.c.changed, t.c.broken = false, false, false, nil }

type rawStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// A stmt is prepared on one connection and dies with it.
type stmt struct {
	rawStmt
	c     *conn
	write bool
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.c.enter(ctx, s.write); err != nil {
		return nil, err
	}
	res, err := s.rawStmt.ExecContext(ctx, args)
	s.c.note(res, s.write)
	return res, s.c.failed(err)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.c.enter(ctx, s.write); err != nil {
		return nil, err
	}
	s.c.changed = s.c.changed || s.write
	rows, err := s.rawStmt.QueryContext(ctx, args)
	return rows, s.c.failed(err)
}
