package keystoneapi

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) appCredView(ctx context.Context, ac *keystone.ApplicationCredential) (object, error) {
	roles, err := a.keystone.RolesByID(ctx, ac.RoleIDs)
	return object{
		"id": ac.ID, "name": ac.Name, "description": ac.Description, "project_id": ac.ProjectID, "user_id": ac.UserID,
		"unrestricted": ac.Unrestricted, "expires_at": timeOrNil(ac.ExpiresAt), "system": nil,
		"roles": views(roles, func(r *keystone.Role) object {
			return object{"id": r.ID, "name": r.Name, "domain_id": orNil(r.DomainID)}
		}),
		"access_rules": []object{},
		"links":        a.self("users", ac.UserID, "application_credentials", ac.ID),
	}, err
}

// ofUser is the target for what belongs to the user in the path.
func ofUser(r *httpapi.Request) policy.Target {
	id := r.PathValue("user_id")
	return policy.Target{"user_id": id, "target.user.id": id, "target.credential.user_id": id}
}

func (a *API) listAppCreds(r *httpapi.Request) (any, error) {
	if err := r.Enforce(ofUser(r)); err != nil {
		return nil, err
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.keystone.ApplicationCredentials(r.Context(), r.PathValue("user_id"), f)
	if err != nil {
		return nil, err
	}
	out := make([]object, len(rows))
	for i := range rows {
		if out[i], err = a.appCredView(r.Context(), &rows[i]); err != nil {
			return nil, err
		}
	}
	return a.collection(r, "application_credentials", out), nil
}

func (a *API) createAppCred(r *httpapi.Request) (any, error) {
	if err := r.Enforce(ofUser(r)); err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "application_credential")
	if err != nil {
		return nil, err
	}
	ac := keystone.ApplicationCredential{
		Name: in.required("name"), Description: in.text("description"),
		Unrestricted: deref(in.boolean("unrestricted"), false), ExpiresAt: readTime(in, "expires_at"),
	}
	secret := deref(in.secret("secret"), config.Secret{})
	roles := readRoles(in)
	if rules, ok := in.take("access_rules"); ok && string(rules) != "null" && string(rules) != "[]" {
		return nil, fault.New(fault.NotImplemented, "access rules are not implemented")
	}
	delete(in.m, "project_id")
	for name := range in.extra() {
		in.fail("additional properties are not allowed (%q was unexpected)", name)
	}
	if in.err != nil {
		return nil, in.err
	}
	secret, err = a.keystone.CreateApplicationCredential(r.Context(), r.Identity(), &ac, roles, secret)
	if err != nil {
		return nil, err
	}
	view, err := a.appCredView(r.Context(), &ac)
	view["secret"] = secret.Reveal()
	return object{"application_credential": view}, err
}

// readTime reads a time as clients write it, with or without fraction and zone.
func readTime(in *attrs, name string) time.Time {
	s := in.orNull(name)
	if s == nil || *s == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, *s); err == nil {
			return t.UTC().Truncate(time.Microsecond)
		}
	}
	in.fail("invalid input for field %s.%s: it must be a time like 2026-01-02T03:04:05Z", in.kind, name)
	return time.Time{}
}

func readRoles(in *attrs) []keystone.RoleRef {
	raw, ok := in.take("roles")
	if !ok || string(raw) == "null" {
		return nil
	}
	var refs []struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	if json.Unmarshal(raw, &refs) != nil {
		in.fail("invalid input for field %s.roles: it must be a list of objects with id or name", in.kind)
	}
	out := make([]keystone.RoleRef, 0, len(refs))
	for _, ref := range refs {
		if ref.ID == "" && ref.Name == "" {
			in.fail("invalid input for field %s.roles: a role needs an id or a name", in.kind)
		}
		out = append(out, keystone.RoleRef{ID: ref.ID, Name: ref.Name})
	}
	return out
}

func (a *API) showAppCred(r *httpapi.Request) (any, error) {
	if err := r.Enforce(ofUser(r)); err != nil {
		return nil, err
	}
	ac, err := a.keystone.ApplicationCredential(r.Context(), r.PathValue("user_id"), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	view, err := a.appCredView(r.Context(), ac)
	return object{"application_credential": view}, err
}

func (a *API) deleteAppCred(r *httpapi.Request) (any, error) {
	if err := r.Enforce(ofUser(r)); err != nil {
		return nil, err
	}
	if err := keystone.RefuseRestricted(r.Identity()); err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteApplicationCredential(r.Context(), r.PathValue("user_id"), r.PathValue("id"))
}
