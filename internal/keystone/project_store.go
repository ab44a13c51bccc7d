package keystone

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

type projectTag struct {
	ProjectID string `bun:"project_id,pk"`
	Name      string `bun:"name,pk"`
}

func (s *Service) insertProject(ctx context.Context, p *Project) error {
	return s.insertInDomain(ctx, p.DomainID, func(ctx context.Context, tx bun.Tx) error {
		if p.ParentID != "" {
			if err := hold(ctx, tx, "projects", "project", p.ParentID); err != nil {
				return err
			}
		}
		if err := insert(ctx, tx, p, "project", p.Name); err != nil {
			return err
		}
		return insertTags(ctx, tx, p.ID, p.Tags)
	})
}

func insertTags(ctx context.Context, tx bun.Tx, id string, tags []string) error {
	if len(tags) == 0 {
		return nil
	}
	rows := make([]projectTag, len(tags))
	for i, t := range tags {
		rows[i] = projectTag{id, t}
	}
	_, err := tx.NewInsert().Model(&rows).Exec(ctx)
	return err
}

func (s *Service) selectProjectRow(ctx context.Context, id string) (*Project, error) {
	p := new(Project)
	return p, findOne(ctx, s.db, p, "project", id)
}

func (s *Service) selectProject(ctx context.Context, id string) (*Project, error) {
	p, err := s.selectProjectRow(ctx, id)
	if err != nil {
		return nil, err
	}
	one := []Project{*p}
	err = s.addTags(ctx, one)
	return &one[0], err
}

func (s *Service) selectProjectByName(ctx context.Context, domainID, name string) (*Project, error) {
	p := new(Project)
	err := s.db.NewSelect().Model(p).Where("domain_id = ?", domainID).Where("name = ?", name).Scan(ctx)
	return p, foundOr404(err, "project", name)
}

// addTags reads the tags of all the projects in as few statements as bounded
// lists of ids allow.
func (s *Service) addTags(ctx context.Context, projects []Project) error {
	const chunk = 500
	for len(projects) > 0 {
		part := projects[:min(chunk, len(projects))]
		projects = projects[len(part):]
		at := make(map[string]*Project, len(part))
		keys := make([]string, len(part))
		for i := range part {
			part[i].Tags = []string{}
			at[part[i].ID], keys[i] = &part[i], part[i].ID
		}
		var tags []projectTag
		if err := s.db.NewSelect().Model(&tags).Where("project_id IN (?)", bun.List(keys)).OrderExpr("name").Scan(ctx); err != nil {
			return err
		}
		for _, t := range tags {
			p := at[t.ProjectID]
			p.Tags = append(p.Tags, t.Name)
		}
	}
	return nil
}

func (s *Service) selectProjects(ctx context.Context, f Filter, tags TagFilter) ([]Project, error) {
	// "parent_id" of a project at the top is shown as its domain, so it is
	// found by it too.
	conds := f.Conditions
	f.Conditions = nil
	parent := ""
	for _, c := range conds {
		if c.Field == "parent_id" && c.Op == "" {
			parent = c.Value
			continue
		}
		f.Conditions = append(f.Conditions, c)
	}
	rows, err := list[Project](ctx, s.db, projectColumns, f, func(q *bun.SelectQuery) *bun.SelectQuery {
		if parent != "" {
			q = q.Where("(parent_id = ?0 OR parent_id IS NULL AND domain_id = ?0)", parent)
		}
		return tags.apply(q)
	})
	if err != nil {
		return nil, err
	}
	return rows, s.addTags(ctx, rows)
}

func (t TagFilter) apply(q *bun.SelectQuery) *bun.SelectQuery {
	const all = "(SELECT COUNT(*) FROM project_tags t WHERE t.project_id = project.id AND t.name IN (?))"
	const any = "EXISTS (SELECT 1 FROM project_tags t WHERE t.project_id = project.id AND t.name IN (?))"
	if len(t.All) > 0 {
		q = q.Where(all+" = ?", bun.List(t.All), len(t.All))
	}
	if len(t.Any) > 0 {
		q = q.Where(any, bun.List(t.Any))
	}
	if len(t.NotAll) > 0 {
		q = q.Where(all+" < ?", bun.List(t.NotAll), len(t.NotAll))
	}
	if len(t.None) > 0 {
		q = q.Where("NOT "+any, bun.List(t.None))
	}
	return q
}

func (s *Service) selectProjectsIn(ctx context.Context, ids []string) ([]Project, error) {
	rows, err := listIn[Project](ctx, s.db, ids)
	if err != nil {
		return nil, err
	}
	return rows, s.addTags(ctx, rows)
}

func (s *Service) selectChildren(ctx context.Context, parents []string) ([]Project, error) {
	return list[Project](ctx, s.db, projectColumns, Filter{}, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("parent_id IN (?)", bun.List(parents))
	})
}

func (s *Service) selectDomainProjectIDs(ctx context.Context, domains []string) ([]string, error) {
	var out []string
	if len(domains) == 0 {
		return out, nil
	}
	err := s.db.NewSelect().Model((*Project)(nil)).Column("id").Where("domain_id IN (?)", bun.List(domains)).Scan(ctx, &out)
	return out, err
}

func (s *Service) updateProject(ctx context.Context, p *Project, cols []string, tags bool) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := update(ctx, tx, p, "project", p.ID, p.Name, cols...); err != nil {
			return err
		}
		if tags {
			if _, err := tx.NewDelete().Model((*projectTag)(nil)).Where("project_id = ?", p.ID).Exec(ctx); err != nil {
				return err
			}
			if err := insertTags(ctx, tx, p.ID, p.Tags); err != nil {
				return err
			}
		}
		if !p.Enabled {
			return s.revoke(ctx, tx, revokeProject, p.ID)
		}
		return nil
	}, identityRevision)
}

func (s *Service) insertProjectTag(ctx context.Context, id, tag string) error {
	_, err := s.db.NewInsert().Model(&projectTag{id, tag}).Exec(ctx)
	if db.IsDuplicate(err) { // another request was first
		return nil
	}
	return err
}

func (s *Service) deleteProjectTag(ctx context.Context, id, tag string) error {
	res, err := s.db.NewDelete().Model((*projectTag)(nil)).Where("project_id = ?", id).Where("name = ?", tag).Exec(ctx)
	if err != nil {
		return err
	}
	return affectedOr404(res, "project tag", tag)
}

func (s *Service) deleteProject(ctx context.Context, id string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		// The project goes first: who adds one below it holds it, and is counted.
		if err := remove(ctx, tx, (*Project)(nil), "project", id); err != nil {
			return err
		}
		n, err := tx.NewSelect().Model((*Project)(nil)).Where("parent_id = ?", id).Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return fault.New(fault.Forbidden, "cannot delete project %s since it is not a leaf in the hierarchy", id)
		}
		for _, q := range []string{
			"DELETE FROM project_tags WHERE project_id = ?",
			"DELETE FROM assignments WHERE target_kind = 'project' AND target_id = ?",
			"DELETE FROM application_credential_roles WHERE application_credential_id IN (SELECT id FROM application_credentials WHERE project_id = ?)",
			"DELETE FROM application_credentials WHERE project_id = ?",
			"DELETE FROM credentials WHERE project_id = ?",
			"UPDATE users SET default_project_id = NULL WHERE default_project_id = ?",
		} {
			if _, err := tx.NewRaw(q, id).Exec(ctx); err != nil {
				return err
			}
		}
		return s.revoke(ctx, tx, revokeProject, id)
	}, identityRevision)
}
