package glance_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/glance"
	"github.com/hastack/hastack/internal/glance/glanceapi"
	"github.com/hastack/hastack/internal/glance/glancetest"
)

// A member is the image service of one server of a cluster.
type member struct {
	*glancetest.Cloud
	store *httptest.Server // where its peers reach it
}

// members starts image services that share a database and each other's data.
func members(t *testing.T, n int, clk clock.Clock) []*member {
	t.Helper()
	d := dbtest.New(t, glance.Migrations)
	var urls []string
	out := make([]*member, n)
	for i := range out {
		m := &member{}
		m.store = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.Service.ServePeers(w, r) }))
		t.Cleanup(m.store.Close)
		urls = append(urls, m.store.URL)
		out[i] = m
	}
	for i, m := range out {
		m.Cloud = glancetest.New(t, glancetest.WithDB(d), glancetest.WithClock(clk),
			func(cfg *glance.Config, _ *glance.Deps, _ *glanceapi.Config) {
				cfg.Peers = glance.Peers{URLs: urls, Self: urls[i]}
			})
	}
	return out
}

// upload makes an active image and returns its id; status is the upload's.
func (m *member) upload(t *testing.T, data string) (id string, status int) {
	t.Helper()
	id = m.Create("admin", map[string]any{"name": "x", "disk_format": "raw", "container_format": "bare"})
	return id, m.Put("admin", id, data).Status
}

func (m *member) files(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, sub := range []string{"images/*/*", "partial/*"} {
		list, err := filepath.Glob(filepath.Join(m.Dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, list...)
	}
	return out
}

func TestImageIsOnTwoServersWhenItIsActive(t *testing.T) {
	clk := clock.NewFake(time.Now())
	c := members(t, 3, clk)
	id, status := c[0].upload(t, "some data")
	if status != 204 || len(c[0].files(t)) != 1 || len(c[1].files(t)) != 1 || len(c[2].files(t)) != 0 {
		t.Fatalf("status %d, files %v %v %v", status, c[0].files(t), c[1].files(t), c[2].files(t))
	}
	c[0].store.Close()
	if err := os.RemoveAll(c[0].Dir + "/images"); err != nil {
		t.Fatal(err)
	}
	r := c[2].Do("admin", "GET", "/v2/images/"+id+"/file", nil)
	if r.Status != 200 || string(r.Body) != "some data" || len(c[2].files(t)) != 1 {
		t.Errorf("the third server answers %d %q and has %v", r.Status, r.Body, c[2].files(t))
	}
}

func TestJanitorBringsCopiesAndTakesThemAway(t *testing.T) {
	clk := clock.NewFake(time.Now())
	c := members(t, 3, clk)
	id, _ := c[0].upload(t, "some data")
	for _, m := range c {
		if err := m.Service.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(m.files(t)) != 1 {
			t.Errorf("%d files instead of one copy", len(m.files(t)))
		}
	}
	if r := c[1].Do("admin", "DELETE", "/v2/images/"+id, nil); r.Status != 204 {
		t.Fatalf("delete: %d", r.Status)
	}
	clk.Advance(20 * time.Minute)
	for i, m := range c {
		if err := m.Service.Sweep(t.Context()); err != nil || len(m.files(t)) != 0 {
			t.Errorf("server %d still has %v, %v", i, m.files(t), err)
		}
	}
}

func TestUploadNeedsEnoughServers(t *testing.T) {
	c := members(t, 3, clock.System)
	c[1].store.Close()
	if _, status := c[0].upload(t, "one is down"); status != 204 || len(c[2].files(t)) != 1 {
		t.Errorf("status %d, the third server has %v", status, c[2].files(t))
	}
	c[2].store.Close()
	id, status := c[0].upload(t, "two are down")
	if status != 503 {
		t.Errorf("status %d with one server left", status)
	}
	if r := c[0].Do("admin", "GET", "/v2/images/"+id, nil); r.Text("status") != "queued" || len(c[0].files(t)) != 1 {
		t.Errorf("the image is %s and there are %v", r.Text("status"), c[0].files(t))
	}
}

func TestPeersAreHeldToTheChecksum(t *testing.T) {
	c := members(t, 2, clock.System)
	id, _ := c[0].upload(t, "the right data")
	for _, path := range c[0].files(t) {
		if err := os.WriteFile(path, []byte("the wrong data"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(c[1].files(t)[0]); err != nil {
		t.Fatal(err)
	}
	if r := c[1].Do("admin", "GET", "/v2/images/"+id+"/file", nil); r.Status != 503 || len(c[1].files(t)) != 0 {
		t.Errorf("wrong data from a peer: %d %q, files %v", r.Status, r.Body, c[1].files(t))
	}
}

func TestStrangersCannotPlaceData(t *testing.T) {
	c := members(t, 2, clock.System)
	for path, want := range map[string]int{
		"ab/abababab-1111-4111-8111-111111111111.x": 409, "../../etc/passwd": 400, "ab/x": 400,
		"ab/abababab-1111-4111-8111-111111111111.x/../../y": 400,
	} {
		req, err := http.NewRequestWithContext(t.Context(), "PUT", c[0].store.URL, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Path = "/store/" + path
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}
