// Package neutrontest runs Neutron's server in process for tests: real HTTP
// over a database of the test's own, the in-memory bus, and the personas of
// authtokentest. Start with [New]; a test then speaks by [Cloud.Do] and its
// short forms, or calls the service itself.
package neutrontest

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
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/authtoken/authtokentest"
	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/neutron/neutronapi"
	"github.com/hastack/hastack/internal/neutron/rpc"
	"github.com/hastack/hastack/internal/openstack"
)

// A Cloud is one Neutron with its database, bus and HTTP server.
type Cloud struct {
	T       testing.TB
	Service *neutron.Service
	API     *neutronapi.API
	DB      *db.DB
	Bus     bus.Bus
	URL     string // without "/v2.0"
}

// An Option changes the cloud before it starts.
type Option func(*options)

type options struct {
	cfg     neutron.Config
	clock   clock.Clock
	clients *openstack.Clients
	db      *db.DB
	bus     bus.Bus
}

// WithConfig replaces the configuration.
func WithConfig(cfg neutron.Config) Option { return func(o *options) { o.cfg = cfg } }

// WithClock replaces the clock of the service.
func WithClock(c clock.Clock) Option { return func(o *options) { o.clock = c } }

// WithClients lets the service tell Nova of its ports.
func WithClients(c *openstack.Clients) Option { return func(o *options) { o.clients = c } }

// WithDB lets several clouds share a migrated database, as processes do.
func WithDB(d *db.DB) Option { return func(o *options) { o.db = d } }

// WithBus puts the cloud on a bus that the test owns.
func WithBus(b bus.Bus) Option { return func(o *options) { o.bus = b } }

// New starts a cloud that ends with the test.
func New(t testing.TB, opts ...Option) *Cloud {
	t.Helper()
	o := options{clock: clock.System}
	for _, opt := range opts {
		opt(&o)
	}
	if o.db == nil {
		o.db = dbtest.New(t, neutron.Migrations)
	}
	b := o.bus
	if b == nil {
		b = bus.NewMemory(nil)
		t.Cleanup(func() { _ = b.Close() })
	}
	svc, err := neutron.New(o.cfg, neutron.Deps{DB: o.db, Bus: b, Clock: o.clock, Clients: o.clients,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	auth := authtoken.New(authtoken.Config{Validator: authtokentest.Personas()})
	api, err := neutronapi.New(svc, neutronapi.Config{PublicURL: "http://cloud.test/network", Auth: auth})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(api)
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("neutron: %v", err)
		}
	})
	return &Cloud{T: t, Service: svc, API: api, DB: o.db, Bus: b, URL: srv.URL}
}

// A Reply is the answer to one request.
type Reply struct {
	Status int
	Header http.Header
	Text   string
	Body   map[string]any
}

// Error is the exception name of an error answer, "" if it is none.
func (r Reply) Error() string {
	e, _ := r.Body["NeutronError"].(map[string]any)
	s, _ := e["type"].(string)
	return s
}

// Get is one resource of the answer.
func (r Reply) Get(name string) map[string]any {
	m, _ := r.Body[name].(map[string]any)
	return m
}

// List is a list of resources of the answer.
func (r Reply) List(name string) []map[string]any {
	l, _ := r.Body[name].([]any)
	out := make([]map[string]any, 0, len(l))
	for _, x := range l {
		m, _ := x.(map[string]any)
		out = append(out, m)
	}
	return out
}

// Do sends a request as a persona. body is JSON text or a value to encode;
// headers come in pairs.
func (c *Cloud) Do(persona, method, path string, body any, headers ...string) Reply {
	c.T.Helper()
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			c.T.Fatal(err)
		}
		rd = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, c.URL+path, rd)
	if err != nil {
		c.T.Fatal(err)
	}
	if persona != "" {
		req.Header.Set("X-Auth-Token", persona)
	}
	if rd != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.T.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.T.Fatal(err)
	}
	out := Reply{Status: resp.StatusCode, Header: resp.Header, Text: string(raw)}
	_ = json.Unmarshal(raw, &out.Body) // an empty body stays nil
	return out
}

