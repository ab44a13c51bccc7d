package neutron

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// portsForSync are the ports a sync is about: all of the host, or those named
// wherever they are.
func (s *Service) portsForSync(ctx context.Context, host string, portIDs []string, full bool) ([]*Port, error) {
	ports := []*Port{}
	q := s.db.NewSelect().Model(&ports).Order("id")
	switch {
	case full:
		q = q.Where("binding_host = ?", host)
	case len(portIDs) == 0:
		return ports, nil
	default:
		q = q.Where("id IN (?)", bun.List(portIDs))
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read ports of host %s: %w", host, err)
	}
	return ports, nil
}

// networksServedOn are the networks of the host's DHCP agent.
func (s *Service) networksServedOn(ctx context.Context, host string) ([]string, error) {
	var out []string
	err := s.db.NewSelect().TableExpr("network_agents na").Column("na.network_id").Join("JOIN agents a ON a.id = na.agent_id").
		Where("a.host = ? AND a.agent_type = ?", host, rpc.AgentDHCP).Scan(ctx, &out)
	return out, err
}

// networksPresentOn are those of the networks that have a port on the host.
func (s *Service) networksPresentOn(ctx context.Context, host string, networkIDs []string) ([]string, error) {
	var out []string
	if len(networkIDs) == 0 {
		return out, nil
	}
	err := s.db.NewSelect().Table("ports").ColumnExpr("DISTINCT network_id").
		Where("binding_host = ? AND network_id IN (?)", host, bun.List(networkIDs)).Scan(ctx, &out)
	return out, err
}

// routersForSync are the routers of the host's L3 agent: all, or those that
// are named or have a part in a named network.
func (s *Service) routersForSync(ctx context.Context, host string, only *rpc.Changed, full bool) ([]*Router, error) {
	out := []*Router{}
	q := s.db.NewSelect().Model(&out).Order("router.id").
		Where("router.id IN (SELECT ra.router_id FROM router_agents ra JOIN agents a ON a.id = ra.agent_id WHERE a.host = ? AND a.agent_type = ?)", host, rpc.AgentL3)
	if !full {
		if len(only.Routers)+len(only.Networks) == 0 {
			return out, nil
		}
		named, nets := append([]string{""}, only.Routers...), append([]string{""}, only.Networks...)
		q = q.Where("(router.id IN (?) OR router.gw_network_id IN (?) OR router.id IN (SELECT rp.router_id FROM router_ports rp WHERE rp.network_id IN (?)))",
			bun.List(named), bun.List(nets), bun.List(nets))
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read routers of host %s: %w", host, err)
	}
	return out, nil
}

func (s *Service) networksByID(ctx context.Context, networkIDs []string) ([]*Network, error) {
	out := []*Network{}
	if len(networkIDs) == 0 {
		return out, nil
	}
	if err := s.db.NewSelect().Model(&out).Where("id IN (?)", bun.List(networkIDs)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read networks: %w", err)
	}
	return out, nil
}

// routedSubnets are the subnets of networks that a router is on.
func (s *Service) routedSubnets(ctx context.Context, networkIDs []string) (map[string]bool, error) {
	out := map[string]bool{}
	if len(networkIDs) == 0 {
		return out, nil
	}
	var subnets []string
	err := s.db.NewSelect().Table("router_ports").Column("subnet_id").Where("network_id IN (?)", bun.List(networkIDs)).Scan(ctx, &subnets)
	for _, id := range subnets {
		out[id] = true
	}
	return out, err
}

// groupsOnHost are the groups that ports bound to the host have.
func (s *Service) groupsOnHost(ctx context.Context, host string) (map[string]bool, error) {
	var list []string
	err := s.db.NewSelect().TableExpr("port_security_groups g").ColumnExpr("DISTINCT g.security_group_id").
		Join("JOIN ports p ON p.id = g.port_id").Where("p.binding_host = ?", host).Scan(ctx, &list)
	out := map[string]bool{}
	for _, id := range list {
		out[id] = true
	}
	return out, err
}

// remoteGroups tells for each group which groups its rules name.
func (s *Service) remoteGroups(ctx context.Context, groupIDs []string) (map[string][]string, error) {
	out := map[string][]string{}
	if len(groupIDs) == 0 {
		return out, nil
	}
	rows, err := s.db.QueryContext(ctx, `SELECT DISTINCT security_group_id, remote_group_id FROM security_group_rules
		WHERE security_group_id IN (?) AND remote_group_id IS NOT NULL`, bun.List(groupIDs))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var group, remote string
		if err := rows.Scan(&group, &remote); err != nil {
			return nil, err
		}
		out[group] = append(out[group], remote)
	}
	return out, rows.Err()
}

func (s *Service) groupsByID(ctx context.Context, groupIDs []string) ([]*SecurityGroup, error) {
	groups := []*SecurityGroup{}
	if err := s.db.NewSelect().Model(&groups).Where("id IN (?)", bun.List(groupIDs)).Order("id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read security groups: %w", err)
	}
	return groups, s.loadRules(ctx, s.db, groups)
}

