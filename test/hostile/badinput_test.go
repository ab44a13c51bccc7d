package hostile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// enveloped tells whether an error has the form of its service. A caller that
// is not known is told so by the token check, which is one for all services.
func enveloped(service string, r reply) bool {
	doc, ok := r.get().(m)
	if !ok {
		return false
	}
	if e, ok := doc["error"].(m); ok && (service == "identity" || r.status == 401) {
		return e["message"] != "" && e["code"] == float64(r.status)
	}
	switch service {
	case "image":
		return r.text("message") != "" && strings.HasPrefix(r.text("code"), fmt.Sprint(r.status))
	case "placement":
		list, _ := doc["errors"].([]any)
		return len(list) == 1 && list[0].(m)["status"] == float64(r.status)
	case "network":
		return r.text("NeutronError", "type") != "" && r.text("NeutronError", "message") != ""
	case "compute":
		for _, v := range doc {
			e, _ := v.(m)
			return len(doc) == 1 && e["code"] == float64(r.status) && e["message"] != ""
		}
	}
	return false
}

// refused checks that the API itself said no, with one of the statuses if any
// are named.
func (c *cloud) refused(service, what string, r reply, statuses ...int) {
	c.t.Helper()
	shown := r.body[:min(len(r.body), 300)]
	switch {
	case r.status < 400 || r.status >= 500:
		c.t.Errorf("%s: %d %s", what, r.status, shown)
	case len(statuses) > 0 && !slices.Contains(statuses, r.status):
		c.t.Errorf("%s: %d %s, want one of %v", what, r.status, shown, statuses)
	case !enveloped(service, r):
		c.t.Errorf("%s: %d without the envelope of %s: %s", what, r.status, service, shown)
	}
}

// handled checks an answer that may be either: a refusal, or something made.
func (c *cloud) handled(service, what string, r reply) (made bool) {
	c.t.Helper()
	if r.status >= 200 && r.status < 300 {
		return true
	}
	c.refused(service, what, r)
	return false
}

