package keystone

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

const (
	maxProjectDepth = 5
	maxProjectTags  = 80
	maxTagLen       = 255
)

// A Project owns cloud resources. ParentID is empty for a project at the top
// of its domain; the API then shows the domain's id.
type Project struct {
	ID          string `bun:"id,pk"`
	DomainID    string
	ParentID    string `bun:",nullzero"`
	Name        string
	Description string
	Enabled     bool
	Extra       Extra
	CreatedAt   time.Time
	Tags        []string `bun:"-"`
}

// A ProjectUpdate holds what is to change; nil keeps. The domain and the
// parent of a project never change.
type ProjectUpdate struct {
	Name, Description *string
	Enabled           *bool
	Tags              *[]string
	Extra             Extra
}

// CreateProject adds p under its parent. A parent id that is the domain's own
// means the top.
func (s *Service) CreateProject(ctx context.Context, p *Project) error {
	if err := checkName("project", p.Name, 64); err != nil {
		return err
	}
	if err := checkTags(p.Tags); err != nil {
		return err
	}
	if p.ParentID == p.DomainID {
		p.ParentID = ""
	}
	if p.ParentID != "" {
		up, err := s.ancestors(ctx, p.ParentID)
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.BadRequest, "parent project %s does not exist", p.ParentID)
		} else if err != nil {
			return err
		}
		if up[0].DomainID != p.DomainID {
			return fault.New(fault.BadRequest, "parent project %s is in another domain", p.ParentID)
		}
		if len(up) >= maxProjectDepth {
			return fault.New(fault.Forbidden, "max hierarchy depth of %d reached for the branch of %s", maxProjectDepth, p.ParentID)
		}
		if slices.ContainsFunc(up, func(p Project) bool { return !p.Enabled }) {
			return fault.New(fault.Forbidden, "cannot create a project in a branch containing a disabled project")
		}
	}
	p.ID, p.CreatedAt = ids.Hex(), s.clock.Now()
	return s.insertProject(ctx, p)
}

// asBadRequest turns "not found" into the fault of a body that names something
// that does not exist.
func asBadRequest(err error) error {
	if f := fault.As(err); f != nil && f.Kind == fault.NotFound {
		return fault.New(fault.BadRequest, "%s", f.Text)
	}
	return err
}

func checkTags(tags []string) error {
	if len(tags) > maxProjectTags {
		return fault.New(fault.BadRequest, "a project may have at most %d tags", maxProjectTags)
	}
	for i, t := range tags {
		if t == "" || utf8.RuneCountInString(t) > maxTagLen || strings.ContainsAny(t, "/,") {
			return fault.New(fault.BadRequest, "tag %q must have 1 to %d characters and no comma or slash", t, maxTagLen)
		}
		if slices.Contains(tags[:i], t) {
			return fault.New(fault.BadRequest, "tag %q is there twice", t)
		}
	}
	return nil
}

// Project finds a project by id.
func (s *Service) Project(ctx context.Context, id string) (*Project, error) {
	return s.selectProject(ctx, id)
}

// A TagFilter limits projects to those with all, any, not all or none of some
// tags.
type TagFilter struct{ All, Any, NotAll, None []string }

// Projects lists projects; they can be filtered by name, enabled, domain_id,
// parent_id and tags.
func (s *Service) Projects(ctx context.Context, f Filter, tags TagFilter) ([]Project, error) {
	return s.selectProjects(ctx, f, tags)
}

// UpdateProject changes a project. Disabling it ends the tokens scoped to it.
func (s *Service) UpdateProject(ctx context.Context, id string, up ProjectUpdate) (*Project, error) {
	p, err := s.selectProject(ctx, id)
	if err != nil {
		return nil, err
	}
	var cols []string
	if up.Name != nil {
		if err := checkName("project", *up.Name, 64); err != nil {
			return nil, err
		}
		p.Name, cols = *up.Name, append(cols, "name")
	}
	if up.Description != nil {
		p.Description, cols = *up.Description, append(cols, "description")
	}
	if up.Enabled != nil {
		p.Enabled, cols = *up.Enabled, append(cols, "enabled")
	}
	if p.Extra.merge(up.Extra) {
		cols = append(cols, "extra")
	}
	if up.Tags != nil {
		if err := checkTags(*up.Tags); err != nil {
			return nil, err
		}
		p.Tags = *up.Tags
	}
	return p, s.updateProject(ctx, p, cols, up.Tags != nil)
}

// DeleteProject removes a project that has no children.
func (s *Service) DeleteProject(ctx context.Context, id string) error {
	if _, err := s.selectProject(ctx, id); err != nil {
		return err
	}
	return s.deleteProject(ctx, id)
}

// AddProjectTag adds one tag; it is no error if it is there.
func (s *Service) AddProjectTag(ctx context.Context, id, tag string) error {
	p, err := s.selectProject(ctx, id)
	if err != nil {
		return err
	}
	if slices.Contains(p.Tags, tag) {
		return nil
	}
	if err := checkTags(append(slices.Clone(p.Tags), tag)); err != nil {
		return err
	}
	return s.insertProjectTag(ctx, id, tag)
}

// DeleteProjectTag removes one tag.
func (s *Service) DeleteProjectTag(ctx context.Context, id, tag string) error {
	if _, err := s.selectProject(ctx, id); err != nil {
		return err
	}
	return s.deleteProjectTag(ctx, id, tag)
}

// ancestors are the project and everything above it, in that order.
func (s *Service) ancestors(ctx context.Context, id string) ([]Project, error) {
	var up []Project
	for id != "" && len(up) < maxProjectDepth {
		p, err := s.selectProjectRow(ctx, id)
		if err != nil {
			return nil, err
		}
		up = append(up, *p)
		id = p.ParentID
	}
	return up, nil
}

// Parents are the projects above id, the nearest first.
func (s *Service) Parents(ctx context.Context, id string) ([]Project, error) {
	up, err := s.ancestors(ctx, id)
	if err != nil {
		return nil, err
	}
	return up[1:], nil
}

// Subtree are the projects below id, level by level.
func (s *Service) Subtree(ctx context.Context, id string) ([]Project, error) {
	var all []Project
	level := []string{id}
	for len(level) > 0 {
		children, err := s.selectChildren(ctx, level)
		if err != nil {
			return nil, err
		}
		level = nil
		for _, c := range children {
			level = append(level, c.ID)
		}
		all = append(all, children...)
	}
	return all, nil
}
