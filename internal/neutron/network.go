package neutron

import (
	"context"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

const (
	typeVXLAN = rpc.TypeVXLAN
	typeVLAN  = rpc.TypeVLAN
	typeFlat  = rpc.TypeFlat
	typeLocal = rpc.TypeLocal

	vxlanOverhead = 50
)

// A Network is one layer-2 segment and the subnets on it.
type Network struct {
	bun.BaseModel `bun:"table:networks"`
	Standard

	Name                  string `bun:"name"`
	Status                string `bun:"status"`
	AdminStateUp          bool   `bun:"admin_state_up"`
	External              bool   `bun:"external"`
	IsDefault             bool   `bun:"is_default"`
	MTU                   int    `bun:"mtu"`
	PortSecurityEnabled   bool   `bun:"port_security_enabled"`
	VLANTransparent       bool   `bun:"vlan_transparent"`
	DNSDomain             string `bun:"dns_domain"`
	Type                  string `bun:"network_type"`
	PhysicalNetwork       string `bun:"physical_network"`
	SegmentationID        int    `bun:"segmentation_id"`
	AvailabilityZoneHints Lines  `bun:"availability_zone_hints"`
	SubnetIDs             Lines  `bun:"subnet_ids"`

	// Shared tells that the caller may use the network because an RBAC policy
	// says so; it is computed for each caller.
	Shared bool `bun:"shared,scanonly"`
}

// A NetworkPatch holds the attributes of a network to change; nil leaves one.
type NetworkPatch struct {
	Name, Description, DNSDomain                              *string
	AdminStateUp, Shared, External, IsDefault, PortSecurityOn *bool
	MTU                                                       *int
	Revision                                                  *int64 // If-Match
}

// CreateNetworks adds networks, all or none. Empty provider attributes are
// chosen: the tenant type and a free segment.
func (s *Service) CreateNetworks(ctx context.Context, c Caller, nets []*Network) error {
	now := s.clock.Now()
	for _, n := range nets {
		n.ID, n.Status, n.RevisionNumber, n.CreatedAt, n.UpdatedAt = newID(n.ID), "ACTIVE", 1, now, now
		n.SubnetIDs, n.Tags = Lines{}, sortedSet(n.Tags)
		if err := s.checkNetwork(n); err != nil {
			return err
		}
	}
	wanted := make([]int, len(nets))
	for i, n := range nets {
		wanted[i] = n.SegmentationID
	}
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		for i, n := range nets {
			n.SegmentationID = wanted[i] // as asked, whatever an earlier try chose
			if err := s.reserve(ctx, tx, n.ProjectID, quotaNetwork, 1); err != nil {
				return err
			}
			if err := s.allocateSegment(ctx, tx, n); err != nil {
				return err
			}
			if err := insert(ctx, tx, n); err != nil {
				return err
			}
			if err := s.setSharing(ctx, tx, n, actionShared, n.Shared); err != nil {
				return err
			}
			if err := s.setSharing(ctx, tx, n, actionExternal, n.External); err != nil {
				return err
			}
			ch.networks = append(ch.networks, n.ID)
		}
		return nil
	})
}

func (s *Service) checkNetwork(n *Network) error {
	if n.Type == "" {
		if n.PhysicalNetwork != "" || n.SegmentationID != 0 {
			return invalid("network_type required")
		}
		n.Type = s.cfg.TenantNetworkType
	}
	switch n.Type {
	case typeVXLAN, typeLocal:
		if n.PhysicalNetwork != "" {
			return invalid("provider:physical_network specified for %s network", n.Type)
		}
	case typeFlat:
		if n.SegmentationID != 0 {
			return invalid("segmentation_id specified for flat network")
		}
		if n.PhysicalNetwork == "" {
			return invalid("physical_network required for flat provider network")
		}
		if !slices.Contains(s.cfg.FlatNetworks, n.PhysicalNetwork) && !slices.Contains(s.cfg.FlatNetworks, "*") {
			return invalid("unknown physical_network '%s' for flat provider network", n.PhysicalNetwork)
		}
	case typeVLAN:
		if _, ok := s.cfg.VLANRanges[n.PhysicalNetwork]; !ok {
			return invalid("physical_network '%s' unknown for VLAN provider network", n.PhysicalNetwork)
		}
	default:
		return invalid("network_type value '%s' not supported", n.Type)
	}
	limit := s.cfg.MTU
	if n.Type == typeVXLAN {
		limit -= vxlanOverhead
	}
	switch {
	case n.MTU == 0:
		n.MTU = limit
	case n.MTU < 68 || n.MTU > limit:
		return badRequest("InvalidInput", "Invalid input for operation: Requested MTU is too big, maximum is %d.", limit)
	}
	return nil
}

