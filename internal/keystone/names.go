package keystone

import "context"

// Names are the names and domains of whatever a list of assignments mentions,
// by id.
type Names struct {
	Name   map[string]string
	Domain map[string]string // owner of a user, group, project or domain role
}

// DomainOf is the domain that an assignment's target is or belongs to; empty
// for the system.
func (n *Names) DomainOf(v *AssignmentView) string {
	switch v.TargetKind {
	case TargetDomain:
		return v.TargetID
	case TargetProject:
		return n.Domain[v.TargetID]
	}
	return ""
}

// AssignmentNames looks up everything that the assignments mention, in one
// statement a kind.
func (s *Service) AssignmentNames(ctx context.Context, list []AssignmentView) (*Names, error) {
	n := &Names{Name: map[string]string{}, Domain: map[string]string{}}
	ids := map[string]map[string]bool{ActorUser: {}, ActorGroup: {}, TargetProject: {}, TargetDomain: {}}
	roles := []string{}
	for _, v := range list {
		ids[v.ActorKind][v.ActorID] = true
		if v.TargetKind != TargetSystem {
			ids[v.TargetKind][v.TargetID] = true
		}
		roles = append(roles, v.RoleID)
	}
	users, err := s.selectUsersIn(ctx, keysOf(ids[ActorUser]))
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		n.Name[u.ID], n.Domain[u.ID] = u.Name, u.DomainID
	}
	groups, err := s.selectGroupsIn(ctx, keysOf(ids[ActorGroup]))
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		n.Name[g.ID], n.Domain[g.ID] = g.Name, g.DomainID
	}
	projects, err := s.selectProjectsIn(ctx, keysOf(ids[TargetProject]))
	if err != nil {
		return nil, err
	}
	for _, p := range projects {
		n.Name[p.ID], n.Domain[p.ID] = p.Name, p.DomainID
	}
	snap, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range snap.rolesOf(roles) {
		n.Name[r.ID] = r.Name
		if r.DomainID != "" {
			n.Domain[r.ID] = r.DomainID
		}
	}
	for _, d := range n.Domain {
		ids[TargetDomain][d] = true
	}
	domains, err := s.selectDomainsIn(ctx, keysOf(ids[TargetDomain]))
	if err != nil {
		return nil, err
	}
	for _, d := range domains {
		n.Name[d.ID] = d.Name
	}
	return n, nil
}
