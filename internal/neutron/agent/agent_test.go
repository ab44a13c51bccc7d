package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/neutron/agent"
	"github.com/hastack/hastack/internal/neutron/dataplane"
	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

const (
	private  = "11111111-aaaa-4000-8000-000000000001"
	public   = "22222222-bbbb-4000-8000-000000000002"
	subnet   = "33333333-cccc-4000-8000-000000000003"
	router   = "44444444-dddd-4000-8000-000000000004"
	portA    = "a0000000-1111-4000-8000-000000000001"
	portB    = "b0000000-2222-4000-8000-000000000002"
	portDHCP = "d0000000-3333-4000-8000-000000000003"
	portQR   = "e0000000-4444-4000-8000-000000000004"
	portQG   = "f0000000-5555-4000-8000-000000000005"
	portV6   = "60000000-6666-4000-8000-000000000006"
	groupID  = "99999999-0000-4000-8000-00000000000a"
	macA     = "fa:16:3e:00:00:0a"
	macB     = "fa:16:3e:00:00:0b"
	server   = "5e000000-0000-4000-8000-00000000000a"
	secret   = "a shared secret"
)

// A cloud is a neutron-server that knows just what a test tells it.
type cloud struct {
	t   *testing.T
	bus bus.Bus

	mu      sync.Mutex // guards the rest
	state   rpc.HostState
	status  map[string]string // port id → what was reported last
	routers map[string]rpc.RouterStatus
	beats   map[string]rpc.HeartbeatArgs
	silent  bool // sync_host and heartbeat fail
	members []netip.Addr
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{
		t: t, bus: bus.NewMemory(slog.New(slog.DiscardHandler)), status: map[string]string{},
		routers: map[string]rpc.RouterStatus{}, beats: map[string]rpc.HeartbeatArgs{},
	}
	mux := bus.NewMux()
	bus.On(mux, rpc.MethodSyncHost, c.sync)
	bus.On(mux, rpc.MethodPortsStatus, c.ports)
	bus.On(mux, rpc.MethodRouterStatus, c.routerStatus)
	bus.On(mux, rpc.MethodHeartbeat, c.heartbeat)
	bus.On(mux, rpc.MethodMetadataLookup, c.lookup)
	if _, err := c.bus.Serve(t.Context(), rpc.Topic, "server", mux.Handle); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cloud) sync(_ context.Context, args rpc.SyncHostArgs) (rpc.HostState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent {
		return rpc.HostState{}, fault.New(fault.Unavailable, "database is away")
	}
	st := c.state
	st.Full = args.Only == nil
	st.Ports = slices.Clone(st.Ports)
	return st, nil
}

func (c *cloud) ports(_ context.Context, args rpc.PortsStatusArgs) (rpc.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for status, list := range map[string][]string{"up": args.Up, "down": args.Down, "error": args.Error} {
		for _, id := range list {
			c.status[id] = status
		}
	}
	return rpc.Empty{}, nil
}

func (c *cloud) routerStatus(_ context.Context, args rpc.RouterStatusArgs) (rpc.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range args.Routers {
		c.routers[r.RouterID] = r
	}
	return rpc.Empty{}, nil
}

func (c *cloud) heartbeat(_ context.Context, args rpc.HeartbeatArgs) (rpc.HeartbeatReply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent {
		return rpc.HeartbeatReply{}, fault.New(fault.Unavailable, "database is away")
	}
	c.beats[args.AgentType] = args
	return rpc.HeartbeatReply{AdminUp: true, Revision: c.state.Revision}, nil
}

func (c *cloud) lookup(_ context.Context, args rpc.MetadataLookupArgs) (rpc.MetadataLookupReply, error) {
	if args.Address == "10.1.0.11" && (args.RouterID == router || args.NetworkID == private) {
		return rpc.MetadataLookupReply{PortID: portA, InstanceID: server, ProjectID: "project-a"}, nil
	}
	return rpc.MetadataLookupReply{}, fault.New(fault.NotFound, "nobody")
}

// change edits the state and tells the agents.
func (c *cloud) change(f func(st *rpc.HostState), what rpc.Changed) {
	c.t.Helper()
	c.mu.Lock()
	f(&c.state)
	c.state.Revision++
	what.Revision = c.state.Revision
	c.mu.Unlock()
	if err := c.bus.Fanout(c.t.Context(), rpc.AgentTopic, rpc.MethodChanged, what); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cloud) portStatus(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status[id]
}

