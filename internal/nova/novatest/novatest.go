// Package novatest runs Nova inside a test: nova-api behind real HTTP,
// nova-scheduler, nova-conductor and a nova-compute with the fake driver for
// each host, over a database of their own and the bus in memory, next to
// [Neighbours] that answer as Keystone, Glance, Neutron and Placement do.
//
// Start with New, then Cloud.Boot and Cloud.Do. The tokens are the personas of
// authtokentest.
package novatest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/authtoken/authtokentest"
	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/nova/compute"
	"github.com/hastack/hastack/internal/nova/novaapi"
	"github.com/hastack/hastack/internal/nova/virt/fake"
	"github.com/hastack/hastack/internal/openstack"
	"github.com/hastack/hastack/internal/operation"
)

// Cloud is a Nova under test.
type Cloud struct {
	Nova       *nova.Service
	API        *novaapi.API
	DB         *db.DB
	Bus        *bus.Memory
	Neighbours *Neighbours
	Clients    *openstack.Clients
	URL        string
	Image      string // an active image
	Network    string // a network of the demo project
	Log        *bytes.Buffer

	t    testing.TB
	opts options
	stop map[string]func() // by host
}

type options struct {
	hosts      []string
	config     nova.Config
	driver     func(host string, cfg *fake.Config)
	db         *db.DB
	neighbours *Neighbours
}

// Option changes a Cloud before it starts.
type Option func(*options)

// WithHosts names the compute hosts; without it there is one, "host1".
func WithHosts(names ...string) Option { return func(o *options) { o.hosts = names } }

// WithConfig sets Nova's configuration.
func WithConfig(c nova.Config) Option { return func(o *options) { o.config = c } }

// WithDriver changes the fake driver of each host.
func WithDriver(f func(host string, cfg *fake.Config)) Option {
	return func(o *options) { o.driver = f }
}

// WithNeighbours keeps the neighbours of another Cloud, for its successor.
func WithNeighbours(c *Cloud) Option {
	return func(o *options) { o.db, o.neighbours = c.DB, c.Neighbours }
}

func personas() authtokentest.Static { return authtokentest.Personas() }

