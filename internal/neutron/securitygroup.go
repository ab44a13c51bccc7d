package neutron

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/ids"
)

const defaultGroupName = "default"

// A SecurityGroup is a set of rules that ports take on.
type SecurityGroup struct {
	bun.BaseModel `bun:"table:security_groups"`
	Standard

	Name      string `bun:"name"`
	Stateful  bool   `bun:"stateful"`
	IsDefault bool   `bun:"is_default"`

	Rules []*SecurityGroupRule `bun:"-"`
}

// A SecurityGroupPatch holds the attributes of a group to change; nil leaves one.
type SecurityGroupPatch struct {
	Name, Description *string
	Stateful          *bool
	Revision          *int64
}

// CreateSecurityGroups adds groups with the rules that let their ports send
// anything.
func (s *Service) CreateSecurityGroups(ctx context.Context, c Caller, groups []*SecurityGroup) error {
	for _, g := range groups {
		if g.Name == defaultGroupName {
			return conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
		}
		if _, err := s.DefaultSecurityGroup(ctx, g.ProjectID); err != nil {
			return err
		}
		s.prepareGroup(g)
	}
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		for _, g := range groups {
			if err := s.insertGroup(ctx, tx, g); err != nil {
				return err
			}
		}
		return nil
	})
}

// prepareGroup gives a new group its id and the rules it begins with.
func (s *Service) prepareGroup(g *SecurityGroup) {
	now := s.clock.Now()
	g.ID, g.RevisionNumber, g.CreatedAt, g.UpdatedAt = newID(g.ID), 1, now, now
	g.Tags = sortedSet(g.Tags)
	for _, et := range []string{ethertypeIPv4, ethertypeIPv6} {
		g.Rules = append(g.Rules, s.newRule(g, "egress", et))
		if g.IsDefault {
			r := s.newRule(g, "ingress", et)
			r.RemoteGroupID = &g.ID
			g.Rules = append(g.Rules, r)
		}
	}
	for _, r := range g.Rules {
		r.Fingerprint = r.fingerprint()
	}
}

func (s *Service) newRule(g *SecurityGroup, direction, ethertype string) *SecurityGroupRule {
	return &SecurityGroupRule{
		Standard: Standard{
			ID: ids.UUID(), ProjectID: g.ProjectID, RevisionNumber: 1, CreatedAt: g.CreatedAt, UpdatedAt: g.UpdatedAt, Tags: Lines{},
		},
		SecurityGroupID: g.ID, Direction: direction, EtherType: ethertype,
	}
}

func (s *Service) insertGroup(ctx context.Context, tx bun.Tx, g *SecurityGroup) error {
	if !g.IsDefault {
		// The default group is Neutron's doing and must not fail on a quota.
		if err := s.reserve(ctx, tx, g.ProjectID, quotaSecurityGroup, 1); err != nil {
			return err
		}
		if err := s.reserve(ctx, tx, g.ProjectID, quotaRule, len(g.Rules)); err != nil {
			return err
		}
	} else if err := s.countUnlimited(ctx, tx, g.ProjectID, len(g.Rules)); err != nil {
		return err
	}
	if err := insert(ctx, tx, g); err != nil {
		return err
	}
	return insert(ctx, tx, &g.Rules)
}

// DefaultSecurityGroup returns the id of a project's default group and makes
// the group when nobody has needed it before. Of several requests that find
// none, one makes it; the others meet its key and take that one.
func (s *Service) DefaultSecurityGroup(ctx context.Context, projectID string) (string, error) {
	s.mu.Lock()
	id := s.groups[projectID]
	s.mu.Unlock()
	if id != "" || projectID == "" {
		return id, nil
	}
	for range 3 {
		id, err := s.defaultGroup(ctx, projectID)
		if err != nil {
			return "", err
		}
		if id != "" {
			s.mu.Lock()
			s.groups[projectID] = id
			s.mu.Unlock()
			return id, nil
		}
		g := &SecurityGroup{
			Standard: Standard{ProjectID: projectID, Description: "Default security group"},
			Name:     defaultGroupName, Stateful: true, IsDefault: true,
		}
		s.prepareGroup(g)
		err = s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
			if err := claimDefault(ctx, tx, projectID, g.ID); err != nil {
				return err
			}
			return s.insertGroup(ctx, tx, g)
		})
		if err != nil && !db.IsDuplicate(err) {
			return "", err
		}
	}
	return "", errStale
}

