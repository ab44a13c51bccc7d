package agent_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/neutron/dataplane"
	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// rig is a cloud with a router, a floating IP and one guest that has its
// address.
func rig(t *testing.T) (*cloud, *running, *dt.Guest, string) {
	t.Helper()
	c := newCloud(t)
	c.state = withRouter(privateNetwork(false))
	c.serveMetadata()
	dir := t.TempDir()
	a := c.start(dir)
	g := dt.NewGuest(t, "", "vm-a", portA, macA)
	dt.Eventually(t, "port is up", 5*time.Second, func() bool { return c.portStatus(portA) == "up" })
	if _, err := g.DHCP(); err != nil {
		t.Fatal(err)
	}
	dt.Eventually(t, "floating ip answers", 5*time.Second, func() bool { return pings("172.24.4.50") })
	return c, a, g, dir
}

func pidOf(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "dhcp", private, "pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

func TestKilledDnsmasqIsBackWithinFiveSeconds(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	_, _, g, dir := rig(t)
	old := pidOf(t, dir)
	if err := unix.Kill(old, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	dt.Eventually(t, "another dnsmasq runs", 5*time.Second, func() bool { p := pidOf(t, dir); return p != 0 && p != old })
	if lease, err := g.DHCP(); err != nil || lease["ip"] != "10.1.0.11" {
		t.Errorf("lease %v %v", lease, err)
	}
}

func TestNamespacesDeletedByHandAreRebuilt(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	_, _, g, _ := rig(t)
	rebuilt := func(name string) {
		old := dataplane.NamespaceID(name)
		dt.Must(t, "", "ip", "netns", "del", name)
		dt.Eventually(t, name+" is rebuilt", 5*time.Second, func() bool {
			id := dataplane.NamespaceID(name)
			return id != 0 && id != old
		})
	}
	rebuilt("qrouter-" + router)
	dt.Eventually(t, "floating ip answers again", 8*time.Second, func() bool { return pings("172.24.4.50") })
	rebuilt("qdhcp-" + private)
	dt.Eventually(t, "dhcp answers again", 8*time.Second, func() bool { _, err := g.DHCP(); return err == nil })
	dt.Eventually(t, "metadata answers again", 8*time.Second, func() bool {
		out, _ := dt.Run(g.NS, "timeout", "3", "busybox", "wget", "-q", "-O", "-", "http://169.254.169.254/")
		return out == "you are "+server
	})
}

func TestWhatIsTakenAwayByHandComesBack(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c, _, g, _ := rig(t)
	t.Run("the packet filter", func(t *testing.T) {
		dt.Must(t, "", "nft", "flush", "ruleset")
		dt.Eventually(t, "tables are back", 5*time.Second, func() bool {
			out, err := dt.Run("", "nft", "list", "tables")
			return err == nil && strings.Count(out, "hastack_") == 2
		})
		if !pings("172.24.4.50") {
			t.Error("floating ip does not answer")
		}
	})
	t.Run("a router's rules", func(t *testing.T) {
		dt.Must(t, "qrouter-"+router, "nft", "flush", "ruleset")
		dt.Eventually(t, "floating ip answers", 5*time.Second, func() bool { return pings("172.24.4.50") })
	})
	t.Run("the bridge", func(t *testing.T) {
		dt.Must(t, "", "ip", "link", "del", dataplane.BridgeName(private))
		dt.Eventually(t, "floating ip answers", 8*time.Second, func() bool { return pings("172.24.4.50") })
	})
	t.Run("the external bridge", func(t *testing.T) {
		dt.Must(t, "", "ip", "link", "del", "br-ex")
		dt.Eventually(t, "floating ip answers", 8*time.Second, func() bool { return pings("172.24.4.50") })
	})
	t.Run("a router's device", func(t *testing.T) {
		dt.Must(t, "", "ip", "link", "del", dataplane.TapName(portQR))
		dt.Eventually(t, "floating ip answers", 8*time.Second, func() bool { return pings("172.24.4.50") })
	})
	t.Run("a tap off its bridge", func(t *testing.T) {
		dt.Must(t, "", "ip", "link", "set", dataplane.TapName(portA), "nomaster")
		dt.Eventually(t, "floating ip answers", 5*time.Second, func() bool { return pings("172.24.4.50") })
	})
	if c.portStatus(portA) != "up" {
		t.Errorf("port is %s", c.portStatus(portA))
	}
	g.ExpectPing("172.24.4.1")
}

func TestLostNotificationIsMadeGoodByTheHeartbeat(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c, _, _, _ := rig(t)
	c.mu.Lock()
	c.state.Revision++ // and nobody is told
	c.state.Routers = slices.Clone(c.state.Routers)
	c.state.Routers[0].FloatingIPs = nil
	c.mu.Unlock()
	dt.Eventually(t, "floating ip is gone", 5*time.Second, func() bool { return !pings("172.24.4.50") })
}

func TestTwoCloudsOnOneMachineAreRefused(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	open := func(dir, cidr string) error {
		h, err := dataplane.NewHost(dataplane.Config{StateDir: dir, BridgeMappings: []dataplane.BridgeMapping{{
			PhysicalNetwork: "public", Bridge: "br-ex", HostAddress: netip.MustParsePrefix(cidr),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		return h.Prepare()
	}
	dt.Must(t, "", "ip", "link", "add", "lan", "type", "bridge")
	dt.Must(t, "", "ip", "addr", "add", "172.24.0.5/16", "dev", "lan")
	if err := open("/state/one", "172.24.4.1/24"); err == nil || !strings.Contains(err.Error(), "172.24.0.5/16") {
		t.Errorf("a prefix that is taken: %v", err)
	}
	if err := open("/state/one", "172.25.4.1/24"); err != nil {
		t.Fatal(err)
	}
	if err := open("/state/one", "172.25.4.1/24"); err != nil {
		t.Errorf("the same cloud again: %v", err)
	}
	if err := open("/state/two", "172.26.4.1/24"); err == nil || !strings.Contains(err.Error(), "another state directory") {
		t.Errorf("another cloud: %v", err)
	}
}

func TestBridgeKeepsItsMACWhenPortsComeAndGo(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c, _, _, _ := rig(t)
	mac := func() string { return strings.TrimSpace(dt.Must(t, "", "ip", "-br", "link", "show", "br-ex")) }
	with := mac()
	c.change(func(st *rpc.HostState) { st.Routers = nil; st.Ports = st.Ports[:4] }, rpc.Changed{})
	dt.Eventually(t, "router is gone", 5*time.Second, func() bool { return dataplane.NamespaceID("qrouter-"+router) == 0 })
	if a, b := strings.Fields(with)[2], strings.Fields(mac())[2]; a != b {
		t.Errorf("mac of br-ex was %s and is %s", a, b)
	}
}

func TestAgentRestartLosesNoPacketOfFloatingIPs(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c, a, g, dir := rig(t)
	dnsmasq := pidOf(t, dir)
	type result struct {
		out string
		err error
	}
	done := make(chan result, 2)
	for _, ping := range [][]string{{"", "172.24.4.50"}, {g.NS, "172.24.4.1"}} {
		go func() {
			out, err := dt.Run(ping[0], "ping", "-n", "-q", "-i", "0.01", "-c", "300", ping[1])
			done <- result{out, err}
		}()
	}
	for range 3 {
		time.Sleep(500 * time.Millisecond)
		a.stop()
		a = c.start(dir)
	}
	for range 2 {
		if r := <-done; r.err != nil || !strings.Contains(r.out, " 0% packet loss") {
			t.Errorf("packets were lost: %v\n%s", r.err, r.out)
		}
	}
	if now := pidOf(t, dir); now != dnsmasq {
		t.Errorf("dnsmasq %d was replaced by %d", dnsmasq, now)
	}
}

func TestAgentLeavesEverythingWhileTheServerIsAway(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c, a, g, dir := rig(t)
	a.stop()
	c.mu.Lock()
	c.silent = true
	c.mu.Unlock()
	again := c.startWaiting(dir, 0)
	time.Sleep(1500 * time.Millisecond)
	if !pings("172.24.4.50") || !g.Pings("172.24.4.1") {
		t.Error("traffic stopped while the server is away")
	}
	c.mu.Lock()
	c.silent = false
	c.mu.Unlock()
	select {
	case <-again.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("agent did not recover")
	}
	if !pings("172.24.4.50") {
		t.Error("traffic stopped after the server came back")
	}
}

func TestNamesLeftByAnotherMountNamespaceAreTakenOverAndCleaned(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c, a, _, dir := rig(t)
	a.stop()
	name := "/run/netns/qrouter-" + router
	if err := unix.Unmount(name, unix.MNT_DETACH); err != nil { // now a plain file
		t.Fatal(err)
	}
	a = c.start(dir)
	dt.Eventually(t, "floating ip answers", 5*time.Second, func() bool { return pings("172.24.4.50") })
	a.stop()
	if err := unix.Unmount(name, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	host, err := dataplane.NewHost(dataplane.Config{StateDir: dir, BridgeMappings: mappings()})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if err := host.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("the name is left")
	}
	if out := dt.Must(t, "", "ip", "-br", "link"); strings.Contains(out, "tapf") || strings.Contains(out, "tape") {
		t.Errorf("devices are left:\n%s", out)
	}
}

func TestCleanupLeavesNothing(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	look := func() string {
		var b strings.Builder
		for _, cmd := range []string{"ip -br link", "ip route show table all", "ip netns", "nft list ruleset"} {
			b.WriteString(dt.Must(t, "", strings.Fields(cmd)...))
		}
		return b.String()
	}
	// Things of others, which have to stay.
	for _, cmd := range []string{
		"ip link add virbr0 type bridge", "ip link add tap0 type veth peer name other", "ip link set tap0 master virbr0",
		"ip netns add qrouter-of-somebody-else", "nft add table inet mine", "ip route add unreachable 198.51.100.0/24 metric 4278198272",
	} {
		dt.Must(t, "", strings.Fields(cmd)...)
	}
	before := look()
	_, a, g, dir := rig(t)
	pid := pidOf(t, dir)
	a.stop()
	host, err := dataplane.NewHost(dataplane.Config{StateDir: dir, BridgeMappings: mappings()})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if err := host.Cleanup(); err != nil {
		t.Fatal(err)
	}
	dt.Must(t, "", "ip", "netns", "del", g.NS)
	if _, err := os.Stat("/run/netns/qrouter-" + router); err == nil {
		t.Error("the name of a namespace is left")
	}
	if after := look(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	dt.Eventually(t, "dnsmasq is gone", 2*time.Second, func() bool {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		return err != nil || len(b) == 0
	})
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("files are left: %v", entries)
	}
	if err := host.Cleanup(); err != nil {
		t.Errorf("cleaning what is clean: %v", err)
	}
}

func TestSec54BadObjectsAreQuarantinedAndOthersServed(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := newCloud(t)
	c.state = privateNetwork(true)
	st := &c.state
	const bad = "bad00000-0000-4000-8000-000000000001"
	evil := port(bad, private, "compute:nova", "not a mac\n", "10.1.0.66")
	st.Ports = append(st.Ports, evil)
	st.Networks = append(st.Networks, rpc.NetworkState{ID: bad, Type: "gre", MTU: -5, Subnets: []rpc.SubnetState{{ID: "x", CIDR: "bogus", EnableDHCP: true}}})
	st.Networks[0].Subnets[0].DNS = []string{"192.0.2.53", "evil\ndhcp-script=/bin/sh"}
	dhcpPort := port("bad00000-0000-4000-8000-000000000002", bad, "network:dhcp", "fa:16:3e:00:00:77", "10.9.0.2")
	st.Ports = append(st.Ports, dhcpPort)
	st.DHCP = append(st.DHCP, rpc.DHCPNetworkState{NetworkID: bad, Port: &dhcpPort})
	st.DHCP[0].Hosts = append(st.DHCP[0].Hosts,
		rpc.DHCPHost{PortID: bad, MAC: evil.MAC, FixedIPs: evil.FixedIPs},
		rpc.DHCPHost{PortID: "x\nset:y", MAC: macB, FixedIPs: evil.FixedIPs})
	st.DHCP[0].Hosts[0].Hostname = "name,evil\n10.0.0.1"
	st.DHCP[0].Hosts[0].Options = []rpc.DHCPOption{
		{Name: "tftp-server", Value: "10.1.0.5\ndhcp-script=/bin/sh", IPVersion: 4},
		{Name: "domain-name\n", Value: "x", IPVersion: 4},
		{Name: "domain-search", Value: "fine.example", IPVersion: 4},
		{Name: "no-such-option", Value: "x", IPVersion: 4},
	}
	st.Routers = append(st.Routers, rpc.RouterState{ID: bad, AdminUp: true, Interfaces: []rpc.RouterPort{{PortID: bad, MAC: "junk"}}})
	dir := t.TempDir()
	c.start(dir)
	a := dt.NewGuest(t, "", "vm-a", portA, macA)
	dt.Eventually(t, "the good port is up", 5*time.Second, func() bool { return c.portStatus(portA) == "up" })
	lease, err := a.DHCP()
	if err != nil || lease["ip"] != "10.1.0.11" || lease["dns"] != "192.0.2.53" {
		t.Errorf("lease %v %v", lease, err)
	}
	if c.portStatus(bad) != "error" {
		t.Errorf("the bad port is %q", c.portStatus(bad))
	}
	for _, name := range []string{"host", "opts", "addn_hosts"} {
		b, err := os.ReadFile(filepath.Join(dir, "dhcp", private, name))
		if err != nil || strings.Contains(string(b), "script") || strings.Contains(string(b), "evil") {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
		if name == "opts" && !slices.Contains(strings.Split(string(b), "\n"), "tag:port-"+strings.ReplaceAll(portA, "-", "_")+",option:domain-search,fine.example") {
			t.Errorf("the good option is missing:\n%s", b)
		}
	}
}

func TestFaultsAtEveryPointOfAPassAreMadeGood(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	for _, point := range []string{"neutron.agent.apply.before-effect", "neutron.agent.plug.after-effect", "neutron.agent.apply.after-effect"} {
		if err := failpoint.Arm(point + "=error#3"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { failpoint.Disarm(point) })
	}
	c, _, _, _ := rig(t)
	c.change(func(st *rpc.HostState) {
		st.Routers = slices.Clone(st.Routers)
		st.Routers[0].FloatingIPs = nil
	}, rpc.Changed{Routers: []string{router}})
	dt.Eventually(t, "floating ip is gone", 5*time.Second, func() bool { return !pings("172.24.4.50") })
}
