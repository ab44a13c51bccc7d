package neutron

import (
	"context"
	"net/netip"
	"slices"

	"github.com/uptrace/bun"
)

// A HostRoute is a route that DHCP hands to the hosts of a subnet, or that a
// router has.
type HostRoute struct {
	Destination string `json:"destination"`
	NextHop     string `json:"nexthop"`
}

// A Subnet is a block of addresses on a network.
type Subnet struct {
	bun.BaseModel `bun:"table:subnets"`
	Standard

	NetworkID         string      `bun:"network_id"`
	Name              string      `bun:"name"`
	IPVersion         int         `bun:"ip_version"`
	CIDR              string      `bun:"cidr"`
	GatewayIP         *string     `bun:"gateway_ip"`
	EnableDHCP        bool        `bun:"enable_dhcp"`
	RAMode            *string     `bun:"ipv6_ra_mode"`
	AddressMode       *string     `bun:"ipv6_address_mode"`
	SubnetPoolID      *string     `bun:"subnetpool_id"`
	DNSPublishFixedIP bool        `bun:"dns_publish_fixed_ip"`
	AllocationPools   []Pool      `bun:"allocation_pools"`
	DNSNameservers    Lines       `bun:"dns_nameservers"`
	HostRoutes        []HostRoute `bun:"host_routes"`
	ServiceTypes      Lines       `bun:"service_types"`

	// External tells that the network is external; it is not stored here.
	External bool `bun:"external,scanonly"`
}

// Prefix is the subnet's CIDR; it was checked when the subnet was made.
func (n *Subnet) Prefix() netip.Prefix {
	p, _ := netip.ParsePrefix(n.CIDR)
	return p
}

