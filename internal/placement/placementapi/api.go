// Package placementapi is the HTTP side of Placement: the placement API,
// microversions 1.0 to 1.39.
//
// routes.go lists every route with its rule; each resource has a file. What a
// microversion changed stands where it matters, as version(r, 28).
package placementapi

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/placement"
	"github.com/hastack/hastack/internal/policy"
	"github.com/hastack/hastack/internal/telemetry"
)

// Config says how the API presents itself.
type Config struct {
	PublicURL string // what the service is reached by, as http://cloud:5000/placement
	AuthURL   string // Keystone, named to clients without a token
	Auth      *authtoken.Middleware
	Policy    *policy.Enforcer // of placement.Rules
	Log       *slog.Logger
	Metrics   *telemetry.Metrics
	Tracing   *telemetry.Tracing
	Clock     clock.Clock // nil means the system's
}

// API is Placement's http.Handler.
type API struct {
	placement *placement.Service
	router    *httpapi.Router
	clock     clock.Clock
	prefix    string // path of the public URL; links are paths
	buffers   candidateBuffers
}

const maxMinor = 39

// New makes the API of a service.
func New(svc *placement.Service, cfg Config) *API {
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	a := &API{placement: svc, clock: cfg.Clock}
	if u, err := url.Parse(cfg.PublicURL); err == nil {
		a.prefix = strings.TrimRight(u.Path, "/")
	}
	front := httpapi.Config{
		Service: "placement", PublicURL: cfg.PublicURL, AuthURL: cfg.AuthURL, WriteError: writeError,
		// The largest request moves the allocations of many consumers.
		MaxBody: 4 << 20,
		Versions: &httpapi.MicroversionRange{
			Type: "placement", Min: httpapi.Microversion{Major: 1}, Max: httpapi.Microversion{Major: 1, Minor: maxMinor},
		},
		Policy: cfg.Policy, Log: cfg.Log, Metrics: cfg.Metrics, Tracing: cfg.Tracing, Clock: cfg.Clock,
	}
	if cfg.Auth != nil {
		front.Auth = cfg.Auth
	}
	a.router = httpapi.NewRouter(front)
	a.addRoutes()
	return a
}

// Routes are the routes with their rules, for documentation and tests.
func (a *API) Routes() []httpapi.Route { return a.router.Routes() }

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.router.ServeHTTP(w, r) }

// version tells whether the request asked for 1.minor or later.
func version(r *httpapi.Request, minor int) bool { return r.Version().AtLeast(1, minor) }

// since is the answer to a request for something that its microversion did not
// have yet.
func since(r *httpapi.Request, minor int) error {
	if version(r, minor) {
		return nil
	}
	return fault.New(fault.NotFound, "the resource could not be found")
}

// fresh adds the headers that answers carry since 1.15.
func (a *API) fresh(r *httpapi.Request, status int, body any) *httpapi.Response {
	resp := &httpapi.Response{Status: status, Body: body, Header: http.Header{}}
	if version(r, 15) {
		resp.Header.Set("Cache-Control", "no-cache")
		resp.Header.Set("Last-Modified", a.clock.Now().Format(http.TimeFormat))
	}
	return resp
}
