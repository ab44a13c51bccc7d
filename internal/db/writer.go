package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/hastack/hastack/internal/clock"
)

// A writer is SQLite's one writer: a connection of its own, used by one unit (a
// transaction or a single statement) at a time, first come first served.
//
// Units that wait for each other share a commit. The first opens the database's
// transaction; when it is done and others wait, the next continues in the same
// one, behind a savepoint; the last commits, with one fsync for all. A unit is
// reported as committed only after that, so nothing acknowledged can be lost,
// and one that fails takes back its own changes only. With nobody waiting a
// unit is exactly BEGIN, its statements, COMMIT.
type writer struct {
	core    *core
	open    func(ctx context.Context) (rawConn, error)
	turn    *semaphore.Weighted
	waiting atomic.Int64 // units that wait for turn

	// The next are the holder's of turn.
	conn   rawConn
	group  *group
	closed bool
}

// A group is the units that share one commit.
type group struct {
	began   time.Time
	members int  // that are done and wait for the commit
	wrote   bool // something
	broken  error
	done    chan struct{} // closed after the commit
	err     error         // of the commit; set before done
}

// A group is committed when it has so many members, or is that old, even if
// more would join.
const (
	groupMembers = 32
	groupAge     = 5 * time.Millisecond
)

var errClosed = errors.New("the database was closed")

// errGroupLost is what units get whose commit another one's error prevented.
// Nothing of them remains; they are repeated.
var errGroupLost = errors.New("the shared transaction was rolled back")

// enter waits for the turn and opens the transaction if none is open.
func (w *writer) enter(ctx context.Context) error {
	w.waiting.Add(1)
	err := w.turn.Acquire(ctx, 1)
	left := w.waiting.Add(-1)
	if err != nil {
		if left == 0 {
			w.settle(ctx) // a group may have been left open for us
		}
		return err
	}
	if w.group != nil {
		return nil
	}
	if w.closed {
		w.turn.Release(1)
		return errClosed
	}
	ctx = context.WithoutCancel(ctx)
	if w.conn == nil {
		if w.conn, err = w.open(ctx); err != nil {
			w.turn.Release(1)
			return err
		}
	}
	if err := w.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		w.turn.Release(1)
		return err
	}
	w.group = &group{began: clock.System.Now(), done: make(chan struct{})}
	return nil
}

func (w *writer) exec(ctx context.Context, query string) error {
	_, err := w.conn.ExecContext(ctx, query, nil)
	return err
}

// settle commits a group that was left open for somebody who went away. It does
// not wait: if another has the turn, he will look himself when he leaves, after
// which this is called once more.
func (w *writer) settle(ctx context.Context) {
	if !w.turn.TryAcquire(1) {
		return
	}
	if w.group != nil && w.waiting.Load() == 0 {
		w.commit(ctx)
	}
	w.turn.Release(1)
}

// leave ends a unit and returns when it is durable or lost. A unit that changed
// nothing (member is false) has failed, maybe because of what those before it
// did: it ends the group, so that its caller sees that when he looks again.
func (w *writer) leave(ctx context.Context, member bool) error {
	g := w.group
	if !member {
		w.commit(ctx)
		w.turn.Release(1)
		return nil
	}
	g.members++
	if g.broken == nil && w.waiting.Load() > 0 && g.members < groupMembers && clock.System.Now().Sub(g.began) < groupAge {
		w.turn.Release(1)
		if w.waiting.Load() == 0 { // whom we left it to has gone, or is at work
			w.settle(ctx)
		}
	} else {
		w.commit(ctx)
		w.turn.Release(1)
	}
	<-g.done
	return g.err
}

// commit ends the group for all its members.
func (w *writer) commit(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	g := w.group
	w.group = nil
	defer close(g.done)
	switch {
	case g.broken != nil:
		g.err = fmt.Errorf("%w: %w", errGroupLost, g.broken)
		w.reset(ctx)
	case g.members == 0:
		w.reset(ctx)
	default:
		if g.err = w.exec(ctx, "COMMIT"); g.err != nil {
			w.reset(ctx)
		} else if g.wrote {
			w.core.commits.Add(1)
		}
	}
}

