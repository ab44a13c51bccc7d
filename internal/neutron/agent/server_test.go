package agent_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/neutron"
	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
)

// A realCloud is neutron-server itself with an agent, over the bus.
type realCloud struct {
	*cloud
	svc *neutron.Service
	who neutron.Caller
}

func newRealCloud(t *testing.T) *realCloud {
	t.Helper()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	b := bus.NewMemory(log)
	svc, err := neutron.New(neutron.Config{}, neutron.Deps{
		DB: dbtest.New(t, neutron.Migrations), Bus: b, Clock: clock.System, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return &realCloud{cloud: &cloud{t: t, bus: b}, svc: svc, who: neutron.Caller{Admin: true, ProjectID: "demo"}}
}

func (c *realCloud) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *realCloud) network(name, cidr string, external bool) (*neutron.Network, *neutron.Subnet) {
	c.t.Helper()
	n := &neutron.Network{Name: name, AdminStateUp: true, PortSecurityEnabled: true}
	n.ProjectID = "demo"
	if external {
		n.External, n.Type, n.PhysicalNetwork = true, "flat", "public"
	}
	c.must(c.svc.CreateNetworks(c.t.Context(), c.who, []*neutron.Network{n}))
	spec := &neutron.SubnetSpec{Subnet: neutron.Subnet{NetworkID: n.ID, CIDR: cidr, IPVersion: 4, EnableDHCP: !external}}
	spec.ProjectID = "demo"
	subs, err := c.svc.CreateSubnets(c.t.Context(), c.who, []*neutron.SubnetSpec{spec})
	c.must(err)
	return n, subs[0]
}

func (c *realCloud) server(name, networkID string) (*dt.Guest, *neutron.Port) {
	c.t.Helper()
	spec := &neutron.PortSpec{Port: neutron.Port{
		NetworkID: networkID, AdminStateUp: true, DeviceID: server, DeviceOwner: "compute:nova", Host: "host1", VNICType: "normal",
	}}
	spec.ProjectID = "demo"
	ports, err := c.svc.CreatePorts(c.t.Context(), c.who, []*neutron.PortSpec{spec})
	c.must(err)
	return dt.NewGuest(c.t, "", name, ports[0].ID, ports[0].MAC), ports[0]
}

func (c *realCloud) eventuallyActive(id string) {
	c.t.Helper()
	dt.Eventually(c.t, "port "+id+" is ACTIVE", 10*time.Second, func() bool {
		p, err := c.svc.Port(c.t.Context(), c.who, id)
		return err == nil && p.Status == "ACTIVE"
	})
}

func TestServerAndAgentBuildAWholeNetwork(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := newRealCloud(t)
	c.serveMetadata()
	a := c.start(t.TempDir())
	ctx := t.Context()
	dt.Eventually(t, "agents are known", 5*time.Second, func() bool {
		list, err := c.svc.Agents(ctx, neutron.Query{})
		return err == nil && len(list) == 4
	})
	priv, privSub := c.network("private", "10.1.0.0/24", false)
	pub, _ := c.network("public", "172.24.4.0/24", true)
	r := &neutron.Router{Name: "r", AdminStateUp: true}
	r.ProjectID = "demo"
	c.must(c.svc.CreateRouter(ctx, c.who, r, &neutron.GatewayInfo{NetworkID: pub.ID}))
	_, err := c.svc.AddRouterInterface(ctx, c.who, r.ID, privSub.ID, "")
	c.must(err)
	vm, p := c.server("vm", priv.ID)
	c.eventuallyActive(p.ID)
	lease, err := vm.DHCP()
	c.must(err)
	if lease["ip"] != p.FixedIPs[0].IP {
		t.Errorf("leased %s, port has %s", lease["ip"], p.FixedIPs[0].IP)
	}
	dt.Eventually(t, "server reaches the host", 5*time.Second, func() bool { return vm.Pings("172.24.4.1") })

	tcp := "icmp"
	rule := &neutron.SecurityGroupRule{SecurityGroupID: p.SecurityGroups[0], Direction: "ingress", EtherType: "IPv4", Protocol: &tcp}
	rule.ProjectID = "demo"
	fip := &neutron.FloatingIPSpec{FloatingIP: neutron.FloatingIP{NetworkID: pub.ID}, WantPort: p.ID}
	fip.ProjectID = "demo"
	f, err := c.svc.CreateFloatingIP(ctx, c.who, fip)
	c.must(err)
	if pings(f.Address) {
		t.Error("the floating ip answers before a rule allows it")
	}
	c.must(c.svc.CreateSecurityGroupRules(ctx, c.who, []*neutron.SecurityGroupRule{rule}))
	dt.Eventually(t, "floating ip answers", 5*time.Second, func() bool { return pings(f.Address) })
	began := time.Now()
	c.must(c.svc.DeleteSecurityGroupRule(ctx, c.who, rule.ID))
	time.Sleep(time.Second - time.Since(began)) // security case 47: within a second
	if pings(f.Address) {
		t.Error("the floating ip answers a second after its rule went")
	}
	out, err := dt.Run(vm.NS, "timeout", "3", "busybox", "wget", "-q", "-O", "-", "http://169.254.169.254/")
	if err != nil || out != "you are "+server {
		t.Errorf("metadata: %q %v", out, err)
	}
	dt.Eventually(t, "floating ip is ACTIVE", 5*time.Second, func() bool {
		f, err := c.svc.FloatingIP(ctx, c.who, f.ID)
		return err == nil && f.Status == "ACTIVE"
	})

	// Everything deleted leaves nothing.
	c.must(c.svc.DeleteFloatingIP(ctx, c.who, f.ID, nil))
	c.must(c.svc.DeletePort(ctx, c.who, p.ID, nil))
	dt.Must(t, "", "ip", "link", "del", "tap"+p.ID[:11])
	_, err = c.svc.RemoveRouterInterface(ctx, c.who, r.ID, privSub.ID, "")
	c.must(err)
	c.must(c.svc.DeleteRouter(ctx, c.who, r.ID, nil))
	c.must(c.svc.DeleteNetwork(ctx, c.who, priv.ID, nil))
	c.must(c.svc.DeleteNetwork(ctx, c.who, pub.ID, nil))
	dt.Eventually(t, "nothing is left", 5*time.Second, func() bool {
		inv, err := a.Inventory()
		return err == nil && len(inv.Taps)+len(inv.Bridges)+len(inv.Namespaces)+len(inv.DHCP)+len(inv.RA)+len(inv.Filters) == 0
	})
	if links := dt.Must(t, "", "ip", "-br", "link"); strings.Contains(links, "tap") || strings.Contains(links, "brq") {
		t.Errorf("devices are left:\n%s", links)
	}
}
