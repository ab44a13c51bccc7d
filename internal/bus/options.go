package bus

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Options tune an engine; the zero value is right for production.
type Options struct {
	Log *slog.Logger
	// Concurrency is how many handlers one server runs at once; default 64.
	Concurrency int
	// Attempts is how often a cast is tried before it is dropped; default 12.
	Attempts int
	// Backoff is the pause after the first failed attempt; it doubles up to
	// MaxBackoff. Defaults 100 ms and 10 s.
	Backoff, MaxBackoff time.Duration
	// Grace is how long a call waits for the first server of its target to
	// come up where the engine can tell that there is none; default 500 ms.
	Grace time.Duration
	// Drain is how long stop lets handlers finish before it cancels them;
	// default 5 s.
	Drain time.Duration
	// Window is how many message ids a server remembers to recognise
	// duplicates; default 4096.
	Window int
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 64
	}
	if o.Attempts <= 0 {
		o.Attempts = 12
	}
	if o.Backoff <= 0 {
		o.Backoff = 100 * time.Millisecond
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 10 * time.Second
	}
	if o.Grace <= 0 {
		o.Grace = 500 * time.Millisecond
	}
	if o.Drain <= 0 {
		o.Drain = 5 * time.Second
	}
	if o.Window <= 0 {
		o.Window = 4096
	}
	return o
}

// backoff is the pause after the given failed attempt (1 is the first), with
// jitter so that many failures at once do not come back at once.
func (o Options) backoff(attempt int) time.Duration {
	d := o.Backoff
	for i := 1; i < attempt && d < o.MaxBackoff; i++ {
		d *= 2
	}
	return jitter(min(d, o.MaxBackoff))
}

// jitter spreads d over [d/2, d].
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

// counters are Stats while they are counted.
type counters struct {
	calls, casts, fanouts, replies, delivered, duplicates, retried, dropped, timeouts, resent atomic.Int64
}

func (c *counters) stats() Stats {
	return Stats{
		Calls: c.calls.Load(), Casts: c.casts.Load(), Fanouts: c.fanouts.Load(), Replies: c.replies.Load(),
		Delivered: c.delivered.Load(), Duplicates: c.duplicates.Load(), Retried: c.retried.Load(),
		Dropped: c.dropped.Load(), Timeouts: c.timeouts.Load(), Resent: c.resent.Load(),
	}
}

// withDeadline gives a call its bound.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}