// reset takes the connection back to where no transaction is open; if that is
// not possible the next unit gets a new connection.
func (w *writer) reset(ctx context.Context) {
	// The engine may have rolled back itself (disk full): then this fails, as it
	// should, and BEGIN will tell whether the connection is sound.
	if err := w.exec(ctx, "ROLLBACK"); err != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

// close ends the connection after whoever has the turn, or says that he does not
// come to an end.
func (w *writer) close(within time.Duration) error {
	late := clock.System.Now().Add(within)
	for !w.turn.TryAcquire(1) {
		if clock.System.Now().After(late) {
			return errors.New("close database: a transaction does not end")
		}
		<-clock.System.After(time.Millisecond)
	}
	defer w.turn.Release(1)
	w.closed = true
	if g := w.group; g != nil { // nobody in it was told of success
		w.group, g.err = nil, errClosed
		close(g.done)
	}
	if w.conn == nil {
		return nil
	}
	err := w.conn.Close()
	w.conn = nil
	return err
}

// single runs one writing statement as a unit of its own; run gets the
// connection. It is repeated if another unit's error undid it.
func (w *writer) single(ctx context.Context, run func(ctx context.Context, c rawConn) error) error {
	for {
		if err := w.enter(ctx); err != nil {
			return err
		}
		// Cancellation ends here: a statement takes microseconds, an interrupt
		// in its middle helps nobody, and others share its transaction.
		inner := context.WithoutCancel(ctx)
		w.group.wrote = true
		err := run(inner, w.conn)
		if err != nil {
			if breaksTx(err) {
				w.group.broken = err
			}
			_ = w.leave(inner, false)
			return err
		}
		if err = w.leave(inner, true); !errors.Is(err, errGroupLost) || ctx.Err() != nil {
			return err
		}
	}
}

// A unit is one transaction on the writer's connection.
type unit struct {
	w         *writer
	ctx       context.Context //nolint:containedctx // driver.Tx has none; carries values only, it never ends
	savepoint bool            // there are members before it
	broken    error           // why it cannot go on
}

func (w *writer) begin(ctx context.Context) (*unit, error) {
	if err := w.enter(ctx); err != nil {
		return nil, err
	}
	u := &unit{w: w, ctx: context.WithoutCancel(ctx), savepoint: w.group.members > 0}
	if u.savepoint {
		if err := w.exec(u.ctx, "SAVEPOINT unit"); err != nil {
			w.group.broken = err
			_ = w.leave(u.ctx, false)
			return nil, err
		}
	}
	return u, nil
}

// failed notes an error after which the transaction is no more.
func (u *unit) failed(err error) error {
	if err != nil && u.broken == nil && breaksTx(err) {
		u.broken, u.w.group.broken = err, err
	}
	return err
}

// Commit returns when the unit is durable.
func (u *unit) Commit() error {
	if u.broken == nil && u.savepoint {
		_ = u.failed(u.w.exec(u.ctx, "RELEASE unit"))
	}
	if u.broken != nil {
		_ = u.w.leave(u.ctx, false)
		return u.broken
	}
	return u.w.leave(u.ctx, true)
}

// Rollback takes back what this unit did, and nothing of the others.
func (u *unit) Rollback() error {
	w := u.w
	var err error
	switch {
	case u.broken != nil:
	case u.savepoint:
		if err = w.exec(u.ctx, "ROLLBACK TO unit"); err == nil {
			err = w.exec(u.ctx, "RELEASE unit")
		}
		if err != nil {
			w.group.broken = err
		}
	default: // the first of its group: there is nothing to keep
		w.commit(u.ctx)
		w.turn.Release(1)
		return nil
	}
	_ = w.leave(u.ctx, false)
	return err
}

var _ driver.Tx = (*unit)(nil)
