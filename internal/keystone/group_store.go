package keystone

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

type membership struct {
	UserID  string `bun:"user_id,pk"`
	GroupID string `bun:"group_id,pk"`
}

func (s *Service) insertGroup(ctx context.Context, g *Group) error {
	return s.insertInDomain(ctx, g.DomainID, func(ctx context.Context, tx bun.Tx) error {
		return insert(ctx, tx, g, "group", g.Name)
	})
}

func (s *Service) selectGroup(ctx context.Context, id string) (*Group, error) {
	g := new(Group)
	return g, findOne(ctx, s.db, g, "group", id)
}

func (s *Service) selectGroups(ctx context.Context, f Filter) ([]Group, error) {
	return list[Group](ctx, s.db, groupColumns, f)
}

func (s *Service) selectGroupsIn(ctx context.Context, ids []string) ([]Group, error) {
	return listIn[Group](ctx, s.db, ids)
}

func (s *Service) updateGroup(ctx context.Context, g *Group, cols []string) error {
	return update(ctx, s.db, g, "group", g.ID, g.Name, cols...)
}

func (s *Service) deleteGroup(ctx context.Context, id string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := remove(ctx, tx, (*Group)(nil), "group", id); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*membership)(nil)).Where("group_id = ?", id).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*Assignment)(nil)).Where("actor_kind = ?", ActorGroup).Where("actor_id = ?", id).Exec(ctx)
		return err
	}, identityRevision)
}

func (s *Service) insertMembership(ctx context.Context, groupID, userID string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(&membership{userID, groupID}).Exec(ctx)
		if db.IsDuplicate(err) {
			return nil
		}
		return err
	}, identityRevision)
}

func (s *Service) deleteMembership(ctx context.Context, groupID, userID string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewDelete().Model((*membership)(nil)).Where("group_id = ?", groupID).Where("user_id = ?", userID).Exec(ctx)
		if err != nil {
			return err
		}
		return affectedOr404(res, "user in group", userID)
	}, identityRevision)
}

func (s *Service) selectMembership(ctx context.Context, groupID, userID string) error {
	m := new(membership)
	err := s.db.NewSelect().Model(m).Where("group_id = ?", groupID).Where("user_id = ?", userID).Scan(ctx)
	return foundOr404(err, "user in group", userID)
}

func (s *Service) selectMembers(ctx context.Context, groupID string, f Filter) ([]User, error) {
	return list[User](ctx, s.db, userColumns, f, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("id IN (SELECT user_id FROM memberships WHERE group_id = ?)", groupID)
	})
}

func (s *Service) selectGroupsOf(ctx context.Context, userID string, f Filter) ([]Group, error) {
	return list[Group](ctx, s.db, groupColumns, f, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("id IN (SELECT group_id FROM memberships WHERE user_id = ?)", userID)
	})
}

func (s *Service) selectMemberships(ctx context.Context, groups []string) ([]membership, error) {
	var rows []membership
	if len(groups) == 0 {
		return rows, nil
	}
	err := s.db.NewSelect().Model(&rows).Where("group_id IN (?)", bun.List(groups)).Scan(ctx)
	return rows, err
}
