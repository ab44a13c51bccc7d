package compute

import (
	"context"
	"log/slog"
	"reflect"

	"github.com/hastack/hastack/internal/nova/rpc"
)

// reportVersion is of the agent's messages; a conductor may refuse older ones.
const reportVersion = 66

// reported is what the conductor and Placement know of the host.
type reported struct {
	resources *rpc.HostResources
	inventory inventory
	provider  provider
	dirty     bool // a server came or went since
}

// changed makes the next heartbeat count the host's servers again.
func (a *Agent) changed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.dirty = true
}

// join makes the host known to Placement and the conductor, and then brings its
// servers to what they should be. It waits for its neighbours as long as it
// takes: they may be starting too.
func (a *Agent) join(ctx context.Context) error {
	if err := a.retry(ctx, "register with placement", func() error { return a.register(ctx) }); err != nil {
		return err
	}
	if err := a.retry(ctx, "report to the conductor", func() error { return a.reportHost(ctx, true) }); err != nil {
		return err
	}
	return a.retry(ctx, "reconcile", func() error { return a.reconcile(ctx) })
}

// beat renews the host's lease, and those of running operations, until ctx ends.
func (a *Agent) beat(ctx context.Context) {
	tick := a.clock.NewTicker(a.cfg.HeartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C():
		}
		a.renew(ctx)
		if err := a.register(ctx); err != nil {
			a.log.WarnContext(ctx, "placement not told", slog.Any("error", err))
		}
		if err := a.reportHost(ctx, false); err != nil {
			a.log.WarnContext(ctx, "heartbeat not sent", slog.Any("error", err))
		}
	}
}

// reportHost sends a heartbeat; what the host has goes along if it changed.
func (a *Agent) reportHost(ctx context.Context, full bool) error {
	in := rpc.HostReport{Host: a.cfg.Host, StartedAt: a.started, Version: reportVersion, Zone: a.cfg.Zone}
	a.mu.Lock()
	dirty := a.report.dirty || full
	a.report.dirty = false
	old := a.report.resources
	a.mu.Unlock()
	if dirty {
		res, err := a.resources(ctx)
		if err != nil {
			return err
		}
		if full || !reflect.DeepEqual(res, old) {
			in.Resources = res
		}
	}
	if err := a.conductor.ReportHost(ctx, in); err != nil {
		a.changed()
		return err
	}
	if in.Resources != nil {
		a.mu.Lock()
		a.report.resources = in.Resources
		a.mu.Unlock()
	}
	return nil
}

func (a *Agent) resources(ctx context.Context) (*rpc.HostResources, error) {
	h, err := a.driver.Host(ctx)
	if err != nil {
		return nil, err
	}
	inv, err := a.driver.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	id := a.report.provider.ID
	a.mu.Unlock()
	return &rpc.HostResources{ProviderID: id, HypervisorType: h.Type, HypervisorVersion: h.Version, Hostname: a.cfg.Host,
		HostIP: a.cfg.HostIP, Arch: h.Arch, CPUModel: h.CPUModel, CPUFeatures: h.Features, VCPUs: h.VCPUs,
		MemoryMB: h.MemoryMB, DiskGB: h.DiskGB, DiskGBUsed: h.DiskGB - h.DiskFreeGB, RunningServers: len(inv.Processes),
		MemoryMBUsed: a.cfg.ReservedMemoryMB, Accel: h.Accel, Traits: h.Traits}, nil
}
