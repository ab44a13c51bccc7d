package drill

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
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
			out = append(out, crashAt(t, step, moment))
		}
	}
	return out
}

// loginSteps are the steps of a boot that are a login.
const loginSteps = 2

// bootUnits are the units of each server whose processes pass a step. Everybody
// logs in all the time, so that is armed on one server: or Keystone would die on
// all of them at once.
func bootUnits(t *topology.Topology, step int) map[string][]string {
	units := map[string][]string{}
	for _, s := range t.Servers {
		if step <= loginSteps {
			if s.Has(topology.RoleControl) {
				return map[string][]string{s.Name: {"hastack-keystone"}}
			}
			continue
		}
		if s.Has(topology.RoleControl) {
			units[s.Name] = []string{"hastack-nova-api", "hastack-nova-conductor", "hastack-nova-scheduler"}
		}
		if s.Has(topology.RoleCompute) {
			units[s.Name] = append(units[s.Name], "hastack-nova-compute")
		}
	}
	return units
}

const (
	// armUnits arms the point in the next process of each unit only: the files are
	// gone again before one crashes, so that systemd starts one without.
	armUnits = `set -e
for u in %[1]s; do
  mkdir -p /run/systemd/system/$u.service.d
  printf '[Service]\nEnvironment=HASTACK_FAILPOINTS=%[2]s=crash\n' > /run/systemd/system/$u.service.d/hastack-drill.conf
done
systemctl daemon-reload
systemctl restart %[1]s
rm -f /run/systemd/system/*.service.d/hastack-drill.conf
systemctl daemon-reload
`
	crashes = `journalctl -q --since=@%d -o cat -u '%s' | grep -c 'status=137' || true`
)

// crashAt arms one point in the units that pass it, lets servers boot, and
// expects that one of the units died and that every boot came to an end.
func crashAt(t *Target, step int, moment string) *Fault {
	point := fmt.Sprintf("nova.boot.%d.%s", step, moment)
	units := bootUnits(t.Topology, step)
	var armed int64 // when, in seconds since the epoch
	each := func(ctx context.Context, f func(ctx context.Context, server string, units []string) error) error {
		g, ctx := errgroup.WithContext(ctx)
		for server, units := range units {
			g.Go(func() error { return f(ctx, server, units) })
		}
		return g.Wait()
	}
	arm := func(ctx context.Context) error {
		armed = t.Clock.Now().Unix()
		return each(ctx, func(ctx context.Context, server string, units []string) error {
			_, err := t.on(ctx, server, fmt.Sprintf(armUnits, strings.Join(units, " "), point))
			return err
		})
	}
	f := &Fault{Name: "crash at " + point, Kind: KindBoot, Hold: 8 * time.Second,
		Check: func(ctx context.Context) error {
			var passed atomic.Bool
			err := each(ctx, func(ctx context.Context, server string, units []string) error {
				out, err := t.on(ctx, server, fmt.Sprintf(crashes, armed, strings.Join(units, "' -u '")))
				if len(out) > 0 && out[0] != '0' {
					passed.Store(true)
				}
				return err
			})
			if err == nil && !passed.Load() {
				return fmt.Errorf("no process passed %s: nothing died", point)
			}
			return err
		},
		Restore: func(ctx context.Context) error {
			return each(ctx, func(ctx context.Context, server string, units []string) error {
				_, err := t.on(ctx, server, "systemctl restart "+strings.Join(units, " "))
				return err
			})
		}}
	if step <= loginSteps { // probes log in all the time
		f.Inject = arm
		return f
	}
	f.NeedsBoots = true
	f.Prepare = func(ctx context.Context) error {
		if err := arm(ctx); err != nil {
			return err
		}
		return t.untilHealthy(ctx, time.Minute)
	}
	f.Inject = func(context.Context) error { return nil } // the boot is
	return f
}