func (tg target) json(body m) string {
	var v any = body
	if tg.wrapper != "" {
		v = m{tg.wrapper: body}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// broken are bodies that no service may read as a request.
func (tg target) broken() map[string]string {
	good := tg.json(tg.body)
	deep := strings.Repeat("[", 100_000)
	out := map[string]string{
		"nothing": "", "half": good[:len(good)-1], "array": "[]", "null": "null", "string": `"x"`, "number": "5", "nul": "\x00",
		"deep array": deep, "deep object": strings.Repeat(`{"a":`, 100_000), "trailing": good + good, "xml": "<a/>",
		"deep field": `{"x":` + deep + strings.Repeat("]", 100_000) + `}`, "infinite": `{"x": Infinity}`, "unknown": `{"` + tg.wrapper + `x": {}}`,
		"invalid utf-8 key": "{\"\xff\xfe\": 1}",
	}
	if tg.wrapper != "" {
		out["other envelope"] = `{"hostile": ` + tg.json(tg.body) + `}`
		for _, v := range []string{"null", "[]", "5", `"x"`, "[[]]", "true"} {
			out["envelope of "+v] = `{"` + tg.wrapper + `": ` + v + `}`
		}
	}
	return out
}

func TestBrokenBodiesMakeNothing(t *testing.T) {
	c := start(t)
	for _, tg := range c.targets() {
		before := c.count(tg.list, tg.headers...)
		for what, body := range tg.broken() {
			name := tg.path + " with " + what
			r := c.do(c.token, "POST", tg.path, body, tg.headers...)
			c.refused(tg.service, name, r, 400, 413)
		}
		h := append(slices.Clone(tg.headers), "Content-Type", "text/plain")
		c.refused(tg.service, tg.path+" as text", c.do(c.token, "POST", tg.path, tg.json(tg.body), h...), 400, 415)
		big := tg.json(m{"name": strings.Repeat("x", 10<<20)})
		if r := c.do(c.token, "POST", tg.path, big, tg.headers...); r.status != 0 {
			c.refused(tg.service, tg.path+" with 10 MB", r, 400, 413)
		}
		if after := c.count(tg.list, tg.headers...); after != before {
			t.Errorf("%s: %d things were made", tg.path, after-before)
		}
	}
}

// values are what a field may hold that its author did not think of.
var values = map[string]string{
	"null": "null", "true": "true", "minus": "-1", "zero": "0", "huge": "99999999999999999999999", "max": "9223372036854775807", "exponent": "1e400", "fraction": "1.5",
	"empty": `""`, "long": `"` + strings.Repeat("x", 70_000) + `"`, "nul": `"a\u0000b"`, "controls": `"a\u0007\u001b[31m\u007fb"`, "newline": `"a\nb"`,
	"surrogate": `"\ud800"`, "bytes": "\"\xff\xfe\"", "overlong": `"` + strings.Repeat("é", 256) + `"`, "quote": `"'\"; --"`, "percent": `"%s%n%d"`, "path": `"../../etc/passwd"`,
	"list": "[]", "lists": "[[],[]]", "object": "{}", "objects": `[{},{"x":null}]`, "nested": `{"a":{"b":{"c":[1]}}}`, "emoji": `"😀"`, "foreign": `"` + nobody + `"`,
	"upper": `"` + strings.ToUpper(nobody) + `"`, "nulls": "[null]", "numbers": "[1,2]", "many": "[" + strings.Repeat(`"x",`, 3000) + `"x"]`,
}

// TestFieldsHoldAnything puts every odd value into every field. It may be
// refused or taken; it is never an internal error, and what was refused left
// nothing.
func TestFieldsHoldAnything(t *testing.T) {
	c := start(t)
	sent := 0
	for _, tg := range c.targets() {
		before, made := c.count(tg.list, tg.headers...), 0
		if r := c.do(c.token, "POST", tg.path, filled(tg.json(tg.body), sent), tg.headers...); !c.handled(tg.service, tg.path, r) {
			t.Errorf("%s: the right body is refused: %d %s", tg.path, r.status, r.body)
			continue
		}
		for _, field := range slices.Sorted(maps.Keys(tg.body)) {
			for what, value := range values {
				body := maps.Clone(tg.body)
				body[field] = "@@"
				raw := strings.Replace(tg.json(body), `"@@"`, value, 1)
				sent++
				r := c.do(c.token, "POST", tg.path, filled(raw, sent), tg.headers...)
				if c.handled(tg.service, fmt.Sprintf("%s with %s in %s", tg.path, what, field), r) {
					made++
				}
			}
		}
		sent++
		body := maps.Clone(tg.body)
		body["hostile_field"] = 1
		if tg.service != "identity" && tg.service != "image" { // which keep what they do not know
			c.refused(tg.service, tg.path+" with an unknown field", c.do(c.token, "POST", tg.path, filled(tg.json(body), sent), tg.headers...), 400)
		}
		after := c.count(tg.list, tg.headers...)
		if strings.HasPrefix(tg.list, "/network/") && strings.Contains(tg.path, "/security-group") {
			continue // the new group has rules, the new project a group
		}
		if after != before+made+1 && after < 1000 {
			t.Errorf("%s: %d answers said made, the list grew by %d", tg.path, made+1, after-before)
		}
	}
	t.Logf("%d requests", sent)
}

// badIDs stand in paths where an id should; all of them name nothing.
var badIDs = []string{
	nobody, "x", "%00", "%0a", "%ff%fe", "..%2f..%2fetc%2fpasswd", "%27%3b--", strings.Repeat("a", 5000), "%F0%9F%98%80", "-1", "99999999999999999999",
	strings.ToUpper(nobody), nobody + "%00", "null", "%7B%7D", "%25s",
}

// things are paths with an id at {}, and the methods that they have.
var things = []struct {
	service, path string
	methods       []string
	body          m
}{
	{"identity", "/identity/v3/users/{}", []string{"GET", "PATCH", "DELETE"}, m{"user": m{"description": "x"}}},
	{"identity", "/identity/v3/projects/{}", []string{"GET", "PATCH", "DELETE"}, m{"project": m{"description": "x"}}},
	{"identity", "/identity/v3/domains/{}", []string{"GET", "PATCH", "DELETE"}, m{"domain": m{"description": "x"}}},
	{"identity", "/identity/v3/roles/{}", []string{"GET", "DELETE"}, nil},
	{"identity", "/identity/v3/groups/{}/users", []string{"GET"}, nil},
	{"identity", "/identity/v3/projects/{}/users/{}/roles/{}", []string{"PUT", "HEAD", "DELETE"}, nil},
	{"identity", "/identity/v3/credentials/{}", []string{"GET", "DELETE"}, nil},
	{"image", "/image/v2/images/{}", []string{"GET", "DELETE"}, nil},
	{"image", "/image/v2/images/{}/file", []string{"GET"}, nil},
	{"image", "/image/v2/images/{}/members", []string{"GET"}, nil},
	{"image", "/image/v2/images/{}/tags/{}", []string{"PUT", "DELETE"}, nil},
	{"placement", "/placement/resource_providers/{}", []string{"GET", "DELETE"}, nil},
	{"placement", "/placement/resource_providers/{}/inventories", []string{"GET"}, nil},
	{"placement", "/placement/traits/{}", []string{"GET", "PUT"}, nil},
	{"placement", "/placement/resource_classes/{}", []string{"GET", "DELETE"}, nil},
	{"compute", "/compute/v2.1/servers/{}", []string{"GET", "PUT", "DELETE"}, m{"server": m{"name": "x"}}},
	{"compute", "/compute/v2.1/servers/{}/action", []string{"POST"}, m{"os-stop": nil}},
	{"compute", "/compute/v2.1/servers/{}/metadata/{}", []string{"GET", "DELETE"}, nil},
	{"compute", "/compute/v2.1/servers/{}/os-interface/{}", []string{"GET", "DELETE"}, nil},
	{"compute", "/compute/v2.1/servers/{}/tags/{}", []string{"PUT", "GET", "DELETE"}, nil},
	{"compute", "/compute/v2.1/flavors/{}", []string{"GET", "DELETE"}, nil},
	{"compute", "/compute/v2.1/flavors/{}/os-extra_specs/{}", []string{"GET", "DELETE"}, nil},
	{"compute", "/compute/v2.1/os-keypairs/{}", []string{"GET", "DELETE"}, nil},
	{"compute", "/compute/v2.1/os-aggregates/{}", []string{"GET", "DELETE"}, nil},
	{"compute", "/compute/v2.1/os-hypervisors/{}", []string{"GET"}, nil},
	{"compute", "/compute/v2.1/os-server-groups/{}", []string{"GET", "DELETE"}, nil},
	{"compute", "/compute/v2.1/os-services/{}", []string{"PUT", "DELETE"}, m{"status": "disabled"}},
	{"network", "/network/v2.0/networks/{}", []string{"GET", "PUT", "DELETE"}, m{"network": m{"name": "x"}}},
	{"network", "/network/v2.0/subnets/{}", []string{"GET", "PUT", "DELETE"}, m{"subnet": m{"name": "x"}}},
	{"network", "/network/v2.0/ports/{}", []string{"GET", "PUT", "DELETE"}, m{"port": m{"name": "x"}}},
	{"network", "/network/v2.0/routers/{}", []string{"GET", "PUT", "DELETE"}, m{"router": m{"name": "x"}}},
	{"network", "/network/v2.0/routers/{}/add_router_interface", []string{"PUT"}, m{"subnet_id": nobody}},
	{"network", "/network/v2.0/floatingips/{}", []string{"GET", "PUT", "DELETE"}, m{"floatingip": m{"port_id": nil}}},
	{"network", "/network/v2.0/security-groups/{}", []string{"GET", "PUT", "DELETE"}, m{"security_group": m{"name": "x"}}},
	{"network", "/network/v2.0/security-group-rules/{}", []string{"GET", "DELETE"}, nil},
	{"network", "/network/v2.0/networks/{}/tags/{}", []string{"PUT", "DELETE"}, nil},
	{"network", "/network/v2.0/agents/{}", []string{"GET", "DELETE"}, nil},
}

func TestIDsThatNameNothingAreRefused(t *testing.T) {
	c := start(t)
	for _, th := range things {
		for _, id := range badIDs {
			path := strings.ReplaceAll(th.path, "{}", id)
			for _, method := range th.methods {
				var body any
				if method == "PATCH" || method == "POST" || method == "PUT" && th.body != nil {
					body = th.body
				}
				r := c.do(c.token, method, path, body, append(nova(), "X-OpenStack-Nova-API-Version", "2.93")...)
				name := method + " " + path[:min(len(path), 120)]
				if method == "HEAD" && r.status >= 400 && r.status < 500 {
					continue
				}
				c.refused(th.service, name, r, 400, 403, 404)
			}
		}
	}
}

// queries are put behind every list; each must be an answer, never an error of
// the server.
var queries = []string{
	"limit=-1", "limit=0", "limit=x", "limit=99999999999999999999", "limit=", "limit=1.5", "marker=nope", "marker=%00", "marker=%ff", "name=%00", "name=%ff%fe",
	"name=" + strings.Repeat("a", 60_000), "sort_key=nope", "sort_key=id%3bdrop", "sort_dir=sideways", "sort_key=%00", "name__regex=(((((", "name=~x",
	"changes-since=yesterday", "changes-since=99999-01-01", "ip=%5B", "reservation_id=%00", "status=%27", "tags=" + strings.Repeat("a,", 5000), "fields=%00",
	strings.Repeat("a=b&", 10_000), strings.Repeat("name=x&", 5000), "%zz=1", "a;b", "is_public=perhaps", "all_tenants=perhaps", "visibility=none",
	"created_at=gt:x", "size_min=x", "resources=VCPU:x", "resources=VCPU:99999999999999999999", "required=!!!!", "member_of=in:", "in_tree=x", "uuid=%00",
	"name=in:%22", "network_id=%00", "fixed_ips=ip_address%3D%00", "fixed_ips=x%3Dy", "id=" + strings.Repeat("a,", 3000), "admin_state_up=7", "mtu=x",
}

func TestOddQueriesAreAnswered(t *testing.T) {
	c := start(t)
	lists := map[string]string{
		"/compute/v2.1/servers/detail": "compute", "/compute/v2.1/os-hypervisors": "compute", "/compute/v2.1/os-services": "compute",
		"/compute/v2.1/flavors/detail": "compute", "/placement/allocation_candidates": "placement", "/placement/usages": "placement", "/placement/traits": "placement",
		"/identity/v3/role_assignments": "identity", "/identity/v3/endpoints": "identity", "/network/v2.0/agents": "network", "/network/v2.0/quotas": "network",
	}
	for _, tg := range c.targets() {
		path, _, _ := strings.Cut(tg.list, "?")
		lists[path] = tg.service
	}
	for path, service := range lists {
		for _, q := range queries {
			headers := nova()
			if service == "placement" {
				headers = placement()
			}
			r := c.do(c.token, "GET", path+"?"+q, nil, headers...)
			c.handled(service, "GET "+path+"?"+q[:min(len(q), 60)], r)
		}
	}
}

func TestTokensThatAreNoneAreRefused(t *testing.T) {
	c := start(t)
	lists := map[string]string{"/identity/v3/users": "identity", "/image/v2/images": "image", "/placement/traits": "placement",
		"/compute/v2.1/servers": "compute", "/network/v2.0/networks": "network"}
	flip := []byte(c.token)
	flip[len(flip)/2] ^= 1
	revoked := c.login(c.admin)
	c.must(204, c.token, "DELETE", "/identity/v3/auth/tokens", nil, "X-Subject-Token", revoked)
	for what, token := range map[string]string{
		"none": "", "space": " ", "short": "x", "flipped": string(flip), "cut": c.token[:len(c.token)-1], "doubled": c.token + c.token, "longer": c.token + "A",
		"long": strings.Repeat("g", 5000), "sql": "' OR 1=1 --", "bytes": "\xff\xfe", "revoked": revoked,
		"another cloud's": "gAAAAABnYWJj" + strings.Repeat("Zm9v", 40),
	} {
		for path, service := range lists {
			c.refused(service, what+" at "+path, c.do(token, "GET", path, nil, placement()...), 401)
		}
	}
}

func TestMicroversionsOutOfRangeAreRefused(t *testing.T) {
	c := start(t)
	for _, v := range []string{"2.94", "2.0", "3.1", "1.1"} {
		c.refused("compute", v, c.do(c.token, "GET", "/compute/v2.1/servers", nil, "OpenStack-Api-Version", "compute "+v), 406)
	}
	for _, v := range []string{"x", "2", "2.x", "-2.1", "2.1.1", "2.99999999999999999999", "\xff", strings.Repeat("9", 5000)} {
		c.refused("compute", v, c.do(c.token, "GET", "/compute/v2.1/servers", nil, "OpenStack-Api-Version", "compute "+v), 400, 406)
	}
	for _, v := range []string{"1.40", "2.0"} {
		c.refused("placement", v, c.do(c.token, "GET", "/placement/traits", nil, "OpenStack-Api-Version", "placement "+v), 406)
	}
	c.refused("placement", "x", c.do(c.token, "GET", "/placement/traits", nil, "OpenStack-Api-Version", "placement x"), 400)
}
