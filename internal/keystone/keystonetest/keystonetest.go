// Package keystonetest runs a whole Keystone inside a test: real HTTP, its own
// database, bootstrapped, with cheap password hashes. Tests of other services
// use it for real tokens; Keystone's own tests for everything. Start with New.
package keystonetest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/keystone"
	"github.com/hastack/hastack/internal/keystone/keystoneapi"
)

// What every test's Keystone has.
const (
	AdminPassword   = "admin-password-of-tests"
	ServicePassword = "0123456789abcdef0123456789abcdef"
	Region          = "RegionOne"
)

// Server is a running Keystone. It ends with its test.
type Server struct {
	T       testing.TB
	Service *keystone.Service
	API     *keystoneapi.API
	DB      *db.DB
	URL     string // of the server; identity v3 is below /identity/v3
	AuthURL string // URL + "/identity/v3"
	keys    [2]keystone.KeyRepository
	setup   setup
}

type setup struct {
	config   keystone.Config
	clock    clock.Clock
	log      *slog.Logger
	services []keystone.BootstrapService
	policy   map[string]string
}

// Option changes how New sets up.
type Option func(*setup)

// WithClock makes Keystone live by c.
func WithClock(c clock.Clock) Option { return func(s *setup) { s.clock = c } }

// WithConfig changes Keystone's configuration.
func WithConfig(f func(*keystone.Config)) Option { return func(s *setup) { f(&s.config) } }

// WithLockout locks users after that many wrong passwords.
func WithLockout(attempts int) Option {
	return func(s *setup) { s.config.LockoutAttempts = attempts }
}

// WithLog catches Keystone's log.
func WithLog(l *slog.Logger) Option { return func(s *setup) { s.log = l } }

// WithService adds a service to the catalog.
func WithService(typ, name, url string) Option {
	return func(s *setup) {
		s.services = append(s.services, keystone.BootstrapService{Type: typ, Name: name, PublicURL: url})
	}
}

// WithPolicy overrides policy rules.
func WithPolicy(rules map[string]string) Option { return func(s *setup) { s.policy = rules } }

// New starts a Keystone with the admin user, the service users and the
// identity service in its catalog.
func New(t testing.TB, opts ...Option) *Server {
	t.Helper()
	st := setup{config: keystone.Config{BcryptCost: bcrypt.MinCost}, clock: clock.System}
	for _, o := range opts {
		o(&st)
	}
	s := &Server{
		T: t, DB: dbtest.New(t, keystone.Migrations), setup: st,
		keys: [2]keystone.KeyRepository{keystone.KeyDir{Path: t.TempDir()}, keystone.KeyDir{Path: t.TempDir()}},
	}
	s.start()
	Bootstrap(t, s)
	return s
}

// Bootstrap does what New did, once more.
func Bootstrap(t testing.TB, s *Server) {
	t.Helper()
	secret := config.NewSecret(ServicePassword)
	err := s.Service.Bootstrap(t.Context(), keystone.BootstrapConfig{
		AdminPassword: config.NewSecret(AdminPassword), Region: Region,
		Services:     append([]keystone.BootstrapService{{Type: "identity", Name: "keystone", PublicURL: s.URL + "/identity"}}, s.setup.services...),
		ServiceUsers: map[string]config.Secret{"nova": secret, "glance": secret, "neutron": secret, "placement": secret},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Another starts a second process of the same Keystone: it shares the database
// and the keys and nothing else.
func (s *Server) Another() *Server {
	s.T.Helper()
	other := &Server{T: s.T, DB: s.DB, setup: s.setup, keys: s.keys}
	other.start()
	return other
}

func (s *Server) start() {
	var err error
	s.Service, err = keystone.New(s.setup.config, keystone.Deps{
		DB: s.DB, TokenKeys: s.keys[0], CredentialKeys: s.keys[1], Clock: s.setup.clock, Log: s.setup.log,
	})
	if err != nil {
		s.T.Fatal(err)
	}
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	s.T.Cleanup(srv.Close)
	s.URL, s.AuthURL = srv.URL, srv.URL+"/identity/v3"
	s.API, err = keystoneapi.New(s.Service, keystoneapi.Config{
		PublicURL: srv.URL + "/identity", Clock: s.setup.clock, Log: s.setup.log, Overrides: s.setup.policy,
	})
	if err != nil {
		s.T.Fatal(err)
	}
	mux.Handle("/identity/", http.StripPrefix("/identity", s.API))
	// Without a redirect, which clients would not follow.
	mux.HandleFunc("/identity", func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/"
		s.API.ServeHTTP(w, r)
	})
}

// Reply is an answer with its body read.
type Reply struct {
	Status int
	Header http.Header
	Raw    []byte
	Body   map[string]any // nil if the body is not an object
}

// At walks the body: r.At("token", "user", "id").
func (r *Reply) At(path ...string) any {
	var v any = r.Body
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// String is At for text; empty if there is none.
func (r *Reply) String(path ...string) string {
	s, _ := r.At(path...).(string)
	return s
}

// List is At for a list of objects.
func (r *Reply) List(path ...string) []map[string]any {
	items, _ := r.At(path...).([]any)
	out := make([]map[string]any, 0, len(items))
	for _, i := range items {
		m, _ := i.(map[string]any)
		out = append(out, m)
	}
	return out
}

// Do sends a request below /identity/v3. body is encoded as JSON, a string is
// sent as it is, nil sends none. header are pairs of name and value.
func (s *Server) Do(method, path, token string, body any, header ...string) *Reply {
	s.T.Helper()
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			s.T.Fatal(err)
		}
		rd = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(s.T.Context()), method, s.AuthURL+path, rd)
	if err != nil {
		s.T.Fatal(err)
	}
	if rd != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.T.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.T.Fatal(err)
	}
	r := &Reply{Status: resp.StatusCode, Header: resp.Header, Raw: raw}
	_ = json.Unmarshal(raw, &r.Body) // an empty body has none
	return r
}

// Must is Do for a request that has to be answered with the status.
func (s *Server) Must(status int, method, path, token string, body any, header ...string) *Reply {
	s.T.Helper()
	r := s.Do(method, path, token, body, header...)
	if r.Status != status {
		s.T.Fatalf("%s %s: %d %s, want %d", method, path, r.Status, r.Raw, status)
	}
	return r
}
