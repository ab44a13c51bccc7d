package neutron

import (
	"context"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

func portColumns() columns {
	return standardColumns(columns{
		"network_id":              {name: "network_id"},
		"mac_address":             {name: "mac_address"},
		"admin_state_up":          {name: "admin_state_up", kind: colBool},
		"status":                  {name: "status"},
		"device_id":               {name: "device_id"},
		"device_owner":            {name: "device_owner"},
		"port_security_enabled":   {name: "port_security_enabled", kind: colBool},
		"propagate_uplink_status": {name: "propagate_uplink_status", kind: colBool},
		"dns_name":                {name: "dns_name"},
		"dns_domain":              {name: "dns_domain"},
		"binding:host_id":         {name: "binding_host"},
		"binding:vif_type":        {name: "vif_type"},
		"binding:vnic_type":       {name: "vnic_type"},
		"fixed_ips":               {kind: colSpecial, apply: filterFixedIPs},
		"security_groups":         {kind: colSpecial, apply: filterGroups},
		"security_groups_id":      {kind: colSpecial, apply: filterGroups},
		"qos_policy_id":           {kind: colSpecial, apply: nothing},
		"ip_allocation":           {kind: colSpecial, apply: func(q *bun.SelectQuery, _ []string) (*bun.SelectQuery, error) { return q, nil }},
	})
}

// filterFixedIPs takes values as "ip_address=10.0.0.3" or "subnet_id=<id>";
// values of one key are alternatives, the two keys narrow each other.
func filterFixedIPs(q *bun.SelectQuery, values []string) (*bun.SelectQuery, error) {
	keys := map[string][]string{}
	for _, v := range values {
		k, val, ok := strings.Cut(v, "=")
		if !ok || k != "ip_address" && k != "subnet_id" && k != "ip_address_substr" {
			return nil, badRequest(codeInvalid, "Invalid input for operation: fixed_ips filter '%s' is not valid.", v)
		}
		keys[k] = append(keys[k], val)
	}
	conds := []string{"1 = 1"}
	var args []any
	for _, k := range []string{"subnet_id", "ip_address"} {
		if vals := keys[k]; len(vals) > 0 {
			conds = append(conds, "a."+k+" IN (?)")
			args = append(args, bun.List(vals))
		}
	}
	if parts := keys["ip_address_substr"]; len(parts) > 0 {
		var any []string
		for _, v := range parts {
			any = append(any, "INSTR(a.ip_address, ?) > 0")
			args = append(args, v)
		}
		conds = append(conds, "("+strings.Join(any, " OR ")+")")
	}
	sub := "SELECT a.port_id FROM ip_allocations a WHERE " + strings.Join(conds, " AND ")
	return q.Where("port.id IN ("+sub+")", args...), nil
}

func filterGroups(q *bun.SelectQuery, values []string) (*bun.SelectQuery, error) {
	return q.Where("port.id IN (SELECT g.port_id FROM port_security_groups g WHERE g.security_group_id IN (?))", bun.List(values)), nil
}

// selectPorts reads ports narrowed to the caller's project and to networks
// that the project owns.
func selectPorts(idb bun.IDB, c Caller, model any) *bun.SelectQuery {
	q := idb.NewSelect().Model(model)
	if !c.Admin {
		q = q.Where("(port.project_id = ? OR port.network_id IN (SELECT n.id FROM networks n WHERE n.project_id = ?))", c.ProjectID, c.ProjectID)
	}
	return q
}

func (s *Service) port(ctx context.Context, idb bun.IDB, c Caller, id string) (*Port, error) {
	p := new(Port)
	err := selectPorts(idb, c, p).Where("port.id = ?", id).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, portNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read port %s: %w", id, err)
	}
	return p, nil
}

func (s *Service) ports(ctx context.Context, idb bun.IDB, c Caller, query Query) ([]*Port, error) {
	out := []*Port{}
	q, err := s.selection(ctx, idb, selectPorts(idb, c, &out), Ports, query)
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list ports: %w", err)
	}
	return out, nil
}

