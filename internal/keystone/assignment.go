package keystone

import (
	"context"

	"github.com/hastack/hastack/internal/fault"
)

// Who has a role, and on what.
const (
	ActorUser     = "user"
	ActorGroup    = "group"
	TargetProject = "project"
	TargetDomain  = "domain"
	TargetSystem  = "system"
	systemID      = "system" // the one target of its kind
)

// An Assignment gives a role to a user or a group on a project, a domain or
// the system. An inherited one counts not on its target but on the projects
// below it.
type Assignment struct {
	ActorKind  string `bun:"actor_kind,pk"`
	ActorID    string `bun:"actor_id,pk"`
	TargetKind string `bun:"target_kind,pk"`
	TargetID   string `bun:"target_id,pk"`
	RoleID     string `bun:"role_id,pk"`
	Inherited  bool   `bun:"inherited,pk"`
}

// systemTarget fills in the id of the one system.
func systemTarget(a Assignment) Assignment {
	if a.TargetKind == TargetSystem {
		a.TargetID = systemID
	}
	return a
}

// checkAssignment returns NotFound if a part of the assignment does not exist.
func (s *Service) checkAssignment(ctx context.Context, a Assignment) error {
	var err error
	if a.ActorKind == ActorUser {
		_, err = s.selectUser(ctx, a.ActorID)
	} else {
		_, err = s.selectGroup(ctx, a.ActorID)
	}
	if err != nil {
		return err
	}
	switch a.TargetKind {
	case TargetProject:
		_, err = s.selectProjectRow(ctx, a.TargetID)
	case TargetDomain:
		_, err = s.selectDomain(ctx, a.TargetID)
	}
	return err
}

// Grant makes an assignment; it is no error if it is there.
func (s *Service) Grant(ctx context.Context, a Assignment) error {
	a = systemTarget(a)
	r, err := s.selectRole(ctx, a.RoleID)
	if err != nil {
		return err
	}
	if err := s.checkAssignment(ctx, a); err != nil {
		return err
	}
	if r.DomainID != "" && a.TargetKind == TargetProject {
		p, err := s.selectProjectRow(ctx, a.TargetID)
		if err != nil {
			return err
		}
		if p.DomainID != r.DomainID {
			return fault.New(fault.Forbidden, "project %s must be in the same domain as the role %s being assigned", p.ID, r.ID)
		}
	}
	return s.insertAssignment(ctx, a)
}

// Revoke ends an assignment.
func (s *Service) Revoke(ctx context.Context, a Assignment) error {
	return s.deleteAssignment(ctx, systemTarget(a))
}

// CheckGrant returns NotFound unless there is such an assignment.
func (s *Service) CheckGrant(ctx context.Context, a Assignment) error {
	return s.selectAssignment(ctx, systemTarget(a))
}

// Granted lists the roles directly assigned to an actor on a target.
func (s *Service) Granted(ctx context.Context, a Assignment) ([]Role, error) {
	a = systemTarget(a)
	if err := s.checkAssignment(ctx, a); err != nil {
		return nil, err
	}
	rows, err := s.selectAssignments(ctx, AssignmentFilter{
		ActorKind: a.ActorKind, ActorID: a.ActorID, TargetKind: a.TargetKind, TargetID: a.TargetID, Inherited: &a.Inherited,
	})
	if err != nil {
		return nil, err
	}
	snap, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	roles := []string{}
	for _, r := range rows {
		roles = append(roles, r.RoleID)
	}
	return snap.rolesOf(roles), nil
}

// An AssignmentFilter limits a list of assignments; empty means any.
type AssignmentFilter struct {
	ActorKind, ActorID   string
	TargetKind, TargetID string
	RoleID               string
	Inherited            *bool
	Effective            bool // show what assignments amount to, not the rows
	Subtree              bool // also the projects below the target
}

// An AssignmentView is an assignment as it is listed. Of an effective one, Via
// is the row it comes from; Via is the assignment itself otherwise. Group is
// the membership it comes through, if any, and Prior the role that implies it.
type AssignmentView struct {
	Assignment
	Via   Assignment
	Group string
	Prior string
}

// Assignments lists assignments.
func (s *Service) Assignments(ctx context.Context, f AssignmentFilter) ([]AssignmentView, error) {
	if f.TargetKind == TargetSystem {
		f.TargetID = systemID
	}
	targets := []string{}
	if f.Subtree && f.TargetKind == TargetProject {
		below, err := s.Subtree(ctx, f.TargetID)
		if err != nil {
			return nil, err
		}
		for _, p := range below {
			targets = append(targets, p.ID)
		}
		// A domain may stand for the project at the top of its tree.
		inDomain, err := s.selectDomainProjectIDs(ctx, []string{f.TargetID})
		if err != nil {
			return nil, err
		}
		targets = append(targets, inDomain...)
	}
	if f.Effective {
		return s.effectiveAssignments(ctx, f, targets)
	}
	out := []AssignmentView{}
	for _, target := range append([]string{f.TargetID}, targets...) {
		one := f
		one.TargetID = target
		rows, err := s.selectAssignments(ctx, one)
		if err != nil {
			return nil, err
		}
		for _, a := range rows {
			out = append(out, AssignmentView{Assignment: a, Via: a})
		}
	}
	return out, nil
}
