package neutron

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

func securityGroupColumns() columns {
	return standardColumns(columns{
		"stateful": {name: "stateful", kind: colBool},
		"shared":   {kind: colSpecial, apply: neverTrue},
	})
}

// neverTrue filters by an attribute that is false in every row.
func neverTrue(q *bun.SelectQuery, values []string) (*bun.SelectQuery, error) {
	b, err := parseBool(values[0])
	if err != nil {
		return nil, badRequest(codeInvalid, "Invalid input for operation: '%s' is not a valid boolean value.", values[0])
	}
	if b {
		return q.Where("1 = 0"), nil
	}
	return q, nil
}

func (s *Service) securityGroup(ctx context.Context, idb bun.IDB, c Caller, id string) (*SecurityGroup, error) {
	g := new(SecurityGroup)
	err := visible(idb.NewSelect().Model(g).Where("id = ?", id), c).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, securityGroupNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read security group %s: %w", id, err)
	}
	return g, nil
}

func (s *Service) securityGroups(ctx context.Context, idb bun.IDB, c Caller, query Query) ([]*SecurityGroup, error) {
	out := []*SecurityGroup{}
	q, err := s.selection(ctx, idb, visible(idb.NewSelect().Model(&out), c), SecurityGroups, query)
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list security groups: %w", err)
	}
	return out, nil
}

// loadRules reads the rules of all the groups at once.
func (s *Service) loadRules(ctx context.Context, idb bun.IDB, groups []*SecurityGroup) error {
	if len(groups) == 0 {
		return nil
	}
	byID := make(map[string]*SecurityGroup, len(groups))
	groupIDs := make([]string, 0, len(groups))
	for _, g := range groups {
		g.Rules = []*SecurityGroupRule{}
		byID[g.ID] = g
		groupIDs = append(groupIDs, g.ID)
	}
	rules := []*SecurityGroupRule{}
	err := idb.NewSelect().Model(&rules).Where("security_group_id IN (?)", bun.List(groupIDs)).Order("created_at", "id").Scan(ctx)
	if err != nil {
		return fmt.Errorf("read security group rules: %w", err)
	}
	for _, r := range rules {
		g := byID[r.SecurityGroupID]
		r.DefaultGroup = g.IsDefault
		g.Rules = append(g.Rules, r)
	}
	return nil
}

func (s *Service) defaultGroup(ctx context.Context, projectID string) (string, error) {
	var id string
	err := s.db.QueryRowContext(ctx, "SELECT security_group_id FROM default_security_groups WHERE project_id = ?", projectID).Scan(&id)
	if db.IsNoRows(err) {
		return "", nil
	}
	return id, err
}

func claimDefault(ctx context.Context, tx bun.Tx, projectID, groupID string) error {
	_, err := exec(ctx, tx, "INSERT INTO default_security_groups (project_id, security_group_id) VALUES (?, ?)", projectID, groupID)
	return err
}

// countUnlimited counts a default group and its rules without comparing.
func (s *Service) countUnlimited(ctx context.Context, tx bun.Tx, projectID string, rules int) error {
	for resource, n := range map[string]int{quotaSecurityGroup: 1, quotaRule: rules} {
		if err := addUsageRow(ctx, tx, projectID, resource); err != nil {
			return err
		}
		if _, err := exec(ctx, tx, "UPDATE quota_usages SET used = used + ? WHERE project_id = ? AND resource = ?",
			n, projectID, resource); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) deleteGroupRows(ctx context.Context, tx bun.Tx, g *SecurityGroup, ch *change) error {
	rules := []*SecurityGroupRule{}
	err := tx.NewSelect().Model(&rules).Where("security_group_id = ? OR remote_group_id = ?", g.ID, g.ID).Scan(ctx)
	if err != nil {
		return err
	}
	ch.groups = append(ch.groups, g.ID)
	for _, r := range rules {
		if r.SecurityGroupID != g.ID {
			ch.groups = append(ch.groups, r.SecurityGroupID)
		}
		n, err := exec(ctx, tx, "DELETE FROM security_group_rules WHERE id = ?", r.ID)
		if err != nil {
			return err
		}
		if n == 0 { // another has deleted it meanwhile, and released its quota
			continue
		}
		if err := release(ctx, tx, r.ProjectID, quotaRule); err != nil {
			return err
		}
	}
	if _, err := exec(ctx, tx, "DELETE FROM default_security_groups WHERE security_group_id = ?", g.ID); err != nil {
		return err
	}
	if _, err := exec(ctx, tx, "DELETE FROM security_groups WHERE id = ?", g.ID); err != nil {
		return err
	}
	return release(ctx, tx, g.ProjectID, quotaSecurityGroup)
}

// groupsOfProject are those of the groups that the project owns.
func groupsOfProject(ctx context.Context, tx bun.Tx, projectID string, groupIDs []string) ([]string, error) {
	var have []string
	err := tx.NewSelect().Table("security_groups").Column("id").
		Where("project_id = ? AND id IN (?)", projectID, bun.List(groupIDs)).Scan(ctx, &have)
	if err != nil {
		return nil, fmt.Errorf("read security groups: %w", err)
	}
	return have, nil
}

func groupInUse(ctx context.Context, tx bun.Tx, id string) (bool, error) {
	return exists(ctx, tx, "SELECT 1 FROM port_security_groups WHERE security_group_id = ? LIMIT 1", id)
}