func port(id, network, owner, mac, ip string) rpc.PortState {
	return rpc.PortState{
		ID: id, NetworkID: network, DeviceOwner: owner, MAC: mac, AdminUp: true, MTU: 1450, Host: "host1",
		PortSecurity: owner == "compute:nova", SecurityGroups: []string{groupID}, Status: "DOWN",
		FixedIPs: []rpc.FixedIP{{SubnetID: subnet, IP: ip, PrefixLen: 24, Gateway: "10.1.0.1"}},
	}
}

func rule(direction, proto string) rpc.SecurityGroupRule {
	return rpc.SecurityGroupRule{ID: direction + proto, Direction: direction, EtherType: "IPv4", Protocol: proto}
}

// privateNetwork is a network with DHCP and two servers' ports.
func privateNetwork(isolated bool) rpc.HostState {
	dhcp := port(portDHCP, private, "network:dhcp", "fa:16:3e:00:00:02", "10.1.0.2")
	a, b := port(portA, private, "compute:nova", macA, "10.1.0.11"), port(portB, private, "compute:nova", macB, "10.1.0.12")
	return rpc.HostState{
		Revision: 1,
		Networks: []rpc.NetworkState{{
			ID: private, Type: rpc.TypeVXLAN, SegmentationID: 7, MTU: 1450, AdminUp: true,
			Subnets: []rpc.SubnetState{{
				ID: subnet, CIDR: "10.1.0.0/24", IPVersion: 4, GatewayIP: "10.1.0.1", EnableDHCP: true,
				DNS: []string{"192.0.2.53"}, Isolated: isolated,
			}},
		}},
		Ports:          []rpc.PortState{a, b, dhcp},
		SecurityGroups: []rpc.SecurityGroupState{{ID: groupID, Stateful: true, Rules: []rpc.SecurityGroupRule{rule("egress", ""), rule("ingress", "icmp")}}},
		DHCP: []rpc.DHCPNetworkState{{NetworkID: private, Port: &dhcp, Hosts: []rpc.DHCPHost{
			{PortID: portA, MAC: macA, FixedIPs: a.FixedIPs}, {PortID: portB, MAC: macB, FixedIPs: b.FixedIPs},
		}}},
	}
}

// withRouter adds an external network, and a router with a floating IP for A.
func withRouter(st rpc.HostState) rpc.HostState {
	qr := port(portQR, private, "network:router_interface", "fa:16:3e:00:00:01", "10.1.0.1")
	qg := port(portQG, public, "network:router_gateway", "fa:16:3e:00:00:f1", "172.24.4.10")
	qg.FixedIPs = []rpc.FixedIP{{SubnetID: "ext", IP: "172.24.4.10", PrefixLen: 24, Gateway: "172.24.4.1"}}
	qg.MTU = 1500
	st.Networks = append(st.Networks, rpc.NetworkState{ID: public, Type: rpc.TypeFlat, PhysicalNetwork: "public", MTU: 1500, AdminUp: true, External: true})
	st.Ports = append(st.Ports, qr, qg)
	st.Routers = []rpc.RouterState{{
		ID: router, AdminUp: true,
		Interfaces: []rpc.RouterPort{{PortID: portQR, NetworkID: private, MAC: qr.MAC, MTU: 1450, FixedIPs: qr.FixedIPs}},
		Gateway: &rpc.RouterGateway{EnableSNAT: true, RouterPort: rpc.RouterPort{
			PortID: portQG, NetworkID: public, MAC: qg.MAC, MTU: 1500, FixedIPs: qg.FixedIPs,
		}},
		FloatingIPs: []rpc.RouterFloatingIP{{ID: "fip", IP: "172.24.4.50", FixedIP: "10.1.0.11", PortID: portA, Status: "DOWN"}},
	}}
	return st
}

// A running agent and how to end it.
type running struct {
	*agent.Agent
	stop func()
}

func (c *cloud) start(dir string) *running {
	c.t.Helper()
	return c.startWaiting(dir, 20*time.Second)
}

func mappings() []dataplane.BridgeMapping {
	return []dataplane.BridgeMapping{{
		PhysicalNetwork: "public", Bridge: "br-ex", HostAddress: netip.MustParsePrefix("172.24.4.1/24"),
	}}
}

