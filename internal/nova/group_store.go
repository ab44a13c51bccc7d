package nova

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

func (s *Service) insertServerGroup(ctx context.Context, g *ServerGroup, limit int64) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		ok, err := takeQuota(ctx, tx, g.ProjectID, ResourceServerGroups, 1, limit)
		if err != nil {
			return err
		}
		if !ok {
			return fault.New(fault.Forbidden, "Quota exceeded, too many server groups.")
		}
		_, err = tx.NewInsert().Model(g).Exec(ctx)
		return err
	})
}

// ServerGroup returns a group with its members, whoever owns it.
func (s *Service) ServerGroup(ctx context.Context, id string) (*ServerGroup, error) {
	g := new(ServerGroup)
	err := s.db.NewSelect().Model(g).Where("id = ?", id).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, groupNotFound(id)
	}
	if err != nil {
		return nil, err
	}
	return g, s.fillMembers(ctx, []*ServerGroup{g})
}

// ServerGroups lists the groups of a project, of all with projectID "".
// offset is Nova's own paging of this list; limit 0 means all.
func (s *Service) ServerGroups(ctx context.Context, projectID string, limit, offset int) ([]*ServerGroup, error) {
	var list []*ServerGroup
	q := s.db.NewSelect().Model(&list).OrderExpr("created_at, id")
	if projectID != "" {
		q = q.Where("project_id = ?", projectID)
	}
	if limit > 0 {
		q = q.Limit(int64(limit)).Offset(int64(offset))
	}
	if err := q.Scan(ctx); err != nil {
		return nil, err
	}
	return list, s.fillMembers(ctx, list)
}

func (s *Service) fillMembers(ctx context.Context, groups []*ServerGroup) error {
	if len(groups) == 0 {
		return nil
	}
	byID := map[string]*ServerGroup{}
	list := make([]string, len(groups))
	for i, g := range groups {
		byID[g.ID], list[i] = g, g.ID
		g.Members = []string{}
	}
	var rows []struct{ ID, GroupID string }
	err := s.db.NewRaw("SELECT id, group_id FROM servers WHERE group_id IN (?) AND deleted_at IS NULL ORDER BY created_at, id", bun.List(list)).Scan(ctx, &rows)
	for _, r := range rows {
		byID[r.GroupID].Members = append(byID[r.GroupID].Members, r.ID)
	}
	return err
}

// DeleteServerGroup removes a group; its servers stay where they are.
func (s *Service) DeleteServerGroup(ctx context.Context, id string) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var owner string
		err := tx.NewRaw("SELECT project_id FROM server_groups WHERE id = ?", id).Scan(ctx, &owner)
		if db.IsNoRows(err) {
			return groupNotFound(id)
		}
		if err != nil {
			return err
		}
		res, err := tx.NewRaw("DELETE FROM server_groups WHERE id = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		if n, _ := res.RowsAffected(); n == 0 {
			return groupNotFound(id)
		}
		return returnQuota(ctx, tx, owner, ResourceServerGroups, 1)
	})
}

// groupHosts counts the members of a group by host, without one server.
func (s *Service) groupHosts(ctx context.Context, groupID, except string) (map[string]int, error) {
	var rows []struct {
		Host string
		N    int
	}
	err := s.db.NewRaw("SELECT host, COUNT(*) AS n FROM servers WHERE group_id = ? AND deleted_at IS NULL AND host IS NOT NULL AND id <> ? GROUP BY host",
		groupID, except).Scan(ctx, &rows)
	hosts := map[string]int{}
	for _, r := range rows {
		hosts[r.Host] = r.N
	}
	return hosts, err
}
