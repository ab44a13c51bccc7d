package compute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// bootNetwork is steps 22 to 24.
func (a *Agent) bootNetwork(ctx context.Context, t *task) (vifs []rpc.VIF, err error) {
	if t.spec.NoNetworks {
		for n, name := range map[int]string{22: "bind ports", 23: "check the token", 24: "plug and take addresses"} {
			t.note(rpc.Step{N: n, Name: name, Actor: a.actor(), Peer: "neutron-server", Protocol: rpc.ProtoHTTP,
				Start: a.clock.Now(), Outcome: rpc.OutcomeSkipped, Detail: "no network"})
		}
		return []rpc.VIF{}, nil
	}
	var ports []port
	err = t.step(ctx, rpc.Step{N: 22, Name: "bind ports", Peer: "neutron-server", Protocol: rpc.ProtoHTTP}, func() (string, error) {
		ports, err = a.bindPorts(ctx, t.spec)
		return portList(ports), err
	})
	if err != nil {
		return nil, err
	}
	err = t.step(ctx, rpc.Step{N: 23, Name: "check the token", Actor: "neutron-server", Peer: "keystone", Protocol: rpc.ProtoHTTP},
		func() (string, error) { return "within step 22", nil })
	if err != nil {
		return nil, err
	}
	err = t.step(ctx, rpc.Step{N: 24, Name: "plug and take addresses", Peer: "neutron-server", Protocol: rpc.ProtoHTTP}, func() (string, error) {
		if vifs, err = a.describePorts(ctx, t.spec, ports); err != nil {
			return "", err
		}
		if err = a.plug(ctx, t.spec.ID, vifs); err != nil {
			return "", err
		}
		return addressList(vifs), nil
	})
	return vifs, err
}

func portList(ports []port) string {
	var ids []string
	for _, p := range ports {
		ids = append(ids, p.ID)
	}
	return strings.Join(ids, " ")
}

func addressList(vifs []rpc.VIF) string {
	var out []string
	for _, v := range vifs {
		for _, s := range v.Subnets {
			for _, ad := range s.Addrs {
				out = append(out, ad.IP)
			}
		}
	}
	return strings.Join(out, " ")
}

// binding is what makes a port a server's.
func (a *Agent) binding(spec *rpc.ServerSpec) map[string]any {
	zone := spec.AvailabilityZone
	if zone == "" {
		zone = a.cfg.Zone
	}
	return map[string]any{"device_id": spec.ID, "device_owner": "compute:" + zone, "binding:host_id": a.cfg.Host}
}

// bindPorts sees that the server has the ports it asked for, in their order. A
// port that an earlier try made is found by its device and network and taken,
// so that no try makes a second one.
func (a *Agent) bindPorts(ctx context.Context, spec *rpc.ServerSpec) ([]port, error) {
	have, err := a.network.Ports(ctx, spec.ID)
	if err != nil {
		return nil, err
	}
	var groups []string
	if len(spec.SecurityGroups) > 0 && slices.ContainsFunc(spec.Requested, func(r rpc.RequestedNetwork) bool { return r.PortID == "" }) {
		if groups, err = a.network.GroupIDs(ctx, spec.ProjectID, spec.SecurityGroups); err != nil {
			return nil, err
		}
	}
	users := map[string]bool{}
	for _, r := range spec.Requested {
		if r.PortID != "" {
			users[r.PortID] = true
		}
	}
	taken := map[string]bool{}
	var out []port
	for _, r := range spec.Requested {
		var p port
		if r.PortID != "" {
			p, err = a.bindUserPort(ctx, spec, r.PortID, have)
		} else if i := slices.IndexFunc(have, func(p port) bool { return !taken[p.ID] && !users[p.ID] && made(p, r) }); i >= 0 {
			p, err = a.rebind(ctx, spec, have[i])
		} else {
			p, err = a.createPort(ctx, spec, r, groups)
		}
		if err != nil {
			return out, err
		}
		if p.VIFType == "binding_failed" {
			return out, fault.New(fault.Internal, "port %s cannot be bound on host %s", p.ID, a.cfg.Host)
		}
		taken[p.ID] = true
		out = append(out, p)
	}
	return out, nil
}