// casPort writes a changed port if nobody changed it meanwhile.
func (s *Service) casPort(ctx context.Context, tx bun.Tx, p *Port) error {
	was := p.RevisionNumber
	p.RevisionNumber, p.UpdatedAt = was+1, s.clock.Now()
	return cas(ctx, tx, p, "port", p.ID, was)
}

// linkGroups writes which groups a port has, beside the list in its row.
func (s *Service) linkGroups(ctx context.Context, tx bun.Tx, p *Port) error {
	if len(p.SecurityGroups) == 0 {
		return nil
	}
	args := make([]any, 0, 2*len(p.SecurityGroups))
	for _, g := range p.SecurityGroups {
		args = append(args, p.ID, g)
	}
	query := "INSERT INTO port_security_groups (port_id, security_group_id) VALUES " +
		strings.TrimSuffix(strings.Repeat("(?, ?), ", len(p.SecurityGroups)), ", ")
	_, err := exec(ctx, tx, query, args...)
	return err
}

func unlinkGroups(ctx context.Context, tx bun.Tx, portID string) error {
	_, err := exec(ctx, tx, "DELETE FROM port_security_groups WHERE port_id = ?", portID)
	return err
}

// deletePortRows removes ports of one network with all that hangs on them.
func (s *Service) deletePortRows(ctx context.Context, tx bun.Tx, networkID string, portIDs []string) error {
	var owners []string
	if err := tx.NewSelect().Table("ports").Column("project_id").Where("id IN (?)", bun.List(portIDs)).Scan(ctx, &owners); err != nil {
		return err
	}
	gone := int64(0) // of the last, the ports
	for _, q := range []string{
		"DELETE FROM port_security_groups WHERE port_id IN (?)",
		"DELETE FROM ip_allocations WHERE port_id IN (?)",
		"DELETE FROM ports WHERE id IN (?)",
	} {
		var err error
		if gone, err = exec(ctx, tx, q, bun.List(portIDs)); err != nil {
			return fmt.Errorf("delete ports of network %s: %w", networkID, err)
		}
	}
	if gone != int64(len(portIDs)) { // another has deleted one meanwhile, and released its quota
		return errStale
	}
	for _, owner := range owners {
		if owner == "" {
			continue
		}
		if err := release(ctx, tx, owner, quotaPort); err != nil {
			return err
		}
	}
	return nil
}

// isDeviceOfOthers tells whether a port's device has ports of another project,
// or is another project's router.
func isDeviceOfOthers(ctx context.Context, tx bun.Tx, p *Port) (bool, error) {
	for _, q := range []string{
		"SELECT 1 FROM ports WHERE device_id = ? AND project_id <> ? LIMIT 1",
		"SELECT 1 FROM routers WHERE id = ? AND project_id <> ?",
	} {
		if foreign, err := exists(ctx, tx, q, p.DeviceID, p.ProjectID); err != nil || foreign {
			return foreign, err
		}
	}
	return false, nil
}

// hasFloatingIP tells whether a floating IP stands for a port's address.
func hasFloatingIP(ctx context.Context, tx bun.Tx, portID, ip string) (bool, error) {
	return exists(ctx, tx, "SELECT 1 FROM floatingips WHERE port_id = ? AND fixed_ip_address = ? LIMIT 1", portID, ip)
}

// portsForStatus reads of the ports what a report about them needs.
func portsForStatus(ctx context.Context, tx bun.Tx, portIDs []string) ([]*Port, error) {
	ports := []*Port{}
	err := tx.NewSelect().Model(&ports).Column("id", "status", "admin_state_up", "device_id", "device_owner", "binding_host").
		Where("id IN (?)", bun.List(portIDs)).Scan(ctx)
	return ports, err
}

// casPortStatus changes the status of a port that is still on the host and
// still has the status that was read.
func casPortStatus(ctx context.Context, tx bun.Tx, p *Port, status string) (bool, error) {
	n, err := exec(ctx, tx, "UPDATE ports SET status = ? WHERE id = ? AND binding_host = ? AND status = ?", status, p.ID, p.Host, p.Status)
	return n > 0, err
}
