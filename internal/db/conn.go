package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
)

// This file stands between database/sql and the MySQL driver (sqliteconn.go is
// its like). It counts, and keeps a transaction that the engine has ended from
// going on.

type connector struct {
	driver.Connector
	core *core
	init []string // statements for a fresh connection
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	raw, err := connectRaw(ctx, c.Connector)
	if err != nil {
		return nil, err
	}
	for _, q := range c.init {
		if _, err := raw.ExecContext(ctx, q, nil); err != nil {
			_ = raw.Close()
			return nil, fmt.Errorf("%s: %w", q, err)
		}
	}
	return &conn{rawConn: raw, core: c.core}, nil
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

// conn is used by one goroutine at a time, as database/sql guarantees.
type conn struct {
	rawConn
	core   *core
	inTx   bool
	wrote  bool  // something in this transaction
	broken error // why the transaction cannot go on
	bad    bool  // not to be used again
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
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok && otherNode(e) {
		c.bad = true
		if !c.inTx && e.Number == myWsrepNotReady {
			// Nothing was done: database/sql tries again on another connection.
			return driver.ErrBadConn
		}
	}
	if c.inTx && c.broken == nil && breaksTx(err) {
		c.broken = err
	}
	return err
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.enter(ctx, !isRead(query)); err != nil {
		return nil, err
	}
	res, err := c.rawConn.ExecContext(ctx, query, args)
	return res, c.failed(err)
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.enter(ctx, !isRead(query)); err != nil {
		return nil, err
	}
	rows, err := c.rawConn.QueryContext(ctx, query, args)
	return rows, c.failed(err)
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

type rawStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

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
	return res, s.c.failed(err)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.c.enter(ctx, s.write); err != nil {
		return nil, err
	}
	rows, err := s.rawStmt.QueryContext(ctx, args)
	return rows, s.c.failed(err)
}

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	raw, err := c.rawConn.BeginTx(ctx, opts)
	if err != nil {
		return nil, c.failed(err)
	}
	c.inTx, c.wrote, c.broken = true, false, nil
	return &connTx{Tx: raw, c: c}, nil
}

type connTx struct {
	driver.Tx
	c *conn
}

func (t *connTx) Commit() error {
	broken, wrote := t.c.broken, t.c.wrote
	if broken != nil {
		t.end()
		_ = t.Tx.Rollback()
		return broken
	}
	err := t.Tx.Commit()
	err = t.c.failed(err)
	t.end()
	if err != nil && lostConnection(err) && wrote {
		t.c.bad = true
		return errors.Join(ErrOutcomeUnknown, err)
	}
	if err == nil && wrote {
		t.c.core.commits.Add(1)
	}
	return err
}

func (t *connTx) Rollback() error {
	t.end()
	return t.Tx.Rollback()
}

func (t *connTx) end() { t.c.inTx, t.c.wrote, t.c.broken = false, false, nil }

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
	i := 0
	for i < len(query) && (query[i] <= ' ' || query[i] == '(') {
		i++
	}
	j := i
	for j < len(query) && query[j]|0x20 >= 'a' && query[j]|0x20 <= 'z' {
		j++
	}
	switch j - i {
	case 3:
		return equalFold(query[i:j], "set") // of a session
	case 4:
		return equalFold(query[i:j], "with") || equalFold(query[i:j], "show")
	case 6:
		return equalFold(query[i:j], "select") || equalFold(query[i:j], "pragma")
	case 7:
		return equalFold(query[i:j], "explain")
	}
	return false
}

// equalFold compares ASCII letters with a lower case word of the same length.
func equalFold(s, lower string) bool {
	for i := range len(lower) {
		if s[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}
