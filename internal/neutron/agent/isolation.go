package agent

import (
	"context"
	"errors"
	"time"

	"github.com/hastack/hastack/internal/reach"
)

// An isolated host cannot hear that its routers were given to another. Two
// gateways with one address would answer at once, so it takes its own off the
// external networks as soon as it must expect that, and puts back those that
// are still its own when it hears of the server again.
//
// It is isolated when no heartbeat was heard for a while and no majority of the
// cluster's servers answers. Dead controllers alone are no reason: what runs
// goes on running.

// isolatedAfter is how long heartbeats must be unheard: shorter than what the
// server waits for before it moves routers.
const isolatedAfter = 3 * time.Second

// minorityFor is how long no majority must have been in reach: a few pings are
// lost on a busy network.
const minorityFor = 2 * time.Second

// watchIsolation fences the gateways of this host while it is isolated. It
// does not wait for the loop, which may be waiting for the server.
func (a *Agent) watchIsolation(ctx context.Context) {
	if !a.runs(PartL3) || len(a.cfg.Members) == 0 {
		return
	}
	var connected time.Time // when a majority was last in reach
	err := reach.Watch(ctx, a.clock, a.cfg.Address, a.cfg.Members, func(reached, all int) error {
		now := a.clock.Now()
		if 2*reached > all || connected.IsZero() {
			connected = now
		}
		unheard := now.Sub(time.Unix(0, a.lastBeat.Load()))
		if unheard <= isolatedAfter || now.Sub(connected) <= minorityFor {
			return nil
		}
		if a.fenced.CompareAndSwap(false, true) {
			a.log.WarnContext(ctx, "this host is cut off: its routers leave the external networks",
				"unheard", unheard.Round(time.Millisecond), "reached", reached, "of", all)
		}
		// Each time: the loop may have been at work on a router just now.
		if err := a.host.FenceGateways(); err != nil {
			a.log.ErrorContext(ctx, "routers that may be elsewhere cannot be taken off", "error", err)
		}
		a.pullAll() // what is still ours comes back with the next answer
		return nil
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		a.log.ErrorContext(ctx, "isolation of this host is not watched", "error", err)
	}
}
