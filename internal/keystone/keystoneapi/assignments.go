package keystoneapi

import (
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

func readAssignmentFilter(r *httpapi.Request) (keystone.AssignmentFilter, error) {
	q := r.URL.Query()
	f := keystone.AssignmentFilter{RoleID: q.Get("role.id"), Effective: flag(q, "effective"), Subtree: flag(q, "include_subtree")}
	user, group := q.Get("user.id"), q.Get("group.id")
	switch {
	case user != "" && group != "":
		return f, fault.New(fault.BadRequest, "specify a user or group, not both")
	case user != "":
		f.ActorKind, f.ActorID = keystone.ActorUser, user
	case group != "":
		if f.Effective {
			return f, fault.New(fault.BadRequest, "combining effective and group filter will always result in an empty list")
		}
		f.ActorKind, f.ActorID = keystone.ActorGroup, group
	}
	n := 0
	for _, kind := range []string{keystone.TargetProject, keystone.TargetDomain} {
		if id := q.Get("scope." + kind + ".id"); id != "" {
			f.TargetKind, f.TargetID = kind, id
			n++
		}
	}
	if q.Has("scope.system") {
		f.TargetKind = keystone.TargetSystem
		n++
	}
	if n > 1 {
		return f, fault.New(fault.BadRequest, "specify a domain, a project or the system, not more than one")
	}
	if q.Has("scope.OS-INHERIT:inherited_to") {
		inherited := true
		f.Inherited = &inherited
	}
	if f.Subtree && f.TargetKind != keystone.TargetProject {
		return f, fault.New(fault.BadRequest, "scope.project.id must be specified if include_subtree is also specified")
	}
	return f, nil
}

func (a *API) listAssignments(r *httpapi.Request) (any, error) {
	f, err := readAssignmentFilter(r)
	if err != nil {
		return nil, err
	}
	if f.Subtree {
		err = enforceTree(a, r, f.TargetID)
	} else {
		err = r.Enforce(policy.Target{"target.domain_id": r.Identity().DomainID})
	}
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.Assignments(r.Context(), f)
	if err != nil {
		return nil, err
	}
	withNames, domain := flag(r.URL.Query(), "include_names"), r.Identity().DomainID
	names := &keystone.Names{}
	if withNames || domain != "" {
		if names, err = a.keystone.AssignmentNames(r.Context(), rows); err != nil {
			return nil, err
		}
	}
	out := []object{}
	for i := range rows {
		if domain == "" || names.DomainOf(&rows[i]) == domain {
			out = append(out, a.assignmentView(&rows[i], names, withNames))
		}
	}
	self := a.base + r.URL.Path
	if r.URL.RawQuery != "" {
		self += "?" + r.URL.RawQuery
	}
	return object{"role_assignments": out, "links": object{"self": self, "previous": nil, "next": nil}}, nil
}

func enforceTree(a *API, r *httpapi.Request, projectID string) error {
	p, err := a.keystone.Project(r.Context(), projectID)
	target := policy.Target{}
	if err == nil {
		target = projectTarget(p)
	} else if _, derr := a.keystone.Domain(r.Context(), projectID); derr == nil {
		// A domain stands for the project at the top of its tree.
		target, err = policy.Target{"target.project.id": projectID, "target.project.domain_id": projectID}, nil
	} else if !fault.Is(err, fault.NotFound) {
		return err
	}
	if ferr := r.EnforceRule("identity:list_role_assignments_for_tree", target); ferr != nil {
		return ferr
	}
	return err
}

func (a *API) assignmentView(v *keystone.AssignmentView, names *keystone.Names, withNames bool) object {
	ref := func(id string) object {
		o := object{"id": id}
		if withNames {
			o["name"] = names.Name[id]
			if d := names.Domain[id]; d != "" {
				o["domain"] = nameRef{d, names.Name[d]}
			}
		}
		return o
	}
	scope := object{}
	switch v.TargetKind {
	case keystone.TargetSystem:
		scope["system"] = object{"all": true}
	default:
		scope[v.TargetKind] = ref(v.TargetID)
	}
	if v.Via.Inherited {
		scope["OS-INHERIT:inherited_to"] = "projects"
	}
	links := object{"assignment": a.base + "/v3" + assignmentPath(v.Via)}
	if v.Group != "" {
		links["membership"] = a.base + "/v3/groups/" + v.Group + "/users/" + v.ActorID
	}
	if v.Prior != "" {
		links["prior_role"] = a.base + "/v3/prior_role/" + v.Prior + "/implies/" + v.RoleID
	}
	return object{"role": ref(v.RoleID), v.ActorKind: ref(v.ActorID), "scope": scope, "links": links}
}

func assignmentPath(as keystone.Assignment) string {
	path := "/" + as.TargetKind + "s/" + as.TargetID
	if as.TargetKind == keystone.TargetSystem {
		path = "/system"
	}
	path += "/" + as.ActorKind + "s/" + as.ActorID + "/roles/" + as.RoleID
	if as.Inherited {
		path = "/OS-INHERIT" + path + "/inherited_to_projects"
	}
	return path
}
