// Package httpapi is the HTTP front that every service shares: a route table
// with a policy rule on each route, strict request decoding, error envelopes,
// microversions, paging, request ids, size limits, and a check that no handler
// answers before it enforced its rule.
//
// A service makes one [Router], adds routes with [Router.Handle], and writes
// handlers over [Request]. Errors leave through the service's own envelope.
package httpapi

import (
	"log/slog"
	"net/http"
	"sort"
	"strings"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/policy"
	"github.com/hastack/hastack/internal/telemetry"
)

// Rules that need no policy check.
const (
	Public   = "@public" // no token needed
	AnyToken = "@token"  // any valid token
)

// DefaultMaxBody bounds the body of a request that does not stream, in bytes.
const DefaultMaxBody = 1 << 20

// Config says what a service's front does.
type Config struct {
	Service   string // service type, for logs and metrics
	PublicURL string // what links begin with; never taken from the Host header
	AuthURL   string // Keystone, named to clients in WWW-Authenticate
	MaxBody   int64  // bytes; 0 means DefaultMaxBody
	// StripProject drops a project id that old clients put behind the version:
	// /v2.1/{project_id}/servers. It must be the caller's own.
	StripProject bool
	Versions     *MicroversionRange // nil if the API has no microversions
	// WriteError writes a fault in the service's own envelope.
	WriteError func(w http.ResponseWriter, r *http.Request, e *fault.Error)
	// Auth puts the identity in the context; nil only in services that do it
	// themselves.
	Auth interface {
		Wrap(next http.Handler, onError func(http.ResponseWriter, *http.Request, error)) http.Handler
	}
	Policy  *policy.Enforcer
	Log     *slog.Logger
	Metrics *telemetry.Metrics
	Tracing *telemetry.Tracing
	Clock   clock.Clock // nil means the system's
}

// A Handler answers one route. What it returns is encoded as JSON with the
// route's status; nil means no body; a [Response] overrides both.
type Handler func(r *Request) (any, error)

// A StreamHandler answers a route whose bodies are not JSON documents. It
// writes the answer itself; an error returned before the first byte is written
// becomes the service's envelope.
type StreamHandler func(w http.ResponseWriter, r *Request) error

// A Route is one line of the route table.
type Route struct {
	Method, Path, Rule string
	Status             int
}

// Router dispatches the requests of one service.
type Router struct {
	cfg    Config
	mux    *http.ServeMux
	routes []Route
	chain  http.Handler
}

// NewRouter makes an empty router.
func NewRouter(cfg Config) *Router {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = DefaultMaxBody
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.PublicURL = strings.TrimRight(cfg.PublicURL, "/")
	rt := &Router{cfg: cfg, mux: http.NewServeMux()}
	rt.chain = rt.buildChain()
	return rt
}

// Routes are the routes in order of path, for documentation and tests.
func (rt *Router) Routes() []Route {
	out := append([]Route(nil), rt.routes...)
	sort.Slice(out, func(i, j int) bool {
		return out[i].Path+" "+out[i].Method < out[j].Path+" "+out[j].Method
	})
	return out
}

// Handle adds a route. pattern is a ServeMux pattern with a method. It panics
// when rule is neither Public, AnyToken nor a rule that the policy knows: a
// route without a rule is a programming error that must not start.
func (rt *Router) Handle(pattern, rule string, status int, h Handler) {
	route := rt.add(pattern, rule, status)
	rt.mux.HandleFunc(pattern, func(w http.ResponseWriter, hr *http.Request) {
		r := rt.request(hr, route)
		hr.Body = http.MaxBytesReader(w, hr.Body, rt.cfg.MaxBody)
		if err := r.admit(); err != nil {
			rt.fail(w, hr, err)
			return
		}
		body, err := h(r)
		if err == nil {
			err = r.enforcedOrError()
		}
		if err != nil {
			rt.fail(w, hr, err)
			return
		}
		rt.write(w, hr, status, body)
	})
}

// HandleStream adds a route whose handler reads and writes the bodies itself.
func (rt *Router) HandleStream(pattern, rule string, h StreamHandler) {
	route := rt.add(pattern, rule, http.StatusOK)
	rt.mux.HandleFunc(pattern, func(w http.ResponseWriter, hr *http.Request) {
		r := rt.request(hr, route)
		r.streaming = true
		err := r.admit()
		if err == nil {
			err = h(w, r)
		}
		if err == nil {
			err = r.enforcedOrError()
		}
		if err != nil {
			rt.fail(w, hr, err)
		}
	})
}

func (rt *Router) add(pattern, rule string, status int) Route {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok || !strings.HasPrefix(path, "/") {
		panic("httpapi: route " + pattern + " needs a method and a path")
	}
	if !rt.known(rule) {
		panic("httpapi: route " + pattern + " has no known rule: " + rule)
	}
	route := Route{Method: method, Path: path, Rule: rule, Status: status}
	rt.routes = append(rt.routes, route)
	return route
}

func (rt *Router) known(rule string) bool {
	if rule == Public || rule == AnyToken {
		return true
	}
	if rt.cfg.Policy == nil {
		return false
	}
	_, ok := rt.cfg.Policy.Rule(rule)
	return ok
}

func (rt *Router) request(hr *http.Request, route Route) *Request {
	r := &Request{Request: hr, rt: rt, route: route}
	if st := stateOf(hr); st != nil {
		st.route = route.Path
		r.version = st.version
	}
	return r
}

// ServeHTTP answers one request.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) { rt.chain.ServeHTTP(w, r) }