// made tells whether p is what a request for a network would have made.
func made(p port, r rpc.RequestedNetwork) bool {
	return p.NetworkID == r.NetworkID &&
		(r.FixedIP == "" || slices.ContainsFunc(p.FixedIPs, func(f fixedIP) bool { return f.IP == r.FixedIP }))
}

func (a *Agent) createPort(ctx context.Context, spec *rpc.ServerSpec, r rpc.RequestedNetwork, groups []string) (port, error) {
	attrs := a.binding(spec)
	attrs["network_id"], attrs["project_id"], attrs["admin_state_up"] = r.NetworkID, spec.ProjectID, true
	if groups != nil {
		attrs["security_groups"] = groups
	}
	if r.FixedIP != "" {
		attrs["fixed_ips"] = []map[string]any{{"ip_address": r.FixedIP}}
	}
	p, err := a.network.CreatePort(ctx, attrs)
	if err != nil {
		return port{}, fmt.Errorf("create port on network %s: %w", r.NetworkID, err)
	}
	return p, nil
}

// rebind moves a port that an earlier try made, here or on another host.
func (a *Agent) rebind(ctx context.Context, spec *rpc.ServerSpec, p port) (port, error) {
	if p.HostID == a.cfg.Host {
		return p, nil
	}
	return a.network.UpdatePort(ctx, p.ID, a.binding(spec))
}

// bindUserPort takes a port that the user made. A port of another device is
// refused, whatever was checked before: it may have been taken since.
func (a *Agent) bindUserPort(ctx context.Context, spec *rpc.ServerSpec, id string, have []port) (port, error) {
	if i := slices.IndexFunc(have, func(p port) bool { return p.ID == id }); i >= 0 {
		return a.rebind(ctx, spec, have[i])
	}
	p, err := a.network.Port(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return p, fault.New(fault.BadRequest, "Port id %s could not be found.", id)
	}
	if err != nil {
		return p, err
	}
	if p.DeviceID != "" && p.DeviceID != spec.ID {
		return p, fault.New(fault.Conflict, "Port %s is still in use.", id)
	}
	return a.network.UpdatePort(ctx, id, a.binding(spec))
}

// describePorts makes the interfaces of ports, with what only the request knows.
func (a *Agent) describePorts(ctx context.Context, spec *rpc.ServerSpec, ports []port) ([]rpc.VIF, error) {
	ofUser := func(id string) bool {
		return slices.ContainsFunc(spec.Requested, func(r rpc.RequestedNetwork) bool { return r.PortID == id }) ||
			slices.ContainsFunc(spec.Networks, func(v rpc.VIF) bool { return v.PortID == id && v.Preserve })
	}
	floating := slices.ContainsFunc(ports, func(p port) bool { return ofUser(p.ID) })
	vifs, err := a.network.VIFs(ctx, ports, floating)
	if err != nil {
		return nil, err
	}
	for i := range vifs {
		vifs[i].Preserve = ofUser(vifs[i].PortID)
		if i < len(spec.Requested) {
			vifs[i].Tag = spec.Requested[i].Tag
		}
	}
	return vifs, nil
}

// plug makes the taps and waits, bounded, until Neutron has wired them: before
// that the guest would run without its network, or without its filter. When it
// fails, no new tap stays: whoever clears away knows taps by the ports, which
// may be gone by then.
func (a *Agent) plug(ctx context.Context, serverID string, vifs []rpc.VIF) error {
	err := a.plugAll(ctx, serverID, vifs)
	if err == nil {
		return nil
	}
	for _, v := range vifs {
		if a.needs.NeedsTap && !v.Active {
			err = errors.Join(err, a.driver.UnplugTap(context.WithoutCancel(ctx), v.Tap))
		}
	}
	return err
}

