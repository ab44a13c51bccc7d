package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// apply makes the machine agree with the model where d says it may not, then
// reports. DHCP and routers come first: they make the devices that L2 plugs.
func (a *Agent) apply(ctx context.Context, d *dirty) error {
	if err := failpoint.At(ctx, "neutron.agent.apply.before-effect"); err != nil {
		return err
	}
	var errs []error
	if a.runs(PartDHCP) {
		errs = append(errs, a.applyDHCP(d))
	}
	var statuses []rpc.RouterStatus
	if a.runs(PartL3) {
		statuses = a.applyRouters(d)
	}
	if a.runs(PartL2) && (d.l2 || d.all) && a.knows() {
		errs = append(errs, a.applyL2(ctx))
	}
	if d.all {
		errs = append(errs, a.removeUnnamed())
		a.synced = true
		a.readyOne.Do(func() { close(a.ready) })
	}
	if a.proxy != nil {
		a.proxy.ensure(ctx)
	}
	errs = append(errs, failpoint.At(ctx, "neutron.agent.apply.after-effect"), a.reportRouters(ctx, statuses))
	return errors.Join(errs...)
}

// knows tells that the model is an answer of the server, not the empty one of
// the beginning.
func (a *Agent) knows() bool { return a.synced || a.model.revision > 0 || len(a.model.ports) > 0 }

func (a *Agent) applyDHCP(d *dirty) error {
	ids := slices.Sorted(maps.Keys(d.dhcp))
	if d.all {
		ids = slices.Sorted(maps.Keys(a.model.dhcp))
	}
	var errs []error
	for _, id := range ids {
		n, conf := a.model.networks[id], a.model.dhcp[id]
		if conf == nil || n == nil {
			if conf == nil && !d.all {
				errs = append(errs, a.host.RemoveDHCP(id))
			}
			continue
		}
		a.note("dhcp of network "+id, a.host.ReconcileDHCP(n, conf))
	}
	return errors.Join(errs...)
}

func (a *Agent) applyRouters(d *dirty) []rpc.RouterStatus {
	ids := slices.Sorted(maps.Keys(d.routers))
	if d.all {
		ids = slices.Sorted(maps.Keys(a.model.routers))
	}
	var out []rpc.RouterStatus
	for _, id := range ids {
		r := a.model.routers[id]
		if r == nil || !r.AdminUp {
			if r != nil || !d.all {
				a.note("router "+id, a.host.RemoveRouter(id))
			}
			continue
		}
		out = append(out, a.applyRouter(r))
	}
	return out
}

func (a *Agent) applyRouter(r *rpc.RouterState) rpc.RouterStatus {
	st := rpc.RouterStatus{RouterID: r.ID, Status: "ACTIVE", FloatingIPs: map[string]string{}}
	res, err := a.host.ReconcileRouter(r)
	a.note("router "+r.ID, err)
	if res == nil {
		st.Status = "ERROR"
		for _, f := range r.FloatingIPs {
			st.FloatingIPs[f.ID] = "ERROR"
		}
		return st
	}
	for id, err := range res.FloatingIPs {
		st.FloatingIPs[id] = "ACTIVE"
		if err != nil {
			st.FloatingIPs[id] = "ERROR"
		}
	}
	return st
}

func (a *Agent) applyL2(ctx context.Context) error {
	res, err := a.host.ReconcileL2(a.model.l2())
	if res != nil {
		for id, bad := range res.Bad {
			a.note("network object "+id, bad)
		}
	}
	if err != nil {
		return err
	}
	if err := failpoint.At(ctx, "neutron.agent.plug.after-effect"); err != nil {
		return err
	}
	return a.reportPorts(ctx, res)
}

// removeUnnamed deletes the namespaces of ours that the full answer does not
// name. Bridges and taps went with the L2 pass.
func (a *Agent) removeUnnamed() error {
	var errs []error
	for _, ns := range a.host.Namespaces() {
		switch {
		case ns.Kind == "dhcp" && a.runs(PartDHCP) && a.model.dhcp[ns.Owner] == nil:
			errs = append(errs, a.host.RemoveDHCP(ns.Owner))
		case ns.Kind == "router" && a.runs(PartL3) && a.model.routers[ns.Owner] == nil:
			errs = append(errs, a.host.RemoveRouter(ns.Owner))
		}
	}
	return errors.Join(errs...)
}

// check looks for what vanished behind our back.
func (a *Agent) check(d *dirty) {
	if !a.host.MappingsHealthy() {
		if err := a.host.Prepare(); err != nil {
			a.log.Error("cannot make the bridges of physical networks", "error", err)
		}
		d.l2 = true
	}
	for id, conf := range a.model.dhcp {
		if a.runs(PartDHCP) && conf.Port != nil && !a.host.DHCPHealthy(id, conf.Port.ID) {
			d.dhcp[id], d.l2 = true, true
		}
	}
	for id, r := range a.model.routers {
		if !a.runs(PartL3) || !r.AdminUp {
			continue
		}
		ports := make([]string, 0, len(r.Interfaces)+1)
		for i := range r.Interfaces {
			ports = append(ports, r.Interfaces[i].PortID)
		}
		if r.Gateway != nil {
			ports = append(ports, r.Gateway.PortID)
		}
		if !a.host.RouterHealthy(id, ports) {
			d.routers[id], d.l2 = true, true
		}
	}
	for what := range a.badLog { // quarantined objects get another chance
		var id string
		if _, err := fmt.Sscanf(what, "dhcp of network %s", &id); err == nil {
			d.dhcp[id] = true
		} else if _, err := fmt.Sscanf(what, "router %s", &id); err == nil {
			d.routers[id] = true
		}
	}
}

// note logs what is wrong with one object, once until it changes, and
// remembers it for another try.
func (a *Agent) note(what string, err error) {
	if err == nil {
		if _, was := a.badLog[what]; was {
			a.log.Info("network object is well again", "object", what)
			delete(a.badLog, what)
		}
		return
	}
	if a.badLog[what] != err.Error() {
		a.badLog[what] = err.Error()
		a.log.Error("network object is quarantined", "object", what, "error", err)
	}
}
