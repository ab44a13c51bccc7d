package agent_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

const (
	second   = "12121212-aaaa-4000-8000-000000000001"
	portC    = "c0000000-1111-4000-8000-000000000001"
	portQR2  = "e2000000-4444-4000-8000-000000000004"
	macC     = "fa:16:3e:00:00:0c"
	qr2MAC   = "fa:16:3e:00:02:01"
	secondIP = "10.2.0.11"
)

// withSecondNetwork adds a network behind the same router, with a server.
func withSecondNetwork(st rpc.HostState) rpc.HostState {
	qr := port(portQR2, second, "network:router_interface", qr2MAC, "10.2.0.1")
	st.Networks = append(st.Networks, rpc.NetworkState{ID: second, Type: rpc.TypeVXLAN, SegmentationID: 8, MTU: 1450, AdminUp: true})
	st.Ports = append(st.Ports, qr, port(portC, second, "compute:nova", macC, secondIP))
	st.Routers[0].Interfaces = append(st.Routers[0].Interfaces, rpc.RouterPort{
		PortID: portQR2, NetworkID: second, MAC: qr2MAC, MTU: 1450, FixedIPs: qr.FixedIPs,
	})
	return st
}

func TestRouterJoinsNetworksAndFollowsChanges(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := newCloud(t)
	c.state = withSecondNetwork(withRouter(privateNetwork(false)))
	c.start(t.TempDir())
	a, x := dt.NewGuest(t, "", "vm-a", portA, macA), dt.NewGuest(t, "", "vm-c", portC, macC)
	a.Address("10.1.0.11/24", "10.1.0.1")
	x.Address(secondIP+"/24", "10.2.0.1")
	for _, id := range []string{portA, portC} {
		dt.Eventually(t, "port is up", 5*time.Second, func() bool { return c.portStatus(id) == "up" })
	}
	a.ExpectPing(secondIP)
	x.ExpectPing("10.1.0.11")
	dt.Eventually(t, "floating ip answers", 5*time.Second, func() bool { return pings("172.24.4.50") })

	edit := func(f func(r *rpc.RouterState)) {
		c.change(func(st *rpc.HostState) {
			st.Routers = slices.Clone(st.Routers)
			f(&st.Routers[0])
		}, rpc.Changed{Routers: []string{router}})
	}
	t.Log("the floating ip moves to the other server")
	edit(func(r *rpc.RouterState) {
		r.FloatingIPs = []rpc.RouterFloatingIP{{ID: "fip", IP: "172.24.4.50", FixedIP: secondIP, PortID: portC}}
	})
	dt.Eventually(t, "it leads to the other server", 5*time.Second, func() bool {
		x.Run("ip", "link", "set", "eth0", "up")
		before := received(x)
		return pings("172.24.4.50") && received(x) != before
	})

	t.Log("an extra route by way of the first server")
	a.Run("ip", "addr", "add", "198.51.100.1/32", "dev", "lo")
	edit(func(r *rpc.RouterState) {
		r.Routes = []rpc.Route{{Destination: "198.51.100.0/24", NextHop: "10.1.0.11"}, {Destination: "203.0.113.0/24", NextHop: "10.77.0.1"}}
	})
	dt.Eventually(t, "the route is there", 5*time.Second, func() bool {
		out, _ := dt.Run("qrouter-"+router, "ip", "route")
		return strings.Contains(out, "198.51.100.0/24 via 10.1.0.11")
	})

	t.Log("no translation without snat")
	edit(func(r *rpc.RouterState) {
		g := *r.Gateway
		g.EnableSNAT = false
		r.Gateway = &g
		r.Routes = nil
	})
	dt.Eventually(t, "the first server's own address leaves", 5*time.Second, func() bool { return !a.Pings("172.24.4.1") })
	dt.Must(t, "", "ip", "route", "add", "10.1.0.0/24", "via", "172.24.4.10")
	a.ExpectPing("172.24.4.1")
	if out := dt.Must(t, "qrouter-"+router, "ip", "route"); strings.Contains(out, "198.51.100.0") {
		t.Errorf("the extra route is left:\n%s", out)
	}

	t.Log("an interface goes, the router goes down")
	c.change(func(st *rpc.HostState) {
		st.Routers = slices.Clone(st.Routers)
		st.Routers[0].Interfaces = st.Routers[0].Interfaces[:1]
		st.Ports = slices.DeleteFunc(slices.Clone(st.Ports), func(p rpc.PortState) bool { return p.ID == portQR2 })
	}, rpc.Changed{})
	dt.Eventually(t, "networks are apart", 5*time.Second, func() bool { return !a.Pings(secondIP) })
	a.ExpectPing("172.24.4.1")
	edit(func(r *rpc.RouterState) { r.AdminUp = false })
	dt.Eventually(t, "nothing leaves", 5*time.Second, func() bool { return !a.Pings("172.24.4.1") })
}

// received counts the ICMP messages a guest got.
func received(g *dt.Guest) string {
	return g.Run("sh", "-c", "grep -m2 Icmp: /proc/net/snmp | tail -1 | cut -d' ' -f2")
}

func TestAddressOfADeletedPortIsLeasedToTheNext(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := newCloud(t)
	c.state = privateNetwork(true)
	c.start(t.TempDir())
	a := dt.NewGuest(t, "", "vm-a", portA, macA)
	dt.Eventually(t, "port is up", 5*time.Second, func() bool { return c.portStatus(portA) == "up" })
	if _, err := a.DHCP(); err != nil {
		t.Fatal(err)
	}
	x := dt.NewGuest(t, "", "vm-c", portC, macC)
	c.change(func(st *rpc.HostState) {
		p := port(portC, private, "compute:nova", macC, "10.1.0.11")
		st.Ports = append([]rpc.PortState{p}, st.Ports[1:]...)
		st.DHCP = slices.Clone(st.DHCP)
		st.DHCP[0].Hosts = []rpc.DHCPHost{{PortID: portC, MAC: macC, FixedIPs: p.FixedIPs}}
	}, rpc.Changed{})
	dt.Eventually(t, "port is up", 5*time.Second, func() bool { return c.portStatus(portC) == "up" })
	lease, err := x.DHCP()
	if err != nil || lease["ip"] != "10.1.0.11" {
		t.Errorf("lease %v %v", lease, err)
	}
	if _, err := a.DHCP(); err == nil {
		t.Error("the deleted port still gets an address")
	}
}
