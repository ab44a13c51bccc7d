package keystoneapi

import (
	"slices"
	"strings"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) projectView(p *keystone.Project) object {
	parent := p.ParentID
	if parent == "" {
		parent = p.DomainID
	}
	tags := p.Tags
	if tags == nil {
		tags = []string{}
	}
	return object{
		"id": p.ID, "name": p.Name, "domain_id": p.DomainID, "parent_id": parent, "description": p.Description,
		"enabled": p.Enabled, "is_domain": false, "tags": tags, "options": object{}, "links": a.self("projects", p.ID),
	}.with(p.Extra)
}

func projectTarget(p *keystone.Project) policy.Target {
	return policy.Target{"target.project.id": p.ID, "target.project.domain_id": p.DomainID, "target.domain_id": p.DomainID}
}

func (a *API) listProjects(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{"target.domain_id": r.Identity().DomainID}); err != nil {
		return nil, err
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	if flag(q, "is_domain") {
		return a.listActingDomains(r, f)
	}
	split := func(name string) []string {
		if q.Get(name) == "" {
			return nil
		}
		return strings.Split(q.Get(name), ",")
	}
	tags := keystone.TagFilter{All: split("tags"), Any: split("tags-any"), NotAll: split("not-tags"), None: split("not-tags-any")}
	rows, err := a.keystone.Projects(r.Context(), inDomain(r, f, "domain_id"), tags)
	return a.collection(r, "projects", views(rows, a.projectView)), err
}

func (a *API) createProject(r *httpapi.Request) (any, error) {
	in, err := readAttrs(r, "project")
	if err != nil {
		return nil, err
	}
	if deref(in.boolean("is_domain"), false) {
		return a.createActingDomain(r, in)
	}
	p := keystone.Project{
		Name: in.required("name"), DomainID: deref(in.orNull("domain_id"), ""), ParentID: deref(in.orNull("parent_id"), ""),
		Description: deref(in.orNull("description"), ""), Enabled: deref(in.boolean("enabled"), true),
		Tags: deref(in.texts("tags"), nil), Extra: in.extra(),
	}
	if p.DomainID == "" {
		p.DomainID = defaultDomain(r)
		if p.ParentID != "" {
			// A child is in its parent's domain, or the parent is a domain.
			if parent, err := a.keystone.Project(r.Context(), p.ParentID); err == nil {
				p.DomainID = parent.DomainID
			} else if _, err := a.keystone.Domain(r.Context(), p.ParentID); err == nil {
				p.DomainID = p.ParentID
			}
		}
	}
	if err := r.Enforce(projectTarget(&p)); err != nil {
		return nil, err
	}
	if in.err != nil {
		return nil, in.err
	}
	if err := a.keystone.CreateProject(r.Context(), &p); err != nil {
		return nil, err
	}
	return object{"project": a.projectView(&p)}, nil
}

func (a *API) loadProject(r *httpapi.Request) (*keystone.Project, error) {
	return enforceOn(r, func() (*keystone.Project, error) {
		return a.keystone.Project(r.Context(), r.PathValue("project_id"))
	}, projectTarget)
}

func (a *API) showProject(r *httpapi.Request) (any, error) {
	if d, err := a.actingDomain(r, true); d != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return object{"project": a.domainAsProject(d)}, nil
	}
	p, err := a.loadProject(r)
	if err != nil {
		return nil, err
	}
	view := a.projectView(p)
	q := r.URL.Query()
	for _, kind := range []struct {
		name string
		load func() ([]keystone.Project, error)
	}{
		{"parents", func() ([]keystone.Project, error) { return a.keystone.Parents(r.Context(), p.ID) }},
		{"subtree", func() ([]keystone.Project, error) { return a.keystone.Subtree(r.Context(), p.ID) }},
	} {
		asList, asIDs := flag(q, kind.name+"_as_list"), flag(q, kind.name+"_as_ids")
		if asList && asIDs {
			return nil, fault.New(fault.BadRequest, "use either %s_as_list or %s_as_ids", kind.name, kind.name)
		}
		if !asList && !asIDs {
			continue
		}
		rows, err := kind.load()
		if err != nil {
			return nil, err
		}
		if asList {
			view[kind.name] = views(rows, func(p *keystone.Project) object { return object{"project": a.projectView(p)} })
		} else if kind.name == "parents" {
			view[kind.name] = chainOf(rows)
		} else {
			view[kind.name] = treeOf(p.ID, rows)
		}
	}
	return object{"project": view}, nil
}

