package neutron_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/neutron/neutrontest"
	"github.com/hastack/hastack/internal/neutron/rpc"
	"github.com/hastack/hastack/internal/openstack"
)

// nova is a stand-in for Keystone and Nova that takes external events, after
// refusing the first few.
type nova struct {
	*httptest.Server
	mu     sync.Mutex // guards refuse and events
	refuse int
	events []map[string]string
}

func newNova(t *testing.T, refuse int) *nova {
	n := &nova{refuse: refuse}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /v3/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, map[string]any{"version": map[string]any{"id": "v3.14", "status": "stable",
			"links": []any{map[string]any{"rel": "self", "href": n.URL + "/v3/"}}}})
	})
	mux.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Subject-Token", "token")
		answer(w, 201, map[string]any{"token": map[string]any{
			"expires_at": "2099-01-01T00:00:00.000000Z",
			"catalog": []any{map[string]any{"type": "compute", "name": "nova", "endpoints": []any{
				map[string]any{"interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": n.URL + "/v2.1"},
				map[string]any{"interface": "internal", "region": "RegionOne", "region_id": "RegionOne", "url": n.URL + "/v2.1"},
			}}},
		}})
	})
	mux.HandleFunc("POST /v2.1/os-server-external-events", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Events []map[string]string `json:"events"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.refuse > 0 {
			n.refuse--
			answer(w, 503, map[string]any{})
			return
		}
		n.events = append(n.events, in.Events...)
		answer(w, 200, map[string]any{"events": in.Events})
	})
	n.Server = httptest.NewServer(mux)
	t.Cleanup(n.Close)
	return n
}

// Nova is told that a port is plugged, also when it does not answer at first,
// and the note goes only when it was taken.
func TestNovaIsToldOfPluggedPorts(t *testing.T) {
	n := newNova(t, 2)
	clients := openstack.New(openstack.Config{
		AuthURL: n.URL + "/v3", Username: "neutron", Password: config.NewSecret("secret"), Project: "service", Domain: "Default", Region: "RegionOne",
	})
	c := neutrontest.New(t, neutrontest.WithClients(clients))
	net, _ := makeNetwork(t, c.Service, "10.0.0.0/24")
	p := bound(t, c.Service, net.ID, "host1")
	if _, err := c.Service.PortsStatus(t.Context(), rpc.PortsStatusArgs{Host: "host1", Up: []string{p.ID}}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		n.mu.Lock()
		events := n.events
		n.mu.Unlock()
		left, err := c.DB.NewSelect().Table("nova_events").Count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(events) > 0 && left == 0 {
			e := events[0]
			if len(events) != 1 || e["name"] != "network-vif-plugged" || e["server_uuid"] != p.DeviceID || e["tag"] != p.ID || e["status"] != "completed" {
				t.Fatalf("events: %v", events)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("events %v, %d notes left", events, left)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
