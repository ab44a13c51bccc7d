package neutron

import (
	"context"
	"maps"
	"slices"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// A hostSync gathers the desired state of one host. Sets hold what must be in
// the answer; each is read from the database at once.
type hostSync struct {
	s    *Service
	args rpc.SyncHostArgs
	full bool

	networks map[string]bool // to send
	dhcp     map[string]bool // served by the host's DHCP agent, to send
	peers    map[string]bool // whose peers to send
	groups   map[string]bool // asked for, or of the ports sent
	ports    []*Port

	nets    map[string]*Network
	subnets map[string][]*Subnet // by network
	subnet  map[string]*Subnet
	routed  map[string]bool // subnets that some router is on
	out     rpc.HostState
}

// SyncHost tells an agent what its host has to look like: all of it, or what
// the named ids have become. The revision is read first, so that the answer
// is never older than it claims.
func (s *Service) SyncHost(ctx context.Context, args rpc.SyncHostArgs) (rpc.HostState, error) {
	if args.Host == "" {
		return rpc.HostState{}, badRequest(codeInvalid, "sync without a host")
	}
	rev, err := s.revision(ctx, s.db)
	if err != nil {
		return rpc.HostState{}, err
	}
	if args.Only == nil && args.Since == rev && rev != 0 {
		return rpc.HostState{Revision: rev, Unchanged: true}, nil
	}
	h := &hostSync{
		s: s, args: args, full: args.Only == nil || args.Only.IsEmpty(),
		networks: map[string]bool{}, dhcp: map[string]bool{}, peers: map[string]bool{}, groups: map[string]bool{},
	}
	h.out.Revision, h.out.Full = rev, h.full
	if h.args.Only == nil {
		h.args.Only = &rpc.Changed{}
	}
	routers, err := h.collect(ctx)
	if err != nil {
		return rpc.HostState{}, err
	}
	return h.out, h.build(ctx, routers)
}

func (h *hostSync) wants(kind string) bool { return slices.Contains(h.args.Kinds, kind) }

// collect decides what goes into the answer.
func (h *hostSync) collect(ctx context.Context) ([]*Router, error) {
	touched := map[string]bool{} // networks whose neighbourhood changed
	for _, id := range h.args.Only.Networks {
		touched[id] = true
	}
	for _, id := range h.args.Only.SecurityGroups {
		h.groups[id] = true
	}
	if h.wants(rpc.KindL2) || !h.full {
		asked, err := h.s.portsForSync(ctx, h.args.Host, h.args.Only.Ports, h.full)
		if err != nil {
			return nil, err
		}
		for _, p := range asked {
			touched[p.NetworkID] = true
			for _, g := range p.SecurityGroups {
				h.groups[g] = true
			}
			if p.Host == h.args.Host && p.VIFType == vifBridge && h.wants(rpc.KindL2) {
				h.ports = append(h.ports, p)
				h.networks[p.NetworkID] = true
			}
		}
	}
	if err := h.collectNetworks(ctx, touched); err != nil {
		return nil, err
	}
	if !h.wants(rpc.KindL3) {
		return nil, nil
	}
	return h.s.routersForSync(ctx, h.args.Host, h.args.Only, h.full)
}

// collectNetworks adds, of the networks touched, those the host has a part in.
func (h *hostSync) collectNetworks(ctx context.Context, touched map[string]bool) error {
	if h.wants(rpc.KindDHCP) {
		served, err := h.s.networksServedOn(ctx, h.args.Host)
		if err != nil {
			return err
		}
		for _, id := range served {
			if h.full || touched[id] {
				h.dhcp[id], h.networks[id] = true, true
			}
		}
	}
	if !h.wants(rpc.KindL2) {
		return nil
	}
	if h.full {
		maps.Copy(h.peers, h.networks)
		for id := range h.networks {
			touched[id] = true
		}
	}
	present, err := h.s.networksPresentOn(ctx, h.args.Host, slices.Collect(maps.Keys(touched)))
	if err != nil {
		return err
	}
	for _, id := range present {
		h.networks[id], h.peers[id] = true, true
	}
	return nil
}

func (h *hostSync) build(ctx context.Context, routers []*Router) error {
	routerPorts, err := h.loadRouterPorts(ctx, routers)
	if err != nil {
		return err
	}
	if err := h.loadNetworks(ctx); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(h.nets)) {
		h.out.Networks = append(h.out.Networks, h.networkState(h.nets[id]))
	}
	for _, p := range h.ports {
		if st := h.portState(p); st != nil {
			h.out.Ports = append(h.out.Ports, *st)
		}
	}
	if h.wants(rpc.KindL2) {
		if err := h.buildGroups(ctx); err != nil {
			return err
		}
		if err := h.buildPeers(ctx); err != nil {
			return err
		}
	}
	if err := h.buildRouters(ctx, routers, routerPorts); err != nil {
		return err
	}
	return h.buildDHCP(ctx)
}

