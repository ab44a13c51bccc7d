// Package stack builds the services of a node: the only package that knows all
// of them. It opens the engines (database, bus, cache), gives each role what it
// needs, mounts the APIs behind one listener and runs everything in order.
//
// The same code runs the whole cloud in one process and one role alone: [New]
// is told which. Read roles.go for the table of roles.
package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/cache"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/lifecycle"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/openstack"
	"github.com/hastack/hastack/internal/telemetry"
	"github.com/hastack/hastack/internal/tlsfiles"
)

// Stack is the services of one process.
type Stack struct {
	cfg     *config.Config
	secrets *config.Secrets
	log     *slog.Logger
	metrics *telemetry.Metrics
	roles   []string

	tls      *tlsfiles.Files // nil without certificates
	bus      bus.Bus
	cache    cache.Cache
	shortcut *shortcut
	mux      *http.ServeMux
	web      *web
	dbs      map[string]*db.DB
	clients  map[string]*openstack.Clients
	nova     *nova.Service
	systemd  *systemd

	parts    []lifecycle.Part
	probes   []probe
	serving  atomic.Bool // every part runs
	ready    atomic.Bool // every probe said yes once
	built    atomic.Bool // every route is there
	draining atomic.Bool
	awaited  atomic.Pointer[string] // what New waits for
}

// A probe tells whether something that serving needs is there.
type probe struct {
	name  string
	ready func(ctx context.Context) bool
}

// New opens the engines and builds the roles; nothing runs yet but the answer
// to /healthcheck. The role "all" stands for every role of a one-machine cloud.
// Engines elsewhere that do not answer are waited for until ctx ends: after a
// loss of power they may come back in any order.
func New(ctx context.Context, cfg *config.Config, roles []string, log *slog.Logger) (_ *Stack, err error) {
	roles, err = expand(roles)
	if err != nil {
		return nil, err
	}
	s, err := prepare(cfg, log)
	if err != nil {
		return nil, err
	}
	s.roles = roles
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	s.mux.HandleFunc("GET /healthcheck", s.healthcheck)
	s.mux.Handle("GET /metrics", s.metrics.Handler())
	if s.web, err = s.listen(); err != nil {
		return nil, err
	}
	s.shortcut = &shortcut{host: cfg.Listen, handler: s.mux, base: s.outward()}
	if err = s.openEngines(ctx); err != nil {
		return nil, err
	}
	s.count()
	for _, r := range roleTable() {
		if !slices.Contains(roles, r.name) {
			continue
		}
		if err = r.build(ctx, s); err != nil {
			return nil, fmt.Errorf("build %s: %w", r.name, err)
		}
	}
	s.built.Store(true)
	return s, nil
}

// prepare reads the secrets and the certificates.
func prepare(cfg *config.Config, log *slog.Logger) (*Stack, error) {
	secrets, err := config.LoadSecretsFile(cfg.SecretsPath())
	if err != nil {
		return nil, err
	}
	if err := cfg.AddSecrets(secrets); err != nil {
		return nil, err
	}
	s := &Stack{
		cfg: cfg, secrets: secrets, log: log, metrics: telemetry.NewMetrics(),
		mux: http.NewServeMux(), dbs: map[string]*db.DB{}, clients: map[string]*openstack.Clients{}, systemd: newSystemd(),
	}
	if cfg.TLS.On() {
		if s.tls, err = tlsfiles.Open(cfg.TLS, clock.System); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// outward is the transport for calls to other processes.
func (s *Stack) outward() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	// What waits for an answer from a virtual address that moved learns of it
	// from the new holder, which does not know the connection, within seconds.
	t.DialContext = (&net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3,
	}}).DialContext
	t.MaxIdleConnsPerHost, t.Proxy = 64, nil
	if s.tls != nil {
		t.TLSClientConfig = s.tls.Client("")
	}
	return t
}

// Run serves until ctx ends or a part fails; ready is called when all parts
// have started. When ctx ends readiness fails first, so that load balancers
// send nobody any more; after the drain open requests are finished, then the
// parts stop.
func (s *Stack) Run(ctx context.Context, ready func()) error {
	defer s.close()
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go func() {
		select {
		case <-ctx.Done():
		case <-inner.Done():
			return
		}
		s.drain(inner)
		stop()
	}()
	// The last part stops first: no request meets a part that has stopped.
	s.parts = append(s.parts, s.web.part(), s.watchdog())
	return lifecycle.Run(inner, s.log, s.parts, func() {
		s.serving.Store(true)
		s.log.Info("serving", "listen", s.cfg.Listen, "roles", strings.Join(s.roles, " "))
		s.systemd.ready()
		if ready != nil {
			ready()
		}
	})
}

// close ends what New opened; parts have stopped before.
func (s *Stack) close() {
	var errs []error
	if s.bus != nil {
		errs = append(errs, s.bus.Close())
	}
	for _, d := range s.dbs {
		errs = append(errs, d.Close())
	}
	if s.web != nil {
		errs = append(errs, s.web.close())
	}
	if err := errors.Join(errs...); err != nil {
		s.log.Error("close", "error", err)
	}
}

// run adds a part that works until its context ends.
func (s *Stack) run(name string, f func(ctx context.Context) error) {
	s.parts = append(s.parts, lifecycle.Part{Name: name, Run: f})
}

// mount puts an API below /name.
func (s *Stack) mount(name string, h http.Handler) {
	s.mux.Handle("/"+name+"/", http.StripPrefix("/"+name, h))
	s.mux.Handle("/"+name, rootOf(h))
}

// rootOf answers /name like /name/.
func rootOf(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := *r.URL
		u.Path, u.RawPath = "/", ""
		r2 := *r
		r2.URL = &u
		h.ServeHTTP(w, &r2)
	})
}

// service makes the clients of a service user; one set per user.
func (s *Stack) service(user string) *openstack.Clients {
	if c := s.clients[user]; c != nil {
		return c
	}
	c := openstack.New(openstack.Config{
		AuthURL: s.cfg.InternalAuthURL(), Username: user, Password: s.secrets.ServicePassword,
		Project: "service", Domain: "Default", Region: s.cfg.Region, Transport: s.shortcut,
	})
	s.clients[user] = c
	return c
}

// auth is the token check of a service.
func (s *Stack) auth(user string) *authtoken.Middleware {
	return authtoken.New(authtoken.Config{Validator: s.service(user).Validator()})
}
