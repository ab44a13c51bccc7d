package neutron

import (
	"context"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/ids"
)

func rbacColumns() columns {
	return columns{
		"id":            {name: "id"},
		"project_id":    {name: "project_id"},
		"tenant_id":     {name: "project_id"},
		"object_type":   {name: "object_type"},
		"object_id":     {name: "object_id"},
		"action":        {name: "action"},
		"target_tenant": {name: "target_project"},
	}
}

func replaceTable(query, table string) string {
	return strings.ReplaceAll(query, "%TABLE%", table)
}

func (s *Service) rbacPolicy(ctx context.Context, idb bun.IDB, c Caller, id string) (*RBACPolicy, error) {
	p := new(RBACPolicy)
	err := visible(idb.NewSelect().Model(p).Where("id = ?", id), c).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, rbacPolicyNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read rbac policy %s: %w", id, err)
	}
	return p, nil
}

func (s *Service) rbacPolicies(ctx context.Context, c Caller, query Query) ([]*RBACPolicy, error) {
	out := []*RBACPolicy{}
	q, err := s.selection(ctx, s.db, visible(s.db.NewSelect().Model(&out), c), RBACPolicies, query)
	if err != nil {
		return nil, err
	}
	return out, q.Scan(ctx)
}

// setSharing makes or removes the policy that opens a network to everybody,
// which is what the attributes shared and router:external stand for.
func (s *Service) setSharing(ctx context.Context, tx bun.Tx, n *Network, action string, on bool) error {
	if !on {
		_, err := exec(ctx, tx, "DELETE FROM rbac_policies WHERE object_id = ? AND action = ? AND target_project = '*'", n.ID, action)
		return err
	}
	open, err := exists(ctx, tx, "SELECT 1 FROM rbac_policies WHERE object_id = ? AND action = ? AND target_project = '*'", n.ID, action)
	if err != nil || open {
		return err
	}
	return insert(ctx, tx, &RBACPolicy{
		ID: ids.UUID(), ProjectID: n.ProjectID, ObjectType: "network", ObjectID: n.ID, Action: action, TargetProject: "*",
	})
}

func retarget(ctx context.Context, tx bun.Tx, id, target string) error {
	_, err := exec(ctx, tx, "UPDATE rbac_policies SET target_project = ? WHERE id = ?", target, id)
	return err
}

// usedByOthers tells whether a project other than the owner has rows of a
// table on the network that only the policy for target lets it have.
func usedByOthers(ctx context.Context, tx bun.Tx, n *Network, table, target string) (bool, error) {
	const others = `SELECT 1 FROM %TABLE% t WHERE t.network_id = ? AND t.project_id <> ? AND t.project_id <> ''
		AND (? = '*' OR t.project_id = ?)
		AND NOT EXISTS (SELECT 1 FROM rbac_policies r WHERE r.object_id = ? AND r.action = 'access_as_shared'
			AND r.target_project <> ? AND r.target_project IN ('*', t.project_id)) LIMIT 1`
	return exists(ctx, tx, replaceTable(others, table), n.ID, n.ProjectID, target, target, n.ID, target)
}
