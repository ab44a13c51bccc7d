package neutron

import (
	"context"
	"slices"

	"github.com/uptrace/bun"
)

// setGateway gives a router the gateway asked for: another network means
// another port, the same network keeps the port and what it can of its
// addresses.
func (s *Service) setGateway(ctx context.Context, tx bun.Tx, c Caller, r *Router, gw *GatewayInfo, ch *change) error {
	if gw.NetworkID == "" {
		return s.clearGateway(ctx, tx, r, ch)
	}
	net, err := s.network(ctx, tx, c, gw.NetworkID)
	if err != nil {
		return err
	}
	if !net.External {
		return badRequest("BadRequest", "Bad router request: Network %s is not an external network.", net.ID)
	}
	subnets, err := s.subnetsOf(ctx, tx, net.ID)
	if err != nil {
		return err
	}
	same := r.GatewayNetworkID != nil && *r.GatewayNetworkID == net.ID && r.GatewayPortID != nil
	if !same {
		if err := s.clearGateway(ctx, tx, r, ch); err != nil {
			return err
		}
	}
	if err := s.checkOverlap(ctx, tx, r, subnets); err != nil {
		return err
	}
	r.EnableSNAT = true
	set(&r.EnableSNAT, gw.EnableSNAT)
	var p *Port
	if same {
		p, err = s.moveGateway(ctx, tx, r, subnets, gw)
	} else {
		p, err = s.addGatewayPort(ctx, tx, r, net, subnets, gw)
	}
	if err != nil {
		return err
	}
	r.GatewayPortID, r.GatewayNetworkID, r.ExternalFixedIPs = &p.ID, &net.ID, p.FixedIPs
	ch.ports = append(ch.ports, p.ID)
	return nil
}

func (s *Service) addGatewayPort(ctx context.Context, tx bun.Tx, r *Router, net *Network, subnets []*Subnet, gw *GatewayInfo) (*Port, error) {
	host, err := s.routerHost(ctx, tx, r.ID)
	if err != nil {
		return nil, err
	}
	off := false
	spec := &PortSpec{
		Port: Port{
			NetworkID: net.ID, DeviceID: r.ID, DeviceOwner: ownerGateway, AdminStateUp: true,
			Host: host, VNICType: "normal",
		},
		WantIPs: gw.ExternalFixedIPs, PortSecurityOn: &off,
	}
	if spec.WantIPs != nil && len(*spec.WantIPs) == 0 {
		spec.WantIPs = nil
	}
	return s.addPort(ctx, tx, internal, spec, net, subnets)
}

func (s *Service) moveGateway(ctx context.Context, tx bun.Tx, r *Router, subnets []*Subnet, gw *GatewayInfo) (*Port, error) {
	p, err := s.port(ctx, tx, internal, *r.GatewayPortID)
	if err != nil || gw.ExternalFixedIPs == nil || len(*gw.ExternalFixedIPs) == 0 {
		return p, err
	}
	if err := s.reallocate(ctx, tx, p, subnets, *gw.ExternalFixedIPs); err != nil {
		return nil, err
	}
	return p, s.casPort(ctx, tx, p)
}

// clearGateway takes the gateway from a router. Floating IPs that the router
// carries keep it, since they would lose their way.
func (s *Service) clearGateway(ctx context.Context, tx bun.Tx, r *Router, ch *change) error {
	if r.GatewayPortID == nil {
		return nil
	}
	used, err := carriesFloatingIPs(ctx, tx, r.ID)
	if err != nil {
		return err
	}
	if used {
		return conflict("RouterExternalGatewayInUseByFloatingIp",
			"Gateway cannot be updated for router %s, since a gateway to external network %s is required by one or more floating IPs.",
			r.ID, *r.GatewayNetworkID)
	}
	ch.ports = append(ch.ports, *r.GatewayPortID)
	if err := s.deletePortRows(ctx, tx, *r.GatewayNetworkID, []string{*r.GatewayPortID}); err != nil {
		return err
	}
	if err := s.dropRoutesVia(ctx, tx, r, *r.GatewayNetworkID); err != nil {
		return err
	}
	r.GatewayPortID, r.GatewayNetworkID, r.ExternalFixedIPs, r.EnableSNAT = nil, nil, []FixedIP{}, true
	return nil
}

// dropRoutesVia refuses to lose a gateway that routes lead through.
func (s *Service) dropRoutesVia(ctx context.Context, tx bun.Tx, r *Router, networkID string) error {
	if len(r.Routes) == 0 {
		return nil
	}
	subnets, err := s.subnetsOf(ctx, tx, networkID)
	if err != nil {
		return err
	}
	if route, ok := routeVia(r.Routes, subnets); ok {
		return conflict("RouterInterfaceInUseByRoute",
			"Router gateway of router %s cannot be deleted, as it is required by one or more routes: %s.", r.ID, route.Destination)
	}
	return nil
}

// checkOverlap refuses subnets that overlap with one the router is on already.
func (s *Service) checkOverlap(ctx context.Context, tx bun.Tx, r *Router, subnets []*Subnet) error {
	have, _, err := s.routerReach(ctx, tx, r)
	if err != nil {
		return err
	}
	for _, n := range subnets {
		for _, h := range have {
			if h.ID != n.ID && h.Prefix().Overlaps(n.Prefix()) {
				return badRequest("BadRequest", "Bad router request: Cidr %s of subnet %s overlaps with cidr %s of subnet %s.",
					n.CIDR, n.ID, h.CIDR, h.ID)
			}
		}
	}
	return nil
}

// routerReach are the subnets a router is on, and the addresses it has there.
func (s *Service) routerReach(ctx context.Context, tx bun.Tx, r *Router) ([]*Subnet, map[string]bool, error) {
	ports, err := s.portsOfRouter(ctx, tx, r.ID)
	if err != nil {
		return nil, nil, err
	}
	own := map[string]bool{}
	var subnetIDs []string
	for _, p := range ports {
		for _, f := range p.FixedIPs {
			own[f.IP] = true
			subnetIDs = append(subnetIDs, f.SubnetID)
		}
	}
	subnets, err := s.subnetsByID(ctx, tx, slices.Compact(subnetIDs))
	return subnets, own, err
}
