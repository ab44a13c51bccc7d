package keystone

import (
	"cmp"
	"context"
	"slices"
)

// rolesOf are the roles with those ids, by name; ids without a role are left
// out.
func (v *snapshot) rolesOf(ids []string) []Role {
	out := make([]Role, 0, len(ids))
	for _, id := range ids {
		if r := v.roles[id]; r != nil {
			out = append(out, *r)
		}
	}
	slices.SortFunc(out, func(a, b Role) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out
}

func (v *snapshot) sortedRoles() []Role {
	ids := make([]string, 0, len(v.roles))
	for id := range v.roles {
		ids = append(ids, id)
	}
	return v.rolesOf(ids)
}

// expand adds everything that the roles imply, at any distance.
func (v *snapshot) expand(roles []string) []string {
	seen := make(map[string]bool, len(roles))
	out := []string{}
	var add func(id string)
	add = func(id string) {
		if seen[id] || v.roles[id] == nil {
			return
		}
		seen[id] = true
		out = append(out, id)
		for _, next := range v.implied[id] {
			add(next)
		}
	}
	for _, id := range roles {
		add(id)
	}
	return out
}

// tokenRoles are the roles a token gets from what is assigned: with everything
// implied, without those that are a domain's own.
func (v *snapshot) tokenRoles(assigned []string) []Role {
	return slices.DeleteFunc(v.rolesOf(v.expand(assigned)), func(r Role) bool { return r.DomainID != "" })
}

// projectRoles are the roles a user has on a project.
func (s *Service) projectRoles(ctx context.Context, v *snapshot, userID string, p *Project) ([]Role, error) {
	var above []string
	if p.ParentID != "" {
		up, err := s.ancestors(ctx, p.ParentID)
		if err != nil {
			return nil, err
		}
		for _, a := range up {
			above = append(above, a.ID)
		}
	}
	assigned, err := s.selectUserRoles(ctx, userID, TargetProject, p.ID, p.DomainID, above)
	return v.tokenRoles(assigned), err
}

func (s *Service) domainRoles(ctx context.Context, v *snapshot, userID, domainID string) ([]Role, error) {
	assigned, err := s.selectUserRoles(ctx, userID, TargetDomain, domainID, "", nil)
	return v.tokenRoles(assigned), err
}

func (s *Service) systemRoles(ctx context.Context, v *snapshot, userID string) ([]Role, error) {
	assigned, err := s.selectUserRoles(ctx, userID, TargetSystem, systemID, "", nil)
	return v.tokenRoles(assigned), err
}

// ProjectsOf lists the projects on which a user has any role.
func (s *Service) ProjectsOf(ctx context.Context, userID string) ([]Project, error) {
	rows, err := s.selectUserAssignments(ctx, userID)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	var domains []string
	for _, a := range rows {
		switch {
		case a.TargetKind == TargetProject && !a.Inherited:
			found[a.TargetID] = true
		case a.TargetKind == TargetProject:
			below, err := s.Subtree(ctx, a.TargetID)
			if err != nil {
				return nil, err
			}
			for _, p := range below {
				found[p.ID] = true
			}
		case a.TargetKind == TargetDomain && a.Inherited:
			domains = append(domains, a.TargetID)
		}
	}
	inDomains, err := s.selectDomainProjectIDs(ctx, domains)
	if err != nil {
		return nil, err
	}
	for _, id := range inDomains {
		found[id] = true
	}
	return s.selectProjectsIn(ctx, keysOf(found))
}

// DomainsOf lists the domains on which a user has any role.
func (s *Service) DomainsOf(ctx context.Context, userID string) ([]Domain, error) {
	rows, err := s.selectUserAssignments(ctx, userID)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, a := range rows {
		if a.TargetKind == TargetDomain && !a.Inherited {
			found[a.TargetID] = true
		}
	}
	return s.selectDomainsIn(ctx, keysOf(found))
}

// HasSystemRole tells whether a user has any role on the system.
func (s *Service) HasSystemRole(ctx context.Context, userID string) (bool, error) {
	rows, err := s.selectUserAssignments(ctx, userID)
	return slices.ContainsFunc(rows, func(a Assignment) bool { return a.TargetKind == TargetSystem }), err
}

func keysOf(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// effectiveAssignments works out what the assignments amount to: groups become
// their members, inherited ones the projects below, and roles bring what they
// imply. The filter looks at the outcome.
func (s *Service) effectiveAssignments(ctx context.Context, f AssignmentFilter, subtree []string) ([]AssignmentView, error) {
	snap, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	var rows []Assignment
	if f.ActorKind == ActorUser && f.ActorID != "" {
		rows, err = s.selectUserAssignments(ctx, f.ActorID)
	} else {
		rows, err = s.selectAssignments(ctx, AssignmentFilter{})
	}
	if err != nil {
		return nil, err
	}
	views, err := s.expandInherited(ctx, rows)
	if err != nil {
		return nil, err
	}
	if views, err = s.expandGroups(ctx, views); err != nil {
		return nil, err
	}
	out := []AssignmentView{}
	seen := map[AssignmentView]bool{}
	for _, v := range expandImplied(snap, views) {
		match := v.ActorKind == ActorUser && (f.ActorID == "" || f.ActorID == v.ActorID) &&
			(f.TargetKind == "" || f.TargetKind == v.TargetKind) &&
			(f.TargetID == "" || f.TargetID == v.TargetID || slices.Contains(subtree, v.TargetID)) &&
			(f.RoleID == "" || f.RoleID == v.RoleID) && (f.Inherited == nil || *f.Inherited == v.Via.Inherited)
		if match && !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out, nil
}

func (s *Service) expandInherited(ctx context.Context, rows []Assignment) ([]AssignmentView, error) {
	var out []AssignmentView
	for _, a := range rows {
		if !a.Inherited {
			out = append(out, AssignmentView{Assignment: a, Via: a})
			continue
		}
		var below []string
		if a.TargetKind == TargetDomain {
			ids, err := s.selectDomainProjectIDs(ctx, []string{a.TargetID})
			if err != nil {
				return nil, err
			}
			below = ids
		} else {
			projects, err := s.Subtree(ctx, a.TargetID)
			if err != nil {
				return nil, err
			}
			for _, p := range projects {
				below = append(below, p.ID)
			}
		}
		for _, id := range below {
			v := AssignmentView{Assignment: a, Via: a}
			v.TargetKind, v.TargetID, v.Inherited = TargetProject, id, false
			out = append(out, v)
		}
	}
	return out, nil
}

func (s *Service) expandGroups(ctx context.Context, views []AssignmentView) ([]AssignmentView, error) {
	groups := map[string]bool{}
	for _, v := range views {
		if v.ActorKind == ActorGroup {
			groups[v.ActorID] = true
		}
	}
	members, err := s.selectMemberships(ctx, keysOf(groups))
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	for _, m := range members {
		users[m.GroupID] = append(users[m.GroupID], m.UserID)
	}
	var out []AssignmentView
	for _, v := range views {
		if v.ActorKind != ActorGroup {
			out = append(out, v)
			continue
		}
		for _, u := range users[v.ActorID] {
			w := v
			w.Group, w.ActorKind, w.ActorID = v.ActorID, ActorUser, u
			out = append(out, w)
		}
	}
	return out, nil
}

func expandImplied(snap *snapshot, views []AssignmentView) []AssignmentView {
	var out []AssignmentView
	for _, v := range views {
		for _, role := range snap.expand([]string{v.RoleID}) {
			w := v
			if role != v.RoleID {
				w.RoleID, w.Prior = role, v.RoleID
			}
			if snap.roles[role].DomainID == "" {
				out = append(out, w)
			}
		}
	}
	return out
}