// loadNetworks reads the networks to send and what hangs on them.
func (h *hostSync) loadNetworks(ctx context.Context) error {
	nets, err := h.s.networksByID(ctx, slices.Collect(maps.Keys(h.networks)))
	if err != nil {
		return err
	}
	h.nets, h.subnets, h.subnet = map[string]*Network{}, map[string][]*Subnet{}, map[string]*Subnet{}
	ids := make([]string, 0, len(nets))
	for _, n := range nets {
		h.nets[n.ID] = n
		ids = append(ids, n.ID)
	}
	subnets, err := h.s.subnetsOf(ctx, h.s.db, ids...)
	if err != nil {
		return err
	}
	for _, n := range subnets {
		h.subnets[n.NetworkID] = append(h.subnets[n.NetworkID], n)
		h.subnet[n.ID] = n
	}
	h.routed, err = h.s.routedSubnets(ctx, ids)
	return err
}

func (h *hostSync) networkState(n *Network) rpc.NetworkState {
	st := rpc.NetworkState{
		ID: n.ID, ProjectID: n.ProjectID, Type: n.Type, PhysicalNetwork: n.PhysicalNetwork, SegmentationID: n.SegmentationID,
		MTU: n.MTU, AdminUp: n.AdminStateUp, External: n.External, DNSDomain: n.DNSDomain,
	}
	for _, s := range h.subnets[n.ID] {
		st.Subnets = append(st.Subnets, h.subnetState(s))
	}
	return st
}

func (h *hostSync) subnetState(n *Subnet) rpc.SubnetState {
	st := rpc.SubnetState{
		ID: n.ID, CIDR: n.CIDR, IPVersion: n.IPVersion, EnableDHCP: n.EnableDHCP, DNS: n.DNSNameservers, Isolated: !h.routed[n.ID],
	}
	set(&st.GatewayIP, n.GatewayIP)
	set(&st.RAMode, n.RAMode)
	set(&st.AddressMode, n.AddressMode)
	for _, r := range n.HostRoutes {
		st.HostRoutes = append(st.HostRoutes, rpc.Route(r))
	}
	return st
}

func (h *hostSync) fixedIPs(p *Port) []rpc.FixedIP {
	out := make([]rpc.FixedIP, 0, len(p.FixedIPs))
	for _, f := range p.FixedIPs {
		x := rpc.FixedIP{SubnetID: f.SubnetID, IP: f.IP}
		if n := h.subnet[f.SubnetID]; n != nil {
			x.PrefixLen = n.Prefix().Bits()
			set(&x.Gateway, n.GatewayIP)
		}
		out = append(out, x)
	}
	return out
}

// portState is nil when the port's network went while the answer was made; the
// notification of that is on its way.
func (h *hostSync) portState(p *Port) *rpc.PortState {
	net := h.nets[p.NetworkID]
	if net == nil {
		return nil
	}
	st := &rpc.PortState{
		ID: p.ID, NetworkID: p.NetworkID, ProjectID: p.ProjectID, DeviceID: p.DeviceID, DeviceOwner: p.DeviceOwner, Host: p.Host,
		MAC: p.MAC, FixedIPs: h.fixedIPs(p), SecurityGroups: p.SecurityGroups, PortSecurity: p.PortSecurityEnabled,
		AdminUp: p.AdminStateUp, MTU: net.MTU, Status: p.Status, Revision: p.RevisionNumber,
	}
	for _, a := range p.AllowedAddressPairs {
		st.AddressPairs = append(st.AddressPairs, rpc.AddressPair{IP: a.IP, MAC: a.MAC})
	}
	return st
}
