package neutron

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

func routerColumns() columns {
	return standardColumns(columns{
		"status":         {name: "status"},
		"admin_state_up": {name: "admin_state_up", kind: colBool},
		"distributed":    {name: "distributed", kind: colBool},
		"ha":             {name: "ha", kind: colBool},
		"gw_port_id":     {name: "gw_port_id", null: true},
		"enable_snat":    {name: "enable_snat", kind: colBool},
		"flavor_id":      {kind: colSpecial, apply: nothing},
	})
}

func (s *Service) router(ctx context.Context, idb bun.IDB, c Caller, id string) (*Router, error) {
	r := new(Router)
	err := visible(idb.NewSelect().Model(r).Where("id = ?", id), c).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, routerNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read router %s: %w", id, err)
	}
	return r, nil
}

func (s *Service) routers(ctx context.Context, idb bun.IDB, c Caller, query Query) ([]*Router, error) {
	out := []*Router{}
	q, err := s.selection(ctx, idb, visible(idb.NewSelect().Model(&out), c), Routers, query)
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list routers: %w", err)
	}
	return out, nil
}

// lockRouter raises a router's revision as the first statement of a
// transaction: from here to the commit nobody else changes the router.
func (s *Service) lockRouter(ctx context.Context, tx bun.Tx, id string) error {
	n, err := exec(ctx, tx, "UPDATE routers SET revision_number = revision_number + 1, updated_at = ? WHERE id = ?", s.clock.Now(), id)
	if err == nil && n == 0 {
		return routerNotFound(id)
	}
	return err
}

// saveRouter writes a router that lockRouter holds.
func (s *Service) saveRouter(ctx context.Context, tx bun.Tx, r *Router) error {
	return cas(ctx, tx, r, "router", r.ID, r.RevisionNumber)
}

// portsOfRouter are a router's interfaces and its gateway.
func (s *Service) portsOfRouter(ctx context.Context, idb bun.IDB, id string) ([]*Port, error) {
	ports := []*Port{}
	err := idb.NewSelect().Model(&ports).Where("device_id = ?", id).
		Where("device_owner IN (?)", bun.List([]string{ownerRouter, ownerGateway})).Order("id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read ports of router %s: %w", id, err)
	}
	return ports, nil
}

func (s *Service) subnetsByID(ctx context.Context, idb bun.IDB, subnetIDs []string) ([]*Subnet, error) {
	out := []*Subnet{}
	if len(subnetIDs) == 0 {
		return out, nil
	}
	if err := idb.NewSelect().Model(&out).Where("id IN (?)", bun.List(subnetIDs)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read subnets: %w", err)
	}
	return out, nil
}

// holdRouter raises a router's revision if it is still the one that was read,
// so that what was read of the router holds until the commit.
func holdRouter(ctx context.Context, tx bun.Tx, id string, revision int64) error {
	n, err := exec(ctx, tx, "UPDATE routers SET revision_number = revision_number + 1 WHERE id = ? AND revision_number = ?", id, revision)
	if err == nil && n == 0 {
		return errStale
	}
	return err
}

func hasInterfaces(ctx context.Context, tx bun.Tx, routerID string) (bool, error) {
	return exists(ctx, tx, "SELECT 1 FROM router_ports WHERE router_id = ? LIMIT 1", routerID)
}

func deleteRouterRows(ctx context.Context, tx bun.Tx, id string) error {
	for _, q := range []string{"DELETE FROM router_agents WHERE router_id = ?", "DELETE FROM routers WHERE id = ?"} {
		if _, err := exec(ctx, tx, q, id); err != nil {
			return err
		}
	}
	return nil
}

// carriesFloatingIPs tells whether a floating IP goes by the router.
func carriesFloatingIPs(ctx context.Context, tx bun.Tx, routerID string) (bool, error) {
	return exists(ctx, tx, "SELECT 1 FROM floatingips WHERE router_id = ? LIMIT 1", routerID)
}

// carriesFloatingIPsTo tells whether one of them stands for an address of the
// subnet.
func carriesFloatingIPsTo(ctx context.Context, tx bun.Tx, routerID, subnetID string) (bool, error) {
	return exists(ctx, tx, `SELECT 1 FROM floatingips f JOIN ip_allocations a ON a.port_id = f.port_id AND a.ip_address = f.fixed_ip_address
		WHERE f.router_id = ? AND a.subnet_id = ? LIMIT 1`, routerID, subnetID)
}

// linkRouterSubnet writes that a port is the router's on a subnet; it is no
// error if it is so already, and a duplicate if another port is.
func linkRouterSubnet(ctx context.Context, tx bun.Tx, p *Port, subnetID string) error {
	var port string
	err := tx.QueryRowContext(ctx, "SELECT port_id FROM router_ports WHERE router_id = ? AND subnet_id = ?", p.DeviceID, subnetID).Scan(&port)
	if err == nil && port == p.ID {
		return nil
	}
	if err != nil && !db.IsNoRows(err) {
		return err
	}
	_, err = exec(ctx, tx, "INSERT INTO router_ports (router_id, subnet_id, port_id, network_id) VALUES (?, ?, ?, ?)",
		p.DeviceID, subnetID, p.ID, p.NetworkID)
	return err
}

func unlinkRouterPort(ctx context.Context, tx bun.Tx, routerID, portID string) error {
	_, err := exec(ctx, tx, "DELETE FROM router_ports WHERE router_id = ? AND port_id = ?", routerID, portID)
	return err
}

func unlinkRouterSubnet(ctx context.Context, tx bun.Tx, portID, subnetID string) error {
	_, err := exec(ctx, tx, "DELETE FROM router_ports WHERE port_id = ? AND subnet_id = ?", portID, subnetID)
	return err
}
