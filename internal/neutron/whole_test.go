package neutron_test

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/neutron/agent"
	"github.com/hastack/hastack/internal/neutron/dataplane"
	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
	"github.com/hastack/hastack/internal/neutron/neutrontest"
)

type m = map[string]any

// Server, agents and kernel together, driven by the API alone: two servers get
// their addresses by DHCP and reach each other, a floating IP reaches one of
// them once a rule lets it, stops when the rule goes, and after everything is
// deleted the host is as it was.
func TestAPICallsMakeNetworksOnTheHost(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	// A database server would be out of reach in this network namespace.
	d := dbtest.Open(t, db.Config{URL: "sqlite://" + filepath.Join(t.TempDir(), "neutron.db"), NoSync: true}, neutron.Migrations)
	c := neutrontest.New(t, neutrontest.WithDB(d))
	a, err := agent.New(agent.Config{
		Host: "host1", Parts: agent.AllParts(), MetadataURL: "http://127.0.0.1:8775", MetadataSecret: config.NewSecret("s"),
		CheckEvery: 500 * time.Millisecond, HeartbeatEvery: time.Second,
		DataPlane: dataplane.Config{StateDir: t.TempDir(), BridgeMappings: []dataplane.BridgeMapping{
			{PhysicalNetwork: "public", Bridge: "br-ex", HostAddress: netip.MustParsePrefix("172.24.4.1/24")},
		}},
	}, agent.Deps{Bus: c.Bus})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	<-a.Ready()

	ext, _ := c.External("172.24.4.0/24")
	net, sub := c.Network("member", "10.1.0.0/24")
	router := neutrontest.ID(c.Create("member", "router", m{"external_gateway_info": m{"network_id": ext}}))
	c.Must(200, "member", "PUT", "/v2.0/routers/"+router+"/add_router_interface", m{"subnet_id": sub})
	server := func(name, uuid string) (*dt.Guest, map[string]any) {
		port := c.Create("service", "port", m{
			"network_id": net, "project_id": "d0000000000000000000000000000001", "binding:host_id": "host1",
			"device_id": uuid, "device_owner": "compute:nova",
		})
		g := dt.NewGuest(t, "", name, neutrontest.ID(port), port["mac_address"].(string))
		status(t, c, "ports", neutrontest.ID(port), "ACTIVE")
		if _, err := g.DHCP(); err != nil {
			t.Fatalf("%s has no lease: %v", name, err)
		}
		return g, port
	}
	one, port1 := server("one", "9a9b9c9d-0000-4000-8000-000000000001")
	two, port2 := server("two", "9a9b9c9d-0000-4000-8000-000000000002")
	ip2 := port2["fixed_ips"].([]any)[0].(map[string]any)["ip_address"].(string)
	one.ExpectPing(ip2)
	one.ExpectPing("172.24.4.1") // by the router, with its address

	fip := c.Create("member", "floatingip", m{"floating_network_id": ext, "port_id": port1["id"]})
	address := fip["floating_ip_address"].(string)
	status(t, c, "floatingips", neutrontest.ID(fip), "ACTIVE")
	if dt.Pings("", address) {
		t.Error("the floating ip answers before a rule lets it")
	}
	rule := c.Create("member", "security_group_rule", m{
		"security_group_id": port1["security_groups"].([]any)[0], "direction": "ingress", "protocol": "icmp", "remote_ip_prefix": "172.24.4.0/24",
	})
	dt.Eventually(t, "the rule lets the ping in", 3*time.Second, func() bool { return dt.Pings("", address) })
	c.Must(204, "member", "DELETE", "/v2.0/security-group-rules/"+neutrontest.ID(rule), nil)
	dt.Eventually(t, "the ping stops with the rule", 3*time.Second, func() bool { return !dt.Pings("", address) })

	c.Must(204, "member", "DELETE", "/v2.0/floatingips/"+neutrontest.ID(fip), nil)
	for _, p := range []map[string]any{port1, port2} {
		c.Must(204, "service", "DELETE", "/v2.0/ports/"+neutrontest.ID(p), nil)
	}
	dt.Must(t, "", "ip", "netns", "del", one.NS)
	dt.Must(t, "", "ip", "netns", "del", two.NS)
	c.Must(200, "member", "PUT", "/v2.0/routers/"+router+"/remove_router_interface", m{"subnet_id": sub})
	c.Must(204, "member", "DELETE", "/v2.0/routers/"+router, nil)
	c.Must(204, "member", "DELETE", "/v2.0/networks/"+net, nil)
	dt.Eventually(t, "nothing of it is left", 10*time.Second, func() bool {
		names, err := dt.Run("", "ip", "netns")
		if err != nil || strings.TrimSpace(names) != "" {
			return false
		}
		links, err := dt.Run("", "ip", "-o", "link")
		return err == nil && !strings.Contains(links, "brq"+net[:11]) && !strings.Contains(links, "tap")
	})
	problems(t, c.Service)
}

func status(t *testing.T, c *neutrontest.Cloud, kind, id, want string) {
	t.Helper()
	name := strings.TrimSuffix(kind, "s")
	dt.Eventually(t, name+" becomes "+want, 10*time.Second, func() bool {
		return c.Must(200, "admin", "GET", "/v2.0/"+kind+"/"+id, nil).Get(name)["status"] == want
	})
}