func (a *Agent) plugAll(ctx context.Context, serverID string, vifs []rpc.VIF) error {
	wait := map[string]<-chan string{}
	for _, v := range vifs {
		if a.needs.NeedsTap && !v.Active {
			ch, cancel := a.plugs.expect(serverID, v.PortID)
			defer cancel()
			wait[v.PortID] = ch
		}
	}
	for _, v := range vifs {
		if err := a.driver.PlugTap(ctx, nicOf(v)); err != nil {
			return err
		}
	}
	deadline := a.clock.After(a.cfg.VIFPlugTimeout)
	// The event may be lost with a process in between, so the ports are looked
	// at as well.
	look := a.clock.NewTicker(2 * time.Second)
	defer look.Stop()
	for len(wait) > 0 {
		id, ch := anyOf(wait)
		select {
		case status := <-ch:
			if status != "completed" {
				return fault.New(fault.Internal, "the network could not be plugged: port %s: %s", id, status)
			}
			delete(wait, id)
		case <-look.C():
			ports, err := a.network.Ports(ctx, serverID)
			if err != nil {
				continue // the deadline bounds this
			}
			for _, p := range ports {
				if p.Status == "ACTIVE" {
					delete(wait, p.ID)
				}
			}
		case <-deadline:
			return fault.New(fault.Internal, "port %s was not plugged within %v", id, a.cfg.VIFPlugTimeout)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for i := range vifs {
		vifs[i].Active = true
	}
	return nil
}

func anyOf(m map[string]<-chan string) (string, <-chan string) {
	for id, ch := range m {
		return id, ch
	}
	return "", nil
}

// unbindPorts gives a server's ports back: those that Nova made are deleted,
// those of the user are left without a device.
func (a *Agent) unbindPorts(ctx context.Context, spec *rpc.ServerSpec, serverID string) error {
	ports, err := a.network.Ports(ctx, serverID)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range ports {
		if p.HostID != "" && p.HostID != a.cfg.Host {
			continue // bound elsewhere since
		}
		errs = append(errs, a.giveBack(ctx, spec, p.ID))
		errs = append(errs, a.driver.UnplugTap(ctx, tapOf(p)))
	}
	return errors.Join(errs...)
}

func (a *Agent) giveBack(ctx context.Context, spec *rpc.ServerSpec, portID string) error {
	var err error
	if spec != nil && preserved(spec, portID) {
		_, err = a.network.UpdatePort(ctx, portID, map[string]any{"device_id": "", "device_owner": "", "binding:host_id": ""})
	} else {
		err = a.network.DeletePort(ctx, portID)
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return fmt.Errorf("give port %s back: %w", portID, err)
	}
	return nil
}

func preserved(spec *rpc.ServerSpec, portID string) bool {
	return slices.ContainsFunc(spec.Requested, func(r rpc.RequestedNetwork) bool { return r.PortID == portID }) ||
		slices.ContainsFunc(spec.Networks, func(v rpc.VIF) bool { return v.PortID == portID && v.Preserve })
}

// plugs hands network-vif-plugged events to the builds that wait for them.
type plugs struct {
	mu      sync.Mutex // guards waiting
	waiting map[string]chan string
}

func newPlugs() *plugs { return &plugs{waiting: map[string]chan string{}} }

// expect must be called before the tap exists: what wires it may be quick.
func (p *plugs) expect(serverID, portID string) (<-chan string, func()) {
	key := serverID + " " + portID
	ch := make(chan string, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[key] = ch
	return ch, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.waiting, key)
	}
}

// deliver tells who waits, and whether anybody does.
func (p *plugs) deliver(e rpc.ExternalEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ch := p.waiting[e.ServerID+" "+e.Tag]; ch != nil {
		select {
		case ch <- e.Status:
		default: // told already
		}
	}
}
