// Package keystoneapi is the HTTP side of Keystone: identity v3.
//
// routes.go lists every route with its rule; each resource has a file. Bodies
// are read by attrs (body.go) because most resources keep attributes that they
// do not know; every boolean is a real one there. Read api.go, then routes.go.
package keystoneapi

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/policy"
	"github.com/hastack/hastack/internal/telemetry"
)

// Config says how the API presents itself.
type Config struct {
	PublicURL string            // what links begin with, as http://cloud:5000/identity
	Overrides map[string]string // the operator's policy, by rule name
	Log       *slog.Logger
	Metrics   *telemetry.Metrics
	Clock     clock.Clock
}

// API is Keystone's http.Handler.
type API struct {
	keystone *keystone.Service
	router   *httpapi.Router
	clock    clock.Clock
	base     string // PublicURL without a slash at its end
}

// New makes the API of a service; it fails if the policy does not compile.
func New(svc *keystone.Service, cfg Config) (*API, error) {
	enforcer, err := policy.New(keystone.Rules(), cfg.Overrides)
	if err != nil {
		return nil, fmt.Errorf("keystone: %w", err)
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	a := &API{keystone: svc, clock: cfg.Clock, base: strings.TrimRight(cfg.PublicURL, "/")}
	a.router = httpapi.NewRouter(httpapi.Config{
		Service: "identity", PublicURL: cfg.PublicURL, AuthURL: a.base + "/v3", WriteError: writeError,
		// A nanosecond: Keystone itself must see its own revocations at once,
		// and its judgement of a token is already in memory.
		Auth:   authtoken.New(authtoken.Config{Validator: keystone.Local{Service: svc}, TTL: 1, Clock: cfg.Clock}),
		Policy: enforcer, Log: cfg.Log, Metrics: cfg.Metrics, Clock: cfg.Clock,
	})
	a.addRoutes()
	return a, nil
}

// Routes are the routes with their rules, for documentation and tests.
func (a *API) Routes() []httpapi.Route { return a.router.Routes() }

// ServeHTTP answers one request. A login and the version documents are judged
// without looking at a token the client may still be sending.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := strings.TrimRight(r.URL.Path, "/"); {
	case path == "", path == "/v3", path == "/v3/auth/tokens" && r.Method == http.MethodPost:
		r.Header.Del("X-Auth-Token")
	}
	a.router.ServeHTTP(w, r)
}

type errorBody struct {
	Error errorView `json:"error"`
}

type errorView struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Title   string `json:"title"`
}

func writeError(w http.ResponseWriter, r *http.Request, e *fault.Error) {
	status := e.Kind.Status()
	w.Header().Set("Vary", "X-Auth-Token")
	if e.Kind == fault.Unavailable {
		w.Header().Set("Retry-After", "1")
	}
	httpapi.WriteJSON(w, r, status, errorBody{errorView{Code: status, Message: sentence(e.Text), Title: http.StatusText(status)}})
}

// sentence writes a fault's text as Keystone writes its messages.
func sentence(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	s = string(unicode.ToUpper(first)) + s[n:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
