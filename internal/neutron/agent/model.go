package agent

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/neutron/dataplane"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// callTimeout bounds one question to the server.
const callTimeout = 20 * time.Second

// A model is the desired state of the host as last told, by id.
type model struct {
	revision int64
	networks map[string]*rpc.NetworkState
	ports    map[string]*rpc.PortState
	groups   map[string]*rpc.SecurityGroupState
	peers    map[string][]rpc.Peer
	routers  map[string]*rpc.RouterState
	dhcp     map[string]*rpc.DHCPNetworkState
}

func newModel() *model {
	return &model{
		networks: map[string]*rpc.NetworkState{}, ports: map[string]*rpc.PortState{},
		groups: map[string]*rpc.SecurityGroupState{}, peers: map[string][]rpc.Peer{},
		routers: map[string]*rpc.RouterState{}, dhcp: map[string]*rpc.DHCPNetworkState{},
	}
}

func (m *model) l2() *dataplane.L2State {
	return &dataplane.L2State{Networks: m.networks, Ports: m.ports, Groups: m.groups, Peers: m.peers}
}

// dirty is what one pass of the loop has to look at.
type dirty struct {
	l2      bool
	all     bool // everything, and remove what nobody names
	routers map[string]bool
	dhcp    map[string]bool
}

func newDirty() *dirty { return &dirty{routers: map[string]bool{}, dhcp: map[string]bool{}} }

func (d *dirty) merge(o *dirty) {
	d.l2, d.all = d.l2 || o.l2, d.all || o.all
	maps.Copy(d.routers, o.routers)
	maps.Copy(d.dhcp, o.dhcp)
}

// pull asks the server for what is pending and merges the answer.
func (a *Agent) pull(ctx context.Context, p *pending) (*dirty, error) {
	d := newDirty()
	if a.synced && !p.full && p.changed.IsEmpty() {
		return d, nil
	}
	args := rpc.SyncHostArgs{Host: a.cfg.Host, Kinds: a.kinds()}
	if a.synced && !p.full {
		args.Only = &p.changed
	}
	st, err := a.ask(ctx, args)
	if err != nil {
		return d, err
	}
	a.hear(st.Revision)
	a.merge(st, args.Only, d)
	if !st.Full && a.model.incomplete() {
		// The answer refers to things it did not bring: take everything.
		args.Only = nil
		if st, err = a.ask(ctx, args); err != nil {
			return d, err
		}
		a.merge(st, nil, d)
	}
	return d, nil
}

func (a *Agent) ask(ctx context.Context, args rpc.SyncHostArgs) (*rpc.HostState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var st rpc.HostState
	if err := a.bus.Call(ctx, bus.Target{Topic: rpc.Topic}, rpc.MethodSyncHost, args, &st); err != nil {
		return nil, fmt.Errorf("ask for the host's networks: %w", err)
	}
	a.log.Debug("desired state pulled", "full", st.Full, "revision", st.Revision,
		"ports", len(st.Ports), "networks", len(st.Networks), "routers", len(st.Routers))
	return &st, nil
}

// kinds are the states the parts of this process need.
func (a *Agent) kinds() []string {
	var out []string
	for part, kind := range map[string]string{PartL2: rpc.KindL2, PartL3: rpc.KindL3, PartDHCP: rpc.KindDHCP} {
		if a.runs(part) {
			out = append(out, kind)
		}
	}
	return out
}

// merge takes an answer into the model and notes what to look at.
func (a *Agent) merge(st *rpc.HostState, only *rpc.Changed, d *dirty) {
	if st.Unchanged {
		return
	}
	if st.Full || only == nil {
		a.model = newModel()
		d.all = true
	} else {
		a.model.drop(only, d)
	}
	m := a.model
	m.revision = max(m.revision, st.Revision)
	for i := range st.Networks {
		m.networks[st.Networks[i].ID] = &st.Networks[i]
	}
	for i := range st.Ports {
		m.ports[st.Ports[i].ID] = &st.Ports[i]
	}
	for i := range st.SecurityGroups {
		m.groups[st.SecurityGroups[i].ID] = &st.SecurityGroups[i]
	}
	for _, p := range st.Peers {
		m.peers[p.NetworkID] = p.Peers
	}
	for i := range st.Routers {
		m.routers[st.Routers[i].ID] = &st.Routers[i]
		d.routers[st.Routers[i].ID] = true
	}
	for i := range st.DHCP {
		m.dhcp[st.DHCP[i].NetworkID] = &st.DHCP[i]
		d.dhcp[st.DHCP[i].NetworkID] = true
	}
	d.l2 = true
}

// drop forgets what was asked for; what still is comes back with the answer.
func (m *model) drop(only *rpc.Changed, d *dirty) {
	for _, id := range only.Ports {
		delete(m.ports, id)
	}
	for _, id := range only.Networks {
		delete(m.networks, id)
		delete(m.peers, id)
		delete(m.dhcp, id)
		d.dhcp[id] = true
	}
	for _, id := range only.Routers {
		delete(m.routers, id)
		d.routers[id] = true
	}
	for _, id := range only.SecurityGroups {
		delete(m.groups, id)
	}
}

// incomplete tells that something refers to what is not in the model, as
// after a notification that named less than it should have.
func (m *model) incomplete() bool {
	for _, p := range m.ports {
		if m.networks[p.NetworkID] == nil {
			return true
		}
		for _, g := range p.SecurityGroups {
			if p.PortSecurity && !p.Trusted() && m.groups[g] == nil {
				return true
			}
		}
	}
	for id, d := range m.dhcp {
		if m.networks[id] == nil || d.Port != nil && len(m.ports) > 0 && m.ports[d.Port.ID] == nil {
			return true
		}
	}
	for _, r := range m.routers {
		for i := range r.Interfaces {
			if len(m.ports) > 0 && m.ports[r.Interfaces[i].PortID] == nil {
				return true
			}
		}
		if g := r.Gateway; g != nil && len(m.ports) > 0 && m.ports[g.PortID] == nil {
			return true
		}
	}
	return false
}
