package status

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
)

// A world answers for every server of a cluster, by URL without the scheme.
type world struct {
	mu     sync.Mutex // guards calls
	calls  map[string]int
	answer map[string]any // a value is sent as JSON, an error breaks the connection
	header http.Header
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	key := r.URL.Host + r.URL.Path
	w.mu.Lock()
	w.calls[key]++
	w.mu.Unlock()
	a, ok := w.answer[key]
	if err, is := a.(error); is {
		return nil, err
	}
	rec := httptest.NewRecorder()
	maps.Copy(rec.Header(), w.header)
	switch {
	case !ok:
		rec.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPost:
		rec.WriteHeader(http.StatusCreated)
	}
	if f, is := a.(func(*http.Request) any); is {
		a = f(r)
	}
	if err := json.NewEncoder(rec).Encode(a); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

type object = map[string]any

// wellWorld answers as the servers of a cluster that is well do.
func wellWorld(t *testing.T) *world {
	t.Helper()
	top := three(t)
	w := &world{calls: map[string]int{}, answer: map[string]any{}, header: http.Header{"X-Subject-Token": {"t"}}}
	seen := well(top)
	for _, s := range top.Servers {
		w.answer[s.Management().String()+":9180/state"] = seen.Nodes[s.Name].State
	}
	const vip = "10.3.0.100/"
	endpoint := func(kind, path string) object {
		return object{"type": kind, "name": kind, "endpoints": []object{{
			"id": kind, "interface": "internal", "region": "RegionOne", "region_id": "RegionOne", "url": "https://" + vip + path,
		}}}
	}
	w.answer[vip+"identity/v3"] = object{"version": object{"id": "v3"}}
	w.answer[vip+"identity/v3/auth/tokens"] = object{"token": object{
		"expires_at": "2030-01-01T00:00:00.000000Z", "user": object{"id": "u"},
		"catalog": []object{endpoint("compute", "compute/v2.1"), endpoint("network", "network")},
	}}
	w.answer[vip+"network/"] = object{"versions": []object{{"id": "v2.0", "status": "CURRENT", "links": []object{{"rel": "self", "href": "https://" + vip + "network/v2.0"}}}}}
	var services, hypervisors, agents []object
	for _, s := range top.Servers {
		services = append(services, object{"binary": "nova-compute", "host": s.Name, "state": "up", "status": "enabled"},
			object{"binary": "nova-conductor", "host": s.Name, "state": "up", "status": "enabled"})
		hypervisors = append(hypervisors, object{"hypervisor_hostname": s.Name, "running_vms": 2, "memory_mb": 4096, "memory_mb_used": 512})
		agents = append(agents, object{"agent_type": "L3 agent", "host": s.Name, "alive": true, "admin_state_up": true})
	}
	w.answer[vip+"compute/v2.1/os-services"] = object{"services": services}
	w.answer[vip+"compute/v2.1/os-hypervisors/detail"] = object{"hypervisors": hypervisors}
	w.answer[vip+"network/v2.0/agents"] = object{"agents": agents}
	w.answer[vip+"network/v2.0/routers"] = object{"routers": []object{{"id": "r"}}}
	w.answer[vip+"network/v2.0/subnets"] = object{"subnets": []object{{"network_id": "n"}, {"network_id": "n"}}}
	w.answer["10.3.0.11:9093/api/v2/alerts"] = []object{}
	w.answer["10.3.0.11:9090/api/v1/query"] = func(r *http.Request) any {
		value := "0.004"
		if strings.Contains(r.FormValue("query"), "0.99") {
			value = "0.021"
		}
		if strings.Contains(r.FormValue("query"), "5..") {
			return object{"data": object{"result": []any{}}}
		}
		return object{"data": object{"result": []object{{"value": []any{1, value}}}}}
	}
	return w
}

func source(t *testing.T, w *world) *Source {
	t.Helper()
	return New(three(t), &http.Client{Transport: w}, config.NewSecret("secret"), clock.NewFake(now))
}

func TestWholeClusterIsAsked(t *testing.T) {
	w := wellWorld(t)
	s := source(t, w)
	r := s.Look(t.Context())
	if !r.Healthy {
		t.Errorf("problems %+v", r.Problems)
	}
	if r.Network.Routers != 1 || r.Network.DHCP != 1 || r.Network.Agents != (Count{3, 3}) || r.Compute.Servers != 6 || r.Compute.Hosts != (Count{3, 3}) || r.Compute.Services != (Count{3, 3}) {
		t.Errorf("network %+v, compute %+v", r.Network, r.Compute)
	}
	if r.API.Rates == nil || r.API.Rates.P50 != 4*time.Millisecond || r.API.Rates.P99 != 21*time.Millisecond || r.API.Rates.Errors != 0 {
		t.Errorf("rates %+v", r.API.Rates)
	}
	// A second look uses the same token: a password costs a quarter of a second.
	s.Look(t.Context())
	if n := w.calls["10.3.0.100/identity/v3/auth/tokens"]; n != 1 {
		t.Errorf("%d logins for two looks", n)
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(r); err != nil || !strings.Contains(b.String(), `"healthy":true`) {
		t.Errorf("JSON %s, %v", b.String(), err)
	}
}

func TestFirstMonitorThatAnswersTellsTheAlarms(t *testing.T) {
	w := wellWorld(t)
	delete(w.answer, "10.3.0.11:9093/api/v2/alerts")
	w.answer["10.3.0.12:9093/api/v2/alerts"] = errors.New("connection refused")
	w.answer["10.3.0.13:9093/api/v2/alerts"] = []object{{
		"labels": object{"alertname": "QueueDepth"}, "annotations": object{"summary": "5 wait", "runbook": "doc/ops/alarms.md#queue-depth"},
		"startsAt": now.Add(-time.Minute),
	}}
	w.answer["10.3.0.11:9090/api/v1/query"] = io.ErrUnexpectedEOF
	r := source(t, w).Look(t.Context())
	if r.Alarms.From != "node03" || len(r.Problems) != 1 || r.Problems[0].Text != "QueueDepth: 5 wait" || r.API.Rates != nil {
		t.Errorf("alarms %+v, problems %+v", r.Alarms, r.Problems)
	}
}

func TestCloudThatDoesNotAnswerIsToldWithItsReason(t *testing.T) {
	w := wellWorld(t)
	w.answer["10.3.0.100/identity/v3"] = errors.New("connection reset by peer")
	w.answer["10.3.0.12:9180/state"] = errors.New("no route to host")
	r := source(t, w).Look(t.Context())
	if r.Healthy || r.API.Answers || r.API.Error != "connection reset by peer" || r.Servers[1].Error != "no route to host" || r.Compute.Known {
		t.Errorf("report %+v", r)
	}
	// One service that fails says nothing about another.
	w = wellWorld(t)
	delete(w.answer, "10.3.0.100/compute/v2.1/os-services")
	r = source(t, w).Look(t.Context())
	if len(r.Problems) == 1 && len(r.Problems[0].Text) > 300 {
		t.Errorf("%d characters of problem", len(r.Problems[0].Text))
	}
	if !r.Network.Known || r.Compute.Known || len(r.Problems) != 1 || !strings.HasPrefix(r.Problems[0].Text, "Nova does not answer") {
		t.Errorf("network %+v, problems %+v", r.Network, r.Problems)
	}
}
