package neutron

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

func securityGroupRuleColumns() columns {
	c := standardColumns(columns{
		"security_group_id":       {name: "security_group_id"},
		"direction":               {name: "direction"},
		"ethertype":               {name: "ethertype"},
		"protocol":                {name: "protocol", null: true},
		"port_range_min":          {name: "port_range_min", kind: colInt, null: true},
		"port_range_max":          {name: "port_range_max", kind: colInt, null: true},
		"remote_ip_prefix":        {name: "remote_ip_prefix", null: true},
		"remote_group_id":         {name: "remote_group_id", null: true},
		"remote_address_group_id": {kind: colSpecial, apply: nothing},
		"belongs_to_default_sg": {kind: colSpecial, apply: func(q *bun.SelectQuery, values []string) (*bun.SelectQuery, error) {
			b, err := parseBool(values[0])
			if err != nil {
				return nil, badRequest(codeInvalid, "Invalid input for operation: '%s' is not a valid boolean value.", values[0])
			}
			return q.Where("(SELECT g.is_default FROM security_groups g WHERE g.id = security_group_id) = ?", b), nil
		}},
	})
	delete(c, "name")
	return c
}

func (s *Service) securityGroupRule(ctx context.Context, idb bun.IDB, c Caller, id string) (*SecurityGroupRule, error) {
	r := new(SecurityGroupRule)
	err := visible(idb.NewSelect().Model(r).Where("id = ?", id), c).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, securityGroupRuleNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read security group rule %s: %w", id, err)
	}
	return r, s.markDefault(ctx, idb, []*SecurityGroupRule{r})
}

func (s *Service) securityGroupRules(ctx context.Context, c Caller, query Query) ([]*SecurityGroupRule, error) {
	out := []*SecurityGroupRule{}
	q, err := s.selection(ctx, s.db, visible(s.db.NewSelect().Model(&out), c), SecurityGroupRules, query)
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list security group rules: %w", err)
	}
	return out, s.markDefault(ctx, s.db, out)
}

// markDefault notes which rules belong to a default group.
func (s *Service) markDefault(ctx context.Context, idb bun.IDB, rules []*SecurityGroupRule) error {
	if len(rules) == 0 {
		return nil
	}
	groupIDs := make([]string, 0, len(rules))
	for _, r := range rules {
		groupIDs = append(groupIDs, r.SecurityGroupID)
	}
	var defaults []string
	err := idb.NewSelect().Table("default_security_groups").Column("security_group_id").
		Where("security_group_id IN (?)", bun.List([]string(sortedSet(groupIDs)))).Scan(ctx, &defaults)
	if err != nil {
		return fmt.Errorf("read default groups: %w", err)
	}
	isDefault := map[string]bool{}
	for _, id := range defaults {
		isDefault[id] = true
	}
	for _, r := range rules {
		r.DefaultGroup = isDefault[r.SecurityGroupID]
	}
	return nil
}

// twinOf is the id of the rule that r repeats.
func (s *Service) twinOf(ctx context.Context, tx bun.Tx, r *SecurityGroupRule) string {
	var id string
	_ = tx.QueryRowContext(ctx, "SELECT id FROM security_group_rules WHERE security_group_id = ? AND fingerprint = ?",
		r.SecurityGroupID, r.Fingerprint).Scan(&id)
	return id
}

// touchGroup raises a group's revision, which holds its row until the transaction
// ends; it is stale when the group is gone.
func (s *Service) touchGroup(ctx context.Context, tx bun.Tx, id string) error {
	n, err := exec(ctx, tx, "UPDATE security_groups SET revision_number = revision_number + 1, updated_at = ? WHERE id = ?", s.clock.Now(), id)
	if err == nil && n == 0 {
		return errStale
	}
	return err
}
