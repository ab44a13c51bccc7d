package keystone

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

func (s *Service) insertAssignment(ctx context.Context, a Assignment) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(&a).Exec(ctx)
		if db.IsDuplicate(err) {
			return nil
		}
		return err
	}, identityRevision)
}

func (s *Service) deleteAssignment(ctx context.Context, a Assignment) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewDelete().Model(&a).WherePK().Exec(ctx)
		if err != nil {
			return err
		}
		return affectedOr404(res, "role assignment with role", a.RoleID)
	}, identityRevision)
}

func (s *Service) selectAssignment(ctx context.Context, a Assignment) error {
	err := s.db.NewSelect().Model(&a).WherePK().Scan(ctx)
	return foundOr404(err, "role assignment with role", a.RoleID)
}

func (s *Service) selectAssignments(ctx context.Context, f AssignmentFilter) ([]Assignment, error) {
	rows := []Assignment{}
	q := s.db.NewSelect().Model(&rows).OrderExpr("actor_kind DESC, actor_id, target_kind, target_id, role_id")
	for _, c := range []struct{ column, value string }{
		{"actor_kind", f.ActorKind}, {"actor_id", f.ActorID},
		{"target_kind", f.TargetKind}, {"target_id", f.TargetID}, {"role_id", f.RoleID},
	} {
		if c.value != "" {
			q = q.Where(c.column+" = ?", c.value)
		}
	}
	if f.Inherited != nil {
		q = q.Where("inherited = ?", *f.Inherited)
	}
	return rows, q.Scan(ctx)
}

// whereUser limits assignments to a user's own and those of their groups.
func whereUser(q *bun.SelectQuery, userID string) *bun.SelectQuery {
	return q.Where("(actor_kind = 'user' AND actor_id = ?0 OR actor_kind = 'group' AND actor_id IN (SELECT group_id FROM memberships WHERE user_id = ?0))", userID)
}

// selectUserAssignments are all assignments that may concern a user.
func (s *Service) selectUserAssignments(ctx context.Context, userID string) ([]Assignment, error) {
	var rows []Assignment
	err := whereUser(s.db.NewSelect().Model(&rows), userID).Scan(ctx)
	return rows, err
}

// selectUserRoles are the ids of the roles that a user has directly, by group
// or by inheritance on a target. above are the projects above it and domain
// their domain, empty for a target that is not a project.
func (s *Service) selectUserRoles(ctx context.Context, userID, kind, target, domain string, above []string) ([]string, error) {
	var roles []string
	q := s.db.NewSelect().Model((*Assignment)(nil)).ColumnExpr("DISTINCT role_id")
	q = whereUser(q, userID).WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
		q = q.Where("target_kind = ? AND target_id = ? AND inherited = ?", kind, target, false)
		if domain != "" {
			q = q.WhereOr("target_kind = 'domain' AND target_id = ? AND inherited = ?", domain, true)
		}
		if len(above) > 0 {
			q = q.WhereOr("target_kind = 'project' AND target_id IN (?) AND inherited = ?", bun.List(above), true)
		}
		return q
	})
	return roles, q.OrderExpr("role_id").Scan(ctx, &roles)
}
