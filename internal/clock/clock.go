// Package clock is the only place that asks the machine for the time.
//
// Everything else takes a Clock, so a test can step through leases and
// deadlines without sleeping. Start with Clock, then Fake for tests.
package clock

import "time"

// A Clock tells the time and waits. It is safe for concurrent use.
type Clock interface {
	// Now is in UTC and cut to microseconds, which is what both databases
	// store: a time that was written compares equal when it is read back.
	Now() time.Time
	// After delivers one time once d has passed. A d of zero or less delivers
	// at once.
	After(d time.Duration) <-chan time.Time
	// NewTicker delivers a time every d until it is stopped; d must be positive.
	NewTicker(d time.Duration) Ticker
}

// A Ticker repeats until Stop. Slow receivers lose ticks, they never queue.
type Ticker interface {
	C() <-chan time.Time
	Stop()
}

// System is the machine's clock.
var System Clock = system{}

type system struct{}

func (system) Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func (system) After(d time.Duration) <-chan time.Time { return time.After(d) }

func (system) NewTicker(d time.Duration) Ticker { return systemTicker{time.NewTicker(d)} }

type systemTicker struct{ t *time.Ticker }

func (s systemTicker) C() <-chan time.Time { return s.t.C }
func (s systemTicker) Stop()               { s.t.Stop() }
