package audit_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hastack/hastack/internal/audit"
)

const (
	s1, s2   = "11111111-0000-0000-0000-000000000001", "22222222-0000-0000-0000-000000000002"
	p1, p2   = "aaaaaaaa-0000-0000-0000-000000000001", "bbbbbbbb-0000-0000-0000-000000000002"
	net1, r1 = "eeeeeeee-0000-0000-0000-000000000001", "ffffffff-0000-0000-0000-000000000001"
)

// healthy is a world in which everything has its owner.
func healthy() *audit.World {
	return &audit.World{
		Servers:     []audit.Server{{ID: s1, Host: "h1", Status: "ACTIVE", PortIDs: []string{p1}}},
		Allocations: []audit.Allocation{{Consumer: s1, Host: "h1"}},
		Ports: []audit.Port{
			{ID: p1, NetworkID: net1, DeviceID: s1, DeviceOwner: "compute:nova", Host: "h1"},
			{ID: p2, NetworkID: net1, DeviceID: r1, DeviceOwner: "network:router_interface"},
		},
		Networks: []string{net1}, Routers: []string{r1},
		Hosts: []audit.Host{{
			Name: "h1", Processes: []audit.Thing{{"4711", s1}}, Disks: []audit.Thing{{"/d/" + s1, s1}},
			Taps: []audit.Thing{{"tapaaaaaaaa-00", p1[:11]}}, Bridges: []audit.Thing{{"brqeeeeeeee-00", net1[:11]}},
			Namespaces: []audit.Namespace{{"qrouter-" + r1, "router", r1}, {"qdhcp-" + net1, "dhcp", net1}},
			DHCP:       []audit.Thing{{"815", net1}},
		}},
		Quotas: []audit.Quota{{"p", "instances", 1, 1}},
	}
}

func kinds(found []audit.Finding) []string {
	var out []string
	for _, f := range found {
		out = append(out, f.Kind+" "+f.Text)
	}
	return out
}

func TestAHealthyWorldHasNoFindings(t *testing.T) {
	if found := audit.Check(healthy()); len(found) != 0 {
		t.Errorf("findings %v", found)
	}
}

func TestEveryEdgeOfTheGraphIsWatched(t *testing.T) {
	for name, c := range map[string]struct {
		breaks func(w *audit.World)
		want   []string
	}{
		"allocation gone":      {func(w *audit.World) { w.Allocations = nil }, []string{"server has no allocation in placement"}},
		"allocation elsewhere": {func(w *audit.World) { w.Allocations[0].Host = "h2" }, []string{"server its allocation is on h2"}},
		"server gone": {func(w *audit.World) { w.Servers = nil }, []string{
			"allocation belongs to no server", "disk its server does not exist", "port its server does not exist", "process its server does not exist"}},
		"port gone": {func(w *audit.World) { w.Ports = w.Ports[1:] }, []string{
			"server its port " + p1 + " is gone or another's", "tap its port does not exist"}},
		"router gone":     {func(w *audit.World) { w.Routers = nil }, []string{"namespace its router does not exist", "port its router does not exist"}},
		"network gone":    {func(w *audit.World) { w.Networks = nil }, []string{"bridge its network does not exist", "dhcp its network does not exist", "namespace its network does not exist"}},
		"process gone":    {func(w *audit.World) { w.Hosts[0].Processes = nil }, []string{"server is ACTIVE and has no process on its host"}},
		"disk gone":       {func(w *audit.World) { w.Hosts[0].Disks = nil }, []string{"server has no disk on its host"}},
		"runs though off": {func(w *audit.World) { w.Servers[0].Status = "SHUTOFF" }, []string{"process its server is SHUTOFF"}},
		"quota drifted":   {func(w *audit.World) { w.Quotas[0].Counted = 3 }, []string{"quota 3 are counted and 1 exist"}},
		"tap elsewhere": {func(w *audit.World) {
			w.Ports[1].Host = "h2"
			w.Hosts[0].Taps = append(w.Hosts[0].Taps, audit.Thing{"tapbbbbbbbb-00", p2[:11]})
		}, []string{"namespace its router is served on h2", "tap its port is on h2"}},
		"dhcp elsewhere": {func(w *audit.World) {
			w.Ports = append(w.Ports, audit.Port{ID: s2, NetworkID: net1, DeviceOwner: "network:dhcp", Host: "h2"})
		}, []string{"namespace its network is served on h2"}},
		"filter left":          {func(w *audit.World) { w.Hosts[0].Filters = []audit.Thing{{"chain", "cccccccc-00"}} }, []string{"filter its port does not exist"}},
		"second server's disk": {func(w *audit.World) { w.Hosts[0].Disks = append(w.Hosts[0].Disks, audit.Thing{"x", s2}) }, []string{"disk its server does not exist"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := healthy()
			c.breaks(w)
			if d := cmp.Diff(c.want, kinds(audit.Check(w))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWorkInFlightIsNoFinding(t *testing.T) {
	w := healthy()
	w.Allocations, w.Hosts[0].Processes = nil, nil
	w.Servers[0].TaskState = "rebooting"
	if found := audit.Check(w); len(found) != 0 {
		t.Errorf("findings during a reboot: %v", found)
	}
	w.Servers = nil
	w.Hosts[0].Busy = []string{s1}
	if found := kinds(audit.Check(w)); len(found) != 0 {
		t.Errorf("findings during a delete: %v", found)
	}
}

func TestPartsThatDidNotAnswerAreNotJudged(t *testing.T) {
	w := healthy()
	w.Servers, w.Unseen = nil, []string{"nova"}
	if found := audit.Check(w); len(found) != 0 {
		t.Errorf("findings without nova: %v", found)
	}
}
