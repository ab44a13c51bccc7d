package novaapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) addKeypairRoutes() {
	a.get("/os-keypairs", pre+"os-keypairs:index", a.listKeypairs)
	a.post("/os-keypairs", pre+"os-keypairs:create", http.StatusOK, a.createKeypair)
	a.get("/os-keypairs/{name}", pre+"os-keypairs:show", a.showKeypair)
	a.del("/os-keypairs/{name}", pre+"os-keypairs:delete", http.StatusAccepted, a.deleteKeypair)
}

// keypairUser is whose key pairs a request is about: the caller's, or since
// 2.10 those of the user in the query, whom the rule must allow.
func (a *API) keypairUser(r *httpapi.Request, asked string) (string, error) {
	user := r.Identity().UserID
	if asked != "" && r.Version().AtLeast(2, 10) {
		user = asked
	}
	return user, r.Enforce(policy.Target{"user_id": user})
}

func viewKeypair(k *nova.Keypair, r *httpapi.Request) map[string]any {
	out := map[string]any{"name": k.Name, "public_key": k.PublicKey, "fingerprint": k.Fingerprint}
	if r.Version().AtLeast(2, 2) {
		out["type"] = k.Type
	}
	return out
}

func (a *API) listKeypairs(r *httpapi.Request) (any, error) {
	q := r.URL.Query()
	user, err := a.keypairUser(r, q.Get("user_id"))
	if err != nil {
		return nil, err
	}
	page := httpapi.Page{}
	if r.Version().AtLeast(2, 35) {
		if page, err = r.Page(httpapi.PageConfig{DefaultLimit: maxLimit, MaxLimit: maxLimit}); err != nil {
			return nil, err
		}
	}
	ask := page.Limit
	if ask > 0 {
		ask++
	}
	list, err := a.nova.Keypairs(r.Context(), user, page.Marker, ask)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if page.Limit > 0 && len(list) > page.Limit {
		list = list[:page.Limit]
		out["keypairs_links"] = []link{{r.NextLink("/v2.1/os-keypairs", list[page.Limit-1].Name), "next"}}
	}
	views := []map[string]any{}
	for i := range list {
		views = append(views, map[string]any{"keypair": viewKeypair(&list[i], r)})
	}
	out["keypairs"] = views
	return out, nil
}

func (a *API) showKeypair(r *httpapi.Request) (any, error) {
	user, err := a.keypairUser(r, r.URL.Query().Get("user_id"))
	if err != nil {
		return nil, err
	}
	k, err := a.nova.Keypair(r.Context(), user, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	v := viewKeypair(k, r)
	v["user_id"], v["created_at"], v["id"] = k.UserID, k.CreatedAt.Format(isoMicros), k.Seq
	v["deleted"], v["deleted_at"], v["updated_at"] = false, nil, nil
	return map[string]any{"keypair": v}, nil
}

type keypairBody struct {
	Keypair *struct {
		Name      string `json:"name"`
		PublicKey string `json:"public_key"`
		Type      string `json:"type"`
		UserID    string `json:"user_id"`
	} `json:"keypair"`
}

func (a *API) createKeypair(r *httpapi.Request) (any, error) {
	var in keypairBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Keypair == nil {
		return nil, fault.New(fault.BadRequest, "'keypair' is a required property")
	}
	v, c := r.Version(), in.Keypair
	switch {
	case c.Type != "" && v.Before(2, 2):
		return nil, unexpected("type")
	case c.UserID != "" && v.Before(2, 10):
		return nil, unexpected("user_id")
	case c.PublicKey == "" && v.AtLeast(2, 92):
		return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute keypair: 'public_key' is a required property")
	}
	user, err := a.keypairUser(r, c.UserID)
	if err != nil {
		return nil, err
	}
	k := nova.Keypair{UserID: user, Name: c.Name, Type: c.Type, PublicKey: c.PublicKey}
	// Every ssh reads ed25519 by now; those that do not can import their own.
	private, err := a.nova.CreateKeypair(r.Context(), &k, false)
	if err != nil {
		return nil, err
	}
	out := viewKeypair(&k, r)
	out["user_id"] = k.UserID
	if private != "" {
		out["private_key"] = private
	}
	status := http.StatusOK
	if v.AtLeast(2, 2) {
		status = http.StatusCreated
	}
	return httpapi.Response{Status: status, Body: map[string]any{"keypair": out}}, nil
}

func (a *API) deleteKeypair(r *httpapi.Request) (any, error) {
	user, err := a.keypairUser(r, r.URL.Query().Get("user_id"))
	if err != nil {
		return nil, err
	}
	if err := a.nova.DeleteKeypair(r.Context(), user, r.PathValue("name")); err != nil {
		return nil, err
	}
	if r.Version().AtLeast(2, 2) {
		return httpapi.Response{Status: http.StatusNoContent}, nil
	}
	return nil, nil
}
