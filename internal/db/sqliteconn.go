package db

import (
	"context"
	"database/sql/driver"
	"errors"
)

// sqliteConnector makes the connections of both pools: with a reader, real ones
// that read; without, shells that only write, through the one writer.
type sqliteConnector struct {
	driver.Connector
	core   *core
	w      *writer
	reader bool
}

func (c *sqliteConnector) Connect(ctx context.Context) (driver.Conn, error) {
	sc := &sqliteConn{core: c.core, w: c.w}
	if c.reader {
		raw, err := connectRaw(ctx, c.Connector)
		if err != nil {
			return nil, err
		}
		sc.raw = raw
	}
	return sc, nil
}

// sqliteConn sends what reads to its own connection and what writes, and all of
// a transaction, to the writer's.
type sqliteConn struct {
	core   *core
	w      *writer
	raw    rawConn // nil in a shell
	unit   *unit   // the open transaction, nil if none
	inRead bool    // in a read-only transaction on raw
}

func (c *sqliteConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (res driver.Result, err error) {
	c.core.statements.Add(1)
	switch {
	case c.unit != nil:
		err := c.inUnit(ctx, query)
		if err != nil {
			return nil, err
		}
		res, err := c.w.conn.ExecContext(c.unit.ctx, query, args)
		return res, c.unit.failed(err)
	case c.raw != nil && (c.inRead || isRead(query)):
		return c.raw.ExecContext(ctx, query, args)
	case ctx.Value(txKey{c.core}) != nil:
		return nil, errOutside
	}
	err = c.w.single(ctx, func(ctx context.Context, conn rawConn) (err error) {
		res, err = conn.ExecContext(ctx, query, args)
		return err
	})
	return res, err
}

func (c *sqliteConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.core.statements.Add(1)
	switch {
	case c.unit != nil:
		if err := c.inUnit(ctx, query); err != nil {
			return nil, err
		}
		rows, err := c.w.conn.QueryContext(c.unit.ctx, query, args)
		return rows, c.unit.failed(err)
	case c.raw != nil && (c.inRead || isRead(query)):
		return c.raw.QueryContext(ctx, query, args)
	case ctx.Value(txKey{c.core}) != nil:
		return nil, errOutside
	}
	// INSERT … RETURNING: its rows are read here, so that the statement is over
	// and can be committed.
	kept := new(keptRows)
	err := c.w.single(ctx, func(ctx context.Context, conn rawConn) error {
		rows, err := conn.QueryContext(ctx, query, args)
		if err != nil {
			return err
		}
		return kept.read(rows)
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}

// inUnit is asked before a statement of a transaction.
func (c *sqliteConn) inUnit(ctx context.Context, query string) error {
	if c.unit.broken != nil {
		return c.unit.broken
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !isRead(query) {
		c.w.group.wrote = true
	}
	return nil
}

// BeginTx waits for the writer's turn, unless the transaction only reads.
func (c *sqliteConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if opts.ReadOnly && c.raw != nil {
		tx, err := c.raw.BeginTx(ctx, opts)
		if err != nil {
			return nil, err
		}
		c.inRead = true
		return &readTx{tx, c}, nil
	}
	if ctx.Value(txKey{c.core}) != nil {
		return nil, errOutside
	}
	u, err := c.w.begin(ctx)
	if err != nil {
		return nil, err
	}
	c.unit = u
	return &writeTx{c}, nil
}

type readTx struct {
	driver.Tx
	c *sqliteConn
}

func (t *readTx) Commit() error   { t.c.inRead = false; return t.Tx.Commit() }
func (t *readTx) Rollback() error { t.c.inRead = false; return t.Tx.Rollback() }

type writeTx struct{ c *sqliteConn }

func (t *writeTx) Commit() error {
	u := t.c.unit
	t.c.unit = nil
	return u.Commit()
}

func (t *writeTx) Rollback() error {
	u := t.c.unit
	t.c.unit = nil
	return u.Rollback()
}

// Begin is for drivers without contexts; database/sql does not call it.
func (c *sqliteConn) Begin() (driver.Tx, error) { return nil, errors.ErrUnsupported }

// Prepare is for drivers without contexts; database/sql does not call it.
func (c *sqliteConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }

// PrepareContext returns a statement that is parsed when it runs: which
// connection that is depends on the moment.
func (c *sqliteConn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	return &textStmt{c: c, query: query}, nil
}

func (c *sqliteConn) Close() error {
	if c.raw == nil {
		return nil
	}
	return c.raw.Close()
}

// Ping asks the reader; a shell is always there.
func (c *sqliteConn) Ping(ctx context.Context) error {
	if c.raw == nil {
		return nil
	}
	return c.raw.Ping(ctx)
}

// ResetSession is called before a connection is used again.
func (c *sqliteConn) ResetSession(ctx context.Context) error {
	if c.raw == nil {
		return nil
	}
	return c.raw.ResetSession(ctx)
}

// IsValid keeps a broken connection out of the pool.
func (c *sqliteConn) IsValid() bool { return c.raw == nil || c.raw.IsValid() }

type textStmt struct {
	c     *sqliteConn
	query string
}

func (s *textStmt) Close() error  { return nil }
func (s *textStmt) NumInput() int { return -1 }

func (s *textStmt) Exec([]driver.Value) (driver.Result, error) { return nil, errors.ErrUnsupported }
func (s *textStmt) Query([]driver.Value) (driver.Rows, error)  { return nil, errors.ErrUnsupported }

func (s *textStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.ExecContext(ctx, s.query, args)
}

func (s *textStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.QueryContext(ctx, s.query, args)
}