// chainOf nests the ids of parents, the nearest outermost.
func chainOf(rows []keystone.Project) any {
	if len(rows) == 0 {
		return nil
	}
	return object{rows[0].ID: chainOf(rows[1:])}
}

// treeOf nests the ids of the projects below id.
func treeOf(id string, rows []keystone.Project) any {
	out := object{}
	for _, p := range rows {
		if p.ParentID == id {
			out[p.ID] = treeOf(p.ID, rows)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func (a *API) updateProject(r *httpapi.Request) (any, error) {
	if d, err := a.actingDomain(r, false); d != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return a.updateActingDomain(r, d)
	}
	p, err := a.loadProject(r)
	if err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "project")
	if err != nil {
		return nil, err
	}
	in.same("id", p.ID)
	in.same("domain_id", p.DomainID)
	if parent := in.orNull("parent_id"); parent != nil && *parent != p.ParentID && !(p.ParentID == "" && *parent == p.DomainID) {
		return nil, fault.New(fault.Forbidden, "the parent of a project cannot be changed")
	}
	if deref(in.boolean("is_domain"), false) {
		return nil, fault.New(fault.BadRequest, "is_domain of a project cannot be changed")
	}
	up := keystone.ProjectUpdate{
		Name: in.text("name"), Description: in.orNull("description"), Enabled: in.boolean("enabled"),
		Tags: in.texts("tags"), Extra: in.extra(),
	}
	if in.err != nil {
		return nil, in.err
	}
	if p, err = a.keystone.UpdateProject(r.Context(), p.ID, up); err != nil {
		return nil, err
	}
	return object{"project": a.projectView(p)}, nil
}

func (a *API) deleteProject(r *httpapi.Request) (any, error) {
	if d, err := a.actingDomain(r, false); d != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return nil, a.keystone.DeleteDomain(r.Context(), d.ID)
	}
	p, err := a.loadProject(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteProject(r.Context(), p.ID)
}

func (a *API) listProjectTags(r *httpapi.Request) (any, error) {
	p, err := a.loadProject(r)
	if err != nil {
		return nil, err
	}
	return object{"tags": p.Tags, "links": object{"self": a.base + r.URL.Path, "previous": nil, "next": nil}}, nil
}

func (a *API) updateProjectTags(r *httpapi.Request) (any, error) {
	p, err := a.loadProject(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Tags *[]string `json:"tags"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Tags == nil {
		return nil, missing("tags")
	}
	if p, err = a.keystone.UpdateProject(r.Context(), p.ID, keystone.ProjectUpdate{Tags: in.Tags}); err != nil {
		return nil, err
	}
	return object{"tags": p.Tags, "links": object{"self": a.base + r.URL.Path, "previous": nil, "next": nil}}, nil
}

func (a *API) deleteProjectTags(r *httpapi.Request) (any, error) {
	p, err := a.loadProject(r)
	if err != nil {
		return nil, err
	}
	_, err = a.keystone.UpdateProject(r.Context(), p.ID, keystone.ProjectUpdate{Tags: &[]string{}})
	return nil, err
}

func (a *API) checkProjectTag(r *httpapi.Request) (any, error) {
	p, err := a.loadProject(r)
	if err == nil && !slices.Contains(p.Tags, r.PathValue("tag")) {
		err = fault.New(fault.NotFound, "could not find project tag: %s", r.PathValue("tag"))
	}
	return nil, err
}

func (a *API) createProjectTag(r *httpapi.Request) (any, error) {
	p, err := a.loadProject(r)
	if err != nil {
		return nil, err
	}
	if err := a.keystone.AddProjectTag(r.Context(), p.ID, r.PathValue("tag")); err != nil {
		return nil, err
	}
	return httpapi.Response{Header: map[string][]string{"Location": {a.base + r.URL.Path}}}, nil
}

func (a *API) deleteProjectTag(r *httpapi.Request) (any, error) {
	p, err := a.loadProject(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteProjectTag(r.Context(), p.ID, r.PathValue("tag"))
}
