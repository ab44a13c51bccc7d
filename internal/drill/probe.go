package drill

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// retryPause is how long a client waits before its one repeat: what
// keystoneauth, under the OpenStack clients, waits before its first.
const retryPause = 500 * time.Millisecond

// A probe sends one kind of request at a fixed rate, whether or not the ones
// before have been answered, so that a stalled cloud does not hide its stall.
type probe struct {
	name    string
	group   string // of the chart: identity, compute, …, writes, network
	every   time.Duration
	timeout time.Duration // of one try
	lanes   int           // requests in flight at most
	write   bool          // not idempotent: no goal counts its repeat
	// try makes one request. attempt is 0, then 1 for the repeat. errNoRepeat
	// in its error forbids the repeat.
	try func(ctx context.Context, n, attempt int) error
}

// errNoRepeat marks an error after which a careful client does not repeat.
var errNoRepeat = errors.New("not repeated")

// A sample is one request with its repeat.
type sample struct {
	at     time.Duration // since the round began
	took   time.Duration // with the repeat
	first  error         // of the first try
	second error         // of the repeat, or of the first try if there was none
}

// series is what a probe has seen.
type series struct {
	probe   *probe
	samples []sample
	skipped int // ticks without a free lane
}

// A prober runs probes for one round.
type prober struct {
	clock clock.Clock
	zero  time.Time
	mu    sync.Mutex // guards series
	all   []*series
	last  time.Duration // of the last failure after a repeat or first try
	wg    sync.WaitGroup
	stop  context.CancelFunc
}

// startProbes begins the round: zero is its time 0.
func startProbes(ctx context.Context, c clock.Clock, probes []*probe) *prober {
	ctx, cancel := context.WithCancel(ctx)
	p := &prober{clock: c, zero: c.Now(), stop: cancel, last: -1}
	for i, pr := range probes {
		s := &series{probe: pr}
		p.all = append(p.all, s)
		// Phases are spread so that together the probes look more often than
		// each alone.
		phase := pr.every * time.Duration(i) / time.Duration(len(probes))
		p.wg.Go(func() { p.loop(ctx, s, phase) })
	}
	return p
}

func (p *prober) now() time.Duration { return p.clock.Now().Sub(p.zero) }

func (p *prober) loop(ctx context.Context, s *series, phase time.Duration) {
	if sleep(ctx, p.clock, phase) != nil {
		return
	}
	ticks := p.clock.NewTicker(s.probe.every)
	defer ticks.Stop()
	lanes := make(chan struct{}, s.probe.lanes)
	for n := 0; ; n++ {
		select {
		case lanes <- struct{}{}:
			p.wg.Go(func() {
				p.request(ctx, s, n)
				<-lanes
			})
		default:
			p.mu.Lock()
			s.skipped++
			p.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C():
		}
	}
}

// request is one request and at most one repeat. What is under way when the
// round ends is finished, inside its own deadline, so that every intent of the
// ledger has its end.
func (p *prober) request(ctx context.Context, s *series, n int) {
	ctx = context.WithoutCancel(ctx)
	at := p.now()
	one := sample{at: at}
	one.first = p.attempt(ctx, s.probe, n, 0)
	one.second = one.first
	if one.first != nil && !errors.Is(one.first, errNoRepeat) {
		if errors.Is(one.first, errSilentRepeat) {
			one.second = nil // that was the repeat
		} else if sleep(ctx, p.clock, retryPause) == nil {
			one.second = p.attempt(ctx, s.probe, n, 1)
			if errors.Is(one.second, errSilentRepeat) {
				one.second = nil
			}
		}
	}
	one.took = p.now() - at
	p.mu.Lock()
	defer p.mu.Unlock()
	s.samples = append(s.samples, one)
	if one.first != nil {
		p.last = max(p.last, p.now())
	}
}

func (p *prober) attempt(ctx context.Context, pr *probe, n, attempt int) error {
	ctx, cancel := context.WithTimeout(ctx, pr.timeout)
	defer cancel()
	return pr.try(ctx, n, attempt)
}

// lastFailure is when a request failed last, -1 if none did.
func (p *prober) lastFailure() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// end stops the probes, waits for what is under way and returns what was seen.
func (p *prober) end() []*series {
	p.stop()
	p.wg.Wait()
	return p.all
}

// waiter is the part of a clock that waits.
type waiter interface {
	After(time.Duration) <-chan time.Time
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, c waiter, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.After(d):
		return nil
	}
}
