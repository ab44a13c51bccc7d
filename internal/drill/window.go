package drill

import (
	"slices"
	"time"
)

// A window is the time in which requests failed. It reaches from the start of
// the first failing request to the start of the last one, plus one interval of
// the probe: the true edges lie within an interval of what a probe can see.
// Starts are taken, not ends, because a request's own deadline is no property
// of the cloud; what a client waited is told apart, as the longest stall.
type window struct {
	from, to time.Duration
	failed   int
}

func (w window) length() time.Duration {
	if w.failed == 0 {
		return 0
	}
	return w.to - w.from
}

// windowOf is the window of the failing requests that ended after from and
// started before to. repeated looks at what failed after the repeat too.
func windowOf(s *series, from, to time.Duration, repeated bool) window {
	var w window
	for _, one := range s.samples {
		err := one.first
		if repeated {
			err = one.second
		}
		if err == nil || one.at+one.took <= from || one.at >= to {
			continue
		}
		// What was under way at from is hit from then on.
		if at := max(one.at, from); w.failed == 0 || at < w.from {
			w.from = at
		}
		w.to = max(w.to, one.at+s.probe.every)
		w.failed++
	}
	return w
}

// join is the window that covers both.
func (w window) join(o window) window {
	switch {
	case o.failed == 0:
		return w
	case w.failed == 0:
		return o
	}
	return window{min(w.from, o.from), max(w.to, o.to), w.failed + o.failed}
}

// joined is the window of all series that keep tells of.
func joined(all []*series, from, to time.Duration, repeated bool, keep func(*probe) bool) window {
	var w window
	for _, s := range all {
		if keep(s.probe) {
			w = w.join(windowOf(s, from, to, repeated))
		}
	}
	return w
}

// percentile is the nearest-rank percentile: the smallest value that at least p
// of a hundred values do not exceed. 100 is the maximum. It is 0 of nothing.
func percentile[T int64 | float64 | time.Duration](values []T, p int) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := (p*len(sorted) + 99) / 100
	return sorted[min(max(rank, 1), len(sorted))-1]
}
