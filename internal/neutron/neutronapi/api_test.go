package neutronapi_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron/neutrontest"
)

func names(list []map[string]any) []string {
	out := []string{}
	for _, x := range list {
		out = append(out, x["name"].(string))
	}
	return out
}

// A list is walked by its links in both directions, each resource once, in the
// order asked for, also where the sort key repeats.
func TestPagesFollowEachOther(t *testing.T) {
	c := neutrontest.New(t)
	for i := range 7 {
		c.Create("member", "network", m{"name": fmt.Sprintf("n%d", i/2)})
	}
	link := func(r neutrontest.Reply, rel string) string {
		for _, l := range r.List("networks_links") {
			if l["rel"] == rel {
				u, err := url.Parse(l["href"].(string))
				if err != nil || !strings.HasPrefix(l["href"].(string), "http://cloud.test/network/v2.0/networks?") {
					t.Fatalf("link %v: %v", l, err)
				}
				return "/v2.0/networks?" + u.RawQuery
			}
		}
		return ""
	}
	var got, ids []string
	var pages []neutrontest.Reply
	for next := "/v2.0/networks?limit=3&sort_key=name&sort_dir=desc"; next != ""; next = link(pages[len(pages)-1], "next") {
		r := c.Must(200, "member", "GET", next, nil)
		pages = append(pages, r)
		got = append(got, names(r.List("networks"))...)
		for _, n := range r.List("networks") {
			ids = append(ids, neutrontest.ID(n))
		}
	}
	if want := []string{"n3", "n2", "n2", "n1", "n1", "n0", "n0"}; !slices.Equal(got, want) {
		t.Errorf("walked %v, want %v", got, want)
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 7 {
		t.Errorf("a network came twice: %v", ids)
	}
	back := c.Must(200, "member", "GET", link(pages[1], "previous"), nil)
	if !slices.Equal(names(back.List("networks")), names(pages[0].List("networks"))) {
		t.Errorf("back from page 2: %v, want %v", names(back.List("networks")), names(pages[0].List("networks")))
	}
	c.Refused(400, "InvalidInput", "member", "GET", "/v2.0/networks?limit=1&marker=nowhere", nil)
}

// Filters match by any attribute, by any of several values, and an attribute
// that does not exist is an error and not an empty list.
func TestFiltersAndFields(t *testing.T) {
	c := neutrontest.New(t)
	c.Create("member", "network", m{"name": "a", "admin_state_up": false, "tags": []string{"x", "y"}})
	c.Create("member", "network", m{"name": "b", "tags": []string{"y"}})
	c.Create("other", "network", m{"name": "c"})
	c.Create("admin", "network", m{"name": "d", "shared": true})
	for query, want := range map[string][]string{
		"name=a&name=b":        {"a", "b"},
		"admin_state_up=False": {"a"},
		"shared=true":          {"d"},
		"tags=x,y":             {"a"}, "tags-any=x,z": {"a"}, "not-tags=x": {"b", "d"}, "not-tags-any=x,y": {"d"},
		"":                                   {"a", "b", "d"},
		"router:external=false":              {"a", "b", "d"},
		"provider:network_type=vxlan&name=a": {"a"},
	} {
		got := names(c.Must(200, "member", "GET", "/v2.0/networks?sort_key=name&"+query, nil).List("networks"))
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{"colour=red", "sort_key=colour", "sort_key=name&sort_dir=up", "limit=-1", "limit=x", "mtu=abc", "shared=perhaps"} {
		if r := c.Do("member", "GET", "/v2.0/networks?"+query, nil); r.Status != 400 {
			t.Errorf("%q: %d %s", query, r.Status, r.Text)
		}
	}
	got := c.Must(200, "member", "GET", "/v2.0/networks?name=a&fields=id&fields=name", nil).List("networks")[0]
	if len(got) != 2 || got["name"] != "a" {
		t.Errorf("fields id and name: %v", got)
	}
}

// An update conditional on a revision that has passed changes nothing.
func TestIfMatchHoldsTheRevision(t *testing.T) {
	c := neutrontest.New(t)
	id := neutrontest.ID(c.Create("member", "network", m{"name": "a"}))
	path := "/v2.0/networks/" + id
	c.Must(200, "member", "PUT", path, m{"network": m{"name": "b"}}, "If-Match", "revision_number=1")
	r := c.Do("member", "PUT", path, m{"network": m{"name": "c"}}, "If-Match", "revision_number=1")
	if r.Status != 412 || r.Error() != "RevisionNumberConstraintFailed" {
		t.Errorf("stale update: %d %s", r.Status, r.Text)
	}
	if r := c.Do("member", "DELETE", path, nil, "If-Match", "revision_number=1"); r.Status != 412 {
		t.Errorf("stale delete: %d %s", r.Status, r.Text)
	}
	got := c.Must(200, "member", "GET", path, nil).Get("network")
	if got["name"] != "b" || got["revision_number"] != 2.0 {
		t.Errorf("after the refusals: %v", got)
	}
	if r := c.Do("member", "PUT", path, m{"network": m{"name": "c"}}, "If-Match", "x"); r.Status != 400 {
		t.Errorf("If-Match that says nothing: %d", r.Status)
	}
}

// A network is opened to one project, used by it, cannot be closed while it is
// used, and is gone from its sight afterwards.
func TestSharingWithOneProject(t *testing.T) {
	c := neutrontest.New(t)
	net, _ := c.Network("member", "10.0.0.0/24")
	c.Refused(404, "NetworkNotFound", "other", "GET", "/v2.0/networks/"+net, nil)
	c.Refused(403, "PolicyNotAuthorized", "member", "POST", "/v2.0/rbac-policies",
		m{"rbac_policy": m{"object_type": "network", "object_id": net, "action": "access_as_shared", "target_tenant": "*"}})
	p := neutrontest.ID(c.Create("member", "rbac_policy", m{"object_type": "network", "object_id": net, "action": "access_as_shared",
		"target_tenant": "e0000000000000000000000000000001"}))
	got := c.Must(200, "other", "GET", "/v2.0/networks/"+net, nil).Get("network")
	if got["shared"] != true {
		t.Errorf("seen by the project it is opened to: %v", got)
	}
	c.Refused(403, "PolicyNotAuthorized", "other", "PUT", "/v2.0/networks/"+net, m{"network": m{"name": "x"}})
	port := neutrontest.ID(c.Create("other", "port", m{"network_id": net}))
	c.Refused(403, "PolicyNotAuthorized", "other", "POST", "/v2.0/ports", m{"port": m{"network_id": net, "mac_address": "fa:16:3e:00:00:01"}})
	c.Refused(409, "InvalidSharedSetting", "member", "DELETE", "/v2.0/rbac-policies/"+p, nil)
	c.Must(204, "other", "DELETE", "/v2.0/ports/"+port, nil)
	c.Must(204, "member", "DELETE", "/v2.0/rbac-policies/"+p, nil)
	c.Refused(404, "NetworkNotFound", "other", "GET", "/v2.0/networks/"+net, nil)
}

// Hosts of a SLAAC subnet address themselves: a port's address follows from
// its MAC, at creation, when the subnet comes later, and when the MAC changes.
func TestPortsFollowSLAAC(t *testing.T) {
	c := neutrontest.New(t)
	net, _ := c.Network("member", "10.0.0.0/24")
	early := neutrontest.ID(c.Create("member", "port", m{"network_id": net, "mac_address": "fa:16:3e:00:00:01"}))
	six := neutrontest.ID(c.Create("member", "subnet", m{"network_id": net, "cidr": "fd00:1::/64", "ip_version": 6, "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}))
	late := neutrontest.ID(c.Create("member", "port", m{"network_id": net, "mac_address": "fa:16:3e:00:00:02"}))
	address := func(port string) string {
		for _, f := range c.Must(200, "member", "GET", "/v2.0/ports/"+port, nil).Get("port")["fixed_ips"].([]any) {
			if f := f.(map[string]any); f["subnet_id"] == six {
				return f["ip_address"].(string)
			}
		}
		return ""
	}
	if got := address(early); got != "fd00:1::f816:3eff:fe00:1" {
		t.Errorf("port that was there before: %s", got)
	}
	if got := address(late); got != "fd00:1::f816:3eff:fe00:2" {
		t.Errorf("new port: %s", got)
	}
	c.Must(200, "member", "PUT", "/v2.0/ports/"+late, m{"port": m{"mac_address": "fa:16:3e:00:00:03"}})
	if got := address(late); got != "fd00:1::f816:3eff:fe00:3" {
		t.Errorf("after a new MAC: %s", got)
	}
	c.Refused(400, "AllocationOnAutoAddressSubnet", "member", "POST", "/v2.0/ports", m{"port": m{"network_id": net, "fixed_ips": []m{{"subnet_id": six, "ip_address": "fd00:1::5"}}}})
	c.Must(204, "member", "DELETE", "/v2.0/subnets/"+six, nil)
	if got := address(late); got != "" {
		t.Errorf("after the subnet went: %s", got)
	}
}

// A quota is a limit on what a project has, and says so.
func TestQuotaIsEnforcedAndReported(t *testing.T) {
	c := neutrontest.New(t)
	const demo = "d0000000000000000000000000000001"
	c.Must(200, "admin", "PUT", "/v2.0/quotas/"+demo, m{"quota": m{"network": 1}})
	c.Create("member", "network", m{"name": "a"})
	c.Refused(409, "OverQuota", "member", "POST", "/v2.0/networks", m{"network": m{"name": "b"}})
	c.Refused(409, "OverQuota", "member", "POST", "/v2.0/networks", m{"networks": []m{{"name": "b"}, {"name": "c"}}})
	d := c.Must(200, "member", "GET", "/v2.0/quotas/"+demo+"/details.json", nil).Get("quota")["network"].(map[string]any)
	if d["limit"] != 1.0 || d["used"] != 1.0 {
		t.Errorf("details: %v", d)
	}
	c.Refused(403, "PolicyNotAuthorized", "member", "PUT", "/v2.0/quotas/"+demo, m{"quota": m{"network": 9}})
	c.Refused(403, "PolicyNotAuthorized", "other", "GET", "/v2.0/quotas/"+demo, nil)
	c.Must(204, "admin", "DELETE", "/v2.0/quotas/"+demo, nil)
	c.Create("member", "network", m{"name": "b"})
}

// Bad input of every kind is the client's error with the API's body, and
// leaves nothing behind.
func TestBadInputIsRefusedWithTheEnvelope(t *testing.T) {
	c := neutrontest.New(t)
	net, _ := c.Network("member", "10.0.0.0/24")
	long := strings.Repeat("x", 256)
	for _, body := range []any{
		"", "{", "[]", "null", `{"network": []}`, `{"network": null}`, `{"networks": []}`, `{"networks": {}}`, `{"netwerk": {}}`,
		m{"network": m{"name": long}}, m{"network": m{"name": 5}}, m{"network": m{"name": nil}}, m{"network": m{"name": "a\u0000b"}},
		m{"network": m{"admin_state_up": "maybe"}}, m{"network": m{"colour": "red"}}, m{"network": m{"id": "x"}}, m{"network": m{"status": "ACTIVE"}},
		m{"network": m{"mtu": 99999999}}, m{"network": m{"mtu": "x"}}, m{"network": m{"tags": []string{"a,b"}}}, m{"network": m{"tags": "x"}},
		m{"network": m{"project_id": "someone-else"}}, m{"network": m{"project_id": "a", "tenant_id": "b"}}, "\xff\xfe",
	} {
		r := c.Do("member", "POST", "/v2.0/networks", body)
		if r.Status != 400 || r.Error() == "" {
			t.Errorf("%v: %d %s", body, r.Status, r.Text)
		}
	}
	if r := c.Do("member", "POST", "/v2.0/networks", `{"network": {"name": "`+strings.Repeat("x", 2<<20)+`"}}`); r.Status != 413 {
		t.Errorf("2 MiB body: %d", r.Status)
	}
	if r := c.Do("member", "POST", "/v2.0/networks", `{}`, "Content-Type", "text/plain"); r.Status != 415 {
		t.Errorf("text/plain: %d", r.Status)
	}
	if r := c.Do("", "GET", "/v2.0/networks", nil); r.Status != 401 || r.Body["error"] == nil {
		t.Errorf("no token: %d %s", r.Status, r.Text)
	}
	for _, path := range []string{"/v2.0/networks/not-a-uuid", "/v2.0/ports/%27%3B--", "/v2.0/routers/" + long, "/v2.0/nothing", "/v3"} {
		if r := c.Do("member", "GET", path, nil); r.Status != 404 || r.Error() == "" {
			t.Errorf("%s: %d %s", path, r.Status, r.Text)
		}
	}
	if n := len(c.Must(200, "member", "GET", "/v2.0/networks", nil).List("networks")); n != 1 {
		t.Errorf("%d networks, want only %s", n, net)
	}
}

// No route fails with a 500 or lets a stranger through, whatever the body: the
// whole table is walked with ids of another project and with odd bodies.
func TestRouteTableAsAStranger(t *testing.T) {
	c := neutrontest.New(t)
	net, sub := c.Network("member", "10.0.0.0/24")
	ids := map[string]string{"networks": net, "subnets": sub}
	ids["ports"] = neutrontest.ID(c.Create("member", "port", m{"network_id": net}))
	ids["routers"] = neutrontest.ID(c.Create("member", "router", m{"name": "r"}))
	ids["security-groups"] = neutrontest.ID(c.Create("member", "security_group", m{"name": "g"}))
	ids["security-group-rules"] = neutrontest.ID(c.Create("member", "security_group_rule", m{"security_group_id": ids["security-groups"], "direction": "ingress"}))
	ids["rbac-policies"] = neutrontest.ID(c.Create("member", "rbac_policy", m{"object_type": "network", "object_id": net, "action": "access_as_shared", "target_tenant": "nobody"}))
	ids["quotas"] = "d0000000000000000000000000000001"
	for _, route := range c.API.Routes() {
		if route.Rule == httpapi.Public || route.Rule == httpapi.AnyToken {
			continue
		}
		kind, _, _ := strings.Cut(strings.TrimPrefix(route.Path, "/v2.0/"), "/")
		path := strings.NewReplacer("{id}", ids[kind], "{tag}", "t", "{network_id}", net, "{router_id}", ids["routers"]).Replace(route.Path)
		for _, body := range []any{nil, "{}", `{"network":{},"subnet":{},"port":{},"router":{},"floatingip":{},"security_group":{},"security_group_rule":{},"quota":{},"rbac_policy":{},"agent":{},"tags":[]}`} {
			r := c.Do("other", route.Method, path, body)
			if r.Status >= 500 {
				t.Errorf("%s %s: %d %s", route.Method, path, r.Status, r.Text)
			}
			if strings.Contains(route.Path, "{id}") && ids[kind] != "" && r.Status < 300 {
				t.Errorf("a stranger's %s %s: %d %s", route.Method, path, r.Status, r.Text)
			}
		}
		if r := c.Do("reader", route.Method, path, `{}`); route.Method != "GET" && r.Status < 300 {
			t.Errorf("a reader's %s %s: %d", route.Method, path, r.Status)
		}
	}
}

// A POST that is repeated with its Idempotency-Key makes nothing more, and is
// answered with what the first one made; another project's key is another.
func TestRepeatedPostMakesOneResource(t *testing.T) {
	c := neutrontest.New(t)
	ext, _ := c.External("203.0.113.0/24")
	net, _ := c.Network("member", "10.0.0.0/24")
	for path, body := range map[string]m{
		"networks":        {"network": m{"name": "once"}},
		"ports":           {"ports": []m{{"network_id": net, "name": "once"}, {"network_id": net, "name": "once"}}},
		"subnets":         {"subnet": m{"network_id": net, "cidr": "10.1.0.0/24", "ip_version": 4, "name": "once"}},
		"routers":         {"router": m{"name": "once", "external_gateway_info": m{"network_id": ext}}},
		"floatingips":     {"floatingip": m{"floating_network_id": ext, "description": "once"}},
		"security-groups": {"security_group": m{"name": "once"}},
	} {
		var ids [4]string
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				r := c.Do("member", "POST", "/v2.0/"+path, body, "Idempotency-Key", "k")
				if r.Status != 201 {
					t.Errorf("%s, time %d: %d %s", path, i, r.Status, r.Text)
				}
				for _, v := range r.Body {
					if l, ok := v.([]any); ok {
						v = l[0]
					}
					ids[i], _ = v.(map[string]any)["id"].(string)
				}
			})
		}
		wg.Wait()
		if ids[0] == "" || ids[0] != ids[1] || ids[0] != ids[2] || ids[0] != ids[3] {
			t.Errorf("%s: four times the same request made %v", path, ids)
		}
	}
	first := c.Must(201, "member", "POST", "/v2.0/networks", m{"network": m{}}, "Idempotency-Key", "x").Get("network")
	other := c.Must(201, "other", "POST", "/v2.0/networks", m{"network": m{}}, "Idempotency-Key", "x").Get("network")
	if first["id"] == other["id"] {
		t.Error("two projects share a key")
	}
	list := c.Must(200, "member", "GET", "/v2.0/ports?name=once", nil).List("ports")
	if len(list) != 2 {
		t.Errorf("%d ports, want the two of one request", len(list))
	}
}

// An external network may be opened to some projects only; for others it is
// not there, and its use as a plain network stays its owner's.
func TestExternalNetworkOfSomeProjects(t *testing.T) {
	c := neutrontest.New(t)
	ext, _ := c.External("203.0.113.0/24")
	c.Refused(403, "NotAuthorized", "member", "POST", "/v2.0/ports", m{"port": m{"network_id": ext}})
	all := c.Must(200, "admin", "GET", "/v2.0/rbac-policies?action=access_as_external&object_id="+ext, nil).List("rbac_policies")
	if len(all) != 1 || all[0]["target_tenant"] != "*" {
		t.Fatalf("policies of an external network: %v", all)
	}
	c.Must(200, "admin", "PUT", "/v2.0/rbac-policies/"+neutrontest.ID(all[0]), m{"rbac_policy": m{"target_tenant": "d0000000000000000000000000000001"}})
	c.Create("member", "router", m{"external_gateway_info": m{"network_id": ext}})
	c.Create("member", "floatingip", m{"floating_network_id": ext})
	c.Refused(404, "NetworkNotFound", "other", "POST", "/v2.0/floatingips", m{"floatingip": m{"floating_network_id": ext}})
	c.Refused(404, "NetworkNotFound", "other", "POST", "/v2.0/routers", m{"router": m{"external_gateway_info": m{"network_id": ext}}})
	c.Refused(409, "NetworkInUse", "admin", "DELETE", "/v2.0/networks/"+ext, nil)
}

// A router's parts hold each other: what another part needs cannot be removed,
// and what would be ambiguous cannot be added.
func TestRouterPartsHoldEachOther(t *testing.T) {
	c := neutrontest.New(t)
	ext, _ := c.External("203.0.113.0/24")
	net, sub := c.Network("member", "10.0.0.0/24")
	r := neutrontest.ID(c.Create("member", "router", m{"external_gateway_info": m{"network_id": ext}}))
	path := "/v2.0/routers/" + r
	iface := c.Must(200, "member", "PUT", path+"/add_router_interface", m{"subnet_id": sub}).Body
	c.Refused(400, "BadRequest", "member", "PUT", path+"/add_router_interface", m{"subnet_id": sub})
	_, twin := c.Network("member", "10.0.0.0/25")
	c.Refused(400, "BadRequest", "member", "PUT", path+"/add_router_interface", m{"subnet_id": twin})
	c.Refused(400, "BadRequest", "member", "PUT", path, m{"router": m{"external_gateway_info": m{"network_id": net}}})
	c.Refused(409, "ServicePortInUse", "member", "DELETE", "/v2.0/ports/"+iface["port_id"].(string), nil)
	c.Refused(409, "SubnetInUse", "member", "DELETE", "/v2.0/subnets/"+sub, nil)
	c.Refused(409, "RouterInUse", "member", "DELETE", path, nil)
	c.Refused(409, "GatewayIpInUse", "member", "PUT", "/v2.0/subnets/"+sub, m{"subnet": m{"gateway_ip": nil}})
	c.Must(200, "member", "PUT", path, m{"router": m{"routes": []m{{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}}}})
	c.Refused(409, "RouterInterfaceInUseByRoute", "member", "PUT", path+"/remove_router_interface", m{"subnet_id": sub})
	for _, hop := range []string{"10.0.0.1", "192.0.2.1"} {
		c.Refused(400, "InvalidRoutes", "member", "PUT", path, m{"router": m{"routes": []m{{"destination": "10.9.0.0/16", "nexthop": hop}}}})
	}
	c.Must(200, "member", "PUT", path, m{"router": m{"routes": []m{}}})
	c.Refused(403, "PolicyNotAuthorized", "member", "PUT", path, m{"router": m{"external_gateway_info": m{"network_id": ext, "enable_snat": true}}})
	got := c.Must(200, "admin", "PUT", path, m{"router": m{"external_gateway_info": m{"network_id": ext, "enable_snat": false}}}).Get("router")
	if gw := got["external_gateway_info"].(map[string]any); gw["enable_snat"] != false || len(gw["external_fixed_ips"].([]any)) != 1 {
		t.Errorf("gateway: %v", gw)
	}
	cleared := c.Must(200, "member", "PUT", path, m{"router": m{"external_gateway_info": nil}}).Get("router")
	if cleared["external_gateway_info"] != nil {
		t.Errorf("gateway after it was cleared: %v", cleared)
	}
	c.Must(200, "member", "PUT", path+"/remove_router_interface", m{"port_id": iface["port_id"]})
	c.Must(204, "member", "DELETE", path, nil)
}
