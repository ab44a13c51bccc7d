package neutron

import (
	"context"
	"net/netip"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/failpoint"
)

// A RouterInterface is the outcome of adding or removing one.
type RouterInterface struct {
	Router    *Router
	NetworkID string
	PortID    string
	SubnetIDs []string
}

// AddRouterInterface joins a router to a subnet, by a new port with the
// subnet's gateway address, or by a port that exists.
func (s *Service) AddRouterInterface(ctx context.Context, c Caller, routerID, subnetID, portID string) (*RouterInterface, error) {
	if err := failpoint.At(ctx, "neutron.router.add_interface.before-effect"); err != nil {
		return nil, err
	}
	var out *RouterInterface
	_, err := s.changeRouter(ctx, c, routerID, nil, func(ctx context.Context, tx bun.Tx, r *Router, ch *change) error {
		var p *Port
		var err error
		if portID != "" {
			p, err = s.interfaceByPort(ctx, tx, c, r, portID)
		} else {
			p, err = s.interfaceBySubnet(ctx, tx, c, r, subnetID)
		}
		if err != nil {
			return err
		}
		out = &RouterInterface{Router: r, NetworkID: p.NetworkID, PortID: p.ID, SubnetIDs: subnetsOfPort(p)}
		ch.ports = append(ch.ports, p.ID)
		ch.networks = append(ch.networks, p.NetworkID) // its subnets are no longer isolated
		return s.linkRouterSubnets(ctx, tx, p)
	})
	if err != nil {
		return nil, err
	}
	return out, failpoint.At(ctx, "neutron.router.add_interface.after-effect")
}

func subnetsOfPort(p *Port) []string {
	out := []string{}
	for _, f := range p.FixedIPs {
		if !slices.Contains(out, f.SubnetID) {
			out = append(out, f.SubnetID)
		}
	}
	return out
}

func (s *Service) interfaceBySubnet(ctx context.Context, tx bun.Tx, c Caller, r *Router, subnetID string) (*Port, error) {
	n, err := s.subnet(ctx, tx, c, subnetID)
	if err != nil {
		return nil, err
	}
	net, err := s.network(ctx, tx, c, n.NetworkID)
	if err != nil {
		return nil, err
	}
	if err := net.usableBy(c); err != nil {
		return nil, err
	}
	if n.GatewayIP == nil {
		return nil, badRequest("BadRequest", "Bad router request: Subnet for router interface must have a gateway IP.")
	}
	if err := s.checkNewInterface(ctx, tx, r, []*Subnet{n}); err != nil {
		return nil, err
	}
	host, err := s.routerHost(ctx, tx, r.ID)
	if err != nil {
		return nil, err
	}
	off := false
	return s.addPort(ctx, tx, internal, &PortSpec{
		Port: Port{
			Standard: Standard{ProjectID: r.ProjectID}, NetworkID: net.ID, DeviceID: r.ID, DeviceOwner: ownerRouter,
			AdminStateUp: true, Host: host, VNICType: "normal",
		},
		WantIPs: &[]FixedIP{{SubnetID: n.ID, IP: *n.GatewayIP}}, PortSecurityOn: &off,
	}, net, []*Subnet{n})
}

func (s *Service) interfaceByPort(ctx context.Context, tx bun.Tx, c Caller, r *Router, portID string) (*Port, error) {
	p, err := s.port(ctx, tx, c, portID)
	if err != nil {
		return nil, err
	}
	if p.DeviceID != "" && (p.DeviceID != r.ID || p.DeviceOwner == ownerRouter) || p.DeviceOwner != "" && p.DeviceOwner != ownerRouter {
		return nil, conflict("PortInUse", "Unable to complete operation on port %s for network %s. Port already has an attached device %s.",
			p.ID, p.NetworkID, p.DeviceID)
	}
	if len(p.FixedIPs) == 0 {
		return nil, badRequest("BadRequest", "Bad router request: Router port must have at least one fixed IP.")
	}
	subnets, err := s.subnetsByID(ctx, tx, subnetsOfPort(p))
	if err != nil {
		return nil, err
	}
	four := 0
	for _, n := range subnets {
		if n.IPVersion == 4 {
			four++
		}
	}
	if four > 1 {
		return nil, badRequest("BadRequest", "Bad router request: Cannot have multiple IPv4 subnets on router port.")
	}
	if err := s.checkNewInterface(ctx, tx, r, subnets); err != nil {
		return nil, err
	}
	net, err := s.network(ctx, tx, internal, p.NetworkID)
	if err != nil {
		return nil, err
	}
	p.DeviceID, p.DeviceOwner = r.ID, ownerRouter
	if p.Host, err = s.routerHost(ctx, tx, r.ID); err != nil {
		return nil, err
	}
	if err := s.bind(ctx, tx, p, net); err != nil {
		return nil, err
	}
	return p, s.casPort(ctx, tx, p)
}

