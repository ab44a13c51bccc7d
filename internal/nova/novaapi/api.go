// Package novaapi is nova-api: the compute API v2.1 with its microversions over
// the methods of nova.Service. It holds no rule of Nova but the form of its
// requests and answers. Read API.routes first; each resource has its own file,
// server_view.go has the server as clients see it.
package novaapi

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/policy"
	"github.com/hastack/hastack/internal/telemetry"
)

// Microversions that are served.
var (
	MinVersion = httpapi.Microversion{Major: 2, Minor: 1}
	MaxVersion = httpapi.Microversion{Major: 2, Minor: 93}
)

// maxLimit is the most items that a page of a list has.
const maxLimit = 1000

// Config says how the API is reached.
type Config struct {
	PublicURL string // what links begin with, as "http://127.0.0.1:5000/compute"
	AuthURL   string // Keystone, for WWW-Authenticate
	// PolicyOverrides are checks by rule name, from the operator's file.
	PolicyOverrides map[string]string
}

// Deps are what the API runs on.
type Deps struct {
	Nova    *nova.Service
	Auth    *authtoken.Middleware
	Clock   clock.Clock
	Log     *slog.Logger
	Metrics *telemetry.Metrics
}

// API answers the compute API. It is an http.Handler.
type API struct {
	*httpapi.Router
	nova  *nova.Service
	clock clock.Clock
	url   string
}

// New makes the API.
func New(cfg Config, d Deps) (*API, error) {
	enforcer, err := policy.New(nova.Policy(), cfg.PolicyOverrides)
	if err != nil {
		return nil, err
	}
	if d.Clock == nil {
		d.Clock = clock.System
	}
	hc := httpapi.Config{
		Service: "compute", PublicURL: cfg.PublicURL, AuthURL: cfg.AuthURL, StripProject: true,
		Versions:   &httpapi.MicroversionRange{Type: "compute", Min: MinVersion, Max: MaxVersion, LegacyHeader: "X-OpenStack-Nova-API-Version"},
		WriteError: writeError, Policy: enforcer, Log: d.Log, Metrics: d.Metrics, Clock: d.Clock,
	}
	if d.Auth != nil {
		hc.Auth = bootAuth{d.Auth}
	}
	a := &API{Router: httpapi.NewRouter(hc), nova: d.Nova, clock: d.Clock, url: cfg.PublicURL}
	a.routes()
	return a, nil
}

func (a *API) routes() {
	a.addVersionRoutes()
	a.addServerRoutes()
	a.addServerSubRoutes()
	a.addInterfaceRoutes()
	a.addInstanceActionRoutes()
	a.addConsoleRoutes()
	a.addFlavorRoutes()
	a.addKeypairRoutes()
	a.addGroupRoutes()
	a.addAggregateRoutes()
	a.addHypervisorRoutes()
	a.addServiceRoutes()
	a.addQuotaRoutes()
	a.addSecurityGroupRoutes()
	a.addMiscRoutes()
}

// get, post, put and del add a route under /v2.1.
func (a *API) get(path, rule string, h httpapi.Handler) {
	a.Handle("GET /v2.1"+path, rule, http.StatusOK, h)
}

func (a *API) post(path, rule string, status int, h httpapi.Handler) {
	a.Handle("POST /v2.1"+path, rule, status, h)
}

func (a *API) put(path, rule string, h httpapi.Handler) {
	a.Handle("PUT /v2.1"+path, rule, http.StatusOK, h)
}

func (a *API) del(path, rule string, status int, h httpapi.Handler) {
	a.Handle("DELETE /v2.1"+path, rule, status, h)
}

// pre is the prefix of all of Nova's rules.
const pre = "os_compute_api:"

// since refuses a route before the microversion that brought it.
func since(minor int, h httpapi.Handler) httpapi.Handler {
	return func(r *httpapi.Request) (any, error) {
		if r.Version().Before(2, minor) {
			return nil, fault.New(fault.NotFound, "the resource could not be found")
		}
		return h(r)
	}
}

// until refuses a route from the microversion that took it away.
func until(minor int, h httpapi.Handler) httpapi.Handler {
	return func(r *httpapi.Request) (any, error) {
		if r.Version().AtLeast(2, minor) {
			return nil, fault.New(fault.NotFound, "the resource could not be found")
		}
		return h(r)
	}
}

func unexpected(field string) error {
	return fault.New(fault.BadRequest, "Additional properties are not allowed ('%s' was unexpected)", field)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

type link struct {
	Href string `json:"href"`
	Rel  string `json:"rel"`
}

// links are self and bookmark of a resource.
func (a *API) links(path string) []link {
	return []link{{a.url + "/v2.1" + path, "self"}, {a.url + path, "bookmark"}}
}
