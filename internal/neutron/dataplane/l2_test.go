package dataplane_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/neutron/dataplane"
	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

const (
	netA  = "11111111-aaaa-4000-8000-000000000001"
	netB  = "22222222-bbbb-4000-8000-000000000002"
	port1 = "aaaaaaaa-1111-4000-8000-000000000001"
	port2 = "bbbbbbbb-2222-4000-8000-000000000002"
	port3 = "cccccccc-3333-4000-8000-000000000003"
	port4 = "dddddddd-4444-4000-8000-000000000004"
	sgA   = "99999999-0000-4000-8000-00000000000a"
	mac1  = "fa:16:3e:00:00:01"
	mac2  = "fa:16:3e:00:00:02"
	mac3  = "fa:16:3e:00:00:03"
	mac4  = "fa:16:3e:00:00:04"
)

func newHost(t *testing.T, cfg dataplane.Config) *dataplane.Host {
	t.Helper()
	if cfg.StateDir == "" {
		cfg.StateDir = t.TempDir()
	}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h, err := dataplane.NewHost(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	if err := h.Prepare(); err != nil {
		t.Fatal(err)
	}
	return h
}

func network(id string) *rpc.NetworkState {
	return &rpc.NetworkState{ID: id, Type: rpc.TypeVXLAN, SegmentationID: 10, MTU: 1450, AdminUp: true}
}

func port(id, network, mac, ip string, groups ...string) *rpc.PortState {
	return &rpc.PortState{
		ID: id, NetworkID: network, MAC: mac, PortSecurity: true, AdminUp: true, MTU: 1450,
		DeviceOwner: "compute:nova", SecurityGroups: groups,
		FixedIPs: []rpc.FixedIP{{SubnetID: "s", IP: ip, PrefixLen: 24}},
	}
}

func rule(direction, proto string, ports ...int) rpc.SecurityGroupRule {
	r := rpc.SecurityGroupRule{ID: "r-" + direction + proto, Direction: direction, EtherType: "IPv4", Protocol: proto}
	if len(ports) == 2 {
		r.PortMin, r.PortMax = &ports[0], &ports[1]
	}
	return r
}

func egressAll() []rpc.SecurityGroupRule {
	v6 := rule("egress", "")
	v6.EtherType, v6.ID = "IPv6", "r-egress6"
	return []rpc.SecurityGroupRule{rule("egress", ""), v6}
}

func group(id string, rules ...rpc.SecurityGroupRule) *rpc.SecurityGroupState {
	return &rpc.SecurityGroupState{ID: id, Stateful: true, Rules: append(egressAll(), rules...)}
}

func state(groups []*rpc.SecurityGroupState, networks []*rpc.NetworkState, ports ...*rpc.PortState) *dataplane.L2State {
	st := &dataplane.L2State{
		Networks: map[string]*rpc.NetworkState{}, Ports: map[string]*rpc.PortState{},
		Groups: map[string]*rpc.SecurityGroupState{}, Peers: map[string][]rpc.Peer{},
	}
	for _, n := range networks {
		st.Networks[n.ID] = n
	}
	for _, p := range ports {
		st.Ports[p.ID] = p
	}
	for _, g := range groups {
		st.Groups[g.ID] = g
	}
	return st
}

func reconcile(t *testing.T, h *dataplane.Host, st *dataplane.L2State) *dataplane.L2Result {
	t.Helper()
	res, err := h.ReconcileL2(st)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// pair is two guests on network A, both in group sgA.
func pair(t *testing.T) (a, b *dt.Guest) {
	a = dt.NewGuest(t, "", "vm-a", port1, mac1)
	b = dt.NewGuest(t, "", "vm-b", port2, mac2)
	a.Address("10.1.0.11/24", "")
	b.Address("10.1.0.12/24", "")
	return a, b
}

func pairState(rules ...rpc.SecurityGroupRule) *dataplane.L2State {
	return state([]*rpc.SecurityGroupState{group(sgA, rules...)}, []*rpc.NetworkState{network(netA)},
		port(port1, netA, mac1, "10.1.0.11", sgA), port(port2, netA, mac2, "10.1.0.12", sgA))
}

func TestGuestsReachEachOtherAsTheirGroupsAllow(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	h := newHost(t, dataplane.Config{})
	a, b := pair(t)
	res := reconcile(t, h, pairState())
	if !slices.Equal(res.Up, []string{port1, port2}) || len(res.Bad) != 0 {
		t.Fatalf("up %v bad %v", res.Up, res.Bad)
	}
	a.ExpectNoPing("10.1.0.12")
	reconcile(t, h, pairState(rule("ingress", "icmp")))
	a.ExpectPing("10.1.0.12")
	b.ExpectPing("10.1.0.11")
	for _, g := range []*dt.Guest{a, b} {
		g.Run("ip", "link", "set", "eth0", "mtu", "1450")
	}
	a.Run("ping", "-n", "-c", "1", "-W", "2", "-s", "6000", "10.1.0.12") // in fragments
	reconcile(t, h, pairState())
	a.ExpectNoPing("10.1.0.12")

	// Ports that vanish are unplugged, and the bridge goes with the last.
	reconcile(t, h, state(nil, nil))
	links := dt.Must(t, "", "ip", "link")
	if strings.Contains(links, "brq") {
		t.Errorf("bridge is still there:\n%s", links)
	}
}

func TestServerOnThePhysicalNetworkIsFilteredTowardsTheHost(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	h := newHost(t, dataplane.Config{BridgeMappings: []dataplane.BridgeMapping{{
		PhysicalNetwork: "public", Bridge: "br-ex", HostAddress: netip.MustParsePrefix("172.24.4.1/24"),
	}}})
	a := dt.NewGuest(t, "", "vm-a", port1, mac1)
	a.Address("172.24.4.20/24", "")
	n := &rpc.NetworkState{ID: netA, Type: rpc.TypeFlat, PhysicalNetwork: "public", MTU: 1500, AdminUp: true, External: true}
	with := func(rules ...rpc.SecurityGroupRule) *dataplane.L2State {
		return state([]*rpc.SecurityGroupState{group(sgA, rules...)}, []*rpc.NetworkState{n}, port(port1, netA, mac1, "172.24.4.20", sgA))
	}
	if res := reconcile(t, h, with()); len(res.Up) != 1 {
		t.Fatalf("%+v", res)
	}
	a.ExpectPing("172.24.4.1") // its own connections get their answers
	if dt.Pings("", "172.24.4.20") {
		t.Error("the host reaches the server without a rule")
	}
	reconcile(t, h, with(rule("ingress", "icmp")))
	if !dt.Pings("", "172.24.4.20") {
		t.Error("the host does not reach the server with a rule")
	}
	a.Run("ip", "addr", "add", "172.24.4.21/24", "dev", "eth0")
	if _, err := dt.Run(a.NS, "ping", "-n", "-c", "1", "-W", "1", "-I", "172.24.4.21", "172.24.4.1"); err == nil {
		t.Error("a foreign address reached the host")
	}
	reconcile(t, h, with())
	if dt.Pings("", "172.24.4.20") {
		t.Error("the host reaches the server after the rule went")
	}
	// Without its port the tap is off the bridge, which stays.
	reconcile(t, h, state(nil, nil))
	if a.Pings("172.24.4.1") {
		t.Error("a deleted port still reaches the host")
	}
	dt.Must(t, "", "ip", "link", "show", "br-ex")
	if out := dt.Must(t, "", "ip", "route", "show", "type", "unreachable"); !strings.Contains(out, "172.24.4.0/24") {
		t.Errorf("no unreachable route in %q", out)
	}
}

func TestRemoteGroupRulesFollowTheMembers(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	h := newHost(t, dataplane.Config{})
	a, _ := pair(t)
	st := pairState(rpc.SecurityGroupRule{ID: "r", Direction: "ingress", EtherType: "IPv4", RemoteGroupID: sgA})
	st.Groups[sgA].Members = []string{"10.1.0.11", "10.1.0.12"}
	reconcile(t, h, st)
	a.ExpectPing("10.1.0.12")
	st.Groups[sgA].Members = []string{"10.1.0.12", "not an address"}
	res := reconcile(t, h, st)
	if res.Bad[sgA] == nil {
		t.Error("the bad member was not reported")
	}
	a.ExpectNoPing("10.1.0.12")
}

func TestOverlappingNetworksDoNotMeet(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	h := newHost(t, dataplane.Config{})
	a, b := pair(t)
	c := dt.NewGuest(t, "", "vm-c", port3, mac3)
	c.Address("10.1.0.11/24", "") // the same address as a, on another network
	g := group(sgA, rule("ingress", "icmp"))
	n2 := network(netB)
	n2.SegmentationID = 11
	st := state([]*rpc.SecurityGroupState{g}, []*rpc.NetworkState{network(netA), n2},
		port(port1, netA, mac1, "10.1.0.11", sgA), port(port2, netA, mac2, "10.1.0.12", sgA),
		port(port3, netB, mac3, "10.1.0.11", sgA))
	reconcile(t, h, st)
	a.ExpectPing("10.1.0.12")
	b.ExpectPing("10.1.0.11")
	c.ExpectNoPing("10.1.0.12")
	flows := dt.Must(t, "", "cat", "/proc/net/nf_conntrack")
	if !strings.Contains(flows, "zone=1") {
		t.Skip("connections do not show their zone here:\n" + flows)
	}
}

func TestHostIsOutOfReachOfTenantNetworks(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	h := newHost(t, dataplane.Config{})
	a, _ := pair(t)
	reconcile(t, h, pairState())
	dt.Must(t, "", "ip", "addr", "add", "10.99.0.1/32", "dev", "lo")
	a.Run("ip", "route", "add", "10.99.0.1", "dev", "eth0")
	a.ExpectNoPing("10.99.0.1")
	brMAC := linkMAC(t, dataplane.BridgeName(netA))
	a.Run("ip", "neigh", "replace", "10.99.0.1", "lladdr", brMAC, "dev", "eth0", "nud", "permanent")
	a.ExpectNoPing("10.99.0.1")
}

func linkMAC(t *testing.T, name string) string {
	t.Helper()
	f := strings.Fields(dt.Must(t, "", "ip", "-o", "link", "show", name))
	i := slices.Index(f, "link/ether")
	if i < 0 {
		t.Fatal("no mac of " + name)
	}
	return f[i+1]
}

func TestSec51BadPortIsClosedAloneAndOthersKeepTheirRules(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	h := newHost(t, dataplane.Config{})
	a, _ := pair(t)
	c := dt.NewGuest(t, "", "vm-c", port3, mac3)
	c.Address("10.1.0.13/24", "")
	st := pairState(rule("ingress", "icmp"), rule("ingress", "", 1, 2), rule("ingress", "nonsense"),
		rpc.SecurityGroupRule{ID: "cidr", Direction: "ingress", EtherType: "IPv4", RemoteIP: "10.0.0.0/99; drop"})
	bad := port(port3, netA, mac3, "10.1.0.13", sgA)
	bad.AddressPairs = []rpc.AddressPair{{IP: "10.1.0.0/99 } accept"}}
	st.Ports[port3] = bad
	res := reconcile(t, h, st)
	if res.Bad[port3] == nil || res.Bad[sgA] == nil {
		t.Errorf("not reported: %v", res.Bad)
	}
	a.ExpectPing("10.1.0.12")
	a.ExpectNoPing("10.1.0.13")
	c.ExpectNoPing("10.1.0.12")
	if slices.Contains(res.Up, port3) {
		t.Error("a quarantined port was reported as up")
	}
	if got := fmt.Sprint(res.Bad[sgA]); !strings.Contains(got, "nonsense") || !strings.Contains(got, "protocol that has them") {
		t.Errorf("reasons: %s", got)
	}
}

func dataplaneConfig() dataplane.Config { return dataplane.Config{} }