func (s *Service) checkNewInterface(ctx context.Context, tx bun.Tx, r *Router, subnets []*Subnet) error {
	have, _, err := s.routerReach(ctx, tx, r)
	if err != nil {
		return err
	}
	for _, n := range subnets {
		if slices.ContainsFunc(have, func(h *Subnet) bool { return h.ID == n.ID }) {
			return badRequest("BadRequest", "Bad router request: Router already has a port on subnet %s.", n.ID)
		}
	}
	return s.checkOverlap(ctx, tx, r, subnets)
}

// linkRouterSubnets writes on which subnets a router's port is.
func (s *Service) linkRouterSubnets(ctx context.Context, tx bun.Tx, p *Port) error {
	for _, id := range subnetsOfPort(p) {
		err := linkRouterSubnet(ctx, tx, p, id)
		if db.IsDuplicate(err) {
			return badRequest("BadRequest", "Bad router request: Router already has a port on subnet %s.", id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// RemoveRouterInterface takes a router off a subnet, named by the subnet, the
// port, or both; the port goes.
func (s *Service) RemoveRouterInterface(ctx context.Context, c Caller, routerID, subnetID, portID string) (*RouterInterface, error) {
	if err := failpoint.At(ctx, "neutron.router.remove_interface.before-effect"); err != nil {
		return nil, err
	}
	var out *RouterInterface
	_, err := s.changeRouter(ctx, c, routerID, nil, func(ctx context.Context, tx bun.Tx, r *Router, ch *change) error {
		p, err := s.interfacePort(ctx, tx, r, subnetID, portID)
		if err != nil {
			return err
		}
		subnets, err := s.subnetsByID(ctx, tx, subnetsOfPort(p))
		if err != nil {
			return err
		}
		for _, n := range subnets {
			if err := s.checkInterfaceUnused(ctx, tx, r, n); err != nil {
				return err
			}
		}
		out = &RouterInterface{Router: r, NetworkID: p.NetworkID, PortID: p.ID, SubnetIDs: subnetsOfPort(p)}
		ch.ports = append(ch.ports, p.ID)
		ch.networks = append(ch.networks, p.NetworkID)
		if err := unlinkRouterPort(ctx, tx, r.ID, p.ID); err != nil {
			return err
		}
		return s.deletePortRows(ctx, tx, p.NetworkID, []string{p.ID})
	})
	if err != nil {
		return nil, err
	}
	return out, failpoint.At(ctx, "neutron.router.remove_interface.after-effect")
}

func (s *Service) interfacePort(ctx context.Context, tx bun.Tx, r *Router, subnetID, portID string) (*Port, error) {
	ports, err := s.portsOfRouter(ctx, tx, r.ID)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		if p.DeviceOwner != ownerRouter {
			continue
		}
		on := slices.Contains(subnetsOfPort(p), subnetID)
		switch {
		case portID == p.ID && subnetID != "" && !on:
			return nil, badRequest("SubnetMismatchForPort", "Subnet on port %s does not match the requested subnet %s.", portID, subnetID)
		case portID == p.ID, portID == "" && on:
			return p, nil
		}
	}
	if portID != "" {
		return nil, notFound("RouterInterfaceNotFound", "Router %s does not have an interface with id %s", r.ID, portID)
	}
	return nil, notFound("RouterInterfaceNotFoundForSubnet", "Router %s has no interface on subnet %s", r.ID, subnetID)
}

// checkInterfaceUnused refuses to take a router off a subnet that floating IPs
// or routes reach through it.
func (s *Service) checkInterfaceUnused(ctx context.Context, tx bun.Tx, r *Router, n *Subnet) error {
	used, err := carriesFloatingIPsTo(ctx, tx, r.ID, n.ID)
	if err != nil {
		return err
	}
	if used {
		return conflict("RouterInterfaceInUseByFloatingIP",
			"Router interface for subnet %s on router %s cannot be deleted, as it is required by one or more floating IPs.", n.ID, r.ID)
	}
	if _, ok := routeVia(r.Routes, []*Subnet{n}); ok {
		return conflict("RouterInterfaceInUseByRoute",
			"Router interface for subnet %s on router %s cannot be deleted, as it is required by one or more routes.", n.ID, r.ID)
	}
	return nil
}

// routeVia is a route whose next hop is on one of the subnets.
func routeVia(routes []HostRoute, subnets []*Subnet) (HostRoute, bool) {
	for _, r := range routes {
		hop, err := netip.ParseAddr(r.NextHop)
		if err == nil && slices.ContainsFunc(subnets, func(n *Subnet) bool { return n.Prefix().Contains(hop) }) {
			return r, true
		}
	}
	return HostRoute{}, false
}
