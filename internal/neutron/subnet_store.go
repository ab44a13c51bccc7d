package neutron

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

func subnetColumns() columns {
	return standardColumns(columns{
		"network_id":        {name: "network_id"},
		"ip_version":        {name: "ip_version", kind: colInt},
		"cidr":              {name: "cidr"},
		"gateway_ip":        {name: "gateway_ip", null: true},
		"enable_dhcp":       {name: "enable_dhcp", kind: colBool},
		"ipv6_ra_mode":      {name: "ipv6_ra_mode", null: true},
		"ipv6_address_mode": {name: "ipv6_address_mode", null: true},
		"subnetpool_id":     {name: "subnetpool_id", null: true},
		"segment_id":        {kind: colSpecial, apply: nothing},
		"shared": {kind: colSpecial, apply: func(q *bun.SelectQuery, values []string) (*bun.SelectQuery, error) {
			shared, err := parseBool(values[0])
			if err != nil {
				return nil, badRequest(codeInvalid, "Invalid input for operation: '%s' is not a valid boolean value.", values[0])
			}
			const cond = "EXISTS (SELECT 1 FROM rbac_policies r WHERE r.object_id = subnet.network_id AND r.action = 'access_as_shared' AND r.target_project = '*')"
			if shared {
				return q.Where(cond), nil
			}
			return q.Where("NOT " + cond), nil
		}},
	})
}

// nothing is the filter of attributes that are empty in every row: a filter
// for a value finds no row.
func nothing(q *bun.SelectQuery, values []string) (*bun.SelectQuery, error) {
	if slices.Equal(values, []string{""}) || slices.Equal(values, []string{"None"}) {
		return q, nil
	}
	return q.Where("1 = 0"), nil
}

// selectSubnets reads subnets narrowed to those of the caller's project and of
// networks that are open to it.
func (s *Service) selectSubnets(idb bun.IDB, c Caller, model any) *bun.SelectQuery {
	q := idb.NewSelect().Model(model).ColumnExpr("subnet.*").
		ColumnExpr("COALESCE((SELECT n.external FROM networks n WHERE n.id = subnet.network_id), 0) AS external")
	if !c.Admin {
		q = q.Where(`(subnet.project_id = ? OR EXISTS (SELECT 1 FROM networks n WHERE n.id = subnet.network_id AND n.project_id = ?)
			OR EXISTS (SELECT 1 FROM rbac_policies r WHERE r.object_id = subnet.network_id AND r.target_project IN ('*', ?)))`,
			c.ProjectID, c.ProjectID, c.ProjectID)
	}
	return q
}

func (s *Service) subnet(ctx context.Context, idb bun.IDB, c Caller, id string) (*Subnet, error) {
	n := new(Subnet)
	err := s.selectSubnets(idb, c, n).Where("subnet.id = ?", id).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, subnetNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read subnet %s: %w", id, err)
	}
	return n, nil
}

func (s *Service) subnets(ctx context.Context, idb bun.IDB, c Caller, query Query) ([]*Subnet, error) {
	out := []*Subnet{}
	q, err := s.selection(ctx, idb, s.selectSubnets(idb, c, &out), Subnets, query)
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list subnets: %w", err)
	}
	return out, nil
}

// subnetsOf reads the subnets of networks, for the service itself.
func (s *Service) subnetsOf(ctx context.Context, idb bun.IDB, networkIDs ...string) ([]*Subnet, error) {
	out := []*Subnet{}
	if len(networkIDs) == 0 {
		return out, nil
	}
	if err := idb.NewSelect().Model(&out).Where("network_id IN (?)", bun.List(networkIDs)).Order("id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read subnets: %w", err)
	}
	return out, nil
}

// dropSubnetAddresses takes the addresses of a subnet from the ports that lose
// them with it, and refuses if any other port has one.
func (s *Service) dropSubnetAddresses(ctx context.Context, tx bun.Tx, n *Subnet, ch *change) error {
	ports := []*Port{}
	err := tx.NewSelect().Model(&ports).
		Where("id IN (SELECT a.port_id FROM ip_allocations a WHERE a.subnet_id = ?)", n.ID).Scan(ctx)
	if err != nil {
		return fmt.Errorf("read ports of subnet %s: %w", n.ID, err)
	}
	for _, p := range ports {
		if p.DeviceOwner != ownerDHCP && (!n.autoAddressed() || isRouterPort(p.DeviceOwner)) {
			return subnetInUse(n.ID)
		}
	}
	for _, p := range ports {
		p.FixedIPs = slices.DeleteFunc(p.FixedIPs, func(f FixedIP) bool { return f.SubnetID == n.ID })
		if err := s.casPort(ctx, tx, p); err != nil {
			return err
		}
		ch.ports = append(ch.ports, p.ID)
	}
	_, err = exec(ctx, tx, "DELETE FROM ip_allocations WHERE subnet_id = ?", n.ID)
	return err
}

// isRoutersAddress tells whether a router's interface has the address.
func isRoutersAddress(ctx context.Context, tx bun.Tx, subnetID, ip string) (bool, error) {
	return exists(ctx, tx, `SELECT 1 FROM ip_allocations a JOIN router_ports r ON r.port_id = a.port_id
		WHERE a.subnet_id = ? AND a.ip_address = ? LIMIT 1`, subnetID, ip)
}
