package node

import (
	"context"
	"time"
)

// A Collector looks at one subject of the server.
type Collector interface {
	// Name is the subject, in one word; it labels errors and metrics.
	Name() string
	// Every is how often to look.
	Every() time.Duration
	// Collect looks once. What it saw replaces what it saw before, also when
	// it returns an error; with a nil Facts the subject is unknown. It is
	// called by one goroutine at a time and ends with ctx.
	Collect(ctx context.Context) (Facts, error)
}

// Facts put what a collector saw into a fresh state. They are called many
// times and from several goroutines: what they carry must not change any more.
type Facts func(s *State)

// since remembers when a value of a thing was first seen.
type since map[string]seen

type seen struct {
	value string
	at    time.Time
}

// of is when the thing took the value that it has, as far as we saw.
func (s since) of(thing, value string, now time.Time) (at time.Time, changed bool) {
	was, ok := s[thing]
	if ok && was.value == value {
		return was.at, false
	}
	s[thing] = seen{value, now}
	return now, ok
}