// New runs a Nova for the length of the test.
func New(t testing.TB, opts ...Option) *Cloud {
	t.Helper()
	o := options{hosts: []string{"host1"}}
	for _, f := range opts {
		f(&o)
	}
	if o.db == nil {
		o.db = dbtest.New(t, nova.Migrations, operation.Migrations)
	}
	log, buf := logger()
	n := o.neighbours
	if n == nil {
		n = newNeighbours()
		server := httptest.NewServer(n)
		t.Cleanup(server.Close)
		n.url = server.URL
	}
	c := &Cloud{DB: o.db, Neighbours: n, t: t, opts: o, Log: buf, stop: map[string]func(){}, Bus: bus.NewMemory(log)}
	t.Cleanup(func() { _ = c.Bus.Close() }) // its servers have stopped by then
	c.Clients = openstack.New(openstack.Config{AuthURL: n.url + "/identity/v3", Username: "nova", Password: config.NewSecret("x"),
		Project: "service", Domain: "Default", Region: "RegionOne"})
	var err error
	c.Nova, err = nova.New(o.config, nova.Deps{DB: o.db, Bus: c.Bus, Clients: c.Clients, Clock: clock.System, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	c.API, err = novaapi.New(novaapi.Config{PublicURL: "http://cloud/compute", AuthURL: "http://cloud/identity"}, novaapi.Deps{
		Nova: c.Nova, Auth: authtoken.New(authtoken.Config{Validator: personas()}), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(c.API)
	t.Cleanup(api.Close)
	c.URL = api.URL
	c.Image, c.Network = n.AddImage(nil), n.AddNetwork("private", authtokentest.DemoProject, false)
	c.startParts()
	for _, h := range o.hosts {
		c.StartHost(h)
	}
	return c
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func logger() (*slog.Logger, *bytes.Buffer) {
	buf := new(bytes.Buffer)
	var w io.Writer = &syncBuffer{b: buf}
	if os.Getenv("NOVATEST_LOG") != "" {
		w = io.MultiWriter(w, os.Stderr)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo})), buf
}

// background runs f until the test ends or the returned function is called.
func (c *Cloud) background(f func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			c.t.Errorf("part of nova ended: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	c.t.Cleanup(stop)
	return stop
}

// startParts runs scheduler and conductor.
func (c *Cloud) startParts() {
	for name, run := range map[string]func(context.Context) error{
		"scheduler": nova.NewScheduler(c.Nova, "control").Run, "conductor": nova.NewConductor(c.Nova, "control").Run} {
		c.stop[name] = c.background(run)
	}
}

// StopAll ends scheduler, conductor and all hosts, as a crash does; nova-api
// goes on.
func (c *Cloud) StopAll() {
	for _, stop := range c.stop {
		stop()
	}
}

// StartHost runs the nova-compute of a host and waits until it has reported,
// to Nova and to Placement.
func (c *Cloud) StartHost(name string) {
	c.t.Helper()
	cfg := fake.Config{}
	if c.opts.driver != nil {
		c.opts.driver(name, &cfg)
	}
	log, _ := logger()
	agent, err := compute.New(compute.Config{Host: name, StateDir: c.t.TempDir()}, compute.Deps{Bus: c.Bus, Driver: fake.New(cfg),
		Clients: c.Clients, Clock: clock.System, Log: log})
	if err != nil {
		c.t.Fatal(err)
	}
	c.stop[name] = c.background(agent.Run)
	c.Eventually("host "+name+" reports", func() bool {
		list, err := c.Nova.Hypervisors(context.Background(), name, "", 0)
		return err == nil && len(list) > 0 && c.Neighbours.HasRoom(name)
	})
}

// StopHost ends a host's nova-compute.
func (c *Cloud) StopHost(name string) { c.stop[name]() }

// Eventually waits until is holds, at most ten seconds.
func (c *Cloud) Eventually(what string, is func() bool) {
	c.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	c.t.Fatalf("not within 10 s: %s\n%s", what, c.Log.String())
}

// A Reply is what nova-api answered.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Get is the value at a path of keys, nil if there is none.
func (r Reply) Get(keys ...string) any {
	var v any
	if json.Unmarshal(r.Body, &v) != nil {
		return nil
	}
	for _, k := range keys {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// Text is Get as a text.
func (r Reply) Text(keys ...string) string { s, _ := r.Get(keys...).(string); return s }

// List is Get as a list of objects.
func (r Reply) List(keys ...string) []map[string]any {
	list, _ := r.Get(keys...).([]any)
	out := make([]map[string]any, len(list))
	for i := range list {
		out[i], _ = list[i].(map[string]any)
	}
	return out
}

// Do sends a request as a persona at microversion 2.N. path begins behind
// /v2.1. A string body is sent as it is, anything else as JSON.
func (c *Cloud) Do(minor int, persona, method, path string, body any, headers ...string) Reply {
	c.t.Helper()
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		rd = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, c.URL+"/v2.1"+path, rd)
	if err != nil {
		c.t.Fatal(err)
	}
	if persona != "" {
		req.Header.Set("X-Auth-Token", persona)
	}
	req.Header.Set("OpenStack-API-Version", fmt.Sprintf("compute 2.%d", minor))
	if rd != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return Reply{resp.StatusCode, resp.Header, raw}
}

// Must is Do for an answer of that status.
func (c *Cloud) Must(status, minor int, persona, method, path string, body any, headers ...string) Reply {
	c.t.Helper()
	r := c.Do(minor, persona, method, path, body, headers...)
	if r.Status != status {
		c.t.Fatalf("%s %s as %s at 2.%d: %d, want %d: %s", method, path, persona, minor, r.Status, status, r.Body)
	}
	return r
}

// Flavor makes a public flavor of 1 VCPU, 512 MiB and 1 GiB and returns its id.
func (c *Cloud) Flavor(name string) string {
	c.t.Helper()
	return c.Must(200, 1, "admin", "POST", "/flavors", M{"flavor": M{"name": name, "vcpus": 1, "ram": 512, "disk": 1}}).Text("flavor", "id")
}

// M is a JSON object.
type M = map[string]any

// Create posts a server with the flavor as the member persona and returns its
// id; more overrides fields.
func (c *Cloud) Create(flavor string, more M) string {
	c.t.Helper()
	srv := M{"name": "vm", "imageRef": c.Image, "flavorRef": flavor, "networks": []M{{"uuid": c.Network}}}
	body := M{"server": srv}
	for k, v := range more {
		if strings.Contains(k, "hints") {
			body[k] = v
			continue
		}
		srv[k] = v
	}
	return c.Must(202, 93, "member", "POST", "/servers", body).Text("server", "id")
}

// Wait waits until a server has the status and no task.
func (c *Cloud) Wait(id, status string) Reply {
	c.t.Helper()
	var last Reply
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		last = c.Do(93, "admin", "GET", "/servers/"+id, nil)
		if status == "DELETED" && last.Status == 404 {
			return last
		}
		if last.Text("server", "status") == status && last.Get("server", "OS-EXT-STS:task_state") == nil {
			return last
		}
	}
	c.t.Fatalf("server %s is not %s: %s\n%s", id, status, last.Body, c.Log.String())
	return last
}

// Boot creates a server and waits until it is ACTIVE.
func (c *Cloud) Boot(flavor string, more M) string {
	c.t.Helper()
	id := c.Create(flavor, more)
	c.Wait(id, "ACTIVE")
	return id
}

// Act does an action as the member persona and wants 202.
func (c *Cloud) Act(id, action string, value any) Reply {
	c.t.Helper()
	return c.Must(202, 93, "member", "POST", "/servers/"+id+"/action", M{action: value})
}
