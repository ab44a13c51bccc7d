package vipguard

import (
	"context"

	"github.com/hastack/hastack/internal/reach"
)

// watchMajority pings the members. A server that reaches no majority must
// expect that the others have taken its addresses, and clients with them: a
// backup takes over after three adverts (0.6 s), an isolated server gives up
// soon after.
func (g *Guard) watchMajority(ctx context.Context) error {
	v := verdict{guard: g, file: MajorityFile}
	return reach.Watch(ctx, g.clock, g.cfg.Address, g.cfg.Members, func(n, all int) error {
		return v.set(ctx, 2*n > all, "no majority in reach", "reached", n, "of", all)
	})
}