// Gateway is the gateway's address, invalid if there is none.
func (n *Subnet) Gateway() netip.Addr {
	if n.GatewayIP == nil {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(*n.GatewayIP)
	return a
}

// autoAddressed tells that hosts make their own address from their MAC, so
// that a port's address follows from it and cannot be chosen.
func (n *Subnet) autoAddressed() bool {
	return n.IPVersion == 6 && n.AddressMode != nil && *n.AddressMode != modeStateful
}

// A SubnetSpec is a subnet to be made. GatewaySet tells that the creator chose
// the gateway, or with a nil GatewayIP that there is to be none.
type SubnetSpec struct {
	Subnet
	GatewaySet bool
	PoolsSet   bool
}

// A SubnetPatch holds the attributes of a subnet to change; nil leaves one.
type SubnetPatch struct {
	Name, Description *string
	EnableDHCP        *bool
	DNSPublishFixedIP *bool
	GatewaySet        bool
	GatewayIP         *string
	AllocationPools   *[]Pool
	DNSNameservers    *[]string
	HostRoutes        *[]HostRoute
	ServiceTypes      *[]string
	Revision          *int64
}

// CreateSubnets adds subnets, all or none.
func (s *Service) CreateSubnets(ctx context.Context, c Caller, specs []*SubnetSpec) ([]*Subnet, error) {
	now := s.clock.Now()
	out := make([]*Subnet, 0, len(specs))
	for _, spec := range specs {
		n := &spec.Subnet
		n.ID, n.RevisionNumber, n.CreatedAt, n.UpdatedAt, n.Tags = newID(n.ID), 1, now, now, sortedSet(n.Tags)
		if err := completeSubnet(spec); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		for _, n := range out {
			if err := s.addSubnet(ctx, tx, c, n, ch); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// addSubnet writes one subnet. The network's row is changed with it, so that
// of two overlapping subnets made at once the second sees the first.
func (s *Service) addSubnet(ctx context.Context, tx bun.Tx, c Caller, n *Subnet, ch *change) error {
	net, err := s.network(ctx, tx, c, n.NetworkID)
	if err != nil {
		return err
	}
	if !c.Admin && net.ProjectID != c.ProjectID {
		return networkNotFound(n.NetworkID)
	}
	n.External = net.External
	others, err := s.subnetsOf(ctx, tx, n.NetworkID)
	if err != nil {
		return err
	}
	for _, o := range others {
		if o.Prefix().Overlaps(n.Prefix()) {
			return badRequest(codeInvalid, "Invalid input for operation: Requested subnet with cidr: %s for network: %s overlaps with another subnet.",
				n.CIDR, n.NetworkID)
		}
	}
	if err := s.reserve(ctx, tx, n.ProjectID, quotaSubnet, 1); err != nil {
		return err
	}
	net.SubnetIDs = append(net.SubnetIDs, n.ID)
	if err := s.casNetwork(ctx, tx, net); err != nil {
		return err
	}
	if err := insert(ctx, tx, n); err != nil {
		return err
	}
	if err := s.addToAutoPorts(ctx, tx, n); err != nil {
		return err
	}
	return s.ensureDHCP(ctx, tx, net, ch)
}

// Subnet returns a subnet that the caller may see.
func (s *Service) Subnet(ctx context.Context, c Caller, id string) (*Subnet, error) {
	return s.subnet(ctx, s.db, c, id)
}

// Subnets lists the subnets that the caller may see.
func (s *Service) Subnets(ctx context.Context, c Caller, q Query) ([]*Subnet, error) {
	return s.subnets(ctx, s.db, c, q)
}

// UpdateSubnet changes a subnet and returns it as it is then.
func (s *Service) UpdateSubnet(ctx context.Context, c Caller, id string, p SubnetPatch) (*Subnet, error) {
	var out *Subnet
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		n, err := s.subnet(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if p.Revision != nil && *p.Revision != n.RevisionNumber {
			return revisionConflict(*p.Revision, id)
		}
		if err := s.patchSubnet(ctx, tx, n, p); err != nil {
			return err
		}
		was := n.RevisionNumber
		n.RevisionNumber, n.UpdatedAt = was+1, s.clock.Now()
		if err := cas(ctx, tx, n, "subnet", id, was); err != nil {
			return err
		}
		out = n
		net, err := s.network(ctx, tx, internal, n.NetworkID)
		if err != nil {
			return err
		}
		return s.ensureDHCP(ctx, tx, net, ch)
	})
	return out, err
}

func (s *Service) patchSubnet(ctx context.Context, tx bun.Tx, n *Subnet, p SubnetPatch) error {
	set(&n.Name, p.Name)
	set(&n.Description, p.Description)
	set(&n.EnableDHCP, p.EnableDHCP)
	set(&n.DNSPublishFixedIP, p.DNSPublishFixedIP)
	if p.DNSNameservers != nil {
		n.DNSNameservers = *p.DNSNameservers
	}
	if p.HostRoutes != nil {
		n.HostRoutes = *p.HostRoutes
	}
	if p.ServiceTypes != nil {
		n.ServiceTypes = *p.ServiceTypes
	}
	if p.AllocationPools != nil {
		n.AllocationPools = *p.AllocationPools
	}
	if p.GatewaySet && !equalPtr(p.GatewayIP, n.GatewayIP) {
		if n.GatewayIP != nil {
			used, err := isRoutersAddress(ctx, tx, n.ID, *n.GatewayIP)
			if err != nil {
				return err
			}
			if used {
				return conflict("GatewayIpInUse", "Current gateway ip %s already in use by port. Unable to update.", *n.GatewayIP)
			}
		}
		n.GatewayIP = p.GatewayIP
	}
	return checkSubnet(n)
}

func equalPtr(a, b *string) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// DeleteSubnet removes a subnet that no port has an address of, but for those
// that Neutron made itself or whose address follows from the subnet.
func (s *Service) DeleteSubnet(ctx context.Context, c Caller, id string, revision *int64) error {
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		n, err := s.subnet(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if !c.Admin && n.ProjectID != c.ProjectID {
			return subnetNotFound(id)
		}
		if revision != nil && *revision != n.RevisionNumber {
			return revisionConflict(*revision, id)
		}
		if err := s.dropSubnetAddresses(ctx, tx, n, ch); err != nil {
			return err
		}
		net, err := s.network(ctx, tx, internal, n.NetworkID)
		if err != nil {
			return err
		}
		net.SubnetIDs = slices.DeleteFunc(net.SubnetIDs, func(s string) bool { return s == id })
		if err := s.casNetwork(ctx, tx, net); err != nil {
			return err
		}
		if err := removeRow(ctx, tx, "subnets", id, subnetNotFound); err != nil {
			if isForeignKey(err) {
				return subnetInUse(id)
			}
			return err
		}
		if err := release(ctx, tx, n.ProjectID, quotaSubnet); err != nil {
			return err
		}
		return s.ensureDHCP(ctx, tx, net, ch)
	})
}

func subnetInUse(id string) error {
	return conflict("SubnetInUse", "Unable to complete operation on subnet %s: One or more ports have an IP allocation from this subnet.", id)
}
