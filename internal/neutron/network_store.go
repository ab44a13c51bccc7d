package neutron

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

func networkColumns() columns {
	return standardColumns(columns{
		"status":                    {name: "status"},
		"admin_state_up":            {name: "admin_state_up", kind: colBool},
		"router:external":           {name: "external", kind: colBool},
		"is_default":                {name: "is_default", kind: colBool},
		"mtu":                       {name: "mtu", kind: colInt},
		"port_security_enabled":     {name: "port_security_enabled", kind: colBool},
		"vlan_transparent":          {name: "vlan_transparent", kind: colBool},
		"dns_domain":                {name: "dns_domain"},
		"provider:network_type":     {name: "network_type"},
		"provider:physical_network": {name: "physical_network"},
		"provider:segmentation_id":  {name: "segmentation_id", kind: colInt},
		"shared":                    {kind: colSpecial, apply: filterShared},
	})
}

func filterShared(q *bun.SelectQuery, values []string) (*bun.SelectQuery, error) {
	const any = "EXISTS (SELECT 1 FROM rbac_policies r WHERE r.object_id = network.id AND r.action = 'access_as_shared' AND r.target_project = '*')"
	for _, v := range values {
		shared, err := parseBool(v)
		if err != nil {
			return nil, badRequest(codeInvalid, "Invalid input for operation: '%s' is not a valid boolean value.", v)
		}
		if shared {
			q = q.Where(any)
		} else {
			q = q.Where("NOT " + any)
		}
	}
	return q, nil
}

// selectNetworks reads networks with Shared as the caller sees it, narrowed to
// those that are the caller's own or opened to its project.
func (s *Service) selectNetworks(idb bun.IDB, c Caller, model any) *bun.SelectQuery {
	q := idb.NewSelect().Model(model).ColumnExpr("network.*").
		ColumnExpr(`EXISTS (SELECT 1 FROM rbac_policies r WHERE r.object_id = network.id
			AND r.action = 'access_as_shared' AND r.target_project IN ('*', ?)) AS shared`, c.ProjectID)
	if !c.Admin {
		q = q.Where(`(network.project_id = ? OR EXISTS (SELECT 1 FROM rbac_policies r
			WHERE r.object_id = network.id AND r.target_project IN ('*', ?)))`, c.ProjectID, c.ProjectID)
	}
	return q
}

func (s *Service) network(ctx context.Context, idb bun.IDB, c Caller, id string) (*Network, error) {
	n := new(Network)
	err := s.selectNetworks(idb, c, n).Where("network.id = ?", id).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, networkNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read network %s: %w", id, err)
	}
	return n, nil
}

func (s *Service) networks(ctx context.Context, idb bun.IDB, c Caller, query Query) ([]*Network, error) {
	nets := []*Network{}
	q, err := s.selection(ctx, idb, s.selectNetworks(idb, c, &nets), Networks, query)
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	return nets, nil
}

// casNetwork writes a changed network if nobody changed it meanwhile.
func (s *Service) casNetwork(ctx context.Context, tx bun.Tx, n *Network) error {
	was := n.RevisionNumber
	n.RevisionNumber, n.UpdatedAt = was+1, s.clock.Now()
	return cas(ctx, tx, n, "network", n.ID, was)
}

