package keystoneapi

import (
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) userView(u *keystone.User) object {
	o := object{
		"id": u.ID, "name": u.Name, "domain_id": u.DomainID, "enabled": u.Enabled, "options": object{}, "federated": []object{},
		"password_expires_at": timeOrNil(u.PasswordExpiresAt), "links": a.self("users", u.ID),
	}
	if u.DefaultProjectID != "" {
		o["default_project_id"] = u.DefaultProjectID
	}
	return o.with(u.Extra)
}

func userTarget(u *keystone.User) policy.Target {
	return policy.Target{"target.user.id": u.ID, "target.user.domain_id": u.DomainID, "target.domain_id": u.DomainID, "user_id": u.ID}
}

func (a *API) listUsers(r *httpapi.Request) (any, error) {
	if err := r.Enforce(policy.Target{"target.domain_id": r.Identity().DomainID}); err != nil {
		return nil, err
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.Users(r.Context(), inDomain(r, f, "domain_id"))
	return a.collection(r, "users", views(rows, a.userView)), err
}

func (a *API) createUser(r *httpapi.Request) (any, error) {
	in, err := readAttrs(r, "user")
	if err != nil {
		return nil, err
	}
	u := keystone.User{DomainID: deref(in.orNull("domain_id"), "")}
	if u.DomainID == "" {
		u.DomainID = defaultDomain(r)
	}
	if err := r.Enforce(userTarget(&u)); err != nil {
		return nil, err
	}
	u.Name, u.Enabled = in.required("name"), deref(in.boolean("enabled"), true)
	u.DefaultProjectID = deref(in.orNull("default_project_id"), "")
	password := in.secret("password")
	u.Extra = in.extra()
	if in.err != nil {
		return nil, in.err
	}
	if err := a.keystone.CreateUser(r.Context(), &u, password); err != nil {
		return nil, err
	}
	return object{"user": a.userView(&u)}, nil
}

func (a *API) loadUser(r *httpapi.Request) (*keystone.User, error) {
	return enforceOn(r, func() (*keystone.User, error) {
		return a.keystone.User(r.Context(), r.PathValue("user_id"))
	}, userTarget)
}

func (a *API) showUser(r *httpapi.Request) (any, error) {
	u, err := a.loadUser(r)
	if err != nil {
		return nil, err
	}
	return object{"user": a.userView(u)}, nil
}

func (a *API) updateUser(r *httpapi.Request) (any, error) {
	u, err := a.loadUser(r)
	if err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "user")
	if err != nil {
		return nil, err
	}
	in.same("id", u.ID)
	in.same("domain_id", u.DomainID)
	up := keystone.UserUpdate{
		Name: in.text("name"), DefaultProjectID: in.orNull("default_project_id"),
		Enabled: in.boolean("enabled"), Password: in.secret("password"), Extra: in.extra(),
	}
	if in.err != nil {
		return nil, in.err
	}
	if u, err = a.keystone.UpdateUser(r.Context(), u.ID, up); err != nil {
		return nil, err
	}
	return object{"user": a.userView(u)}, nil
}

func (a *API) deleteUser(r *httpapi.Request) (any, error) {
	u, err := a.loadUser(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteUser(r.Context(), u.ID)
}

func (a *API) changePassword(r *httpapi.Request) (any, error) {
	in, err := readAttrs(r, "user")
	if err != nil {
		return nil, err
	}
	old, new := in.required("original_password"), in.required("password")
	if in.err == nil && new == "" {
		in.fail("user.password must not be empty")
	}
	if in.err != nil {
		return nil, in.err
	}
	return nil, a.keystone.ChangePassword(r.Context(), r.PathValue("user_id"), config.NewSecret(old), config.NewSecret(new))
}

func (a *API) listUserGroups(r *httpapi.Request) (any, error) {
	u, err := a.loadUser(r)
	if err != nil {
		return nil, err
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.GroupsOf(r.Context(), u.ID, f)
	return a.collection(r, "groups", views(rows, a.groupView)), err
}

func (a *API) listUserProjects(r *httpapi.Request) (any, error) {
	u, err := a.loadUser(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.ProjectsOf(r.Context(), u.ID)
	return a.collection(r, "projects", views(rows, a.projectView)), err
}

func (a *API) revokeUserTokens(r *httpapi.Request) (any, error) {
	u, err := a.loadUser(r)
	if err != nil {
		return nil, err
	}
	return nil, a.keystone.RevokeUserTokens(r.Context(), u.ID)
}
