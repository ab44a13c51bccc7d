package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/telemetry"
)

// maxPath bounds the path and query of a request, in bytes.
const maxPath = 8 << 10

var requestIDForm = regexp.MustCompile(`^req-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// state is what the middleware and the handlers share of one request.
type state struct {
	route   string
	version Microversion
}

type stateKey struct{}

func stateOf(r *http.Request) *state {
	st, _ := r.Context().Value(stateKey{}).(*state)
	return st
}

func (rt *Router) buildChain() http.Handler {
	var h http.Handler = http.HandlerFunc(rt.dispatch)
	if rt.cfg.StripProject {
		h = rt.stripProject(h)
	}
	if rt.cfg.Auth != nil {
		h = rt.cfg.Auth.Wrap(h, rt.fail)
	}
	if rt.cfg.Versions != nil {
		h = rt.negotiate(h)
	}
	return rt.outermost(h)
}

// outermost gives the request its id, keeps a panic inside the request, logs
// and counts.
func (rt *Router) outermost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := rt.cfg.Clock.Now()
		id := r.Header.Get("X-Openstack-Request-Id")
		if !requestIDForm.MatchString(id) {
			id = ids.RequestID()
		}
		st := &state{}
		ctx := context.WithValue(telemetry.WithRequestID(r.Context(), id), stateKey{}, st)
		r = r.WithContext(ctx)
		ctx, endSpan := rt.cfg.Tracing.Request(r, rt.cfg.Service)
		r = r.WithContext(ctx)
		cw := &countingWriter{ResponseWriter: w}
		cw.Header().Set("X-Openstack-Request-Id", id)
		if rt.cfg.Service == "compute" {
			cw.Header().Set("X-Compute-Request-Id", id)
		}
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				rt.cfg.Log.ErrorContext(ctx, "request panicked", "panic", p, "stack", string(debug.Stack()))
				rt.fail(cw, r, errors.New("panic"))
			}
			rt.observe(ctx, r, st, cw, rt.cfg.Clock.Now().Sub(start))
			endSpan(st.route, cw.status)
		}()
		if len(r.URL.Path)+len(r.URL.RawQuery) > maxPath {
			rt.fail(cw, r, fault.New(fault.BadRequest, "the URL is longer than %d bytes", maxPath))
			return
		}
		if err := legible(r.URL); err != nil {
			rt.fail(cw, r, err)
			return
		}
		next.ServeHTTP(cw, r)
	})
}

// legible refuses a URL with NUL or broken UTF-8 in it: no resource has such a
// name, and databases differ in what they make of it.
func legible(u *url.URL) error {
	if strings.ContainsRune(u.Path, 0) || !utf8.ValidString(u.Path) {
		return fault.New(fault.NotFound, "the resource could not be found")
	}
	if !strings.Contains(u.RawQuery, "%") {
		return nil
	}
	q, err := url.QueryUnescape(u.RawQuery)
	if strings.ContainsRune(q, 0) || err == nil && !utf8.ValidString(q) {
		return fault.New(fault.BadRequest, "the query of the URL is not valid UTF-8 text")
	}
	return nil
}

func (rt *Router) observe(ctx context.Context, r *http.Request, st *state, w *countingWriter, took time.Duration) {
	route := st.route
	if route == "" {
		route = "none"
	}
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	rt.cfg.Metrics.ObserveRequest(rt.cfg.Service, r.Method, route, status, took)
	rt.cfg.Log.DebugContext(ctx, "request", "service", rt.cfg.Service, "method", r.Method,
		"path", r.URL.Path, "status", status, "bytes", w.bytes, "ms", float64(took.Microseconds())/1000)
}

func (rt *Router) negotiate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := rt.cfg.Versions.negotiate(r.Header)
		if err != nil {
			rt.cfg.Versions.writeHeaders(w.Header(), rt.cfg.Versions.Min)
			rt.fail(w, r, err)
			return
		}
		stateOf(r).version = v
		rt.cfg.Versions.writeHeaders(w.Header(), v)
		next.ServeHTTP(w, r)
	})
}

var projectForm = regexp.MustCompile(`^[0-9a-f]{32}$|^[0-9a-f-]{36}$`)

// stripProject turns /v2.1/{project_id}/servers into /v2.1/servers.
func (rt *Router) stripProject(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.SplitN(r.URL.Path, "/", 4)
		if len(parts) < 3 || !projectForm.MatchString(parts[2]) {
			next.ServeHTTP(w, r)
			return
		}
		if id := authtoken.FromContext(r.Context()); id != nil && id.ProjectID != parts[2] {
			rt.fail(w, r, fault.New(fault.BadRequest, "malformed request URL: project_id %q does not match the token's %q", parts[2], id.ProjectID))
			return
		}
		path := "/" + parts[1]
		if len(parts) == 4 {
			path += "/" + parts[3]
		}
		u := *r.URL
		u.Path, u.RawPath = path, ""
		r2 := *r
		r2.URL = &u
		next.ServeHTTP(w, &r2)
	})
}

// dispatch sends the request to its route, and answers in the service's own
// envelope where ServeMux would answer in plain text or redirect.
func (rt *Router) dispatch(w http.ResponseWriter, r *http.Request) {
	if len(r.URL.Path) > 1 && strings.HasSuffix(r.URL.Path, "/") && r.URL.RawPath == "" {
		// Clients write a trailing slash where the route has none.
		if trimmed := strings.TrimRight(r.URL.Path, "/"); trimmed != "" {
			u := *r.URL
			u.Path = trimmed
			r2 := *r
			r2.URL = &u
			if _, p := rt.mux.Handler(&r2); p != "" {
				r = &r2
			}
		}
	}
	_, pattern := rt.mux.Handler(r)
	if pattern == "" || !strings.Contains(pattern, " ") {
		rt.notRouted(w, r)
		return
	}
	rt.mux.ServeHTTP(w, r)
}

func (rt *Router) notRouted(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		r2 := *r
		r2.Method = m
		if _, p := rt.mux.Handler(&r2); strings.Contains(p, " ") {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		if rt.cfg.Auth != nil && authtoken.FromContext(r.Context()) == nil {
			rt.fail(w, r, fault.New(fault.Unauthorized, "the request needs authentication"))
			return
		}
		rt.fail(w, r, fault.New(fault.NotFound, "the resource could not be found"))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	rt.fail(w, r, fault.New(fault.MethodNotAllowed, "the method %s is not allowed for this resource", r.Method))
}

// countingWriter remembers the status and the size of an answer.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *countingWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the real writer.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// started tells whether any of the answer has left.
func started(w http.ResponseWriter) bool {
	for {
		switch x := w.(type) {
		case *countingWriter:
			return x.status != 0
		case interface{ Unwrap() http.ResponseWriter }:
			w = x.Unwrap()
		default:
			return false
		}
	}
}