// cas updates a row by its id and the revision that was read.
func cas(ctx context.Context, tx bun.Tx, row any, what, id string, was int64) error {
	res, err := tx.NewUpdate().Model(row).WherePK().Where("revision_number = ?", was).Exec(ctx)
	if err != nil {
		return fmt.Errorf("update %s %s: %w", what, id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return errStale
}

func exists(ctx context.Context, idb bun.IDB, query string, args ...any) (bool, error) {
	var one int
	err := idb.QueryRowContext(ctx, query, args...).Scan(&one)
	if db.IsNoRows(err) {
		return false, nil
	}
	return err == nil, err
}

// allocateSegment gives a network its segment: the one it asks for, or a free
// one of its type. The table's key decides between two that ask at once.
func (s *Service) allocateSegment(ctx context.Context, tx bun.Tx, n *Network) error {
	take := func(id int) error {
		_, err := exec(ctx, tx, `INSERT INTO segments (network_type, physical_network, segmentation_id, network_id)
			VALUES (?, ?, ?, ?)`, n.Type, n.PhysicalNetwork, id, n.ID)
		if err == nil {
			n.SegmentationID = id
		}
		return err
	}
	if n.Type == typeLocal {
		return nil
	}
	lo, hi := s.cfg.VNIMin, s.cfg.VNIMax
	switch n.Type {
	case typeFlat:
		err := take(0)
		if db.IsDuplicate(err) {
			return conflict("FlatNetworkInUse", "Unable to create the flat network. Physical network %s is in use.", n.PhysicalNetwork)
		}
		return err
	case typeVLAN:
		r := s.cfg.VLANRanges[n.PhysicalNetwork]
		lo, hi = r.Min, r.Max
	}
	if n.SegmentationID != 0 {
		return s.takeGivenSegment(n, lo, hi, take)
	}
	for range 16 {
		err := take(lo + rand.IntN(hi-lo+1))
		if !db.IsDuplicate(err) {
			return err
		}
	}
	return s.scanSegments(ctx, tx, n, lo, hi, take)
}

func (s *Service) takeGivenSegment(n *Network, lo, hi int, take func(int) error) error {
	if n.Type == typeVLAN {
		lo, hi = 1, 4094
	}
	if n.SegmentationID < lo || n.SegmentationID > hi {
		return invalid("segmentation_id out of range (%d through %d)", lo, hi)
	}
	err := take(n.SegmentationID)
	if db.IsDuplicate(err) {
		if n.Type == typeVLAN {
			return conflict("VlanIdInUse", "Unable to create the network. The VLAN %d on physical network %s is in use.",
				n.SegmentationID, n.PhysicalNetwork)
		}
		return conflict("TunnelIdInUse", "Unable to create the network. The tunnel ID %d is in use.", n.SegmentationID)
	}
	return err
}

// scanSegments finds a free segment when guessing did not: the range is small
// or nearly full.
func (s *Service) scanSegments(ctx context.Context, tx bun.Tx, n *Network, lo, hi int, take func(int) error) error {
	var used []int
	err := tx.NewSelect().Table("segments").Column("segmentation_id").
		Where("network_type = ? AND physical_network = ?", n.Type, n.PhysicalNetwork).Scan(ctx, &used)
	if err != nil {
		return fmt.Errorf("read segments: %w", err)
	}
	taken := make(map[int]bool, len(used))
	for _, u := range used {
		taken[u] = true
	}
	for id := lo; id <= hi; id++ {
		if taken[id] {
			continue
		}
		if err := take(id); !db.IsDuplicate(err) {
			return err
		}
	}
	return conflict("NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation.")
}

// deleteNetworkRows removes a network and all that only exists through it.
func (s *Service) deleteNetworkRows(ctx context.Context, tx bun.Tx, n *Network, ch *change) error {
	var ports []string
	if err := tx.NewSelect().Table("ports").Column("id").Where("network_id = ?", n.ID).Scan(ctx, &ports); err != nil {
		return err
	}
	ch.ports = append(ch.ports, ports...)
	if len(ports) > 0 {
		if err := s.deletePortRows(ctx, tx, n.ID, ports); err != nil {
			return err
		}
	}
	var owners []string
	if err := tx.NewSelect().Table("subnets").Column("project_id").Where("network_id = ?", n.ID).Scan(ctx, &owners); err != nil {
		return err
	}
	for _, owner := range owners {
		if err := release(ctx, tx, owner, quotaSubnet); err != nil {
			return err
		}
	}
	for _, q := range []string{
		"DELETE FROM ip_allocations WHERE network_id = ?",
		"DELETE FROM subnets WHERE network_id = ?",
		"DELETE FROM segments WHERE network_id = ?",
		"DELETE FROM network_agents WHERE network_id = ?",
		"DELETE FROM rbac_policies WHERE object_id = ?",
		"DELETE FROM networks WHERE id = ?",
	} {
		if _, err := exec(ctx, tx, q, n.ID); err != nil {
			return err
		}
	}
	return release(ctx, tx, n.ProjectID, quotaNetwork)
}

// servesOutside tells whether a gateway or a floating IP is on the network.
func servesOutside(ctx context.Context, tx bun.Tx, networkID string) (bool, error) {
	return exists(ctx, tx, "SELECT 1 FROM ports WHERE network_id = ? AND device_owner IN (?, ?) LIMIT 1",
		networkID, ownerGateway, ownerFloatingIP)
}

// hasForeignPorts tells whether anybody but Neutron's DHCP is on the network.
func hasForeignPorts(ctx context.Context, tx bun.Tx, networkID string) (bool, error) {
	return exists(ctx, tx, "SELECT 1 FROM ports WHERE network_id = ? AND device_owner <> ? LIMIT 1", networkID, ownerDHCP)
}
