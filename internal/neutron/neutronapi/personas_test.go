package neutronapi_test

import (
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/neutron/neutrontest"
)

// victims are resources of the demo project, by the name that a path has.
func victims(c *neutrontest.Cloud) map[string]string {
	net, sub := c.Network("member", "10.0.0.0/24")
	ext, _ := c.External("203.0.113.0/24")
	group := neutrontest.ID(c.Create("member", "security_group", m{"name": "g"}))
	out := map[string]string{
		"networks": net, "subnets": sub, "security-groups": group,
		"ports":       neutrontest.ID(c.Create("member", "port", m{"network_id": net})),
		"routers":     neutrontest.ID(c.Create("member", "router", m{"name": "r"})),
		"floatingips": neutrontest.ID(c.Create("member", "floatingip", m{"floating_network_id": ext})),
		"security-group-rules": neutrontest.ID(c.Create("member", "security_group_rule", m{"security_group_id": group, "direction": "ingress",
			"ethertype": "IPv4"})),
		"rbac-policies": neutrontest.ID(c.Create("member", "rbac_policy", m{"object_type": "network", "object_id": net, "action": "access_as_shared",
			"target_tenant": "50000000000000000000000000000009"})),
		"quotas": "d0000000000000000000000000000001", "network-ip-availabilities": net, "agents": "9a9b9c9d-0000-4000-8000-000000000003",
	}
	for _, kind := range neutron.TaggedKinds() {
		if id := out[string(kind)]; id != "" {
			c.Must(201, "member", "PUT", "/v2.0/"+string(kind)+"/"+id+"/tags/t", nil)
		}
	}
	return out
}

// whole is a body by which an owner would change the thing at a path.
func whole(path string) any {
	parts := strings.Split(strings.TrimPrefix(path, "/v2.0/"), "/")
	kind := strings.TrimSuffix(strings.ReplaceAll(parts[0], "-", "_"), "s")
	switch {
	case parts[0] == "rbac-policies":
		return m{"rbac_policy": m{"target_tenant": "x"}}
	case parts[0] == "quotas":
		return m{"quota": m{"network": 1}}
	case len(parts) == 1:
		return m{}
	case len(parts) == 2:
		return m{kind: m{"name": "taken"}}
	case parts[2] == "tags" && len(parts) == 3:
		return m{"tags": []string{"taken"}}
	case strings.HasSuffix(path, "extraroutes"):
		return m{"router": m{"routes": []m{}}}
	case strings.HasSuffix(path, "_interface"):
		return m{"subnet_id": "9a9b9c9d-0000-4000-8000-000000000002"}
	}
	return nil
}

// TestSec31EveryRouteRefusesStrangers walks the route table, so that a new
// route is covered the day it is added: nothing without a token; what belongs
// to another project is not there; who may only read changes nothing.
func TestSec31EveryRouteRefusesStrangers(t *testing.T) {
	c := neutrontest.New(t)
	things := victims(c)
	checked := 0
	for _, route := range c.API.Routes() {
		if route.Rule == httpapi.Public {
			continue
		}
		kind, _, _ := strings.Cut(strings.TrimPrefix(route.Path, "/v2.0/"), "/")
		path := strings.NewReplacer("{id}", things[kind], "{tag}", "t", "{rest...}", "x", "{alias}", "router", "{$}", "",
			"{network_id}", things["networks"], "{router_id}", things["routers"]).Replace(route.Path)
		var body any
		if route.Method == "PUT" || route.Method == "POST" {
			body = m{}
		}
		if route.Method == "PUT" {
			body = whole(path)
		}
		what := route.Method + " " + route.Path
		for _, token := range []string{"", "forged"} {
			if r := c.Do(token, route.Method, path, body); r.Status != 401 {
				t.Errorf("%s with token %q: %d", what, token, r.Status)
			}
		}
		if r := c.Do("reader", route.Method, path, body); route.Method != "GET" && r.Status < 400 || r.Status == 500 {
			t.Errorf("%s as a reader: %d %s", what, r.Status, r.Text)
		}
		if !strings.Contains(route.Path, "{id}") || things[kind] == "" || route.Rule == httpapi.AnyToken {
			continue
		}
		checked++
		r := c.Do("other", route.Method, path, body)
		if r.Status != 404 && (kind != "quotas" || r.Status != 403) && !strings.Contains(route.Path, "agents") && kind != "network-ip-availabilities" {
			t.Errorf("%s as a stranger: %d %s", what, r.Status, r.Text)
		}
		if r.Status < 300 {
			t.Errorf("%s as a stranger: %d %s", what, r.Status, r.Text)
		}
	}
	if checked < 60 {
		t.Errorf("only %d routes name a thing of somebody", checked)
	}
	for _, kind := range []string{"network", "subnet", "port", "router", "floatingip", "security_group"} {
		path := strings.TrimPrefix(neutrontest.Plural(kind), "/")
		got := c.Must(200, "member", "GET", "/v2.0/"+path+"/"+things[path], nil).Get(kind)
		if tags, _ := got["tags"].([]any); got["name"] == "taken" || len(tags) != 1 || tags[0] != "t" {
			t.Errorf("a stranger changed %v", got)
		}
	}
}
