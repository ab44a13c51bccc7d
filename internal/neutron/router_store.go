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
		Where("device_owner IN (?)", bun.In([]string{ownerRouter, ownerGateway})).Order("id").Scan(ctx)
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
	if err := idb.NewSelect().Model(&out).Where("id IN (?)", bun.In(subnetIDs)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read subnets: %w", err)
	}
	return out, nil
}
