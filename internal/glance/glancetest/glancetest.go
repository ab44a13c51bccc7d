// Package glancetest runs the image service inside a test: SQLite in a
// temporary directory, personas instead of Keystone, real HTTP.
package glancetest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/authtoken/authtokentest"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/glance/glanceapi"
	"github.com/hastack/hastack/internal/policy"
)

// A Cloud is one running image service. Tokens are the names of the personas
// of authtokentest.
type Cloud struct {
	Service *glance.Service
	DB      *db.DB
	URL     string
	Dir     string // of image data
	API     *glanceapi.API
	t       testing.TB
}

// An Option changes how the service is made.
type Option func(cfg *glance.Config, deps *glance.Deps, front *glanceapi.Config)

// WithClock runs the service on another clock.
func WithClock(c clock.Clock) Option {
	return func(_ *glance.Config, deps *glance.Deps, _ *glanceapi.Config) { deps.Clock = c }
}

// WithFrontClock runs the HTTP front alone on another clock. Deadlines of
// connections are made from it, so it must be near the real time.
func WithFrontClock(c clock.Clock) Option {
	return func(_ *glance.Config, _ *glance.Deps, front *glanceapi.Config) { front.Clock = c }
}

// WithDir keeps image data in dir.
func WithDir(dir string) Option {
	return func(cfg *glance.Config, _ *glance.Deps, _ *glanceapi.Config) { cfg.Dir = dir }
}

// WithDB uses a database that is there already, as after a restart.
func WithDB(d *db.DB) Option {
	return func(_ *glance.Config, deps *glance.Deps, _ *glanceapi.Config) { deps.DB = d }
}

// WithMaxBytes limits the size of an image.
func WithMaxBytes(n int64) Option {
	return func(cfg *glance.Config, _ *glance.Deps, _ *glanceapi.Config) { cfg.MaxImageBytes = n }
}

// WithImport lets web-download fetch from a network that is not public.
func WithImport(network string, ports ...int) Option {
	return func(cfg *glance.Config, _ *glance.Deps, _ *glanceapi.Config) {
		cfg.ImportAllow, cfg.ImportPorts = []netip.Prefix{netip.MustParsePrefix(network)}, ports
	}
}

// New starts a service that ends with the test.
func New(t testing.TB, opts ...Option) *Cloud {
	t.Helper()
	cfg, deps, front := glance.Config{Dir: t.TempDir()}, glance.Deps{}, glanceapi.Config{}
	for _, o := range opts {
		o(&cfg, &deps, &front)
	}
	if deps.DB == nil {
		deps.DB = dbtest.New(t, glance.Migrations)
	}
	svc, err := glance.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = svc.Close() })
	enforcer, err := policy.New(glance.Rules(), nil)
	if err != nil {
		t.Fatal(err)
	}
	front.PublicURL, front.AuthURL, front.Policy = "http://cloud/image", "http://cloud/identity", enforcer
	front.Auth = authtoken.New(authtoken.Config{Validator: authtokentest.Personas()})
	api := glanceapi.New(svc, front)
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return &Cloud{Service: svc, DB: deps.DB, URL: server.URL, Dir: cfg.Dir, API: api, t: t}
}

// A Reply is what the service answered.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON is the body as an object; empty if it is none.
func (r Reply) JSON() map[string]any {
	m := map[string]any{}
	_ = json.Unmarshal(r.Body, &m)
	return m
}

// Text is one attribute of the body as text.
func (r Reply) Text(key string) string {
	s, _ := r.JSON()[key].(string)
	return s
}

// Do sends a request with a body (string, []byte, io.Reader, nil, or anything
// else as JSON) and headers given as name, value pairs.
func (c *Cloud) Do(token, method, path string, body any, headers ...string) Reply {
	c.t.Helper()
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = strings.NewReader(b)
	case []byte:
		rd = bytes.NewReader(b)
	case io.Reader:
		rd = b
	default:
		j, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		rd = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.URL+path, rd)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", token)
	if rd != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return Reply{Status: resp.StatusCode, Header: resp.Header, Body: b}
}

// Must is Do that ends the test unless the status is want.
func (c *Cloud) Must(want int, token, method, path string, body any, headers ...string) Reply {
	c.t.Helper()
	r := c.Do(token, method, path, body, headers...)
	if r.Status != want {
		c.t.Fatalf("%s %s as %s: got %d %s, want %d", method, path, token, r.Status, r.Body, want)
	}
	return r
}

// Create makes a queued image and returns its id. attrs are added to a raw,
// bare image.
func (c *Cloud) Create(token string, attrs map[string]any) string {
	c.t.Helper()
	in := map[string]any{"disk_format": "raw", "container_format": "bare", "name": "test"}
	maps.Copy(in, attrs)
	return c.Must(http.StatusCreated, token, "POST", "/v2/images", in).Text("id")
}

// Put uploads the data of an image.
func (c *Cloud) Put(token, id string, data any) Reply {
	c.t.Helper()
	return c.Do(token, "PUT", "/v2/images/"+id+"/file", data, "Content-Type", "application/octet-stream")
}

// Active makes an image with data.
func (c *Cloud) Active(token string, attrs map[string]any, data string) string {
	c.t.Helper()
	id := c.Create(token, attrs)
	if r := c.Put(token, id, data); r.Status != http.StatusNoContent {
		c.t.Fatalf("upload: %d %s", r.Status, r.Body)
	}
	return id
}

// Patch changes attributes: pairs of name and value, each as an "add".
func (c *Cloud) Patch(token, id string, pairs ...any) Reply {
	c.t.Helper()
	var ops []map[string]any
	for i := 0; i+1 < len(pairs); i += 2 {
		ops = append(ops, map[string]any{"op": "add", "path": "/" + pairs[i].(string), "value": pairs[i+1]})
	}
	return c.Do(token, "PATCH", "/v2/images/"+id, ops, "Content-Type", "application/openstack-images-v2.1-json-patch")
}

// Status is the status of an image, as its owner sees it.
func (c *Cloud) Status(token, id string) string {
	c.t.Helper()
	return c.Do(token, "GET", "/v2/images/"+id, nil).Text("status")
}