// startWaiting starts an agent and, unless wait is 0, waits until it is ready.
func (c *cloud) startWaiting(dir string, wait time.Duration, parts ...string) *running {
	c.t.Helper()
	a, err := agent.New(agent.Config{
		Host: "host1", Parts: parts, MetadataURL: "http://127.0.0.1:8775", MetadataSecret: config.NewSecret(secret),
		CheckEvery: 500 * time.Millisecond, HeartbeatEvery: time.Second,
		Address: netip.MustParseAddr("127.0.0.1"), Members: c.members,
		DataPlane: dataplane.Config{StateDir: dir, BridgeMappings: mappings()},
	}, agent.Deps{Bus: c.bus, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	r := &running{Agent: a, stop: func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				c.t.Error(err)
			}
			if err := a.Close(); err != nil {
				c.t.Error(err)
			}
		})
	}}
	c.t.Cleanup(r.stop)
	if wait == 0 {
		return r
	}
	select {
	case <-a.Ready():
	case <-time.After(wait):
		c.t.Fatal("agent was not ready within 20 s")
	}
	return r
}

func TestGuestGetsItsAddressByDHCPAndLosesItsPortWithTheTap(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := newCloud(t)
	c.state = privateNetwork(true)
	dir := t.TempDir()
	c.start(dir)
	a, b := dt.NewGuest(t, "", "vm-a", portA, macA), dt.NewGuest(t, "", "vm-b", portB, macB)
	dt.Eventually(t, "ports are up", 5*time.Second, func() bool { return c.portStatus(portA) == "up" && c.portStatus(portB) == "up" })
	lease, err := a.DHCP()
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"ip": "10.1.0.11", "mask": "24", "mtu": "1450", "dns": "192.0.2.53", "router": "10.1.0.1"} {
		if lease[key] != want {
			t.Errorf("%s is %q, want %q in %v", key, lease[key], want, lease)
		}
	}
	if !strings.Contains(lease["staticroutes"], "169.254.169.254/32 10.1.0.2") {
		t.Errorf("no metadata route in %v", lease)
	}
	if _, err := b.DHCP(); err != nil {
		t.Fatal(err)
	}
	a.ExpectPing("10.1.0.12")
	pid := pidOf(t, dir)
	c.change(func(st *rpc.HostState) {
		p := port(portC, private, "compute:nova", macC, "10.1.0.13")
		st.Ports = append(st.Ports, p)
		st.DHCP = slices.Clone(st.DHCP)
		st.DHCP[0].Hosts = append(slices.Clone(st.DHCP[0].Hosts), rpc.DHCPHost{PortID: portC, MAC: macC, FixedIPs: p.FixedIPs})
	}, rpc.Changed{Ports: []string{portC}, Networks: []string{private}})
	x := dt.NewGuest(t, "", "vm-c", portC, macC)
	dt.Eventually(t, "a port made later has its address", 5*time.Second, func() bool {
		lease, err := x.DHCP()
		return err == nil && lease["ip"] == "10.1.0.13"
	})
	// One dnsmasq, which the change did not kill behind the agent's back.
	if now := pidOf(t, dir); now == 0 || now == pid {
		t.Errorf("dnsmasq %d became %d", pid, now)
	}

	dt.Must(t, "", "ip", "link", "del", dataplane.TapName(portA))
	dt.Eventually(t, "port is down", 5*time.Second, func() bool { return c.portStatus(portA) == "down" })
}

func TestFloatingIPHairpinAndSNAT(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := newCloud(t)
	c.state = withRouter(privateNetwork(false))
	c.serveMetadata()
	c.start(t.TempDir())
	a, b := dt.NewGuest(t, "", "vm-a", portA, macA), dt.NewGuest(t, "", "vm-b", portB, macB)
	for _, g := range []*dt.Guest{a, b} {
		dt.Eventually(t, "port is up", 5*time.Second, func() bool { return c.portStatus(g.PortID) == "up" })
		if _, err := g.DHCP(); err != nil {
			t.Fatal(err)
		}
	}
	dt.Eventually(t, "host reaches the floating ip", 5*time.Second, func() bool { return pings("172.24.4.50") })
	a.ExpectPing("172.24.4.1")
	b.ExpectPing("172.24.4.1")
	b.ExpectPing("172.24.4.50") // a neighbour's floating ip
	a.ExpectPing("172.24.4.50") // its own
	c.mu.Lock()
	got := c.routers[router]
	c.mu.Unlock()
	if got.Status != "ACTIVE" || got.FloatingIPs["fip"] != "ACTIVE" {
		t.Errorf("router was reported as %+v", got)
	}

	c.change(func(st *rpc.HostState) { st.Routers = slices.Clone(st.Routers); st.Routers[0].FloatingIPs = nil }, rpc.Changed{})
	dt.Eventually(t, "floating ip is gone", 5*time.Second, func() bool { return !pings("172.24.4.50") })
	a.ExpectPing("172.24.4.1")
}

