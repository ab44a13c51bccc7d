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
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/lifecycle"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/openstack"
	"github.com/hastack/hastack/internal/telemetry"
)

// Stack is the services of one process.
type Stack struct {
	cfg     *config.Config
	secrets *config.Secrets
	log     *slog.Logger
	metrics *telemetry.Metrics
	roles   []string

	bus      bus.Bus
	cache    cache.Cache
	shortcut *shortcut
	mux      *http.ServeMux
	listener net.Listener
	dbs      map[string]*db.DB
	clients  map[string]*openstack.Clients
	nova     *nova.Service

	parts   []lifecycle.Part
	probes  []probe
	serving atomic.Bool
}

// A probe tells whether something that serving needs is there.
type probe struct {
	name  string
	ready func(ctx context.Context) bool
}

// New opens the engines and builds the roles; nothing runs yet. The role "all"
// stands for every role of a one-machine cloud.
func New(ctx context.Context, cfg *config.Config, roles []string, log *slog.Logger) (_ *Stack, err error) {
	roles, err = expand(roles)
	if err != nil {
		return nil, err
	}
	secrets, err := config.LoadSecrets(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	s := &Stack{
		cfg: cfg, secrets: secrets, log: log, metrics: telemetry.NewMetrics(), roles: roles,
		mux: http.NewServeMux(), dbs: map[string]*db.DB{}, clients: map[string]*openstack.Clients{},
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("serve on %s: %w", cfg.Listen, err)
	}
	s.shortcut = &shortcut{host: cfg.Listen, handler: s.mux, base: outward()}
	if err = s.openEngines(ctx); err != nil {
		return nil, err
	}
	s.count()
	s.mux.HandleFunc("GET /healthcheck", s.healthcheck)
	s.mux.Handle("GET /metrics", s.metrics.Handler())
	s.serveHTTP()
	for _, r := range roleTable() {
		if !slices.Contains(roles, r.name) {
			continue
		}
		if err = r.build(ctx, s); err != nil {
			return nil, fmt.Errorf("build %s: %w", r.name, err)
		}
	}
	return s, nil
}

// outward is the transport for calls to other processes.
func outward() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.Proxy = 64, nil
	return t
}

func (s *Stack) openEngines(ctx context.Context) error {
	if urls := s.cfg.Bus.URLs; len(urls) > 0 {
		plain := make([]string, len(urls))
		for i, u := range urls {
			plain[i] = u.Reveal()
		}
		b, err := bus.DialRabbit(ctx, bus.RabbitConfig{URLs: plain, Log: s.log})
		if err != nil {
			return fmt.Errorf("open bus: %w", err)
		}
		s.bus = b
	} else {
		s.bus = bus.NewMemory(s.log)
	}
	if servers := s.cfg.Cache.Servers; len(servers) > 0 {
		s.cache = cache.NewMemcached([]byte(s.secrets.CacheKey.Reveal()), servers...)
	} else {
		s.cache = cache.NewMemory(10_000)
	}
	return nil
}

// Run serves until ctx ends or a part fails; ready is called when all parts
// have started.
func (s *Stack) Run(ctx context.Context, ready func()) error {
	defer s.close()
	return lifecycle.Run(ctx, s.log, s.parts, func() {
		s.serving.Store(true)
		s.log.Info("serving", "listen", s.cfg.Listen, "roles", strings.Join(s.roles, " "))
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
	if s.listener != nil {
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
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

func (s *Stack) serveHTTP() {
	srv := &http.Server{
		Handler: s.mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.parts = append(s.parts, lifecycle.Part{
		Name: "http",
		Run: func(ctx context.Context) error {
			errs := make(chan error, 1)
			go func() { errs <- srv.Serve(s.listener) }()
			select {
			case err := <-errs:
				return err
			case <-ctx.Done():
			}
			// Readiness fails first, then open requests are finished.
			s.serving.Store(false)
			sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := srv.Shutdown(sctx); err != nil {
				return srv.Close()
			}
			return nil
		},
	})
}

// service makes the clients of a service user; one set per user.
func (s *Stack) service(user string) *openstack.Clients {
	if c := s.clients[user]; c != nil {
		return c
	}
	c := openstack.New(openstack.Config{
		AuthURL: s.cfg.AuthURL(), Username: user, Password: s.secrets.ServicePassword,
		Project: "service", Domain: "Default", Region: s.cfg.Region, Transport: s.shortcut,
	})
	s.clients[user] = c
	return c
}

// auth is the token check of a service.
func (s *Stack) auth(user string) *authtoken.Middleware {
	return authtoken.New(authtoken.Config{Validator: s.service(user).Validator()})
}

// open opens and migrates the database of a service.
func (s *Stack) open(ctx context.Context, service string, migrate func(ctx context.Context, d *db.DB) error) (*db.DB, error) {
	if d := s.dbs[service]; d != nil {
		return d, nil
	}
	d, err := db.Open(ctx, db.Config{URL: s.cfg.DatabaseURL(service), Log: s.log})
	if err != nil {
		return nil, err
	}
	s.dbs[service] = d
	if err := migrate(ctx, d); err != nil {
		return nil, fmt.Errorf("migrate the database of %s: %w", service, err)
	}
	return d, nil
}
