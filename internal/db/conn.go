package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/hastack/hastack/internal/clock"
)

// This file stands between database/sql and the MySQL driver (sqliteconn.go is
// its like). It counts, keeps a transaction that the engine has ended from
// going on, and outlives the server: when the database moves to another server
// a conn connects again and repeats what it was doing, as far as that is safe.
// Reads are; what writes is repeated only when commit.go has found out that
// its first try left nothing.

type connector struct {
	driver.Connector
	core *core
	log  *slog.Logger
	init []string // statements for a fresh connection
	// marks tells that commits can be found again (commit.go).
	marks   bool
	witness witness
}

// Connect waits for a server until the patience that ctx carries ends.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	p := newPatience(ctx)
	for {
		raw, term, err := c.open(ctx)
		if err == nil {
			return &conn{rawConn: raw, from: c, core: c.core, term: term}, nil
		}
		if !retryable(err) || !p.pause(ctx) {
			return nil, final(err)
		}
	}
}

// final keeps database/sql from starting over what was tried long enough.
func final(err error) error {
	if errors.Is(err, driver.ErrBadConn) {
		return mysql.ErrInvalidConn
	}
	return err
}

// open makes one connection. It sees everything that was committed before,
// wherever that was.
func (c *connector) open(ctx context.Context) (raw rawConn, term uint64, err error) {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err = connectRaw(ctx, c.Connector)
	if err != nil {
		if errors.Is(err, io.EOF) || ctx.Err() != nil && outer.Err() == nil {
			// A load balancer without a server closes at once; one whose server
			// is frozen says nothing.
			err = fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
		}
		return nil, 0, err
	}
	for _, q := range c.init {
		if _, err = raw.ExecContext(ctx, q, nil); err != nil {
			err = fmt.Errorf("%s: %w", q, err)
			break
		}
	}
	if err == nil {
		term, err = c.witness.settle(ctx, raw)
	}
	if err != nil {
		_ = raw.Close()
		return nil, 0, err
	}
	return raw, term, nil
}

func connectRaw(ctx context.Context, c driver.Connector) (rawConn, error) {
	raw, err := c.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := raw.(rawConn)
	if !ok {
		_ = raw.Close()
		return nil, fmt.Errorf("driver connection %T lacks context methods", raw)
	}
	return full, nil
}

// rawConn is what both drivers offer.
type rawConn interface {
	driver.Conn
	driver.Pinger
	driver.ExecerContext
	driver.QueryerContext
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.SessionResetter
	driver.Validator
}

// patience is how long one thing is tried.
type patience struct {
	until time.Time
	next  time.Duration
}

// patienceKey carries the end of a Tx's patience to what it is made of.
type patienceKey struct{}

func newPatience(ctx context.Context) *patience {
	p := &patience{until: clock.System.Now().Add(retryFor), next: retryBase}
	if t, ok := ctx.Value(patienceKey{}).(time.Time); ok && t.Before(p.until) {
		p.until = t
	}
	return p
}

// pause waits a little and tells whether to try again.
func (p *patience) pause(ctx context.Context) bool {
	if ctx.Err() != nil || clock.System.Now().After(p.until) {
		return false
	}
	select {
	case <-clock.System.After(p.next/2 + rand.N(p.next)):
	case <-ctx.Done():
		return false
	}
	p.next = min(2*p.next, retryMax)
	return true
}

// conn is used by one goroutine at a time, as database/sql guarantees.
type conn struct {
	rawConn
	from    *connector
	core    *core
	inTx    bool
	wrote   bool   // something in this transaction
	changed bool   // rows, in this transaction
	broken  error  // why the transaction cannot go on
	bad     bool   // not to be used again
	term    uint64 // of the witness
}

var errOutside = errors.New("write outside of the transaction that the context is in")

// enter is asked before a statement.
func (c *conn) enter(ctx context.Context, write bool) error {
	c.core.statements.Add(1)
	if c.inTx {
		c.wrote = c.wrote || write
		return c.broken
	}
	if !write {
		return nil
	}
	if ctx.Value(txKey{c.core}) != nil {
		return errOutside
	}
	c.core.commits.Add(1)
	return nil
}

// failed looks at a statement's error.
func (c *conn) failed(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok && otherNode(e) || lostConnection(err) {
		c.spoil()
	}
	if c.inTx && c.broken == nil && breaksTx(err) {
		c.broken = err
	}
	return err
}

