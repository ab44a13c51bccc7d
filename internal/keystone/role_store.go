package keystone

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

// insertRole raises the identity revision although no token can hold a new
// role yet: the roles in memory must know it when it is assigned.
func (s *Service) insertRole(ctx context.Context, r *Role) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if r.DomainID != "" {
			if err := hold(ctx, tx, "domains", "domain", r.DomainID); err != nil {
				return err
			}
		}
		return insert(ctx, tx, r, "role", r.Name)
	}, identityRevision)
}

func (s *Service) selectRole(ctx context.Context, id string) (*Role, error) {
	r := new(Role)
	return r, findOne(ctx, s.db, r, "role", id)
}

func (s *Service) selectRoles(ctx context.Context, f Filter) ([]Role, error) {
	return list[Role](ctx, s.db, roleColumns, f)
}

// selectRoleGraph reads all roles and implications: few rows, needed by every
// validation.
func (s *Service) selectRoleGraph(ctx context.Context) (map[string]*Role, map[string][]string, error) {
	var roles []*Role
	if err := s.db.NewSelect().Model(&roles).Scan(ctx); err != nil {
		return nil, nil, err
	}
	var rules []ImpliedRole
	if err := s.db.NewSelect().Model(&rules).OrderExpr("implied_role_id").Scan(ctx); err != nil {
		return nil, nil, err
	}
	byID := make(map[string]*Role, len(roles))
	for _, r := range roles {
		byID[r.ID] = r
	}
	implied := map[string][]string{}
	for _, r := range rules {
		implied[r.PriorRoleID] = append(implied[r.PriorRoleID], r.ImpliedRoleID)
	}
	return byID, implied, nil
}

func (s *Service) updateRole(ctx context.Context, r *Role, cols []string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		return update(ctx, tx, r, "role", r.ID, r.Name, cols...)
	}, identityRevision)
}

func (s *Service) deleteRole(ctx context.Context, id string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := remove(ctx, tx, (*Role)(nil), "role", id); err != nil {
			return err
		}
		for _, q := range []string{
			"DELETE FROM assignments WHERE role_id = ?0",
			"DELETE FROM implied_roles WHERE prior_role_id = ?0 OR implied_role_id = ?0",
			"DELETE FROM application_credential_roles WHERE role_id = ?0",
		} {
			if _, err := tx.NewRaw(q, id).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	}, identityRevision)
}

func (s *Service) insertImpliedRole(ctx context.Context, prior, implied string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(&ImpliedRole{prior, implied}).Exec(ctx)
		if db.IsDuplicate(err) {
			return nil
		}
		return err
	}, identityRevision)
}

func (s *Service) deleteImpliedRole(ctx context.Context, prior, implied string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewDelete().Model((*ImpliedRole)(nil)).
			Where("prior_role_id = ?", prior).Where("implied_role_id = ?", implied).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if err == nil {
				err = fault.New(fault.NotFound, "%s does not imply %s", prior, implied)
			}
			return err
		}
		return nil
	}, identityRevision)
}