// forgetDefault drops a remembered default group that turned out to be gone.
func (s *Service) forgetDefault(projectID string) {
	s.mu.Lock()
	delete(s.groups, projectID)
	s.mu.Unlock()
}

// SecurityGroup returns a group of the caller's project with its rules.
func (s *Service) SecurityGroup(ctx context.Context, c Caller, id string) (*SecurityGroup, error) {
	g, err := s.securityGroup(ctx, s.db, c, id)
	if err != nil {
		return nil, err
	}
	return g, s.loadRules(ctx, s.db, []*SecurityGroup{g})
}

// SecurityGroups lists the groups of the caller's project with their rules.
func (s *Service) SecurityGroups(ctx context.Context, c Caller, q Query) ([]*SecurityGroup, error) {
	if project := defaultWanted(c, q); project != "" {
		if _, err := s.DefaultSecurityGroup(ctx, project); err != nil {
			return nil, err
		}
	}
	groups, err := s.securityGroups(ctx, s.db, c, q)
	if err != nil {
		return nil, err
	}
	return groups, s.loadRules(ctx, s.db, groups)
}

// defaultWanted is the project whose default group a list brings into being:
// the one an admin filters by (Nova looks up "default" for its user so), else
// the caller's own.
func defaultWanted(c Caller, q Query) string {
	for _, key := range []string{"project_id", "tenant_id"} {
		if v := q.Filters[key]; c.Admin && len(v) == 1 && v[0] != "" {
			return v[0]
		}
	}
	return c.ProjectID
}

// UpdateSecurityGroup changes a group and returns it as it is then.
func (s *Service) UpdateSecurityGroup(ctx context.Context, c Caller, id string, p SecurityGroupPatch) (*SecurityGroup, error) {
	var out *SecurityGroup
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		g, err := s.securityGroup(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if p.Revision != nil && *p.Revision != g.RevisionNumber {
			return revisionConflict(*p.Revision, id)
		}
		if p.Name != nil && *p.Name != g.Name {
			if g.IsDefault {
				return conflict("SecurityGroupCannotUpdateDefault", "Updating default security group not allowed.")
			}
			if *p.Name == defaultGroupName {
				return conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
			}
		}
		if p.Stateful != nil && *p.Stateful != g.Stateful {
			used, err := groupInUse(ctx, tx, id)
			if err != nil {
				return err
			}
			if used {
				return conflict("SecurityGroupInUse", "Security Group %s cannot change its state: it is in use.", id)
			}
		}
		set(&g.Name, p.Name)
		set(&g.Description, p.Description)
		set(&g.Stateful, p.Stateful)
		was := g.RevisionNumber
		g.RevisionNumber, g.UpdatedAt = was+1, s.clock.Now()
		if err := cas(ctx, tx, g, "security group", id, was); err != nil {
			return err
		}
		ch.groups = append(ch.groups, id)
		out = g
		return s.loadRules(ctx, tx, []*SecurityGroup{g})
	})
	return out, err
}

// DeleteSecurityGroup removes a group that no port has. Rules of other groups
// that name it as their remote group go with it.
func (s *Service) DeleteSecurityGroup(ctx context.Context, c Caller, id string, revision *int64) error {
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		g, err := s.securityGroup(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if revision != nil && *revision != g.RevisionNumber {
			return revisionConflict(*revision, id)
		}
		if g.IsDefault && !c.Admin {
			return conflict("SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group.")
		}
		if err := s.touchGroup(ctx, tx, id); err != nil { // one deletes it
			return err
		}
		inUse := conflict("SecurityGroupInUse", "Security Group %s in use.", id)
		used, err := groupInUse(ctx, tx, id)
		if err != nil {
			return err
		}
		if used {
			return inUse
		}
		if err := s.deleteGroupRows(ctx, tx, g, ch); err != nil {
			if isForeignKey(err) {
				return inUse
			}
			return err
		}
		if g.IsDefault {
			s.forgetDefault(g.ProjectID)
		}
		return nil
	})
}
