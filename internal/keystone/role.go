package keystone

import (
	"context"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// A Role is a name that policies ask for. A role with a domain is never in a
// token itself; it only implies others there.
type Role struct {
	ID          string `bun:"id,pk"`
	DomainID    string // empty for a global role
	Name        string
	Description *string
	Extra       Extra
	CreatedAt   time.Time
}

// A RoleUpdate holds what is to change; nil keeps.
type RoleUpdate struct {
	Name        *string
	Description *string
	Extra       Extra
}

// CreateRole adds r.
func (s *Service) CreateRole(ctx context.Context, r *Role) error {
	if err := checkName("role", r.Name, 255); err != nil {
		return err
	}
	r.ID, r.CreatedAt = ids.Hex(), s.clock.Now()
	return s.insertRole(ctx, r)
}

// Role finds a role by id.
func (s *Service) Role(ctx context.Context, id string) (*Role, error) { return s.selectRole(ctx, id) }

// Roles lists the global roles, or those of one domain if the filter has a
// domain_id; they can be filtered by name.
func (s *Service) Roles(ctx context.Context, f Filter) ([]Role, error) {
	for _, c := range f.Conditions {
		if c.Field == "domain_id" {
			return s.selectRoles(ctx, f)
		}
	}
	return s.selectRoles(ctx, f.With("domain_id", ""))
}

// UpdateRole changes a role.
func (s *Service) UpdateRole(ctx context.Context, id string, up RoleUpdate) (*Role, error) {
	r, err := s.selectRole(ctx, id)
	if err != nil {
		return nil, err
	}
	var cols []string
	if up.Name != nil {
		if err := checkName("role", *up.Name, 255); err != nil {
			return nil, err
		}
		r.Name, cols = *up.Name, append(cols, "name")
	}
	if up.Description != nil {
		r.Description, cols = up.Description, append(cols, "description")
	}
	if r.Extra.merge(up.Extra) {
		cols = append(cols, "extra")
	}
	return r, s.updateRole(ctx, r, cols)
}

// DeleteRole removes a role from everybody who has it.
func (s *Service) DeleteRole(ctx context.Context, id string) error { return s.deleteRole(ctx, id) }

// An ImpliedRole says that who has the prior role has the implied one too.
type ImpliedRole struct {
	PriorRoleID   string `bun:"prior_role_id,pk"`
	ImpliedRoleID string `bun:"implied_role_id,pk"`
}

// CreateImpliedRole adds an implication; it is no error if it is there.
func (s *Service) CreateImpliedRole(ctx context.Context, prior, implied string) error {
	p, err := s.selectRole(ctx, prior)
	if err != nil {
		return err
	}
	i, err := s.selectRole(ctx, implied)
	if err != nil {
		return err
	}
	if prior == implied {
		return fault.New(fault.Forbidden, "role %s cannot imply itself", prior)
	}
	if i.DomainID != "" && i.DomainID != p.DomainID {
		return fault.New(fault.Forbidden, "role %s belongs to another domain and cannot be implied by %s", implied, prior)
	}
	if i.Name == "admin" {
		// As Keystone: the admin role is not given away by implication.
		return fault.New(fault.Forbidden, "role %s cannot be an implied role", implied)
	}
	return s.insertImpliedRole(ctx, prior, implied)
}

// DeleteImpliedRole removes an implication.
func (s *Service) DeleteImpliedRole(ctx context.Context, prior, implied string) error {
	return s.deleteImpliedRole(ctx, prior, implied)
}

// Implied lists the roles that a role implies directly.
func (s *Service) Implied(ctx context.Context, prior string) ([]Role, error) {
	if _, err := s.selectRole(ctx, prior); err != nil {
		return nil, err
	}
	snap, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	return snap.rolesOf(snap.implied[prior]), nil
}

// An Inference is a role and all it implies directly.
type Inference struct {
	Prior   Role
	Implies []Role
}

// Inferences lists all implications, by prior role.
func (s *Service) Inferences(ctx context.Context) ([]Inference, error) {
	snap, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	var out []Inference
	for _, r := range snap.sortedRoles() {
		if implied := snap.implied[r.ID]; len(implied) > 0 {
			out = append(out, Inference{Prior: r, Implies: snap.rolesOf(implied)})
		}
	}
	return out, nil
}