// Network returns a network that the caller may see.
func (s *Service) Network(ctx context.Context, c Caller, id string) (*Network, error) {
	return s.network(ctx, s.db, c, id)
}

// Networks lists the networks that the caller may see.
func (s *Service) Networks(ctx context.Context, c Caller, q Query) ([]*Network, error) {
	return s.networks(ctx, s.db, c, q)
}

// UpdateNetwork changes a network and returns it as it is then.
func (s *Service) UpdateNetwork(ctx context.Context, c Caller, id string, p NetworkPatch) (*Network, error) {
	var out *Network
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		n, err := s.network(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if p.Revision != nil && *p.Revision != n.RevisionNumber {
			return revisionConflict(*p.Revision, id)
		}
		if err := s.patchNetwork(ctx, tx, n, p); err != nil {
			return err
		}
		if err := s.casNetwork(ctx, tx, n); err != nil {
			return err
		}
		ch.networks = append(ch.networks, n.ID)
		out = n
		return nil
	})
	return out, err
}

func (s *Service) patchNetwork(ctx context.Context, tx bun.Tx, n *Network, p NetworkPatch) error {
	set(&n.Name, p.Name)
	set(&n.Description, p.Description)
	set(&n.DNSDomain, p.DNSDomain)
	set(&n.AdminStateUp, p.AdminStateUp)
	set(&n.IsDefault, p.IsDefault)
	set(&n.PortSecurityEnabled, p.PortSecurityOn)
	if p.MTU != nil {
		n.MTU = *p.MTU
		if err := s.checkNetwork(n); err != nil {
			return err
		}
	}
	if p.External != nil && *p.External != n.External {
		if err := s.changeExternal(ctx, tx, n, *p.External); err != nil {
			return err
		}
	}
	if p.Shared != nil {
		if !*p.Shared {
			if err := s.checkUnshare(ctx, tx, n, "*"); err != nil {
				return err
			}
		}
		n.Shared = *p.Shared
		return s.setSharing(ctx, tx, n, actionShared, *p.Shared)
	}
	return nil
}

func (s *Service) changeExternal(ctx context.Context, tx bun.Tx, n *Network, external bool) error {
	if !external {
		used, err := servesOutside(ctx, tx, n.ID)
		if err != nil {
			return err
		}
		if used {
			return conflict("ExternalNetworkInUse",
				"External network %s cannot be updated to be made non-external, since it has existing gateway ports.", n.ID)
		}
	}
	n.External = external
	return s.setSharing(ctx, tx, n, actionExternal, external)
}

// DeleteNetwork removes a network with its subnets. Ports that Neutron made
// for itself go with it, any other keeps it.
func (s *Service) DeleteNetwork(ctx context.Context, c Caller, id string, revision *int64) error {
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		n, err := s.network(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if revision != nil && *revision != n.RevisionNumber {
			return revisionConflict(*revision, id)
		}
		if err := s.casNetwork(ctx, tx, n); err != nil { // one deletes it, and its subnets stay as they are
			return err
		}
		used, err := hasForeignPorts(ctx, tx, id)
		if err != nil {
			return err
		}
		if used {
			return networkInUse(id)
		}
		if err := s.deleteNetworkRows(ctx, tx, n, ch); err != nil {
			if isForeignKey(err) {
				return networkInUse(id)
			}
			return err
		}
		ch.networks = append(ch.networks, id)
		return nil
	})
}

func networkInUse(id string) error {
	return conflict("NetworkInUse", "Unable to complete operation on network %s. There are one or more ports still in use on the network.", id)
}

// usableBy tells whether a project may put ports on the network: its owner,
// those it is shared with, and administrators.
func (n *Network) usableBy(c Caller) error {
	if c.Admin || n.ProjectID == c.ProjectID || n.Shared {
		return nil
	}
	return fault.New(fault.Forbidden, "Tenant %s not allowed to create port on this network", c.ProjectID).WithCode("NotAuthorized")
}

// set copies a value that is given.
func set[T any](dst *T, src *T) {
	if src != nil {
		*dst = *src
	}
}