// Must is Do that fails the test unless the status is want.
func (c *Cloud) Must(want int, persona, method, path string, body any, headers ...string) Reply {
	c.T.Helper()
	r := c.Do(persona, method, path, body, headers...)
	if r.Status != want {
		c.T.Fatalf("%s %s as %s: %d %s, want %d", method, path, persona, r.Status, r.Text, want)
	}
	return r
}

// Refused is Do that fails the test unless the answer is an error with the
// status and exception name.
func (c *Cloud) Refused(status int, name, persona, method, path string, body any) {
	c.T.Helper()
	r := c.Do(persona, method, path, body)
	if r.Status != status || r.Error() != name {
		c.T.Errorf("%s %s as %s: %d %s, want %d %s", method, path, persona, r.Status, r.Text, status, name)
	}
}

// Create makes a resource and returns it. Its kind is the name in the body.
func (c *Cloud) Create(persona, kind string, attributes map[string]any) map[string]any {
	c.T.Helper()
	r := c.Must(http.StatusCreated, persona, http.MethodPost, "/v2.0/"+Plural(kind), map[string]any{kind: attributes})
	return r.Get(kind)
}

// Plural is the path of a kind of resource.
func Plural(kind string) string {
	if kind == "rbac_policy" {
		return "rbac-policies"
	}
	return strings.ReplaceAll(kind, "_", "-") + "s"
}

// ID is the id of a resource.
func ID(resource map[string]any) string {
	s, _ := resource["id"].(string)
	return s
}

// Network makes a network with one IPv4 subnet for a persona.
func (c *Cloud) Network(persona, cidr string) (networkID, subnetID string) {
	c.T.Helper()
	networkID = ID(c.Create(persona, "network", map[string]any{"name": "net"}))
	subnetID = ID(c.Create(persona, "subnet", map[string]any{"network_id": networkID, "cidr": cidr, "ip_version": 4}))
	return networkID, subnetID
}

// External makes an external flat network with a subnet without DHCP.
func (c *Cloud) External(cidr string) (networkID, subnetID string) {
	c.T.Helper()
	networkID = ID(c.Create("admin", "network", map[string]any{
		"name": "public", "router:external": true, "provider:network_type": "flat", "provider:physical_network": "public",
	}))
	subnetID = ID(c.Create("admin", "subnet", map[string]any{"network_id": networkID, "cidr": cidr, "ip_version": 4, "enable_dhcp": false}))
	return networkID, subnetID
}

// Agents lets the four agents of a host send a heartbeat and waits until the
// server has given them what had no agent.
func (c *Cloud) Agents(host, tunnelIP string) {
	c.T.Helper()
	for _, a := range [][2]string{
		{rpc.AgentL2, rpc.BinaryL2}, {rpc.AgentL3, rpc.BinaryL3}, {rpc.AgentDHCP, rpc.BinaryDHCP}, {rpc.AgentMetadata, rpc.BinaryMetadata},
	} {
		args := rpc.HeartbeatArgs{Host: host, AgentType: a[0], Binary: a[1], StartedAt: time.Now(), TunnelIP: tunnelIP}
		if a[0] == rpc.AgentL2 {
			args.BridgeMappings = []string{"public"}
		}
		var reply rpc.HeartbeatReply
		if err := c.Bus.Call(context.Background(), bus.Target{Topic: rpc.Topic}, rpc.MethodHeartbeat, args, &reply); err != nil {
			c.T.Fatal(err)
		}
	}
	if err := c.Service.ScheduleNow(context.Background()); err != nil {
		c.T.Fatal(err)
	}
}

// Sync pulls the whole desired state of a host.
func (c *Cloud) Sync(host string, only *rpc.Changed) rpc.HostState {
	c.T.Helper()
	var st rpc.HostState
	args := rpc.SyncHostArgs{Host: host, Kinds: []string{rpc.KindL2, rpc.KindL3, rpc.KindDHCP}, Only: only}
	if err := c.Bus.Call(context.Background(), bus.Target{Topic: rpc.Topic}, rpc.MethodSyncHost, args, &st); err != nil {
		c.T.Fatal(err)
	}
	return st
}
