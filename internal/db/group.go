package db

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// This file lets transactions that wait for SQLite's one writer share a commit:
// while one commits, which is waiting for the disk, others queue up; they then
// run one after the other, each behind a savepoint of its own, and reach the
// disk together. Each is told its outcome only after that, so nothing is
// weaker than alone, and the disk is waited for once instead of once each.

// A group ends when it has so many members, or has run for so long.
const (
	groupMembers = 64
	groupTime    = 5 * time.Millisecond
)

// savepoint is the name that each member of a group runs behind.
const savepoint = "member"

// errAborted is the outcome of a function that never returned.
var errAborted = errors.New("the transaction's function panicked or ended its goroutine")

// errAlone asks a member to run again by itself: its group fell apart through
// somebody else.
var errAlone = errors.New("the transaction's group was given up")

// queue holds the transactions that wait. The zero value is ready.
type queue struct {
	mu      sync.Mutex // guards both
	waiting []*member
	led     bool // a goroutine takes from waiting until it is empty
}

// member is one waiting transaction. Its function runs on its own goroutine,
// when the leader hands it the common transaction.
type member struct {
	ctx   context.Context //nolint:containedctx // of the call of Tx that waits
	fn    func(ctx context.Context, tx bun.Tx) error
	turn  chan bun.Tx // closed without a value if there will be none
	over  chan error  // what fn returned
	final chan error  // what Tx returns
}

// join runs fn in the next group.
func (d *DB) join(ctx context.Context, fn func(ctx context.Context, tx bun.Tx) error) error {
	m := &member{ctx: ctx, fn: fn, turn: make(chan bun.Tx, 1), over: make(chan error, 1), final: make(chan error, 1)}
	q := &d.core.queue
	q.mu.Lock()
	q.waiting = append(q.waiting, m)
	lead := !q.led
	q.led = true
	q.mu.Unlock()
	if lead {
		go d.lead(context.WithoutCancel(ctx))
	}
	select {
	case tx, ok := <-m.turn:
		if ok {
			m.run(tx)
		}
	case <-ctx.Done():
		if q.leave(m) {
			return ctx.Err()
		}
		if tx, ok := <-m.turn; ok { // it was being taken at this moment
			m.run(tx)
		}
	}
	return <-m.final
}

// leave takes m out again if no group has it yet.
func (q *queue) leave(m *member) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting {
		if w == m {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// run runs the function and hands the transaction back, whatever happens.
func (m *member) run(tx bun.Tx) {
	err := errAborted
	defer func() { m.over <- err }()
	ctx := context.WithValue(m.ctx, txKey{tx.Dialect()}, true)
	err = m.fn(ctx, tx)
}

// next takes the one who has waited longest; nil if nobody waits, and then the
// caller leads no more if it says so.
func (q *queue) next(resign bool) *member {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.led = q.led && !resign
		return nil
	}
	m := q.waiting[0]
	q.waiting = q.waiting[1:]
	return m
}
