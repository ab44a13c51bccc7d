package neutron

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// buildGroups sends the groups that ports of the host use, and of those that
// their rules name as remote the members' addresses.
func (h *hostSync) buildGroups(ctx context.Context) error {
	local, err := h.s.groupsOnHost(ctx, h.args.Host)
	if err != nil {
		return err
	}
	send := map[string]bool{}
	for id := range local {
		if h.full || h.groups[id] {
			send[id] = true
		}
	}
	remotes, err := h.s.remoteGroups(ctx, slices.Collect(maps.Keys(local)))
	if err != nil {
		return err
	}
	for group, names := range remotes {
		for _, remote := range names {
			// A remote group is sent when it was asked for itself, and when a
			// group that names it is sent.
			if h.full || h.groups[remote] || send[group] {
				send[remote] = true
			}
		}
	}
	if len(send) == 0 {
		return nil
	}
	groups, err := h.s.groupsByID(ctx, slices.Sorted(maps.Keys(send)))
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, names := range remotes {
		for _, remote := range names {
			named[remote] = send[remote]
		}
	}
	members, err := h.s.groupMembers(ctx, named)
	if err != nil {
		return err
	}
	for _, g := range groups {
		st := rpc.SecurityGroupState{ID: g.ID, Stateful: g.Stateful, Members: members[g.ID]}
		if local[g.ID] {
			for _, r := range g.Rules {
				st.Rules = append(st.Rules, ruleState(r))
			}
		}
		h.out.SecurityGroups = append(h.out.SecurityGroups, st)
	}
	return nil
}

func ruleState(r *SecurityGroupRule) rpc.SecurityGroupRule {
	st := rpc.SecurityGroupRule{ID: r.ID, Direction: r.Direction, EtherType: r.EtherType, PortMin: r.PortRangeMin, PortMax: r.PortRangeMax}
	set(&st.Protocol, r.Protocol)
	set(&st.RemoteIP, r.RemoteIPPrefix)
	set(&st.RemoteGroupID, r.RemoteGroupID)
	return st
}

// buildPeers sends the forwarding entries of networks that reach other hosts.
func (h *hostSync) buildPeers(ctx context.Context) error {
	var nets []string
	for id := range h.peers {
		if n := h.nets[id]; n != nil && n.Type == typeVXLAN {
			nets = append(nets, id)
		}
	}
	slices.Sort(nets)
	tunnels, err := h.s.tunnels(ctx)
	if err != nil {
		return err
	}
	delete(tunnels, h.args.Host)
	var ports []*Port
	if len(tunnels) > 0 && len(nets) > 0 {
		if ports, err = h.s.portsElsewhere(ctx, h.args.Host, nets); err != nil {
			return err
		}
	}
	byNet := map[string][]rpc.Peer{}
	for _, p := range ports {
		ip := tunnels[p.Host]
		if ip == "" {
			continue
		}
		peer := rpc.Peer{
			PortID: p.ID, MAC: p.MAC, Host: p.Host, TunnelIP: ip,
			Loose: len(p.AllowedAddressPairs) > 0 || !p.PortSecurityEnabled && strings.HasPrefix(p.DeviceOwner, "compute:"),
		}
		for _, f := range p.FixedIPs {
			peer.IPs = append(peer.IPs, f.IP)
		}
		byNet[p.NetworkID] = append(byNet[p.NetworkID], peer)
	}
	for _, id := range nets {
		h.out.Peers = append(h.out.Peers, rpc.NetworkPeers{NetworkID: id, Peers: byNet[id]})
	}
	return nil
}

// loadRouterPorts reads the ports of the routers, and adds their networks to
// what is sent.
func (h *hostSync) loadRouterPorts(ctx context.Context, routers []*Router) (map[string][]*Port, error) {
	byRouter := map[string][]*Port{}
	ids := make([]string, 0, len(routers))
	for _, r := range routers {
		ids = append(ids, r.ID)
	}
	ports, err := h.s.portsOfRouters(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		byRouter[p.DeviceID] = append(byRouter[p.DeviceID], p)
		h.networks[p.NetworkID] = true
	}
	return byRouter, nil
}

func (h *hostSync) routerPort(p *Port) rpc.RouterPort {
	st := rpc.RouterPort{PortID: p.ID, NetworkID: p.NetworkID, MAC: p.MAC, FixedIPs: h.fixedIPs(p)}
	if n := h.nets[p.NetworkID]; n != nil {
		st.MTU = n.MTU
	}
	for _, id := range subnetsOfPort(p) {
		if n := h.subnet[id]; n != nil {
			st.Subnets = append(st.Subnets, h.subnetState(n))
		}
	}
	return st
}

func (h *hostSync) buildRouters(ctx context.Context, routers []*Router, ports map[string][]*Port) error {
	if len(routers) == 0 {
		return nil
	}
	ids := make([]string, 0, len(routers))
	for _, r := range routers {
		ids = append(ids, r.ID)
	}
	fips, err := h.s.floatingIPsOfRouters(ctx, ids)
	if err != nil {
		return err
	}
	byRouter := map[string][]rpc.RouterFloatingIP{}
	for _, f := range fips {
		byRouter[*f.RouterID] = append(byRouter[*f.RouterID], rpc.RouterFloatingIP{
			ID: f.ID, IP: f.Address, FixedIP: *f.FixedIP, PortID: *f.PortID, Status: f.Status,
		})
	}
	for _, r := range routers {
		st := rpc.RouterState{ID: r.ID, ProjectID: r.ProjectID, AdminUp: r.AdminStateUp, Revision: r.RevisionNumber, FloatingIPs: byRouter[r.ID]}
		for _, route := range r.Routes {
			st.Routes = append(st.Routes, rpc.Route(route))
		}
		for _, p := range ports[r.ID] {
			if p.DeviceOwner == ownerGateway {
				st.Gateway = &rpc.RouterGateway{RouterPort: h.routerPort(p), EnableSNAT: r.EnableSNAT}
				continue
			}
			st.Interfaces = append(st.Interfaces, h.routerPort(p))
		}
		h.out.Routers = append(h.out.Routers, st)
	}
	return nil
}

// buildDHCP sends what the host's DHCP servers have to hand out.
func (h *hostSync) buildDHCP(ctx context.Context) error {
	nets := slices.Sorted(maps.Keys(h.dhcp))
	if len(nets) == 0 {
		return nil
	}
	ports, err := h.s.portsOnNetworks(ctx, nets)
	if err != nil {
		return err
	}
	own, err := h.s.dhcpPortsOn(ctx, h.args.Host, nets)
	if err != nil {
		return err
	}
	byNet := map[string]*rpc.DHCPNetworkState{}
	for _, id := range nets {
		byNet[id] = &rpc.DHCPNetworkState{NetworkID: id}
	}
	for _, p := range own {
		byNet[p.NetworkID].Port = h.portState(p)
	}
	for _, p := range ports {
		st := byNet[p.NetworkID]
		host := rpc.DHCPHost{PortID: p.ID, MAC: p.MAC, Hostname: p.DNSName, FixedIPs: h.fixedIPs(p)}
		for _, o := range p.ExtraDHCPOpts {
			if o.Value != nil {
				host.Options = append(host.Options, rpc.DHCPOption{Name: o.Name, Value: *o.Value, IPVersion: o.IPVersion})
			}
		}
		st.Hosts = append(st.Hosts, host)
	}
	for _, id := range nets {
		if h.nets[id] != nil {
			h.out.DHCP = append(h.out.DHCP, *byNet[id])
		}
	}
	return nil
}
