package clock

import (
	"sync"
	"time"
)

// A Fake stands still until Advance. It is safe for concurrent use.
type Fake struct {
	mu      sync.Mutex
	now     time.Time
	waiters []*waiter
}

type waiter struct {
	at     time.Time
	every  time.Duration // zero for After
	c      chan time.Time
	active bool
}

// NewFake returns a clock that stands at t.
func NewFake(t time.Time) *Fake {
	return &Fake{now: t.UTC().Truncate(time.Microsecond)}
}

// Now is the time the fake stands at.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Advance moves the clock by d and fires, in order of their time, everything
// that became due. It does not wait for the receivers.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := f.now.Add(d)
	for {
		w := f.next(end)
		if w == nil {
			break
		}
		f.now = w.at
		select {
		case w.c <- w.at:
		default:
		}
		if w.every > 0 {
			w.at = w.at.Add(w.every)
		} else {
			w.active = false
		}
	}
	f.now = end
	f.drop()
}

// Waiters counts the pending timers and running tickers: a test waits for one
// to appear before it advances.
func (f *Fake) Waiters() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.waiters)
}

// After is as in Clock.
func (f *Fake) After(d time.Duration) <-chan time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan time.Time, 1)
	if d <= 0 {
		c <- f.now
		return c
	}
	f.waiters = append(f.waiters, &waiter{at: f.now.Add(d), c: c, active: true})
	return c
}

// NewTicker is as in Clock.
func (f *Fake) NewTicker(d time.Duration) Ticker {
	if d <= 0 {
		panic("clock: ticker interval must be positive")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &waiter{at: f.now.Add(d), every: d, c: make(chan time.Time, 1), active: true}
	f.waiters = append(f.waiters, w)
	return &fakeTicker{f: f, w: w}
}

func (f *Fake) next(end time.Time) *waiter {
	var first *waiter
	for _, w := range f.waiters {
		if w.active && !w.at.After(end) && (first == nil || w.at.Before(first.at)) {
			first = w
		}
	}
	return first
}

func (f *Fake) drop() {
	kept := f.waiters[:0]
	for _, w := range f.waiters {
		if w.active {
			kept = append(kept, w)
		}
	}
	clear(f.waiters[len(kept):])
	f.waiters = kept
}

type fakeTicker struct {
	f *Fake
	w *waiter
}

func (t *fakeTicker) C() <-chan time.Time { return t.w.c }

func (t *fakeTicker) Stop() {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	t.w.active = false
	t.f.drop()
}
