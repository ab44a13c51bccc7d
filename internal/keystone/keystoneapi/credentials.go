package keystoneapi

import (
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) credentialView(c *keystone.Credential) object {
	return object{
		"id": c.ID, "user_id": c.UserID, "project_id": orNil(c.ProjectID), "type": c.Type,
		"blob": c.Blob.Reveal(), "links": a.self("credentials", c.ID),
	}.with(c.Extra)
}

func credentialTarget(c *keystone.Credential) policy.Target {
	return policy.Target{"target.credential.user_id": c.UserID, "target.credential.project_id": c.ProjectID}
}

// listCredentials shows everybody's to who may see them and else the caller's
// own (OSSA-2019-006).
func (a *API) listCredentials(r *httpapi.Request) (any, error) {
	me := r.Identity().UserID
	if err := r.Enforce(policy.Target{"target.credential.user_id": me}); err != nil {
		return nil, err
	}
	f, err := filterOf(r)
	if err != nil {
		return nil, err
	}
	if !r.Allowed("identity:list_credentials", policy.Target{}) {
		f = f.With("user_id", me)
	}
	rows, err := a.keystone.Credentials(r.Context(), f)
	return a.collection(r, "credentials", views(rows, a.credentialView)), err
}

func (a *API) createCredential(r *httpapi.Request) (any, error) {
	in, err := readAttrs(r, "credential")
	if err != nil {
		return nil, err
	}
	c := keystone.Credential{UserID: deref(in.orNull("user_id"), ""), ProjectID: deref(in.orNull("project_id"), "")}
	if c.UserID == "" {
		c.UserID = r.Identity().UserID
	}
	if err := r.Enforce(credentialTarget(&c)); err != nil {
		return nil, err
	}
	c.Type, c.Blob = in.required("type"), config.NewSecret(in.required("blob"))
	c.Extra = in.extra()
	if in.err != nil {
		return nil, in.err
	}
	if err := a.keystone.CreateCredential(r.Context(), r.Identity(), &c); err != nil {
		return nil, err
	}
	return object{"credential": a.credentialView(&c)}, nil
}

func (a *API) loadCredential(r *httpapi.Request) (*keystone.Credential, error) {
	return enforceOn(r, func() (*keystone.Credential, error) {
		return a.keystone.Credential(r.Context(), r.PathValue("credential_id"))
	}, credentialTarget)
}

func (a *API) showCredential(r *httpapi.Request) (any, error) {
	c, err := a.loadCredential(r)
	if err != nil {
		return nil, err
	}
	return object{"credential": a.credentialView(c)}, nil
}

func (a *API) updateCredential(r *httpapi.Request) (any, error) {
	c, err := a.loadCredential(r)
	if err != nil {
		return nil, err
	}
	in, err := readAttrs(r, "credential")
	if err != nil {
		return nil, err
	}
	in.same("id", c.ID)
	up := keystone.CredentialUpdate{
		UserID: in.text("user_id"), ProjectID: in.orNull("project_id"), Type: in.text("type"),
		Blob: in.secret("blob"), Extra: in.extra(),
	}
	if in.err != nil {
		return nil, in.err
	}
	if c, err = a.keystone.UpdateCredential(r.Context(), r.Identity(), c.ID, up); err != nil {
		return nil, err
	}
	return object{"credential": a.credentialView(c)}, nil
}

func (a *API) deleteCredential(r *httpapi.Request) (any, error) {
	c, err := a.loadCredential(r)
	if err != nil {
		return nil, err
	}
	if err := keystone.RefuseRestricted(r.Identity()); err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteCredential(r.Context(), c.ID)
}

func (a *API) ec2View(k *keystone.EC2Key) object {
	return object{
		"access": k.Access, "secret": k.Secret.Reveal(), "user_id": k.UserID, "tenant_id": k.ProjectID, "trust_id": nil,
		"links": a.self("users", k.UserID, "credentials", "OS-EC2", k.Access),
	}
}

func (a *API) listEC2Keys(r *httpapi.Request) (any, error) {
	if err := r.Enforce(ofUser(r)); err != nil {
		return nil, err
	}
	rows, err := a.keystone.EC2Keys(r.Context(), r.PathValue("user_id"))
	return object{"credentials": views(rows, a.ec2View), "links": object{"self": a.base + r.URL.Path, "previous": nil, "next": nil}}, err
}

func (a *API) createEC2Key(r *httpapi.Request) (any, error) {
	if err := r.Enforce(ofUser(r)); err != nil {
		return nil, err
	}
	var in struct {
		TenantID string `json:"tenant_id"`
	}
	if err := r.DecodeLoose(&in); err != nil {
		return nil, err
	}
	if in.TenantID == "" {
		return nil, missing("tenant_id")
	}
	k, err := a.keystone.CreateEC2Key(r.Context(), r.Identity(), r.PathValue("user_id"), in.TenantID)
	if err != nil {
		return nil, err
	}
	return object{"credential": a.ec2View(k)}, nil
}

func (a *API) showEC2Key(r *httpapi.Request) (any, error) {
	if err := r.Enforce(ofUser(r)); err != nil {
		return nil, err
	}
	k, err := a.keystone.EC2Key(r.Context(), r.PathValue("user_id"), r.PathValue("access"))
	if err != nil {
		return nil, err
	}
	return object{"credential": a.ec2View(k)}, nil
}

func (a *API) deleteEC2Key(r *httpapi.Request) (any, error) {
	if err := r.Enforce(ofUser(r)); err != nil {
		return nil, err
	}
	if err := keystone.RefuseRestricted(r.Identity()); err != nil {
		return nil, err
	}
	return nil, a.keystone.DeleteEC2Key(r.Context(), r.PathValue("user_id"), r.PathValue("access"))
}
