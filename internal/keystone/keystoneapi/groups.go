package keystoneapi

import (
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) groupView(g *keystone.Group) object {
	return object{
		"id": g.ID, "name": g.Name, "domain_id": g.DomainID, "description": g.Description, "links": a.self("groups", g.ID),
	}.with(g.Extra)
}

func groupTarget(g *keystone.Group) policy.Target {
	return policy.Target{"target.group.id": g.ID, "target.group.domain_id": g.DomainID}
}

func (a *API) listGroups(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{"target.group.domain_id": r.Identity().DomainID}); err != nil {
		return nil, err
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.Groups(r.Context(), inDomain(r, f, "domain_id"))
	return a.collection(r, "groups", views(rows, a.groupView)), err
}

func (a *API) createGroup(r *httpapi.Request) (any, error) {
	in, err := readAttrs(r, "group")
	if err != nil {
		return nil, err
	}
	g := keystone.Group{DomainID: deref(in.orNull("domain_id"), "")}
	if g.DomainID == "" {
		g.DomainID = defaultDomain(r)
	}
	if err := r.Enforce(groupTarget(&g)); err != nil {
		return nil, err
	}
	g.Name, g.Description = in.required("name"), deref(in.orNull("description"), "")
	g.Extra = in.extra()
	if in.err != nil {
		return nil, in.err
	}
	if err := a.keystone.CreateGroup(r.Context(), &g); err != nil {
		return nil, err
	}
	return object{"group": a.groupView(&g)}, nil
}

func (a *API) loadGroup(r *httpapi.Request) (*keystone.Group, error) {
	return enforceOn(r, func() (*keystone.Group, error) {
		return a.keystone.Group(r.Context(), r.PathValue("group_id"))
	}, groupTarget)
}

func (a *API) showGroup(r *httpapi.Request) (any, error) {
	g, err := a.loadGroup(r)
	if err != nil {
		return nil, err
	}
	return object{"group": a.groupView(g)}, nil
}

func (a *API) updateGroup(r *httpapi.Request) (any, error) {
	g, err := a.loadGroup(r)
	if err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "group")
	if err != nil {
		return nil, err
	}
	in.same("id", g.ID)
	in.same("domain_id", g.DomainID)
	up := keystone.GroupUpdate{Name: in.text("name"), Description: in.orNull("description"), Extra: in.extra()}
	if in.err != nil {
		return nil, in.err
	}
	if g, err = a.keystone.UpdateGroup(r.Context(), g.ID, up); err != nil {
		return nil, err
	}
	return object{"group": a.groupView(g)}, nil
}

func (a *API) deleteGroup(r *httpapi.Request) (any, error) {
	g, err := a.loadGroup(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteGroup(r.Context(), g.ID)
}

func (a *API) listMembers(r *httpapi.Request) (any, error) {
	g, err := a.loadGroup(r)
	if err != nil {
		return nil, err
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.Members(r.Context(), g.ID, f)
	return a.collection(r, "users", views(rows, a.userView)), err
}

// enforceMember checks the rule on both ends of a membership.
func (a *API) enforceMember(r *httpapi.Request) (groupID, userID string, err error) {
	groupID, userID = r.PathValue("group_id"), r.PathValue("user_id")
	target := policy.Target{}
	g, gerr := a.keystone.Group(r.Context(), groupID)
	if gerr == nil {
		target["target.group.domain_id"] = g.DomainID
	}
	u, uerr := a.keystone.User(r.Context(), userID)
	if uerr == nil {
		target["target.user.domain_id"] = u.DomainID
	}
	for _, err := range []error{gerr, uerr} {
		if err != nil && !fault.Is(err, fault.NotFound) {
			return "", "", err
		}
	}
	return groupID, userID, r.Enforce(target)
}

func (a *API) checkMember(r *httpapi.Request) (any, error) {
	g, u, err := a.enforceMember(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.CheckMember(r.Context(), g, u)
}

func (a *API) addMember(r *httpapi.Request) (any, error) {
	g, u, err := a.enforceMember(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.AddMember(r.Context(), g, u)
}

func (a *API) removeMember(r *httpapi.Request) (any, error) {
	g, u, err := a.enforceMember(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.RemoveMember(r.Context(), g, u)
}
