package vipguard

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

const segmentEvery = 200 * time.Millisecond

// watchSegments looks at the legs of each address's network. A bridge over
// them keeps its carrier through its other ports, so that keepalived cannot
// know.
func (g *Guard) watchSegments(ctx context.Context) error {
	verdicts := make([]verdict, len(g.cfg.VIPs))
	for i, v := range g.cfg.VIPs {
		verdicts[i] = verdict{guard: g, file: SegmentFile(v.Name)}
	}
	tick := g.clock.NewTicker(segmentEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C():
		}
		for i, v := range g.cfg.VIPs {
			up, err := anyUp(v.Legs)
			if err != nil {
				return err
			}
			if err := verdicts[i].set(ctx, up, "every leg is down", "vip", v.Name, "legs", v.Legs); err != nil {
				return err
			}
		}
	}
}

// anyUp tells whether one of the interfaces has a carrier. None at all to look
// at counts as up.
func anyUp(legs []string) (bool, error) {
	known := false
	for _, name := range legs {
		link, err := netlink.LinkByName(name)
		if _, missing := err.(netlink.LinkNotFoundError); missing { //nolint:errorlint // returned as it is
			continue
		}
		if err != nil {
			return false, fmt.Errorf("look at %s: %w", name, err)
		}
		known = true
		if state := link.Attrs().OperState; state == netlink.OperUp || state == netlink.OperUnknown {
			return true, nil
		}
	}
	return !known, nil
}
