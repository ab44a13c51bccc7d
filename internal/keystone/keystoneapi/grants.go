package keystoneapi

import (
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

// A grant is the shape of one family of routes: who gets a role, on what.
type grant struct {
	actor, target string
	inherited     bool
}

// enforceGrant reads the assignment out of the path and checks the route's
// rule against everything that it ties together.
func (a *API) enforceGrant(r *httpapi.Request, g grant) (keystone.Assignment, error) {
	as := keystone.Assignment{
		ActorKind: g.actor, ActorID: r.PathValue(g.actor + "_id"), TargetKind: g.target, TargetID: r.PathValue(g.target + "_id"),
		RoleID: r.PathValue("role_id"), Inherited: g.inherited,
	}
	target, err := a.grantTarget(r, as)
	if err != nil {
		return as, err
	}
	return as, r.Enforce(target)
}

// grantTarget describes what exists of an assignment; what does not is left
// out, so that only an administrator gets to hear that it is not found.
func (a *API) grantTarget(r *httpapi.Request, as keystone.Assignment) (policy.Target, error) {
	ctx, t := r.Context(), policy.Target{}
	keep := func(err error, set func()) error {
		if err == nil {
			set()
		}
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	}
	var err error
	if as.ActorKind == keystone.ActorUser {
		u, e := a.keystone.User(ctx, as.ActorID)
		err = keep(e, func() { t["target.user.id"], t["target.user.domain_id"] = u.ID, u.DomainID })
	} else {
		g, e := a.keystone.Group(ctx, as.ActorID)
		err = keep(e, func() { t["target.group.id"], t["target.group.domain_id"] = g.ID, g.DomainID })
	}
	if err != nil {
		return nil, err
	}
	switch as.TargetKind {
	case keystone.TargetProject:
		p, e := a.keystone.Project(ctx, as.TargetID)
		err = keep(e, func() { t["target.project.id"], t["target.project.domain_id"] = p.ID, p.DomainID })
	case keystone.TargetDomain:
		d, e := a.keystone.Domain(ctx, as.TargetID)
		err = keep(e, func() { t["target.domain.id"] = d.ID })
	}
	if err != nil || as.RoleID == "" {
		return t, err
	}
	role, e := a.keystone.Role(ctx, as.RoleID)
	return t, keep(e, func() { t["target.role.name"], t["target.role.domain_id"] = role.Name, orNil(role.DomainID) })
}

func (a *API) listGrants(g grant) httpapi.Handler {
	return func(r *httpapi.Request) (any, error) {
		as, err := a.enforceGrant(r, g)
		if err != nil {
			return nil, err
		}
		rows, err := a.keystone.Granted(r.Context(), as)
		return a.collection(r, "roles", views(rows, a.roleView)), err
	}
}

func (a *API) checkGrant(g grant) httpapi.Handler {
	return func(r *httpapi.Request) (any, error) {
		as, err := a.enforceGrant(r, g)
		if err != nil {
			return nil, err
		}
		return nil, a.keystone.CheckGrant(r.Context(), as)
	}
}

func (a *API) createGrant(g grant) httpapi.Handler {
	return func(r *httpapi.Request) (any, error) {
		as, err := a.enforceGrant(r, g)
		if err != nil {
			return nil, err
		}
		return nil, a.keystone.Grant(r.Context(), as)
	}
}

func (a *API) revokeGrant(g grant) httpapi.Handler {
	return func(r *httpapi.Request) (any, error) {
		as, err := a.enforceGrant(r, g)
		if err != nil {
			return nil, err
		}
		return nil, a.keystone.Revoke(r.Context(), as)
	}
}
