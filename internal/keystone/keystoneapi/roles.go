package keystoneapi

import (
	"slices"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) roleView(o *keystone.Role) object {
	return object{
		"id": o.ID, "name": o.Name, "domain_id": orNil(o.DomainID), "description": o.Description,
		"options": object{}, "links": a.self("roles", o.ID),
	}.with(o.Extra)
}

// roleRef is the short form inside implications.
func (a *API) roleRef(o *keystone.Role) object {
	return object{"id": o.ID, "name": o.Name, "description": o.Description, "links": a.self("roles", o.ID)}
}

func (a *API) listRoles(r *httpapi.Request) (any, error) {
	rule := "identity:list_roles"
	if r.URL.Query().Get("domain_id") != "" {
		rule = "identity:list_domain_roles"
	}
	if err := r.EnforceRule(rule, policy.Target{}); err != nil {
		return nil, err
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.Roles(r.Context(), f)
	return a.collection(r, "roles", views(rows, a.roleView)), err
}

func (a *API) createRole(r *httpapi.Request) (any, error) {
	in, err := readAttrs(r, "role")
	if err != nil {
		return nil, err
	}
	domain := deref(in.orNull("domain_id"), "")
	rule := "identity:create_role"
	if domain != "" {
		rule = "identity:create_domain_role"
	}
	if err := r.EnforceRule(rule, policy.Target{"target.role.domain_id": orNil(domain)}); err != nil {
		return nil, err
	}
	o := keystone.Role{Name: in.required("name"), DomainID: domain, Description: in.orNull("description"), Extra: in.extra()}
	if in.err != nil {
		return nil, in.err
	}
	if err := a.keystone.CreateRole(r.Context(), &o); err != nil {
		return nil, err
	}
	return object{"role": a.roleView(&o)}, nil
}

// loadRole checks the rule for a domain's own role where that has one.
func (a *API) loadRole(r *httpapi.Request, verb string) (*keystone.Role, error) {
	o, err := a.keystone.Role(r.Context(), r.PathValue("role_id"))
	if err != nil {
		if ferr := r.EnforceRule("identity:"+verb+"_role", policy.Target{}); ferr != nil {
			return nil, ferr
		}
		return nil, err
	}
	rule := "identity:" + verb + "_role"
	if o.DomainID != "" {
		rule = "identity:" + verb + "_domain_role"
	}
	return o, r.EnforceRule(rule, policy.Target{"target.role.domain_id": orNil(o.DomainID)})
}

func (a *API) showRole(r *httpapi.Request) (any, error) {
	o, err := a.loadRole(r, "get")
	if err != nil {
		return nil, err
	}
	return object{"role": a.roleView(o)}, nil
}

func (a *API) updateRole(r *httpapi.Request) (any, error) {
	o, err := a.loadRole(r, "update")
	if err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "role")
	if err != nil {
		return nil, err
	}
	in.same("id", o.ID)
	in.same("domain_id", o.DomainID)
	up := keystone.RoleUpdate{Name: in.text("name"), Description: in.orNull("description"), Extra: in.extra()}
	if in.err != nil {
		return nil, in.err
	}
	if o, err = a.keystone.UpdateRole(r.Context(), o.ID, up); err != nil {
		return nil, err
	}
	return object{"role": a.roleView(o)}, nil
}

func (a *API) deleteRole(r *httpapi.Request) (any, error) {
	o, err := a.loadRole(r, "delete")
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteRole(r.Context(), o.ID)
}

func (a *API) listImplied(r *httpapi.Request) (any, error) {
	prior, err := a.priorRole(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.Implied(r.Context(), prior.ID)
	return object{
		"role_inference": object{"prior_role": a.roleRef(prior), "implies": views(rows, a.roleRef)},
		"links":          object{"self": a.base + r.URL.Path},
	}, err
}

func (a *API) priorRole(r *httpapi.Request) (*keystone.Role, error) {
	return enforceOn(r, func() (*keystone.Role, error) {
		return a.keystone.Role(r.Context(), r.PathValue("role_id"))
	}, func(*keystone.Role) policy.Target { return policy.Target{} })
}

// implication loads both roles and refuses a pair of which none implies the
// other.
func (a *API) implication(r *httpapi.Request) (prior, implied *keystone.Role, err error) {
	if prior, err = a.priorRole(r); err != nil {
		return nil, nil, err
	}
	id := r.PathValue("implied_id")
	rows, err := a.keystone.Implied(r.Context(), prior.ID)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(rows, func(o keystone.Role) bool { return o.ID == id })
	if i < 0 {
		return nil, nil, fault.New(fault.NotFound, "%s does not imply %s", prior.ID, id)
	}
	return prior, &rows[i], nil
}

func (a *API) implicationView(r *httpapi.Request, prior, implied *keystone.Role) object {
	return object{
		"role_inference": object{"prior_role": a.roleRef(prior), "implies": a.roleRef(implied)},
		"links":          object{"self": a.base + r.URL.Path},
	}
}

func (a *API) showImplied(r *httpapi.Request) (any, error) {
	prior, implied, err := a.implication(r)
	if err != nil {
		return nil, err
	}
	return a.implicationView(r, prior, implied), nil
}

func (a *API) checkImplied(r *httpapi.Request) (any, error) {
	_, _, err := a.implication(r)
	return nil, err
}

func (a *API) createImplied(r *httpapi.Request) (any, error) {
	prior, err := a.priorRole(r)
	if err != nil {
		return nil, err
	}
	if err := a.keystone.CreateImpliedRole(r.Context(), prior.ID, r.PathValue("implied_id")); err != nil {
		return nil, err
	}
	implied, err := a.keystone.Role(r.Context(), r.PathValue("implied_id"))
	if err != nil {
		return nil, err
	}
	return a.implicationView(r, prior, implied), nil
}

func (a *API) deleteImplied(r *httpapi.Request) (any, error) {
	prior, err := a.priorRole(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteImpliedRole(r.Context(), prior.ID, r.PathValue("implied_id"))
}

func (a *API) listInferences(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{}); err != nil {
		return nil, err
	}
	rows, err := a.keystone.Inferences(r.Context())
	out := []object{}
	for i := range rows {
		out = append(out, object{"prior_role": a.roleRef(&rows[i].Prior), "implies": views(rows[i].Implies, a.roleRef)})
	}
	return object{"role_inferences": out, "links": object{"self": a.base + r.URL.Path}}, err
}
