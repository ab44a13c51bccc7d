package neutronapi_test

import (
	"net/http"
	"testing"

	"github.com/hastack/hastack/internal/neutron/neutrontest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

type m = map[string]any

// A project builds its network, reaches it by a floating IP, and takes it all
// down again; the agent's host is told of each piece, and at the end nothing
// of it is left in the tables.
func TestProjectBuildsAndRemovesItsNetwork(t *testing.T) {
	c := neutrontest.New(t)
	c.Agents("host1", "192.0.2.1")
	ext, _ := c.External("203.0.113.0/24")
	net, sub := c.Network("member", "10.1.0.0/24")
	router := c.Create("member", "router", m{"name": "r", "external_gateway_info": m{"network_id": ext}})
	rid := neutrontest.ID(router)
	c.Must(200, "member", "PUT", "/v2.0/routers/"+rid+"/add_router_interface", m{"subnet_id": sub})
	group := neutrontest.ID(c.Create("member", "security_group", m{"name": "web"}))
	c.Create("member", "security_group_rule", m{"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": "80", "port_range_max": 80})
	port := c.Create("service", "port", m{
		"network_id": net, "project_id": router["project_id"], "security_groups": []string{group}, "binding:host_id": "host1",
		"device_id": "9a9b9c9d-0000-4000-8000-000000000001", "device_owner": "compute:nova",
	})
	pid := neutrontest.ID(port)
	if port["status"] != "DOWN" || port["binding:vif_type"] != "bridge" {
		t.Fatalf("bound port: %v", port)
	}
	fip := c.Create("member", "floatingip", m{"floating_network_id": ext, "port_id": pid})
	if fip["router_id"] != rid || fip["status"] != "DOWN" {
		t.Fatalf("floating ip: %v", fip)
	}

	st := c.Sync("host1", nil)
	if !st.Full || len(st.Routers) != 1 || len(st.Routers[0].FloatingIPs) != 1 || st.Routers[0].Gateway == nil {
		t.Fatalf("desired state: %+v", st.Routers)
	}
	if len(st.DHCP) != 1 || st.DHCP[0].Port == nil || len(st.DHCP[0].Hosts) != 2 {
		t.Fatalf("dhcp: %+v", st.DHCP)
	}
	if len(st.Ports) != 4 { // server, router interface, gateway, dhcp
		t.Fatalf("ports: %+v", st.Ports)
	}
	if _, err := c.Service.PortsStatus(t.Context(), rpc.PortsStatusArgs{Host: "host1", Up: []string{pid}}); err != nil {
		t.Fatal(err)
	}
	if got := c.Must(200, "member", "GET", "/v2.0/ports/"+pid, nil).Get("port"); got["status"] != "ACTIVE" {
		t.Fatalf("port after the agent's report: %v", got["status"])
	}
	fid := neutrontest.ID(fip)
	if _, err := c.Service.RouterStatus(t.Context(), rpc.RouterStatusArgs{Host: "host1", Routers: []rpc.RouterStatus{
		{RouterID: rid, Status: "ACTIVE", FloatingIPs: map[string]string{fid: "ACTIVE"}},
	}}); err != nil {
		t.Fatal(err)
	}
	if got := c.Must(200, "member", "GET", "/v2.0/floatingips/"+fid, nil).Get("floatingip"); got["status"] != "ACTIVE" {
		t.Fatalf("floating ip after the agent's report: %v", got)
	}
	found, err := c.Service.MetadataLookup(t.Context(), rpc.MetadataLookupArgs{NetworkID: net, Address: fip["fixed_ip_address"].(string)})
	if err != nil || found.PortID != pid {
		t.Fatalf("metadata lookup: %+v %v", found, err)
	}

	c.Refused(http.StatusConflict, "RouterInterfaceInUseByFloatingIP", "member", "PUT", "/v2.0/routers/"+rid+"/remove_router_interface", m{"subnet_id": sub})
	c.Refused(http.StatusConflict, "NetworkInUse", "member", "DELETE", "/v2.0/networks/"+net, nil)
	c.Must(204, "service", "DELETE", "/v2.0/ports/"+pid, nil)
	if got := c.Must(200, "member", "GET", "/v2.0/floatingips/"+fid, nil).Get("floatingip"); got["port_id"] != nil || got["status"] != "DOWN" {
		t.Fatalf("floating ip of a deleted port: %v", got)
	}
	c.Must(204, "member", "DELETE", "/v2.0/floatingips/"+fid, nil)
	c.Must(200, "member", "PUT", "/v2.0/routers/"+rid+"/remove_router_interface", m{"subnet_id": sub})
	c.Must(204, "member", "DELETE", "/v2.0/routers/"+rid, nil)
	c.Must(204, "member", "DELETE", "/v2.0/networks/"+net, nil)
	c.Must(204, "member", "DELETE", "/v2.0/security-groups/"+group, nil)
	c.Must(204, "admin", "DELETE", "/v2.0/networks/"+ext, nil)

	for _, table := range []string{"ports", "ip_allocations", "subnets", "networks", "segments", "routers", "router_ports", "floatingips", "port_security_groups", "network_agents", "router_agents"} {
		var n int
		if err := c.DB.NewSelect().Table(table).ColumnExpr("COUNT(*)").Scan(t.Context(), &n); err != nil {
			t.Fatal(err)
		}
		if n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	audit, err := c.Service.Audit(t.Context(), rpc.AuditArgs{})
	if err != nil || len(audit.Problems) > 0 {
		t.Errorf("audit: %v %v", audit.Problems, err)
	}
}
