package neutron

import (
	"context"
	"net/netip"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/failpoint"
)

// A FloatingIP is an external address that stands for a fixed address of a
// port, by way of the router between them.
type FloatingIP struct {
	bun.BaseModel `bun:"table:floatingips"`
	Standard

	NetworkID      string  `bun:"floating_network_id"`
	Address        string  `bun:"floating_ip_address"`
	FloatingPortID string  `bun:"floating_port_id"`
	PortID         *string `bun:"port_id"`
	FixedIP        *string `bun:"fixed_ip_address"`
	RouterID       *string `bun:"router_id"`
	Status         string  `bun:"status"`
	DNSName        string  `bun:"dns_name"`
	DNSDomain      string  `bun:"dns_domain"`

	// Port is the port the address stands for, when one was read with it.
	Port *Port `bun:"-"`
}

// A FloatingIPSpec is a floating IP to be made; empty members are for Neutron
// to choose.
type FloatingIPSpec struct {
	FloatingIP
	SubnetID string
	WantPort string
	WantIP   string // fixed address of the port
}

// A FloatingIPPatch holds what to change; an empty PortID frees the address.
type FloatingIPPatch struct {
	Description *string
	PortID      *string
	FixedIP     string
	Revision    *int64
}

// CreateFloatingIP takes an address of an external network, and associates it
// if a port is named.
func (s *Service) CreateFloatingIP(ctx context.Context, c Caller, spec *FloatingIPSpec) (*FloatingIP, error) {
	if err := failpoint.At(ctx, "neutron.floatingip.create.before-effect"); err != nil {
		return nil, err
	}
	var out *FloatingIP
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		f := spec.FloatingIP
		now := s.clock.Now()
		f.ID, f.RevisionNumber, f.CreatedAt, f.UpdatedAt, f.Status = newID(f.ID), 1, now, now, statusDown
		f.Tags = sortedSet(f.Tags)
		if err := s.reserve(ctx, tx, f.ProjectID, quotaFloatingIP, 1); err != nil {
			return err
		}
		if err := s.addFloatingPort(ctx, tx, c, &f, spec); err != nil {
			return err
		}
		if spec.WantPort != "" {
			if err := s.associate(ctx, tx, c, &f, spec.WantPort, spec.WantIP, ch); err != nil {
				return err
			}
		}
		if err := insert(ctx, tx, &f); err != nil {
			if db.IsDuplicate(err) {
				return alreadyAssociated(&f)
			}
			return err
		}
		out = &f
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, failpoint.At(ctx, "neutron.floatingip.create.after-effect")
}

func alreadyAssociated(f *FloatingIP) error {
	port, ip := "", ""
	set(&port, f.PortID)
	set(&ip, f.FixedIP)
	return conflict("FloatingIPPortAlreadyAssociated",
		"Cannot associate floating IP %s (%s) with port %s using fixed IP %s, as that fixed IP already has a floating IP on external network %s.",
		f.Address, f.ID, port, ip, f.NetworkID)
}

// addFloatingPort takes the address, by a port that holds it.
func (s *Service) addFloatingPort(ctx context.Context, tx bun.Tx, c Caller, f *FloatingIP, spec *FloatingIPSpec) error {
	net, err := s.network(ctx, tx, c, f.NetworkID)
	if err != nil {
		return err
	}
	if !net.External {
		return badRequest("BadRequest", "Bad floatingip request: Network %s is not a valid external network.", net.ID)
	}
	subnets, err := s.subnetsOf(ctx, tx, net.ID)
	if err != nil {
		return err
	}
	subnets = slices.DeleteFunc(subnets, func(n *Subnet) bool { return n.IPVersion != 4 })
	if len(subnets) == 0 {
		return badRequest("BadRequest", "Bad floatingip request: Network %s does not contain any IPv4 subnet.", net.ID)
	}
	off := false
	port := &PortSpec{
		Port: Port{
			NetworkID: net.ID, DeviceID: f.ID, DeviceOwner: ownerFloatingIP, AdminStateUp: true, VNICType: "normal",
		},
		PortSecurityOn: &off,
	}
	if f.Address != "" || spec.SubnetID != "" {
		port.WantIPs = &[]FixedIP{{SubnetID: spec.SubnetID, IP: f.Address}}
	}
	p, err := s.addPort(ctx, tx, internal, port, net, subnets)
	if err != nil {
		return err
	}
	f.FloatingPortID, f.Address = p.ID, p.FixedIPs[0].IP
	return nil
}

// associate lets f stand for a fixed address of a port. The router's revision
// is raised only if it is the one that was read, so that an interface or a
// gateway cannot go between the look and the commit.
func (s *Service) associate(ctx context.Context, tx bun.Tx, c Caller, f *FloatingIP, portID, fixedIP string, ch *change) error {
	p, err := s.port(ctx, tx, c, portID)
	if err != nil {
		return err
	}
	if p.ProjectID != f.ProjectID && !c.Admin {
		return badRequest("BadRequest", "Bad floatingip request: Cannot process floating IP association for Port %s, since that port is owned by a different tenant.", portID)
	}
	if IsNetworkOwner(p.DeviceOwner) && p.DeviceOwner != ownerRouter {
		return badRequest("BadRequest", "Bad floatingip request: Port %s belongs to Neutron.", portID)
	}
	fixed, err := chooseFixed(p, fixedIP)
	if err != nil {
		return err
	}
	routerID, revision, err := s.routerBetween(ctx, tx, fixed.SubnetID, f.NetworkID)
	if err != nil {
		return err
	}
	if routerID == "" {
		return notFound("ExternalGatewayForFloatingIPNotFound",
			"External network %s is not reachable from subnet %s.  Therefore, cannot associate Port %s with a Floating IP.",
			f.NetworkID, fixed.SubnetID, portID)
	}
	if err := holdRouter(ctx, tx, routerID, revision); err != nil {
		return err
	}
	s.leaveRouter(f, ch)
	f.PortID, f.FixedIP, f.RouterID, f.Port = &p.ID, &fixed.IP, &routerID, p
	f.Status = statusDown // until the router's agent says that it works
	if s.cfg.NoAgents {
		f.Status = statusActive
	}
	ch.routers = append(ch.routers, routerID)
	ch.readdressed = append(ch.readdressed, p.ID)
	return nil
}

