// Package neutronapi is the HTTP face of Neutron: network API v2.0.
//
// Every handler enforces, decodes, calls one method of the service, and makes
// a view. routes.go is the table; form.go reads bodies attribute by attribute,
// since in this API the presence of an attribute is itself subject to policy;
// list.go reads filters, fields, sorting and pages. Types of JSON stay here.
package neutronapi

import (
	"log/slog"
	"net/http"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/policy"
	"github.com/hastack/hastack/internal/telemetry"
)

// Config is what the front needs besides the service.
type Config struct {
	PublicURL string // of the service, without "/v2.0"
	AuthURL   string // Keystone, named to clients without a token
	Auth      *authtoken.Middleware
	Policy    *policy.Enforcer // of neutron.Rules; nil means their defaults
	Log       *slog.Logger
	Metrics   *telemetry.Metrics
	Tracing   *telemetry.Tracing
}

// API serves network v2.0. It is safe for concurrent use.
type API struct {
	neutron *neutron.Service
	policy  *policy.Enforcer
	router  *httpapi.Router
}

// New makes the handler.
func New(svc *neutron.Service, cfg Config) (*API, error) {
	if cfg.Policy == nil {
		p, err := policy.New(neutron.Rules(), nil)
		if err != nil {
			return nil, err
		}
		cfg.Policy = p
	}
	hc := httpapi.Config{
		Service: "network", PublicURL: cfg.PublicURL, AuthURL: cfg.AuthURL, WriteError: writeError,
		Policy: cfg.Policy, Log: cfg.Log, Metrics: cfg.Metrics, Tracing: cfg.Tracing,
	}
	if cfg.Auth != nil {
		hc.Auth = cfg.Auth
	}
	a := &API{neutron: svc, policy: cfg.Policy, router: httpapi.NewRouter(hc)}
	a.addRoutes(a.router)
	return a, nil
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.router.ServeHTTP(w, r) }

// Routes is the route table, for the persona matrix and the documentation.
func (a *API) Routes() []httpapi.Route { return a.router.Routes() }

// caller says who asks. An administrator by policy sees every project.
func (a *API) caller(r *httpapi.Request) neutron.Caller {
	id := r.Identity()
	return neutron.Caller{UserID: id.UserID, ProjectID: id.ProjectID, Admin: r.Allowed("context_is_admin", policy.Target{})}
}

// owned is the target of a rule about a resource of a project.
func owned(projectID string) policy.Target {
	return policy.Target{"project_id": projectID, "tenant_id": projectID}
}

// own is the target of a rule about a resource that is still to be made or
// listed.
func own(r *httpapi.Request) policy.Target { return owned(r.Identity().ProjectID) }