// groupMembers are the addresses of all ports in the groups, and those their
// ports may use besides.
func (s *Service) groupMembers(ctx context.Context, groups map[string]bool) (map[string][]string, error) {
	maps.DeleteFunc(groups, func(_ string, send bool) bool { return !send })
	out := map[string][]string{}
	if len(groups) == 0 {
		return out, nil
	}
	groupIDs := bun.List(slices.Sorted(maps.Keys(groups)))
	// Addresses come from the table of claims, row by row: a group may have
	// thousands, and this is read at each change of one.
	rows, err := s.db.QueryContext(ctx, `SELECT g.security_group_id, a.ip_address FROM port_security_groups g
		JOIN ip_allocations a ON a.port_id = g.port_id WHERE g.security_group_id IN (?) ORDER BY a.port_id`, groupIDs)
	if err != nil {
		return nil, fmt.Errorf("read members of security groups: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var group, ip string
		if err := rows.Scan(&group, &ip); err != nil {
			return nil, err
		}
		out[group] = append(out[group], ip)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return out, s.addMemberPairs(ctx, groups, out)
}

// addMemberPairs adds the addresses that members may use besides their own.
func (s *Service) addMemberPairs(ctx context.Context, groups map[string]bool, out map[string][]string) error {
	ports := []*Port{}
	err := s.db.NewSelect().Model(&ports).Column("id", "allowed_address_pairs", "security_groups").
		Where("allowed_address_pairs NOT IN ('[]', 'null', '')").
		Where("id IN (SELECT g.port_id FROM port_security_groups g WHERE g.security_group_id IN (?))", bun.List(slices.Sorted(maps.Keys(groups)))).
		Order("id").Scan(ctx)
	if err != nil {
		return fmt.Errorf("read address pairs of security groups: %w", err)
	}
	for _, p := range ports {
		for _, g := range p.SecurityGroups {
			if !groups[g] {
				continue
			}
			for _, a := range p.AllowedAddressPairs {
				out[g] = append(out[g], a.IP)
			}
		}
	}
	return nil
}

// tunnels are the tunnel addresses of the hosts.
func (s *Service) tunnels(ctx context.Context) (map[string]string, error) {
	return s.pairs(ctx, "SELECT host, tunnel_ip FROM agents WHERE agent_type = ? AND tunnel_ip <> ''", rpc.AgentL2)
}

func (s *Service) portsElsewhere(ctx context.Context, host string, networkIDs []string) ([]*Port, error) {
	ports := []*Port{}
	err := s.db.NewSelect().Model(&ports).Column("id", "network_id", "mac_address", "fixed_ips", "binding_host", "device_owner", "port_security_enabled", "allowed_address_pairs").
		Where("network_id IN (?) AND binding_host NOT IN ('', ?) AND vif_type = ?", bun.List(networkIDs), host, vifBridge).
		Order("id").Scan(ctx)
	return ports, err
}

func (s *Service) portsOfRouters(ctx context.Context, routerIDs []string) ([]*Port, error) {
	ports := []*Port{}
	if len(routerIDs) == 0 {
		return ports, nil
	}
	err := s.db.NewSelect().Model(&ports).Where("device_id IN (?)", bun.List(routerIDs)).
		Where("device_owner IN (?)", bun.List([]string{ownerRouter, ownerGateway})).Order("id").Scan(ctx)
	return ports, err
}

// portsOnNetworks reads of every port of the networks what a DHCP server needs,
// which leaves out most of a row: a large network is read at each change.
func (s *Service) portsOnNetworks(ctx context.Context, networkIDs []string) ([]*Port, error) {
	ports := []*Port{}
	err := s.db.NewSelect().Model(&ports).
		Column("id", "network_id", "mac_address", "dns_name", "device_owner", "binding_host", "fixed_ips", "extra_dhcp_opts").
		Where("network_id IN (?)", bun.List(networkIDs)).
		Where("device_owner NOT IN (?)", bun.List([]string{ownerDHCP, ownerGateway, ownerFloatingIP})).Order("id").Scan(ctx)
	return ports, err
}

// dhcpPortsOn are the ports of a host's DHCP servers for networks.
func (s *Service) dhcpPortsOn(ctx context.Context, host string, networkIDs []string) ([]*Port, error) {
	ports := []*Port{}
	err := s.db.NewSelect().Model(&ports).Where("binding_host = ? AND device_owner = ?", host, ownerDHCP).
		Where("network_id IN (?)", bun.List(networkIDs)).Scan(ctx)
	return ports, err
}

func (s *Service) floatingIPsOfRouters(ctx context.Context, routerIDs []string) ([]*FloatingIP, error) {
	fips := []*FloatingIP{}
	err := s.db.NewSelect().Model(&fips).Where("router_id IN (?)", bun.List(routerIDs)).Order("id").Scan(ctx)
	return fips, err
}
