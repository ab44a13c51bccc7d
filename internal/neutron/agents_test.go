package neutron_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/neutron/neutrontest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// bound makes a port of a server on a host.
func bound(t testing.TB, s *neutron.Service, network, host string) *neutron.Port {
	t.Helper()
	ports, err := s.CreatePorts(t.Context(), admin, []*neutron.PortSpec{{Port: neutron.Port{
		Standard: neutron.Standard{ProjectID: project}, NetworkID: network, AdminStateUp: true, VNICType: "normal",
		Host: host, DeviceID: "9a9b9c9d-0000-4000-8000-000000000001", DeviceOwner: "compute:nova",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return ports[0]
}

// What was made before any agent lived gets its router agent, DHCP server and
// hosts as soon as one appears, and keeps them when it restarts.
func TestFirstAgentTakesWhatWaits(t *testing.T) {
	c := neutrontest.New(t)
	n, sub := makeNetwork(t, c.Service, "10.0.0.0/24")
	r := &neutron.Router{Standard: neutron.Standard{ProjectID: project}, AdminStateUp: true}
	if err := c.Service.CreateRouter(t.Context(), admin, r, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Service.AddRouterInterface(t.Context(), admin, r.ID, sub.ID, ""); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time is a restart
		c.Agents("host1", "192.0.2.1")
		st := c.Sync("host1", nil)
		if len(st.Routers) != 1 || len(st.Routers[0].Interfaces) != 1 || len(st.DHCP) != 1 || st.DHCP[0].Port == nil {
			t.Fatalf("state of the first agent's host: %+v", st)
		}
		var owners []string
		for _, p := range st.Ports {
			owners = append(owners, p.DeviceOwner)
		}
		slices.Sort(owners)
		if want := []string{"network:dhcp", "network:router_interface"}; !slices.Equal(owners, want) {
			t.Fatalf("ports on the host: %v, want %v", owners, want)
		}
		if st.Networks[0].ID != n.ID || st.Networks[0].Subnets[0].Isolated {
			t.Fatalf("network: %+v", st.Networks)
		}
	}
}

// Two hosts share a network: each learns of the other's ports as peers, and of
// the addresses in the groups that its ports' rules name.
func TestHostsLearnOfEachOthersPorts(t *testing.T) {
	c := neutrontest.New(t)
	c.Agents("host1", "192.0.2.1")
	c.Agents("host2", "192.0.2.2")
	n, _ := makeNetwork(t, c.Service, "10.0.0.0/24")
	p1 := bound(t, c.Service, n.ID, "host1")
	p2 := bound(t, c.Service, n.ID, "host2")

	st := c.Sync("host1", &rpc.Changed{Ports: []string{p2.ID}})
	if len(st.Ports) != 0 {
		t.Errorf("host1 got the port of host2: %+v", st.Ports)
	}
	if len(st.Peers) != 1 || !slices.ContainsFunc(st.Peers[0].Peers, func(p rpc.Peer) bool {
		return p.PortID == p2.ID && p.TunnelIP == "192.0.2.2" && p.MAC == p2.MAC && slices.Equal(p.IPs, []string{p2.FixedIPs[0].IP})
	}) {
		t.Errorf("peers of host1: %+v", st.Peers)
	}
	if len(st.SecurityGroups) != 1 {
		t.Fatalf("groups: %+v", st.SecurityGroups)
	}
	members := st.SecurityGroups[0].Members
	slices.Sort(members)
	want := []string{p1.FixedIPs[0].IP, p2.FixedIPs[0].IP}
	slices.Sort(want)
	if !slices.Equal(members, want) {
		t.Errorf("members of the default group: %v, want %v", members, want)
	}

	pairs := []neutron.AddressPair{{IP: "10.0.0.200"}}
	if _, err := c.Service.UpdatePort(t.Context(), admin, p1.ID, neutron.PortPatch{AllowedAddressPairs: &pairs}); err != nil {
		t.Fatal(err)
	}
	st = c.Sync("host1", &rpc.Changed{Ports: []string{p1.ID}})
	if len(st.SecurityGroups) != 1 || !slices.Contains(st.SecurityGroups[0].Members, "10.0.0.200") {
		t.Errorf("an address that a member may use besides its own is missing: %+v", st.SecurityGroups)
	}
	st = c.Sync("host2", &rpc.Changed{Ports: []string{p1.ID}})
	for _, p := range st.Peers[0].Peers {
		if p.Loose != (p.PortID == p1.ID) {
			t.Errorf("host2 learns of port %s: loose %v", p.PortID, p.Loose)
		}
	}
	if _, err := c.Service.UpdatePort(t.Context(), admin, p1.ID, neutron.PortPatch{AllowedAddressPairs: &[]neutron.AddressPair{}}); err != nil {
		t.Fatal(err)
	}

	// A port that goes takes its peer entry and its membership with it.
	changes := listen(t, c)
	if err := c.Service.DeletePort(t.Context(), admin, p2.ID, nil); err != nil {
		t.Fatal(err)
	}
	ch := changes.next(t, p2.ID)
	st = c.Sync("host1", &ch)
	if len(st.Peers) != 1 || slices.ContainsFunc(st.Peers[0].Peers, func(p rpc.Peer) bool { return p.PortID == p2.ID }) {
		t.Errorf("peers after the delete: %+v", st.Peers)
	}
	if len(st.SecurityGroups) != 1 || len(st.SecurityGroups[0].Members) != 1 {
		t.Errorf("groups after the delete: %+v", st.SecurityGroups)
	}
}

// An agent that has heard nothing sees from the revision that it is behind,
// and one that is not gets an empty answer.
func TestRevisionTellsWhoIsBehind(t *testing.T) {
	c := neutrontest.New(t)
	c.Agents("host1", "192.0.2.1")
	n, _ := makeNetwork(t, c.Service, "10.0.0.0/24")
	first := c.Sync("host1", nil)
	args := rpc.SyncHostArgs{Host: "host1", Kinds: []string{rpc.KindL2}, Since: first.Revision}
	same, err := c.Service.SyncHost(t.Context(), args)
	if err != nil || !same.Unchanged || same.Revision != first.Revision {
		t.Fatalf("nothing changed: %+v %v", same, err)
	}
	p := bound(t, c.Service, n.ID, "host1")
	beat, err := c.Service.Heartbeat(t.Context(), rpc.HeartbeatArgs{Host: "host1", AgentType: rpc.AgentL2, Binary: rpc.BinaryL2, TunnelIP: "192.0.2.1", BridgeMappings: []string{"public"}})
	if err != nil || beat.Revision <= first.Revision || !beat.AdminUp {
		t.Fatalf("heartbeat: %+v %v, revision before %d", beat, err, first.Revision)
	}
	now, err := c.Service.SyncHost(t.Context(), args)
	if err != nil || !now.Full || !slices.ContainsFunc(now.Ports, func(x rpc.PortState) bool { return x.ID == p.ID }) {
		t.Fatalf("after a port: %+v %v", now, err)
	}
}

// A heartbeat that says nothing new writes nothing.
func TestQuietHeartbeatsCostNoWrite(t *testing.T) {
	c := neutrontest.New(t)
	args := rpc.HeartbeatArgs{Host: "host1", AgentType: rpc.AgentL3, Binary: rpc.BinaryL3, StartedAt: time.Now()}
	if _, err := c.Service.Heartbeat(t.Context(), args); err != nil {
		t.Fatal(err)
	}
	before := c.DB.Stats().Commits
	for range 10 {
		if _, err := c.Service.Heartbeat(t.Context(), args); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.DB.Stats().Commits - before; n != 0 {
		t.Errorf("ten heartbeats made %d commits", n)
	}
}

// A report about a port that has moved to another host changes nothing.
func TestReportsOfTheWrongHostAreIgnored(t *testing.T) {
	c := neutrontest.New(t)
	n, _ := makeNetwork(t, c.Service, "10.0.0.0/24")
	p := bound(t, c.Service, n.ID, "host1")
	status := func() string {
		got, err := c.Service.Port(t.Context(), admin, p.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got.Status
	}
	report := func(host string, args rpc.PortsStatusArgs) {
		args.Host = host
		if _, err := c.Service.PortsStatus(t.Context(), args); err != nil {
			t.Fatal(err)
		}
	}
	report("host2", rpc.PortsStatusArgs{Up: []string{p.ID}})
	if got := status(); got != "DOWN" {
		t.Errorf("after another host's report: %s", got)
	}
	report("host1", rpc.PortsStatusArgs{Up: []string{p.ID}})
	report("host1", rpc.PortsStatusArgs{Up: []string{p.ID, "9a9b9c9d-0000-4000-8000-00000000dead"}})
	if got := status(); got != "ACTIVE" {
		t.Errorf("after its host's report: %s", got)
	}
	report("host1", rpc.PortsStatusArgs{Error: []string{p.ID}})
	if got := status(); got != "ERROR" {
		t.Errorf("after a failure: %s", got)
	}
}

// A port on a physical network that its host does not reach is not bound.
func TestHostWithoutTheBridgeCannotBind(t *testing.T) {
	c := neutrontest.New(t)
	n := &neutron.Network{Standard: neutron.Standard{ProjectID: project}, Type: "flat", PhysicalNetwork: "public"}
	if err := c.Service.CreateNetworks(t.Context(), admin, []*neutron.Network{n}); err != nil {
		t.Fatal(err)
	}
	for host, bridges := range map[string][]string{"with": {"public"}, "without": nil} {
		_, err := c.Service.Heartbeat(t.Context(), rpc.HeartbeatArgs{Host: host, AgentType: rpc.AgentL2, BridgeMappings: bridges})
		if err != nil {
			t.Fatal(err)
		}
	}
	if p := bound(t, c.Service, n.ID, "with"); p.VIFType != "bridge" {
		t.Errorf("on a host with the bridge: %s", p.VIFType)
	}
	if p := bound(t, c.Service, n.ID, "without"); p.VIFType != "binding_failed" {
		t.Errorf("on a host without it: %s", p.VIFType)
	}
}

// A deleted agent's work goes to another.
func TestDeletedAgentsWorkIsTakenOver(t *testing.T) {
	c := neutrontest.New(t)
	c.Agents("host1", "192.0.2.1")
	makeNetwork(t, c.Service, "10.0.0.0/24")
	r := &neutron.Router{Standard: neutron.Standard{ProjectID: project}}
	if err := c.Service.CreateRouter(t.Context(), admin, r, nil); err != nil {
		t.Fatal(err)
	}
	c.Agents("host2", "192.0.2.2")
	agents, err := c.Service.Agents(t.Context(), neutron.Filter("host", "host1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range agents {
		if err := c.Service.DeleteAgent(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Service.ScheduleNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := c.Sync("host2", nil); len(st.Routers) != 1 || len(st.DHCP) != 1 {
		t.Errorf("host2 after host1 went: %+v", st)
	}
	if st := c.Sync("host1", nil); len(st.Routers)+len(st.DHCP)+len(st.Ports) != 0 {
		t.Errorf("host1 after it went: %+v", st)
	}
}

// changes collects notifications as an agent would get them.
type changes struct {
	mu   sync.Mutex // guards list
	list []rpc.Changed
}

func listen(t testing.TB, c *neutrontest.Cloud) *changes {
	t.Helper()
	l := &changes{}
	mux := bus.NewMux()
	bus.On(mux, rpc.MethodChanged, func(_ context.Context, ch rpc.Changed) (any, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.list = append(l.list, ch)
		return nil, nil
	})
	stop, err := c.Bus.Serve(t.Context(), rpc.AgentTopic, "listener", mux.Handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return l
}

// next waits for a notification that names the port.
func (l *changes) next(t testing.TB, port string) rpc.Changed {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		l.mu.Lock()
		for _, ch := range l.list {
			if slices.Contains(ch.Ports, port) {
				l.mu.Unlock()
				return ch
			}
		}
		l.mu.Unlock()
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatal("no notification came")
	return rpc.Changed{}
}

// A server that starts tells agents to compare revisions: the one before it
// may have died between a commit and the notification.
func TestStartingServerAsksAgentsToCompare(t *testing.T) {
	a := neutrontest.New(t)
	heard := make(chan rpc.Changed, 8)
	mux := bus.NewMux()
	bus.On(mux, rpc.MethodChanged, func(_ context.Context, ch rpc.Changed) (any, error) {
		heard <- ch
		return nil, nil
	})
	b := bus.NewMemory(nil)
	t.Cleanup(func() { _ = b.Close() })
	stop, err := b.Serve(t.Context(), rpc.AgentTopic, "listener", mux.Handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	makeNetwork(t, a.Service, "10.0.0.0/24")
	neutrontest.New(t, neutrontest.WithDB(a.DB), neutrontest.WithBus(b))
	select {
	case ch := <-heard:
		if !ch.IsEmpty() || ch.Revision < 2 {
			t.Errorf("first notification: %+v", ch)
		}
	case <-time.After(5 * time.Second):
		t.Error("a starting server said nothing")
	}
}