// leaveRouter notes that the router a floating IP was on has one less.
func (s *Service) leaveRouter(f *FloatingIP, ch *change) {
	if f.RouterID != nil {
		ch.routers = append(ch.routers, *f.RouterID)
	}
	if f.PortID != nil {
		ch.readdressed = append(ch.readdressed, *f.PortID)
	}
	f.PortID, f.FixedIP, f.RouterID, f.Port, f.Status = nil, nil, nil, nil, statusDown
}

// chooseFixed is the fixed address that a floating IP is to stand for.
func chooseFixed(p *Port, want string) (FixedIP, error) {
	var four []FixedIP
	for _, f := range p.FixedIPs {
		a, err := netip.ParseAddr(f.IP)
		if err == nil && a.Is4() {
			four = append(four, f)
		}
		if want != "" && f.IP == want && err == nil && a.Is4() {
			return f, nil
		}
	}
	switch {
	case want != "":
		return FixedIP{}, badRequest("BadRequest", "Bad floatingip request: Port %s does not have fixed ip %s.", p.ID, want)
	case len(four) == 0:
		return FixedIP{}, badRequest("BadRequest", "Bad floatingip request: Cannot add floating IP to port %s that has no fixed IPv4 addresses.", p.ID)
	case len(four) > 1:
		return FixedIP{}, badRequest("BadRequest", "Bad floatingip request: Port %s has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when assigning a floating IP.", p.ID)
	}
	return four[0], nil
}

// FloatingIP returns a floating IP of the caller's project.
func (s *Service) FloatingIP(ctx context.Context, c Caller, id string) (*FloatingIP, error) {
	f, err := s.floatingIP(ctx, s.db, c, id)
	if err != nil {
		return nil, err
	}
	return f, s.loadFloatingPorts(ctx, []*FloatingIP{f})
}

// FloatingIPs lists the floating IPs of the caller's project.
func (s *Service) FloatingIPs(ctx context.Context, c Caller, q Query) ([]*FloatingIP, error) {
	out, err := s.floatingIPs(ctx, s.db, c, q)
	if err != nil {
		return nil, err
	}
	return out, s.loadFloatingPorts(ctx, out)
}

// UpdateFloatingIP changes what a floating IP stands for.
func (s *Service) UpdateFloatingIP(ctx context.Context, c Caller, id string, patch FloatingIPPatch) (*FloatingIP, error) {
	if err := failpoint.At(ctx, "neutron.floatingip.update.before-effect"); err != nil {
		return nil, err
	}
	var out *FloatingIP
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		f, err := s.floatingIP(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if patch.Revision != nil && *patch.Revision != f.RevisionNumber {
			return revisionConflict(*patch.Revision, id)
		}
		set(&f.Description, patch.Description)
		if err := s.patchAssociation(ctx, tx, c, f, patch, ch); err != nil {
			return err
		}
		was := f.RevisionNumber
		f.RevisionNumber, f.UpdatedAt = was+1, s.clock.Now()
		err = cas(ctx, tx, f, "floating ip", id, was)
		if db.IsDuplicate(err) {
			return alreadyAssociated(f)
		}
		out = f
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := failpoint.At(ctx, "neutron.floatingip.update.after-effect"); err != nil {
		return nil, err
	}
	return out, s.loadFloatingPorts(ctx, []*FloatingIP{out})
}

func (s *Service) patchAssociation(ctx context.Context, tx bun.Tx, c Caller, f *FloatingIP, patch FloatingIPPatch, ch *change) error {
	switch {
	case patch.PortID == nil && patch.FixedIP == "":
		return nil
	case patch.PortID == nil && f.PortID == nil:
		return badRequest("BadRequest", "Bad floatingip request: fixed_ip_address cannot be specified without a port_id.")
	case patch.PortID == nil:
		return s.associate(ctx, tx, c, f, *f.PortID, patch.FixedIP, ch)
	case *patch.PortID == "":
		if patch.FixedIP != "" {
			return badRequest("BadRequest", "Bad floatingip request: fixed_ip_address cannot be specified without a port_id.")
		}
		s.leaveRouter(f, ch)
		return nil
	}
	return s.associate(ctx, tx, c, f, *patch.PortID, patch.FixedIP, ch)
}

// DeleteFloatingIP gives the address back.
func (s *Service) DeleteFloatingIP(ctx context.Context, c Caller, id string, revision *int64) error {
	if err := failpoint.At(ctx, "neutron.floatingip.delete.before-effect"); err != nil {
		return err
	}
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		f, err := s.floatingIP(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if revision != nil && *revision != f.RevisionNumber {
			return revisionConflict(*revision, id)
		}
		s.leaveRouter(f, ch)
		if err := removeRow(ctx, tx, "floatingips", id, floatingIPNotFound); err != nil {
			return err
		}
		if err := s.deletePortRows(ctx, tx, f.NetworkID, []string{f.FloatingPortID}); err != nil {
			return err
		}
		return release(ctx, tx, f.ProjectID, quotaFloatingIP)
	})
	if err != nil {
		return err
	}
	return failpoint.At(ctx, "neutron.floatingip.delete.after-effect")
}
