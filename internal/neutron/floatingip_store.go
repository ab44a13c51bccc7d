package neutron

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

func floatingIPColumns() columns {
	c := standardColumns(columns{
		"floating_network_id": {name: "floating_network_id"},
		"floating_ip_address": {name: "floating_ip_address"},
		"fixed_ip_address":    {name: "fixed_ip_address", null: true},
		"port_id":             {name: "port_id", null: true},
		"router_id":           {name: "router_id", null: true},
		"status":              {name: "status"},
		"dns_name":            {name: "dns_name"},
		"dns_domain":          {name: "dns_domain"},
	})
	delete(c, "name")
	return c
}

func (s *Service) floatingIP(ctx context.Context, idb bun.IDB, c Caller, id string) (*FloatingIP, error) {
	f := new(FloatingIP)
	err := visible(idb.NewSelect().Model(f).Where("id = ?", id), c).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, floatingIPNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read floating ip %s: %w", id, err)
	}
	return f, nil
}

func (s *Service) floatingIPs(ctx context.Context, idb bun.IDB, c Caller, query Query) ([]*FloatingIP, error) {
	out := []*FloatingIP{}
	q, err := s.selection(ctx, idb, visible(idb.NewSelect().Model(&out), c), FloatingIPs, query)
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list floating ips: %w", err)
	}
	return out, nil
}

// loadFloatingPorts reads the ports that floating IPs stand for, all at once.
func (s *Service) loadFloatingPorts(ctx context.Context, fips []*FloatingIP) error {
	var portIDs []string
	for _, f := range fips {
		if f.PortID != nil {
			portIDs = append(portIDs, *f.PortID)
		}
	}
	if len(portIDs) == 0 {
		return nil
	}
	ports := []*Port{}
	if err := s.db.NewSelect().Model(&ports).Where("id IN (?)", bun.List(portIDs)).Scan(ctx); err != nil {
		return fmt.Errorf("read ports of floating ips: %w", err)
	}
	byID := map[string]*Port{}
	for _, p := range ports {
		byID[p.ID] = p
	}
	for _, f := range fips {
		if f.PortID != nil {
			f.Port = byID[*f.PortID]
		}
	}
	return nil
}

// routerBetween finds the router that joins a subnet with an external network.
func (s *Service) routerBetween(ctx context.Context, tx bun.Tx, subnetID, networkID string) (id string, revision int64, err error) {
	err = tx.QueryRowContext(ctx, `SELECT r.id, r.revision_number FROM router_ports rp JOIN routers r ON r.id = rp.router_id
		WHERE rp.subnet_id = ? AND r.gw_network_id = ? ORDER BY r.id LIMIT 1`, subnetID, networkID).Scan(&id, &revision)
	if db.IsNoRows(err) {
		return "", 0, nil
	}
	return id, revision, err
}

// freeFloatingIPsOf disassociates the floating IPs of a port that goes.
func (s *Service) freeFloatingIPsOf(ctx context.Context, tx bun.Tx, p *Port, ch *change) error {
	fips := []*FloatingIP{}
	if err := tx.NewSelect().Model(&fips).Where("port_id = ?", p.ID).Scan(ctx); err != nil {
		return fmt.Errorf("read floating ips of port %s: %w", p.ID, err)
	}
	for _, f := range fips {
		s.leaveRouter(f, ch)
		was := f.RevisionNumber
		f.RevisionNumber, f.UpdatedAt = was+1, s.clock.Now()
		if err := cas(ctx, tx, f, "floating ip", f.ID, was); err != nil {
			return err
		}
	}
	return nil
}