// spoil keeps the connection from being used again.
func (c *conn) spoil() {
	c.bad = true
	c.from.witness.failed(c.term)
}

// again decides after an error outside of a transaction that left nothing
// behind: it waits, and gives the conn a new connection if its own is no good.
// It returns nil when the statement can be tried once more.
func (c *conn) again(ctx context.Context, p *patience, err error) error {
	if !retryable(err) || !p.pause(ctx) {
		return final(err)
	}
	if !c.bad {
		return nil
	}
	_ = c.rawConn.Close()
	for {
		raw, term, cerr := c.from.open(ctx)
		if cerr == nil {
			c.rawConn, c.term, c.bad = raw, term, false
			return nil
		}
		if !retryable(cerr) || !p.pause(ctx) {
			return final(cerr)
		}
	}
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	write := !isRead(query)
	if err := c.enter(ctx, write); err != nil {
		return nil, err
	}
	switch {
	case c.inTx:
		res, err := c.rawConn.ExecContext(ctx, query, args)
		c.note(res, write)
		return res, c.failed(err)
	case write && c.from.marks && changesRows(query):
		return c.single(ctx, query, args)
	}
	for p := newPatience(ctx); ; {
		res, err := c.rawConn.ExecContext(ctx, query, args)
		if err == nil || write { // nobody can tell what became of it
			return res, c.failed(err)
		}
		if err = c.again(ctx, p, c.failed(err)); err != nil {
			return nil, err
		}
	}
}

// note sees whether a statement of a transaction changed rows.
func (c *conn) note(res driver.Result, write bool) {
	if !write || c.changed || res == nil {
		return
	}
	n, err := res.RowsAffected()
	c.changed = err != nil || n > 0
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	write := !isRead(query)
	if err := c.enter(ctx, write); err != nil {
		return nil, err
	}
	if c.inTx {
		c.changed = c.changed || write
		rows, err := c.rawConn.QueryContext(ctx, query, args)
		return rows, c.failed(err)
	}
	for p := newPatience(ctx); ; {
		rows, err := c.rawConn.QueryContext(ctx, query, args)
		if err == nil || write {
			return rows, c.failed(err)
		}
		if err = c.again(ctx, p, c.failed(err)); err != nil {
			return nil, err
		}
	}
}

// Ping connects again where it has to, like a read.
func (c *conn) Ping(ctx context.Context) error {
	for p := newPatience(ctx); ; {
		err := c.rawConn.Ping(ctx)
		if err == nil || c.inTx {
			return c.failed(err)
		}
		if err = c.again(ctx, p, c.failed(err)); err != nil {
			return err
		}
	}
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	raw, err := c.rawConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, c.failed(err)
	}
	full, ok := raw.(rawStmt)
	if !ok {
		_ = raw.Close()
		return nil, fmt.Errorf("driver statement %T lacks context methods", raw)
	}
	return &stmt{rawStmt: full, c: c, write: !isRead(query)}, nil
}

// Close implements driver.Conn.
func (c *conn) Close() error {
	if !c.bad {
		c.from.witness.closed(c.term)
	}
	return c.rawConn.Close()
}

// ResetSession is called before a connection is used again, and finds out
// whether it was closed meanwhile.
func (c *conn) ResetSession(ctx context.Context) error {
	err := c.rawConn.ResetSession(ctx)
	if err != nil {
		c.spoil()
	}
	return err
}

// IsValid keeps a connection to a node that does not serve out of the pool.
func (c *conn) IsValid() bool { return !c.bad && c.rawConn.IsValid() }

// CheckNamedValue lets each driver convert its own arguments.
func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.rawConn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// isRead tells by the first word whether a statement can only read. A WITH
// that ends in a write is taken for a read, and still safe: it waits for the
// engine's own lock.
func isRead(query string) bool {
	switch firstWord(query) {
	case "set", "with", "show", "select", "pragma", "explain":
		return true
	}
	return false
}

// changesRows tells by the first word whether a statement changes rows, as
// opposed to tables.
func changesRows(query string) bool {
	switch firstWord(query) {
	case "insert", "update", "delete", "replace":
		return true
	}
	return false
}

// firstWord is a statement's first word in lower case, "" for a long one.
func firstWord(query string) string {
	query = strings.TrimLeft(query, "( \t\r\n")
	var word [8]byte
	for i := range len(query) {
		b := query[i] | 0x20
		if b < 'a' || b > 'z' {
			return string(word[:i])
		}
		if i == len(word) {
			return ""
		}
		word[i] = b
	}
	return ""
}
