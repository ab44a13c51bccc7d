package keystoneapi

import (
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) domainView(d *keystone.Domain) object {
	return object{
		"id": d.ID, "name": d.Name, "description": d.Description, "enabled": d.Enabled,
		"options": object{}, "tags": []string{}, "links": a.self("domains", d.ID),
	}.with(d.Extra)
}

func domainTarget(d *keystone.Domain) policy.Target {
	return policy.Target{"target.domain.id": d.ID, "target.domain_id": d.ID}
}

func (a *API) listDomains(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{"target.domain.id": r.Identity().DomainID}); err != nil {
		return nil, err
	}
	if d := r.Identity().DomainID; d != "" {
		one, err := a.keystone.Domain(r.Context(), d)
		if err != nil {
			return nil, err
		}
		return a.collection(r, "domains", []object{a.domainView(one)}), nil
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.Domains(r.Context(), f)
	return a.collection(r, "domains", views(rows, a.domainView)), err
}

func (a *API) createDomain(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{}); err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "domain")
	if err != nil {
		return nil, err
	}
	d := keystone.Domain{
		Name: in.required("name"), Description: deref(in.orNull("description"), ""),
		Enabled: deref(in.boolean("enabled"), true), Extra: in.extra(),
	}
	if in.err != nil {
		return nil, in.err
	}
	if err := a.keystone.CreateDomain(r.Context(), &d); err != nil {
		return nil, err
	}
	return object{"domain": a.domainView(&d)}, nil
}

func (a *API) loadDomain(r *httpapi.Request) (*keystone.Domain, error) {
	return enforceOn(r, func() (*keystone.Domain, error) {
		return a.keystone.Domain(r.Context(), r.PathValue("domain_id"))
	}, domainTarget)
}

func (a *API) showDomain(r *httpapi.Request) (any, error) {
	d, err := a.loadDomain(r)
	if err != nil {
		return nil, err
	}
	return object{"domain": a.domainView(d)}, nil
}

func (a *API) updateDomain(r *httpapi.Request) (any, error) {
	d, err := a.loadDomain(r)
	if err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "domain")
	if err != nil {
		return nil, err
	}
	in.same("id", d.ID)
	up := keystone.DomainUpdate{
		Name: in.text("name"), Description: in.orNull("description"), Enabled: in.boolean("enabled"), Extra: in.extra(),
	}
	if in.err != nil {
		return nil, in.err
	}
	if d, err = a.keystone.UpdateDomain(r.Context(), d.ID, up); err != nil {
		return nil, err
	}
	return object{"domain": a.domainView(d)}, nil
}

func (a *API) deleteDomain(r *httpapi.Request) (any, error) {
	d, err := a.loadDomain(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteDomain(r.Context(), d.ID)
}
