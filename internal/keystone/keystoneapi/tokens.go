package keystoneapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
)

// Times in bodies, with and without the zone: Keystone writes tokens with it
// and everything else without.
const (
	tokenTime = "2006-01-02T15:04:05.000000Z"
	plainTime = "2006-01-02T15:04:05.000000"
)

func (a *API) version() object {
	return object{
		"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []object{{"rel": "self", "href": a.base + "/v3/"}},
		"media-types": []object{{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}

func (a *API) listVersions(*httpapi.Request) (any, error) {
	return httpapi.Response{
		Header: http.Header{"Location": {a.base + "/v3/"}},
		Body:   object{"versions": object{"values": []object{a.version()}}},
	}, nil
}

func (a *API) showVersion(*httpapi.Request) (any, error) {
	return object{"version": a.version()}, nil
}

type nameRef struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type userRef struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Domain   *nameRef `json:"domain"`
	Password *string  `json:"password"`
}

type loginBody struct {
	Auth *struct {
		Identity *struct {
			Methods  []string `json:"methods"`
			Password *struct {
				User *userRef `json:"user"`
			} `json:"password"`
			Token *struct {
				ID string `json:"id"`
			} `json:"token"`
			AppCred *struct {
				ID     string   `json:"id"`
				Name   string   `json:"name"`
				Secret *string  `json:"secret"`
				User   *userRef `json:"user"`
			} `json:"application_credential"`
		} `json:"identity"`
		Scope json.RawMessage `json:"scope"`
	} `json:"auth"`
}

type scopeBody struct {
	Project *struct {
		ID     string   `json:"id"`
		Name   string   `json:"name"`
		Domain *nameRef `json:"domain"`
	} `json:"project"`
	Domain *nameRef `json:"domain"`
	System *struct {
		All *httpapi.Bool `json:"all"`
	} `json:"system"`
	Unscoped *json.RawMessage `json:"unscoped"`
	Trust    *json.RawMessage `json:"OS-TRUST:trust"`
}

func missing(what string) error {
	return fault.New(fault.BadRequest, "expecting to find %s in request body", what)
}

func (a *API) createToken(r *httpapi.Request) (any, error) {
	received := a.clock.Now()
	var body loginBody
	if err := r.DecodeLoose(&body); err != nil {
		return nil, err
	}
	login, err := readLogin(&body)
	if err != nil {
		return nil, err
	}
	login.ReceivedAt = received
	text, t, err := a.keystone.Authenticate(r.Context(), login)
	if err != nil {
		return nil, err
	}
	b, err := t.Body(!r.URL.Query().Has("nocatalog"), a.encodeToken)
	return httpapi.Response{Body: b, Header: http.Header{"X-Subject-Token": {text}, "Vary": {"X-Auth-Token"}}}, err
}

func readLogin(body *loginBody) (keystone.Login, error) {
	var l keystone.Login
	if body.Auth == nil || body.Auth.Identity == nil {
		return l, missing("auth.identity")
	}
	in := body.Auth.Identity
	l.Methods = in.Methods
	for _, m := range in.Methods {
		switch m {
		case "password":
			if in.Password == nil || in.Password.User == nil || in.Password.User.Password == nil {
				return l, missing("auth.identity.password.user.password")
			}
			l.Password = config.NewSecret(*in.Password.User.Password)
			if err := readUser(in.Password.User, &l.User); err != nil {
				return l, err
			}
		case "token":
			if in.Token == nil || in.Token.ID == "" {
				return l, missing("auth.identity.token.id")
			}
			l.Token = config.NewSecret(in.Token.ID)
		case "application_credential":
			ac := in.AppCred
			if ac == nil || ac.Secret == nil || ac.ID == "" && (ac.Name == "" || ac.User == nil) {
				return l, missing("auth.identity.application_credential with secret, and id or name and user")
			}
			l.AppCredID, l.AppCred, l.AppSecret = ac.ID, ac.Name, config.NewSecret(*ac.Secret)
			if ac.ID == "" {
				if err := readUser(ac.User, &l.AppUser); err != nil {
					return l, err
				}
			}
		}
	}
	var err error
	l.Scope, err = readScope(body.Auth.Scope)
	return l, err
}

func readUser(in *userRef, out *keystone.UserRef) error {
	out.ID, out.Name = in.ID, in.Name
	if in.Domain != nil {
		out.DomainID, out.DomainName = in.Domain.ID, in.Domain.Name
	}
	if out.ID == "" && (out.Name == "" || out.DomainID == "" && out.DomainName == "") {
		return missing("the user's id, or name and domain,")
	}
	return nil
}

func readScope(raw json.RawMessage) (keystone.Scope, error) {
	var none keystone.Scope
	switch string(raw) {
	case "", "null":
		return none, nil
	case `"unscoped"`:
		return keystone.Scope{Kind: keystone.Unscoped}, nil
	}
	var in scopeBody
	if err := httpapi.DecodeJSON(raw, &in, false); err != nil {
		return none, fault.New(fault.BadRequest, "auth.scope is neither \"unscoped\" nor an object with project, domain or system")
	}
	var out []keystone.Scope
	if p := in.Project; p != nil {
		sc := keystone.Scope{Kind: keystone.ProjectScope, ID: p.ID, Name: p.Name}
		if p.Domain != nil {
			sc.DomainID, sc.DomainName = p.Domain.ID, p.Domain.Name
		}
		if sc.ID == "" && (sc.Name == "" || sc.DomainID == "" && sc.DomainName == "") {
			return none, missing("auth.scope.project.id, or name and domain,")
		}
		out = append(out, sc)
	}
	if d := in.Domain; d != nil {
		if d.ID == "" && d.Name == "" {
			return none, missing("auth.scope.domain.id or name")
		}
		out = append(out, keystone.Scope{Kind: keystone.DomainScope, ID: d.ID, Name: d.Name})
	}
	if in.System != nil {
		if in.System.All == nil || !bool(*in.System.All) {
			return none, fault.New(fault.BadRequest, "auth.scope.system.all must be true")
		}
		out = append(out, keystone.Scope{Kind: keystone.SystemScope})
	}
	if in.Unscoped != nil {
		out = append(out, keystone.Scope{Kind: keystone.Unscoped})
	}
	if in.Trust != nil {
		return none, fault.New(fault.NotImplemented, "trusts are not implemented")
	}
	if len(out) != 1 {
		return none, fault.New(fault.BadRequest, "auth.scope must name exactly one of project, domain and system")
	}
	return out[0], nil
}

// subject judges the token that the request is about.
func (a *API) subject(r *httpapi.Request) (*keystone.Token, error) {
	text := r.Header.Get("X-Subject-Token")
	if text == "" {
		return nil, fault.New(fault.BadRequest, "the X-Subject-Token header is missing")
	}
	// Only services may ask for tokens that are over: they finish long work.
	expired := flag(r.URL.Query(), "allow_expired") && r.Identity().HasRole("service")
	t, err := a.keystone.Validate(r.Context(), text, expired)
	if fault.Is(err, fault.Unauthorized) {
		// Nobody can guess tokens, so everybody may hear which are none.
		return nil, fault.New(fault.NotFound, "this is not a recognized Fernet token")
	}
	if err != nil {
		return nil, err
	}
	return t, r.Enforce(policy.Target{"target.token.user_id": t.User.ID})
}

func (a *API) showToken(r *httpapi.Request) (any, error) {
	t, err := a.subject(r)
	if err != nil {
		return nil, err
	}
	b, err := t.Body(!r.URL.Query().Has("nocatalog"), a.encodeToken)
	resp := httpapi.Response{Body: b, Header: tokenHeader(r)}
	if !t.RequestedAt.IsZero() && r.Identity().HasRole("service") {
		resp.Header["X-Hastack-Token-Issue"] = []string{
			t.RequestedAt.Format(time.RFC3339Nano) + ";" + strconv.FormatInt(t.Verified.Microseconds(), 10)}
	}
	return resp, err
}

func tokenHeader(r *httpapi.Request) http.Header {
	return http.Header{"X-Subject-Token": {r.Header.Get("X-Subject-Token")}, "Vary": {"X-Auth-Token"}}
}

func (a *API) checkToken(r *httpapi.Request) (any, error) {
	if _, err := a.subject(r); err != nil {
		return nil, err
	}
	return httpapi.Response{Header: tokenHeader(r)}, nil
}

func (a *API) deleteToken(r *httpapi.Request) (any, error) {
	if _, err := a.subject(r); err != nil {
		return nil, err
	}
	chain := flag(r.URL.Query(), "chain")
	return nil, a.keystone.RevokeToken(r.Context(), r.Header.Get("X-Subject-Token"), chain)
}

func (a *API) encodeToken(t *keystone.Token, catalog bool) ([]byte, error) {
	body := object{
		"methods": t.Methods, "audit_ids": t.AuditIDs,
		"issued_at": t.IssuedAt.Format(tokenTime), "expires_at": t.ExpiresAt.Format(tokenTime),
		"user": object{
			"id": t.User.ID, "name": t.User.Name, "password_expires_at": timeOrNil(t.User.PasswordExpiresAt),
			"domain": nameRef{t.UserDomain.ID, t.UserDomain.Name},
		},
	}
	switch {
	case t.Project != nil:
		body["project"] = object{"id": t.Project.ID, "name": t.Project.Name, "domain": nameRef{t.ProjectDomain.ID, t.ProjectDomain.Name}}
		body["is_domain"] = false
	case t.Domain != nil:
		body["domain"] = nameRef{t.Domain.ID, t.Domain.Name}
	case t.System:
		body["system"] = object{"all": true}
	}
	if t.Roles != nil {
		roles := make([]authtoken.Role, len(t.Roles))
		for i, r := range t.Roles {
			roles[i] = authtoken.Role{ID: r.ID, Name: r.Name}
		}
		body["roles"] = roles
		if catalog {
			body["catalog"] = catalogView(t.Catalog)
		}
	}
	if t.AppCred != nil {
		body["application_credential"] = object{"id": t.AppCred.ID, "name": t.AppCred.Name, "restricted": !t.AppCred.Unrestricted}
	}
	return json.Marshal(object{"token": body})
}

func timeOrNil(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(plainTime)
}

func catalogView(services []keystone.CatalogService) []object {
	out := make([]object, len(services))
	for i, c := range services {
		endpoints := make([]object, len(c.Endpoints))
		for j, e := range c.Endpoints {
			endpoints[j] = object{"id": e.ID, "interface": e.Interface, "url": e.URL, "region": orNil(e.RegionID), "region_id": orNil(e.RegionID)}
		}
		out[i] = object{"id": c.ID, "type": c.Type, "name": c.Name, "endpoints": endpoints}
	}
	return out
}

func (a *API) showCatalog(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	t, err := a.keystone.Validate(r.Context(), r.Header.Get("X-Auth-Token"), false)
	if err != nil {
		return nil, err
	}
	if t.Catalog == nil {
		return nil, fault.New(fault.Forbidden, "an unscoped token has no catalog")
	}
	return object{"catalog": catalogView(t.Catalog), "links": object{"self": a.base + "/v3/auth/catalog", "previous": nil, "next": nil}}, nil
}

func (a *API) listAuthProjects(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	rows, err := a.keystone.ProjectsOf(r.Context(), r.Identity().UserID)
	return a.collection(r, "projects", views(enabledProjects(rows), a.projectView)), err
}

func enabledProjects(rows []keystone.Project) []keystone.Project {
	out := rows[:0:0]
	for _, p := range rows {
		if p.Enabled {
			out = append(out, p)
		}
	}
	return out
}

func (a *API) listAuthDomains(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	rows, err := a.keystone.DomainsOf(r.Context(), r.Identity().UserID)
	if err != nil {
		return nil, err
	}
	out := []object{}
	for i := range rows {
		if rows[i].Enabled {
			out = append(out, a.domainView(&rows[i]))
		}
	}
	return a.collection(r, "domains", out), nil
}

func (a *API) listAuthSystem(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	has, err := a.keystone.HasSystemRole(r.Context(), r.Identity().UserID)
	out := []object{}
	if has {
		out = append(out, object{"all": true})
	}
	return object{"system": out, "links": object{"self": a.base + "/v3/auth/system"}}, err
}
