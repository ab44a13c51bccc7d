package drill

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hastack/hastack/internal/topology"
)

// bootFaults are the crash matrix of the boot on the cluster: at each step, at
// each moment, the process that passes it dies, on whichever server that is.
func bootFaults(t *Target) []*Fault {
	var out []*Fault
	for step := 1; step <= 28; step++ {
		for _, moment := range []string{"before-effect", "after-effect", "after-record"} {
			out = append(out, crashAt(t, fmt.Sprintf("nova.boot.%d.%s", step, moment)))
		}
	}
	return out
}

// bootUnits are the units whose processes pass the points.
func bootUnits(s *topology.Server) []string {
	var units []string
	if s.Has(topology.RoleControl) {
		units = append(units, "hastack-nova-api", "hastack-nova-conductor", "hastack-nova-scheduler")
	}
	if s.Has(topology.RoleCompute) {
		units = append(units, "hastack-nova-compute")
	}
	return units
}

const (
	dropIn = "/run/systemd/system/%[1]s.service.d/hastack-drill.conf"
	// armUnit arms the point in the next process of the unit only: the file is
	// gone again before it crashes, so that systemd starts one without.
	armUnit = `set -e
mkdir -p /run/systemd/system/%[1]s.service.d
printf '[Service]\nEnvironment=HASTACK_FAILPOINTS=%[2]s=crash\n' > ` + dropIn + `
systemctl daemon-reload
systemctl restart %[1]s.service
rm -f ` + dropIn + `
systemctl daemon-reload
`
	crashes = `journalctl -q --since=@%d -o cat -u '%s.service' | grep -c 'status=137' || true`
)

// crashAt arms one point in every process that may pass it, lets a server boot
// until one of them has died, and expects the boot to end.
func crashAt(t *Target, point string) *Fault {
	var armed int64
	each := func(ctx context.Context, f func(ctx context.Context, s *topology.Server, unit string) error) error {
		g, ctx := errgroup.WithContext(ctx)
		for _, s := range t.Topology.Servers {
			if units := bootUnits(s); len(units) > 0 {
				g.Go(func() error {
					for _, u := range units {
						if err := f(ctx, s, u); err != nil {
							return err
						}
					}
					return nil
				})
			}
		}
		return g.Wait()
	}
	restart := func(ctx context.Context, s *topology.Server, unit string) error {
		_, err := t.on(ctx, s.Name, "systemctl restart "+unit+".service")
		return err
	}
	return &Fault{Name: "crash at " + point, Kind: KindBoot, Hold: 8 * time.Second, NeedsBoots: true,
		Prepare: func(ctx context.Context) error {
			armed = t.Clock.Now().Unix()
			err := each(ctx, func(ctx context.Context, s *topology.Server, unit string) error {
				_, err := t.on(ctx, s.Name, fmt.Sprintf(armUnit, unit, point))
				return err
			})
			if err != nil {
				return err
			}
			return t.untilHealthy(ctx, time.Minute)
		},
		// The fault is in place; the booter of the round walks into it.
		Inject: func(context.Context) error { return nil },
		Check: func(ctx context.Context) error {
			passed := 0
			err := each(ctx, func(ctx context.Context, s *topology.Server, unit string) error {
				out, err := t.on(ctx, s.Name, fmt.Sprintf(crashes, armed, unit))
				if err == nil && len(out) > 0 && out[0] != '0' {
					passed++
				}
				return err
			})
			if err == nil && passed == 0 {
				return &skipped{"no process passed " + point + ": nothing died"}
			}
			return err
		},
		Restore: func(ctx context.Context) error { return each(ctx, restart) }}
}

// skipped is a check that had nothing to look at; it is told, and breaks no
// promise.
type skipped struct{ why string }

func (s *skipped) Error() string { return s.why }
