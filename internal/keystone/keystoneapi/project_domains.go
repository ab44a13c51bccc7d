package keystoneapi

import (
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

// Identity v3 shows a domain also as a project whose is_domain is true. Here it
// is one row all the same; these are its handlers under /v3/projects.

func (a *API) domainAsProject(d *keystone.Domain) object {
	return object{
		"id": d.ID, "name": d.Name, "domain_id": nil, "parent_id": nil, "description": d.Description,
		"enabled": d.Enabled, "is_domain": true, "tags": []string{}, "options": object{}, "links": a.self("projects", d.ID),
	}.with(d.Extra)
}

// actingDomain is the domain that a request for a project means, if it means
// one; the project itself is looked for by the caller. What a domain's manager
// may do to projects they may not do to the domain.
func (a *API) actingDomain(r *httpapi.Request, reading bool) (*keystone.Domain, error) {
	id := r.PathValue("project_id")
	if _, err := a.keystone.Project(r.Context(), id); !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	d, err := a.keystone.Domain(r.Context(), id)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	target := policy.Target{"target.project.id": id, "target.project.domain_id": nil}
	if reading {
		target["target.project.domain_id"] = id
	}
	return d, r.Enforce(target)
}

func (a *API) createActingDomain(r *httpapi.Request, in *attrs) (any, error) {
	if err := r.Enforce(policy.Target{"target.project.domain_id": nil}); err != nil {
		return nil, err
	}
	for _, name := range []string{"domain_id", "parent_id"} {
		if v := in.orNull(name); v != nil && *v != "" {
			return nil, fault.New(fault.BadRequest, "a project that is a domain has no %s", name)
		}
	}
	d := keystone.Domain{
		Name: in.required("name"), Description: deref(in.orNull("description"), ""), Enabled: deref(in.boolean("enabled"), true),
	}
	if tags := in.texts("tags"); tags != nil && len(*tags) > 0 {
		return nil, fault.New(fault.NotImplemented, "tags of domains are not implemented")
	}
	d.Extra = in.extra()
	if in.err != nil {
		return nil, in.err
	}
	if err := a.keystone.CreateDomain(r.Context(), &d); err != nil {
		return nil, err
	}
	return object{"project": a.domainAsProject(&d)}, nil
}

func (a *API) listActingDomains(r *httpapi.Request, f keystone.Filter) (any, error) {
	if own := r.Identity().DomainID; own != "" {
		d, err := a.keystone.Domain(r.Context(), own)
		if err != nil {
			return nil, err
		}
		return a.collection(r, "projects", []object{a.domainAsProject(d)}), nil
	}
	rows, err := a.keystone.Domains(r.Context(), f)
	return a.collection(r, "projects", views(rows, a.domainAsProject)), err
}

func (a *API) updateActingDomain(r *httpapi.Request, d *keystone.Domain) (any, error) {
	in, err := readAttrs(r, "project")
	if err != nil {
		return nil, err
	}
	in.same("id", d.ID)
	in.same("domain_id", "")
	in.same("parent_id", "")
	if !deref(in.boolean("is_domain"), true) {
		in.fail("is_domain of a project cannot be changed")
	}
	up := keystone.DomainUpdate{
		Name: in.text("name"), Description: in.orNull("description"), Enabled: in.boolean("enabled"), Extra: in.extra(),
	}
	if in.err != nil {
		return nil, in.err
	}
	if d, err = a.keystone.UpdateDomain(r.Context(), d.ID, up); err != nil {
		return nil, err
	}
	return object{"project": a.domainAsProject(d)}, nil
}