func TestSec42MetadataGoesOnlyToTheServerOfTheAddress(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := newCloud(t)
	c.state = withRouter(privateNetwork(false))
	c.serveMetadata()
	c.start(t.TempDir())
	a, b := dt.NewGuest(t, "", "vm-a", portA, macA), dt.NewGuest(t, "", "vm-b", portB, macB)
	for _, g := range []*dt.Guest{a, b} {
		dt.Eventually(t, "port is up", 5*time.Second, func() bool { return c.portStatus(g.PortID) == "up" })
		if _, err := g.DHCP(); err != nil {
			t.Fatal(err)
		}
	}
	a.ExpectPing("10.1.0.1")
	// What a guest claims of itself does not count.
	out, err := dt.Run(a.NS, "timeout", "5", "busybox", "wget", "-q", "-O", "-", "--header", "X-Instance-ID: someone-else",
		"--header", "X-Forwarded-For: 10.1.0.12", "http://169.254.169.254/latest/meta-data/")
	if err != nil || out != "you are "+server {
		t.Errorf("metadata: %q %v", out, err)
	}
	if _, err := dt.Run(b.NS, "timeout", "5", "busybox", "wget", "-q", "-O", "-", "http://169.254.169.254/"); err == nil {
		t.Error("a server that nobody knows got metadata")
	}
	if _, err := dt.Run("", "timeout", "2", "busybox", "wget", "-q", "-O", "-", "http://172.24.4.10:9697/"); err == nil {
		t.Error("the metadata proxy answers from outside")
	}
	// Nor does the neighbour's address, whose owner is silent.
	a.Run("ip", "link", "set", "eth0", "down")
	b.Run("ip", "addr", "flush", "dev", "eth0")
	b.Address("10.1.0.11/24", "10.1.0.1")
	if out, err := dt.Run(b.NS, "timeout", "2", "busybox", "wget", "-q", "-O", "-", "http://169.254.169.254/"); err == nil {
		t.Errorf("a server got its neighbour's metadata: %s", out)
	}
}

func TestPartsRunAlone(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := newCloud(t)
	c.state = withRouter(privateNetwork(false))
	c.serveMetadata()
	dir := t.TempDir()
	for _, part := range agent.AllParts() {
		c.startWaiting(dir, 20*time.Second, part)
	}
	a := dt.NewGuest(t, "", "vm-a", portA, macA)
	dt.Eventually(t, "port is up", 5*time.Second, func() bool { return c.portStatus(portA) == "up" })
	if _, err := a.DHCP(); err != nil {
		t.Fatal(err)
	}
	dt.Eventually(t, "floating ip answers", 5*time.Second, func() bool { return pings("172.24.4.50") })
	dt.Eventually(t, "metadata answers", 5*time.Second, func() bool {
		out, _ := dt.Run(a.NS, "timeout", "3", "busybox", "wget", "-q", "-O", "-", "http://169.254.169.254/")
		return out == "you are "+server
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.beats) != 4 || c.beats[rpc.AgentL2].Binary != rpc.BinaryL2 || !slices.Equal(c.beats[rpc.AgentL3].BridgeMappings, []string{"public"}) {
		t.Errorf("heartbeats: %+v", c.beats)
	}
}

func pings(ip string) bool {
	_, err := dt.Run("", "ping", "-n", "-c", "1", "-W", "1", ip)
	return err == nil
}

// serveMetadata is nova-metadata on the host's loopback.
func (c *cloud) serveMetadata() {
	l, err := net.Listen("tcp", "127.0.0.1:8775")
	if err != nil {
		c.t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Instance-ID")
		if r.Header.Get("X-Instance-ID-Signature") != agent.Sign(config.NewSecret(secret), id) {
			http.Error(w, "bad signature", http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, "you are %s", id)
	})}
	go func() { _ = srv.Serve(l) }()
	c.t.Cleanup(func() { _ = srv.Close() })
}

func TestIsolatedNetworkGetsMetadataThroughDHCP(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := newCloud(t)
	c.state = privateNetwork(true)
	c.serveMetadata()
	c.start(t.TempDir())
	a := dt.NewGuest(t, "", "vm-a", portA, macA)
	dt.Eventually(t, "port is up", 5*time.Second, func() bool { return c.portStatus(portA) == "up" })
	if _, err := a.DHCP(); err != nil {
		t.Fatal(err)
	}
	dt.Eventually(t, "metadata answers", 5*time.Second, func() bool {
		out, _ := dt.Run(a.NS, "timeout", "3", "busybox", "wget", "-q", "-O", "-", "http://169.254.169.254/")
		return out == "you are "+server
	})
}
