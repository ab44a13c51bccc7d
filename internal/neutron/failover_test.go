package neutron_test

import (
	"context"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/neutron/neutrontest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// failoverCloud is a cluster of three network hosts with a router on the first,
// whose L3 agents are dead after four seconds.
type failoverCloud struct {
	*neutrontest.Cloud
	clock  *clock.Fake
	router *neutron.Router
}

func newFailoverCloud(t *testing.T) *failoverCloud {
	t.Helper()
	clk := clock.NewFake(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	c := &failoverCloud{clock: clk, Cloud: neutrontest.New(t, neutrontest.WithClock(clk),
		neutrontest.WithConfig(neutron.Config{FailoverTime: 4 * time.Second, AgentDownTime: 20 * time.Second}))}
	c.Agents("host1", "192.0.2.1")
	_, sub := makeNetwork(t, c.Service, "10.0.0.0/24")
	c.router = &neutron.Router{Standard: neutron.Standard{ProjectID: project}, AdminStateUp: true}
	if err := c.Service.CreateRouter(t.Context(), admin, c.router, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Service.AddRouterInterface(t.Context(), admin, c.router.ID, sub.ID, ""); err != nil {
		t.Fatal(err)
	}
	c.Agents("host2", "192.0.2.2")
	return c
}

// pass lets seconds go by in which the hosts send heartbeats.
func (c *failoverCloud) pass(seconds int, hosts ...string) {
	c.T.Helper()
	for range seconds {
		c.clock.Advance(time.Second)
		for _, h := range hosts {
			c.Agents(h, map[string]string{"host1": "192.0.2.1", "host2": "192.0.2.2", "host3": "192.0.2.3"}[h])
		}
		if err := c.Service.FailOver(c.T.Context()); err != nil {
			c.T.Fatal(err)
		}
	}
}

func (c *failoverCloud) routerOn() string {
	c.T.Helper()
	agents, err := c.Service.AgentsOfRouter(c.T.Context(), c.router.ID)
	if err != nil || len(agents) != 1 {
		c.T.Fatalf("agents of the router: %v %v", agents, err)
	}
	return agents[0].Host
}

func TestRouterLeavesADeadAgentWithinSecondsAndStaysAway(t *testing.T) {
	c := newFailoverCloud(t)
	c.pass(6, "host1", "host2")
	if got := c.routerOn(); got != "host1" {
		t.Fatalf("router is on %s", got)
	}
	c.pass(3, "host2")
	if got := c.routerOn(); got != "host1" {
		t.Fatalf("moved after three seconds, to %s", got)
	}
	c.pass(3, "host2")
	if got := c.routerOn(); got != "host2" {
		t.Fatalf("still on %s", got)
	}
	// The whole router is the new host's: its ports too.
	st := c.Sync("host2", nil)
	if len(st.Routers) != 1 || len(st.Routers[0].Interfaces) != 1 {
		t.Fatalf("state of host2: %+v", st.Routers)
	}
	if port := st.Routers[0].Interfaces[0].PortID; !hasPort(st, port) {
		t.Errorf("port %s of the router is not on host2: %+v", port, st.Ports)
	}
	// The one that comes back learns that it has no router, and gets none.
	c.pass(6, "host1", "host2")
	if st := c.Sync("host1", nil); len(st.Routers) != 0 {
		t.Errorf("two hosts have the router: %+v", st.Routers)
	}
	if got := c.routerOn(); got != "host2" {
		t.Errorf("router went back to %s", got)
	}
}

func hasPort(st rpc.HostState, id string) bool {
	for _, p := range st.Ports {
		if p.ID == id {
			return true
		}
	}
	return false
}

func TestAgentThatAnswersKeepsItsRouters(t *testing.T) {
	c := newFailoverCloud(t)
	mux := bus.NewMux()
	bus.On(mux, rpc.MethodPing, func(context.Context, rpc.Empty) (rpc.Empty, error) { return rpc.Empty{}, nil })
	stop, err := c.Bus.Serve(t.Context(), rpc.AgentTopic, "host1", mux.Handle)
	if err != nil {
		t.Fatal(err)
	}
	c.pass(6, "host1", "host2")
	c.pass(8, "host2")
	if got := c.routerOn(); got != "host1" {
		t.Errorf("a router was taken from an agent that is only busy, to %s", got)
	}
	stop()
	c.pass(2, "host2")
	if got := c.routerOn(); got != "host2" {
		t.Errorf("router of a dead agent is on %s", got)
	}
}

func TestAfterAnOutageOfTheBusNobodyIsDeadYet(t *testing.T) {
	c := newFailoverCloud(t)
	c.pass(6, "host1", "host2")
	c.pass(30) // nothing is heard of anybody
	c.pass(3, "host2")
	if got := c.routerOn(); got != "host1" {
		t.Fatalf("moved to %s although nobody could be heard a moment ago", got)
	}
	c.pass(6, "host1", "host2")
	if got := c.routerOn(); got != "host1" {
		t.Errorf("moved to %s although its agent is back", got)
	}
}

func TestWithoutAnotherAgentTheRouterStays(t *testing.T) {
	c := newFailoverCloud(t)
	agents, err := c.Service.Agents(t.Context(), neutron.Filter("host", "host2"))
	if err != nil {
		t.Fatal(err)
	}
	down := false
	for _, a := range agents {
		if _, err := c.Service.UpdateAgent(t.Context(), a.ID, neutron.AgentPatch{AdminStateUp: &down}); err != nil {
			t.Fatal(err)
		}
	}
	c.pass(6, "host1", "host2")
	c.pass(10, "host2")
	if got := c.routerOn(); got != "host1" {
		t.Errorf("router went to %s, which is disabled", got)
	}
}

func TestNetworkGetsAnotherDHCPServerForOneThatIsAwayForLong(t *testing.T) {
	c := newFailoverCloud(t)
	served := func(host string) bool {
		t.Helper()
		st := c.Sync(host, nil)
		return len(st.DHCP) == 1 && st.DHCP[0].Port != nil
	}
	c.pass(6, "host1", "host2")
	if !served("host1") || !served("host2") {
		t.Fatal("a network has two DHCP servers when there are two agents")
	}
	c.pass(30, "host2", "host3")
	if !served("host1") || served("host3") {
		t.Error("half a minute is too short to take a DHCP server's address away")
	}
	c.pass(35, "host2", "host3")
	if served("host1") || !served("host2") || !served("host3") {
		t.Errorf("after a minute: host1 %v, host2 %v, host3 %v", served("host1"), served("host2"), served("host3"))
	}
}
