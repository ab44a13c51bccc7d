package neutron

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// portsByAddress are the servers' ports with an address on a network or on the
// networks of a router.
func (s *Service) portsByAddress(ctx context.Context, args rpc.MetadataLookupArgs) ([]*Port, error) {
	ports := []*Port{}
	q := s.db.NewSelect().Model(&ports).Where("port.device_id <> '' AND port.device_owner NOT LIKE 'network:%'")
	if args.NetworkID != "" {
		q = q.Where("port.id IN (SELECT a.port_id FROM ip_allocations a WHERE a.network_id = ? AND a.ip_address = ?)", args.NetworkID, args.Address)
	} else {
		q = q.Where(`port.id IN (SELECT a.port_id FROM ip_allocations a JOIN router_ports rp ON rp.subnet_id = a.subnet_id
			WHERE rp.router_id = ? AND a.ip_address = ?)`, args.RouterID, args.Address)
	}
	if err := q.Limit(2).Scan(ctx); err != nil {
		return nil, fmt.Errorf("look up address %s: %w", args.Address, err)
	}
	return ports, nil
}

func (s *Service) routerHosts(ctx context.Context) (map[string]string, error) {
	return s.pairs(ctx, "SELECT ra.router_id, a.host FROM router_agents ra JOIN agents a ON a.id = ra.agent_id")
}

func (s *Service) pairs(ctx context.Context, query string, args ...any) (map[string]string, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]string{}
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, err
		}
		out[k] = v
	}
	return out, rows.Err()
}

// auditRows looks for rows that lost what they belong to.
func (s *Service) auditRows(ctx context.Context) ([]string, error) {
	checks := []struct{ what, query string }{
		{"address %s is held by port %s that does not exist",
			"SELECT a.ip_address, a.port_id FROM ip_allocations a WHERE NOT EXISTS (SELECT 1 FROM ports p WHERE p.id = a.port_id)"},
		{"security group of port %s: port does not exist (group %s)",
			"SELECT g.port_id, g.security_group_id FROM port_security_groups g WHERE NOT EXISTS (SELECT 1 FROM ports p WHERE p.id = g.port_id)"},
		{"interface of router %s: port %s does not exist",
			"SELECT rp.router_id, rp.port_id FROM router_ports rp WHERE NOT EXISTS (SELECT 1 FROM ports p WHERE p.id = rp.port_id)"},
		{"port %s serves router %s that does not exist",
			"SELECT p.id, p.device_id FROM ports p WHERE p.device_owner IN ('network:router_interface', 'network:router_gateway') AND NOT EXISTS (SELECT 1 FROM routers r WHERE r.id = p.device_id)"},
		{"port %s serves floating ip %s that does not exist",
			"SELECT p.id, p.device_id FROM ports p WHERE p.device_owner = 'network:floatingip' AND NOT EXISTS (SELECT 1 FROM floatingips f WHERE f.id = p.device_id)"},
		{"floating ip %s stands for port %s that does not exist",
			"SELECT f.id, f.port_id FROM floatingips f WHERE f.port_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ports p WHERE p.id = f.port_id)"},
		{"DHCP port %s is on host %s, whose agent does not serve its network",
			"SELECT p.id, p.binding_host FROM ports p WHERE p.device_owner = '" + ownerDHCP + "' AND p.device_id LIKE 'dhcp%' AND NOT EXISTS " +
				"(SELECT 1 FROM network_agents na JOIN agents a ON a.id = na.agent_id WHERE na.network_id = p.network_id AND a.host = p.binding_host)"},
		{"segment of network %s that does not exist (%s)",
			"SELECT s.network_id, s.network_type FROM segments s WHERE NOT EXISTS (SELECT 1 FROM networks n WHERE n.id = s.network_id)"},
	}
	for resource, table := range map[string]string{
		quotaNetwork: "networks", quotaSubnet: "subnets", quotaPort: "ports", quotaRouter: "routers",
		quotaFloatingIP: "floatingips", quotaSecurityGroup: "security_groups", quotaRule: "security_group_rules",
	} {
		checks = append(checks, struct{ what, query string }{
			"quota count of project %s for " + resource + " is off: %s",
			"SELECT u.project_id, CONCAT(u.used, '') FROM quota_usages u WHERE u.resource = '" + resource +
				"' AND u.used <> (SELECT COUNT(*) FROM " + table + " t WHERE t.project_id = u.project_id)",
		})
	}
	var out []string
	for _, c := range checks {
		found, err := s.pairs(ctx, c.query)
		if err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		for a, b := range found {
			out = append(out, fmt.Sprintf(c.what, a, b))
		}
	}
	return out, nil
}

// novaEvent is a row of nova_events.
type novaEvent struct {
	bun.BaseModel `bun:"table:nova_events"`

	ID        string `bun:"id,pk"`
	Name      string `bun:"name"`
	ServerID  string `bun:"server_id"`
	PortID    string `bun:"port_id"`
	Status    string `bun:"status"`
	Attempts  int    `bun:"attempts"`
	DueAt     Time   `bun:"due_at"`
	CreatedAt Time   `bun:"created_at"`
}

func setRouterStatus(ctx context.Context, tx bun.Tx, id, status string) error {
	_, err := exec(ctx, tx, "UPDATE routers SET status = ? WHERE id = ? AND status <> ?", status, id, status)
	return err
}

// setFloatingStatus changes the status of a floating IP that is still on the
// router that the report is of.
func setFloatingStatus(ctx context.Context, tx bun.Tx, id, routerID, status string) error {
	_, err := exec(ctx, tx, "UPDATE floatingips SET status = ? WHERE id = ? AND router_id = ? AND status <> ?", status, id, routerID, status)
	return err
}
