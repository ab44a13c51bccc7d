package jobs

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

var quiet = slog.New(slog.DiscardHandler)

func TestRunTakesAllThatIsDueThenWaits(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	var due, done atomic.Int64
	due.Store(3)
	wake := make(chan struct{}, 1)
	j := &Job[int64]{Name: "j", Clock: clk, Log: quiet, Interval: time.Minute, Wake: wake,
		Discover: func(context.Context) (int64, error) {
			if n := due.Add(-1); n >= 0 {
				return n, nil
			}
			due.Store(0)
			return 0, ErrNothing
		},
		Process: func(_ context.Context, n int64) error {
			done.Add(1)
			switch n {
			case 1:
				panic("bad row")
			case 2:
				return errors.New("bad luck")
			}
			return nil
		}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- j.Run(ctx) }()
	for i := 0; done.Load() < 3 && i < 3000; i++ {
		clk.Advance(100 * time.Millisecond) // the pauses after errors
		time.Sleep(time.Millisecond)
	}
	if done.Load() != 3 {
		t.Fatalf("%d of 3 rows processed: an error or a panic stopped the rest", done.Load())
	}
	due.Store(1)
	wake <- struct{}{}
	for i := 0; done.Load() < 4 && i < 3000; i++ {
		time.Sleep(time.Millisecond)
	}
	if done.Load() != 4 {
		t.Error("a wake did not end the wait")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestEveryIsDueOncePerInterval(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	n := 0
	j := Every("e", time.Minute, clk, quiet, func(context.Context) error { n++; return nil })
	for _, want := range []error{nil, ErrNothing} {
		if err := j.ProcessOne(t.Context()); !errors.Is(err, want) {
			t.Errorf("ProcessOne() = %v, want %v", err, want)
		}
	}
	clk.Advance(time.Minute)
	if err := j.ProcessOne(t.Context()); err != nil || n != 2 {
		t.Errorf("after a minute: %v, ran %d times, want 2", err, n)
	}
}
