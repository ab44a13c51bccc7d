package dataplane_test

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/neutron/dataplane"
	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

func contains(s, sub string) bool { return strings.Contains(s, sub) }

// remoteHost works as a second machine: everything of it is called on a
// thread inside its namespace.
type remoteHost struct {
	t  *testing.T
	ns string
	h  *dataplane.Host
}

func newRemote(t *testing.T, ns, tunnelIP string) *remoteHost {
	t.Helper()
	r := &remoteHost{t: t, ns: ns}
	dir := filepath.Join(t.TempDir(), ns)
	r.inside(func() (err error) {
		r.h, err = dataplane.NewHost(dataplane.Config{
			StateDir: dir, TunnelIP: netip.MustParseAddr(tunnelIP), Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
		if err != nil {
			return err
		}
		return r.h.Prepare()
	})
	return r
}

func (r *remoteHost) inside(f func() error) { r.t.Helper(); dt.Inside(r.t, r.ns, f) }

func (r *remoteHost) reconcile(st *dataplane.L2State) *dataplane.L2Result {
	r.t.Helper()
	var res *dataplane.L2Result
	r.inside(func() (err error) {
		res, err = r.h.ReconcileL2(st)
		return err
	})
	for id, bad := range res.Bad {
		r.t.Errorf("%s: %s: %v", r.ns, id, bad)
	}
	return res
}

func TestTwoHostsShareANetworkOverVXLAN(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	for _, cmd := range []string{
		"ip netns add h1", "ip netns add h2",
		"ip link add sw type bridge", "ip link set dev sw mtu 1600 up",
		"ip link add p1 mtu 1600 type veth peer name eth0 netns h1 mtu 1600", "ip link add p2 mtu 1600 type veth peer name eth0 netns h2 mtu 1600",
		"ip link set p1 master sw up", "ip link set p2 master sw up",
		"ip -n h1 link set lo up", "ip -n h2 link set lo up", "ip -n h1 link set eth0 up", "ip -n h2 link set eth0 up",
		"ip -n h1 addr add 192.0.2.1/24 dev eth0", "ip -n h2 addr add 192.0.2.2/24 dev eth0",
	} {
		dt.Must(t, "", strings.Fields(cmd)...)
	}
	h1, h2 := newRemote(t, "h1", "192.0.2.1"), newRemote(t, "h2", "192.0.2.2")
	a, b := dt.NewGuest(t, "h1", "vm-a", port1, mac1), dt.NewGuest(t, "h2", "vm-b", port2, mac2)
	a.Address("10.1.0.11/24", "")
	b.Address("10.1.0.12/24", "")
	for _, g := range []*dt.Guest{a, b} {
		g.Run("ip", "link", "set", "eth0", "mtu", "1450")
	}
	one := func(id, mac, ip string, peer rpc.Peer) *dataplane.L2State {
		st := state([]*rpc.SecurityGroupState{group(sgA, rule("ingress", "icmp"))}, []*rpc.NetworkState{network(netA)},
			port(id, netA, mac, ip, sgA))
		st.Peers[netA] = []rpc.Peer{peer}
		return st
	}
	pa := rpc.Peer{PortID: port1, MAC: mac1, IPs: []string{"10.1.0.11"}, Host: "h1", TunnelIP: "192.0.2.1"}
	pb := rpc.Peer{PortID: port2, MAC: mac2, IPs: []string{"10.1.0.12"}, Host: "h2", TunnelIP: "192.0.2.2"}
	h1.reconcile(one(port1, mac1, "10.1.0.11", pb))
	h2.reconcile(one(port2, mac2, "10.1.0.12", pa))
	a.ExpectPing("10.1.0.12")
	b.ExpectPing("10.1.0.11")
	a.Run("ping", "-n", "-c", "2", "-M", "do", "-s", "1422", "10.1.0.12") // the network's whole MTU

	// An address that the peer may use and nobody knows is found by asking.
	b.Run("ip", "addr", "add", "10.1.0.200/24", "dev", "eth0")
	a.ExpectNoPing("10.1.0.200")
	loose, pair := pb, one(port2, mac2, "10.1.0.12", pa)
	loose.Loose = true
	pair.Ports[port2].AddressPairs = []rpc.AddressPair{{IP: "10.1.0.200"}}
	h1.reconcile(one(port1, mac1, "10.1.0.11", loose))
	h2.reconcile(pair)
	a.ExpectPing("10.1.0.200")
	a.ExpectPing("10.1.0.12")
	h2.reconcile(one(port2, mac2, "10.1.0.12", pa))

	// Again changes nothing, and a peer that goes takes its entries along.
	h1.reconcile(one(port1, mac1, "10.1.0.11", pb))
	a.ExpectPing("10.1.0.12")
	gone := one(port1, mac1, "10.1.0.11", pb)
	gone.Peers[netA] = nil
	h1.reconcile(gone)
	if out := dt.Must(t, "h1", "bridge", "fdb", "show", "dev", "vx-10"); contains(out, mac2) || contains(out, "dst") {
		t.Errorf("entries of the peer are left:\n%s", out)
	}
	a.ExpectNoPing("10.1.0.12")
	h1.reconcile(state(nil, nil))
	if out := dt.Must(t, "h1", "ip", "link"); contains(out, "vx-") || contains(out, "brq") {
		t.Errorf("devices are left:\n%s", out)
	}
}
