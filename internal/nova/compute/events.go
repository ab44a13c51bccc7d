package compute

import (
	"context"
	"log/slog"
	"slices"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// ExternalEvents implements rpc.Compute.
func (a *Agent) ExternalEvents(ctx context.Context, in rpc.ExternalEventsArgs) error {
	var changed []string
	for _, e := range in.Events {
		switch e.Name {
		case rpc.EventVIFPlugged:
			a.plugs.deliver(e)
		case rpc.EventNetworkChanged, rpc.EventVIFDeleted:
			if e.Name == rpc.EventVIFDeleted {
				a.interfaceGone(ctx, e.ServerID, e.Tag)
			}
			if !slices.Contains(changed, e.ServerID) {
				changed = append(changed, e.ServerID)
			}
		}
	}
	for _, id := range changed {
		if err := a.refresh(ctx, id); err != nil && !notCurrent(err) {
			return err
		}
	}
	return nil
}

// interfaceGone unplugs what Neutron has no port for any more.
func (a *Agent) interfaceGone(ctx context.Context, serverID, portID string) {
	defer a.locks.Lock(serverID)()
	err := ignoreMissing(a.driver.Detach(ctx, serverID, portID))
	if err == nil {
		err = a.driver.UnplugTap(ctx, tapOf(port{ID: portID}))
	}
	if err != nil {
		a.log.WarnContext(ctx, "interface of a deleted port not unplugged", slog.String("server_id", serverID),
			slog.String("port_id", portID), slog.Any("error", err))
	}
}

// refresh reads a server's interfaces from Neutron into the conductor's cache.
// An operation in flight does that itself.
func (a *Agent) refresh(ctx context.Context, serverID string) error {
	if slices.Contains(a.busy(), serverID) {
		return nil
	}
	if _, err := a.driver.Info(ctx, serverID); err != nil {
		return err // not here, or no longer
	}
	spec, err := a.conductor.ServerInfo(ctx, rpc.ServerInfoArgs{ServerID: serverID, Host: a.cfg.Host})
	if err != nil {
		return err
	}
	ports, err := a.network.Ports(ctx, serverID)
	if err != nil {
		return err
	}
	vifs, err := a.network.VIFs(ctx, ports, true)
	if err != nil {
		return err
	}
	rank := map[string]int{}
	for i, old := range spec.Networks {
		rank[old.PortID] = i + 1
		for j := range vifs {
			if vifs[j].PortID == old.PortID {
				vifs[j].Tag, vifs[j].Preserve = old.Tag, old.Preserve
			}
		}
	}
	// Interfaces keep their order; new ones come last.
	slices.SortStableFunc(vifs, func(x, y rpc.VIF) int {
		rx, ry := rank[x.PortID], rank[y.PortID]
		switch {
		case rx == ry:
			return 0
		case rx == 0:
			return 1
		case ry == 0:
			return -1
		}
		return rx - ry
	})
	if slices.Contains(a.busy(), serverID) {
		return nil
	}
	return a.conductor.UpdateNetworks(ctx, rpc.UpdateNetworksArgs{ServerID: serverID, Host: a.cfg.Host, Networks: vifs})
}

// watchDriver tells the conductor what happened to servers by itself.
func (a *Agent) watchDriver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-a.driver.Events():
			if !ok {
				return
			}
			a.log.WarnContext(ctx, "server changed by itself", slog.String("server_id", e.ServerID),
				slog.Int("power_state", e.PowerState), slog.String("reason", e.Reason))
			change := rpc.PowerChange{ServerID: e.ServerID, PowerState: e.PowerState, At: e.At, Reason: e.Reason}
			_ = a.retry(ctx, "report a power change", func() error {
				err := a.conductor.PowerSync(ctx, rpc.PowerSyncArgs{Host: a.cfg.Host, Changes: []rpc.PowerChange{change}})
				if fault.Is(err, fault.NotFound) {
					return nil
				}
				return err
			})
		}
	}
}
