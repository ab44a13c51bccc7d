// Package jobs runs loops over due rows: discover one, process one.
//
// A Job's Discover claims one row (compare-and-set with a lease, in SQL) and
// Process works on it. Tests call ProcessOne and step the clock; nothing in
// them sleeps. Work that a client follows is an operation instead; periodic
// work without rows is a Job whose Discover looks at the clock (see Every).
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// ErrNothing is returned by Discover when no row is due.
var ErrNothing = errors.New("nothing is due")

// A Job works on rows of type T.
type Job[T any] struct {
	Name  string
	Clock clock.Clock
	Log   *slog.Logger
	// Discover claims one row that is due, or returns ErrNothing. Whoever dies
	// with a row in hand lets its lease run out, and it is due again.
	Discover func(ctx context.Context) (T, error)
	// Process does what the row needs; it is idempotent. An error is logged,
	// the row comes back when its lease has run out.
	Process func(ctx context.Context, row T) error
	// Interval is how long to wait when nothing is due; zero means 5 s. The
	// wait varies by a quarter, so that many processes do not ask together.
	Interval time.Duration
	// Timeout bounds one Discover and Process; zero means one minute.
	Timeout time.Duration
	// Wake, if not nil, ends a wait when something is sent.
	Wake <-chan struct{}
}

// ProcessOne discovers one row and processes it. ErrNothing says that none was
// due. A panic becomes an error: one bad row does not stop the others.
func (j *Job[T]) ProcessOne(ctx context.Context) (err error) {
	limit := j.Timeout
	if limit == 0 {
		limit = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("job %s panicked: %v\n%s", j.Name, p, debug.Stack())
		}
	}()
	row, err := j.Discover(ctx)
	if err != nil {
		return err
	}
	return j.Process(ctx, row)
}

// Run processes rows until ctx ends: without a pause while some are due, then
// once an interval. After errors it slows down.
func (j *Job[T]) Run(ctx context.Context) error {
	interval := j.Interval
	if interval == 0 {
		interval = 5 * time.Second
	}
	failed := 0
	for ctx.Err() == nil {
		err := j.ProcessOne(ctx)
		pause := interval*7/8 + rand.N(interval/4+1)
		switch {
		case err == nil:
			failed = 0
			continue
		case errors.Is(err, ErrNothing):
			failed = 0
		case ctx.Err() != nil: // the loop ends
		default:
			failed++
			j.Log.WarnContext(ctx, "job", "job", j.Name, "error", err.Error())
			pause = min(time.Duration(failed)*time.Second, interval)
		}
		select {
		case <-ctx.Done():
		case <-j.Clock.After(pause):
		case <-j.Wake:
		}
	}
	return nil
}

// Every makes a Job without rows: do runs at once and then every interval. Its
// ProcessOne runs do when that is due.
func Every(name string, interval time.Duration, c clock.Clock, log *slog.Logger, do func(ctx context.Context) error) *Job[struct{}] {
	var last time.Time
	return &Job[struct{}]{
		Name: name, Clock: c, Log: log, Interval: interval,
		Discover: func(context.Context) (struct{}, error) {
			now := c.Now()
			if now.Sub(last) < interval*7/8 {
				return struct{}{}, ErrNothing
			}
			last = now
			return struct{}{}, nil
		},
		Process: func(ctx context.Context, _ struct{}) error { return do(ctx) },
	}
}
