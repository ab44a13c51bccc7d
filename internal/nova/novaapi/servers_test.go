package novaapi_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/nova/novatest"
)

func TestBadServerRequestsAreRefusedAndLeaveNothing(t *testing.T) {
	c := novatest.New(t)
	flavor := c.Flavor("small")
	inactive := c.Neighbours.AddImage(M{"status": "queued"})
	large := c.Neighbours.AddImage(M{"min_disk": 100})
	good := func() M {
		return M{"name": "vm", "imageRef": c.Image, "flavorRef": flavor, "networks": "none"}
	}
	cases := []struct {
		name   string
		minor  int
		change func(M)
		status int
	}{
		{"empty name", 93, func(m M) { m["name"] = "" }, 400},
		{"long name", 93, func(m M) { m["name"] = strings.Repeat("x", 256) }, 400},
		{"spaces around name", 93, func(m M) { m["name"] = " vm " }, 400},
		{"control character in name", 93, func(m M) { m["name"] = "a\x00b" }, 400},
		{"name is a number", 93, func(m M) { m["name"] = 7 }, 400},
		{"no name", 93, func(m M) { delete(m, "name") }, 400},
		{"no flavor", 93, func(m M) { delete(m, "flavorRef") }, 400},
		{"unknown flavor", 93, func(m M) { m["flavorRef"] = "nope" }, 400},
		{"image is no uuid", 93, func(m M) { m["imageRef"] = "../../etc" }, 400},
		{"unknown image", 93, func(m M) { m["imageRef"] = "00000000-0000-4000-8000-000000000000" }, 400},
		{"image not active", 93, func(m M) { m["imageRef"] = inactive }, 400},
		{"image too large", 93, func(m M) { m["imageRef"] = large }, 400},
		{"unknown field", 93, func(m M) { m["nope"] = 1 }, 400},
		{"user data not base64", 93, func(m M) { m["user_data"] = "%%%" }, 400},
		{"user data too long", 93, func(m M) { m["user_data"] = base64.StdEncoding.EncodeToString(make([]byte, 50000)) }, 400},
		{"personality after 2.56", 93, func(m M) { m["personality"] = []M{} }, 400},
		{"tags before 2.52", 51, func(m M) { m["tags"] = []string{"a"} }, 400},
		{"tag with a slash", 93, func(m M) { m["tags"] = []string{"a/b"} }, 400},
		{"51 tags", 93, func(m M) { m["tags"] = make([]string, 51) }, 400},
		{"hostname before 2.90", 89, func(m M) { m["hostname"] = "h" }, 400},
		{"bad hostname", 93, func(m M) { m["hostname"] = "-bad-" }, 400},
		{"networks missing", 93, func(m M) { delete(m, "networks") }, 400},
		{"networks word", 93, func(m M) { m["networks"] = "some" }, 400},
		{"networks empty", 93, func(m M) { m["networks"] = []M{} }, 400},
		{"unknown network", 93, func(m M) { m["networks"] = []M{{"uuid": "00000000-0000-4000-8000-000000000000"}} }, 400},
		{"unknown port", 93, func(m M) { m["networks"] = []M{{"port": "00000000-0000-4000-8000-000000000000"}} }, 400},
		{"bad fixed ip", 93, func(m M) { m["networks"] = []M{{"uuid": c.Network, "fixed_ip": "1.2.3"}} }, 400},
		{"metadata value is an object", 93, func(m M) { m["metadata"] = M{"a": M{}} }, 400},
		{"metadata key", 93, func(m M) { m["metadata"] = M{"a/b": "c"} }, 400},
		{"129 metadata items", 93, func(m M) {
			meta := M{}
			for i := range 129 {
				meta[fmt.Sprint(i)] = "x"
			}
			m["metadata"] = meta
		}, 403},
		{"min over max", 93, func(m M) { m["min_count"], m["max_count"] = 3, 2 }, 400},
		{"count zero", 93, func(m M) { m["min_count"] = -1 }, 400},
		{"count huge", 93, func(m M) { m["max_count"] = 100000 }, 400},
		{"config drive is a word", 93, func(m M) { m["config_drive"] = "FALSEHOOD" }, 400},
		{"access address", 93, func(m M) { m["accessIPv4"] = "::1" }, 400},
		{"foreign host", 93, func(m M) { m["availability_zone"] = "nova:host1" }, 403},
		{"unknown zone", 93, func(m M) { m["availability_zone"] = "mars" }, 400},
		{"unknown key", 93, func(m M) { m["key_name"] = "nope" }, 400},
		{"disk config", 93, func(m M) { m["OS-DCF:diskConfig"] = "MAYBE" }, 400},
		{"volume", 93, func(m M) {
			m["block_device_mapping_v2"] = []M{{"source_type": "volume", "destination_type": "volume", "uuid": c.Image}}
		}, 501},
		{"over the quota", 93, func(m M) { m["max_count"] = 11; m["min_count"] = 11 }, 403},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			body := good()
			k.change(body)
			r := c.Do(k.minor, "member", "POST", "/servers", M{"server": body})
			if r.Status != k.status || r.Get(map[int]string{400: "badRequest", 403: "forbidden", 501: "notImplemented"}[k.status], "message") == nil {
				t.Errorf("%d %s, want %d", r.Status, r.Body, k.status)
			}
		})
	}
	for _, body := range []string{"", "[]", "{", `{"server": null}`, `{"server": []}`, `{"server": {}} x`, "null", `"server"`} {
		if r := c.Do(93, "member", "POST", "/servers", body); r.Status != 400 {
			t.Errorf("body %q: %d %s", body, r.Status, r.Body)
		}
	}
	if r := c.Do(93, "member", "POST", "/servers", strings.Repeat(" ", 10<<20)+"{}"); r.Status != 413 {
		t.Errorf("10 MB body: %d", r.Status)
	}
	if r := c.Do(93, "member", "POST", "/servers", "x", "Content-Type", "text/plain"); r.Status != 415 {
		t.Errorf("text: %d", r.Status)
	}
	list, err := c.Nova.Servers(context.Background(), &nova.ServerFilter{WithDeleted: true, Limit: 10})
	if err != nil || len(list) != 0 {
		t.Errorf("refused requests left servers: %v %v", list, err)
	}
	if q, err := c.Nova.Quotas(context.Background(), "d0000000000000000000000000000001", ""); err != nil || q.InUse[nova.ResourceInstances] != 0 {
		t.Errorf("refused requests used quota: %+v %v", q, err)
	}
}

func TestServersOfOthersDoNotExist(t *testing.T) {
	c := novatest.New(t)
	id := c.Boot(c.Flavor("small"), nil)
	for _, k := range []struct{ method, path string }{
		{"GET", ""}, {"PUT", ""}, {"DELETE", ""}, {"POST", "/action"}, {"GET", "/metadata"}, {"PUT", "/metadata"}, {"POST", "/metadata"},
		{"GET", "/metadata/a"}, {"DELETE", "/metadata/a"}, {"GET", "/tags"}, {"PUT", "/tags"}, {"DELETE", "/tags"}, {"PUT", "/tags/a"}, {"DELETE", "/tags/a"},
		{"GET", "/ips"}, {"GET", "/os-interface"}, {"POST", "/os-interface"}, {"DELETE", "/os-interface/" + id}, {"GET", "/os-instance-actions"},
		{"GET", "/hastack-trace"}, {"POST", "/remote-consoles"}, {"GET", "/os-security-groups"}, {"GET", "/os-volume_attachments"},
		{"POST", "/os-volume_attachments"}, {"GET", "/diagnostics"}, {"GET", "/topology"}, {"GET", "/os-server-password"},
	} {
		body := any(M{"os-stop": nil})
		if k.method == "GET" || k.method == "DELETE" {
			body = nil
		}
		if r := c.Do(93, "other", k.method, "/servers/"+id+k.path, body); r.Status != 404 {
			t.Errorf("%s %s as a stranger: %d %s", k.method, k.path, r.Status, r.Body)
		}
		if r := c.Do(93, "", k.method, "/servers/"+id+k.path, body); r.Status != 401 {
			t.Errorf("%s %s without a token: %d", k.method, k.path, r.Status)
		}
		if k.method != "GET" {
			if r := c.Do(93, "reader", k.method, "/servers/"+id+k.path, body); r.Status != 403 {
				t.Errorf("%s %s as a reader: %d %s", k.method, k.path, r.Status, r.Body)
			}
		}
	}
	if n := len(c.Must(200, 93, "other", "GET", "/servers", nil).List("servers")); n != 0 {
		t.Errorf("a stranger lists %d servers", n)
	}
	c.Must(403, 93, "other", "GET", "/servers?all_tenants=1", nil)
	c.Must(400, 93, "other", "GET", "/servers?marker="+id, nil)
	for _, p := range []string{"/servers/nope", "/servers/" + strings.Repeat("a", 300), "/servers/..%2f..%2fetc", "/nothing"} {
		if r := c.Do(93, "member", "GET", p, nil); r.Status != 404 {
			t.Errorf("GET %s: %d", p, r.Status)
		}
	}
	c.Wait(id, "ACTIVE")
}

func TestListFiltersAndPages(t *testing.T) {
	c := novatest.New(t)
	flavor := c.Flavor("small")
	var ids []string
	for i := range 5 {
		ids = append(ids, c.Boot(flavor, M{"name": fmt.Sprintf("web-%d", i), "tags": []string{"all", fmt.Sprintf("t%d", i)}}))
	}
	c.Act(ids[4], "os-stop", nil)
	c.Wait(ids[4], "SHUTOFF")
	c.Act(ids[3], "lock", M{"locked_reason": "mine"})
	ip := c.Must(200, 93, "member", "GET", "/servers/"+ids[0], nil).Get("server", "addresses", "private").([]any)[0].(M)["addr"].(string)
	for query, want := range map[string]int{
		"": 5, "name=web": 5, "name=^web-[01]$": 2, "name=WEB-3": 1, "name=nope": 0, "status=ACTIVE": 4, "status=shutoff": 1, "status=ERROR": 0,
		"status=nonsense": 0, "status=ACTIVE&status=SHUTOFF": 5, "flavor=" + flavor: 5, "flavor=other": 0, "image=" + c.Image: 5, "tags=t1": 1, "tags=all,t1": 1, "tags-any=t1,t2": 2,
		"not-tags=t1": 4, "not-tags-any=t1,t2": 3, "locked=true": 1, "locked=false": 4, "ip=^" + strings.ReplaceAll(ip, ".", `\.`) + "$": 1,
		"changes-since=2099-01-01T00:00:00Z": 0, "changes-since=2000-01-01T00:00:00Z": 5, "changes-before=2000-01-01T00:00:00Z": 0,
		"host=host1": 5, "availability_zone=nova": 5, "limit=2": 2, "sort_key=display_name&sort_dir=asc": 5,
	} {
		r := c.Must(200, 93, "member", "GET", "/servers/detail?"+query, nil)
		if got := len(r.List("servers")); got != want {
			t.Errorf("%q lists %d, want %d", query, got, want)
		}
	}
	if n := len(c.Must(200, 93, "admin", "GET", "/servers?all_tenants=1&host=host2", nil).List("servers")); n != 0 {
		t.Errorf("an administrator's filter by host lists %d", n)
	}
	var walked []string
	for path := "/servers?limit=2&sort_key=display_name&sort_dir=asc"; path != ""; {
		r := c.Must(200, 93, "member", "GET", path, nil)
		for _, s := range r.List("servers") {
			walked = append(walked, s["name"].(string))
		}
		path = ""
		if links := r.List("servers_links"); len(links) > 0 {
			path = strings.TrimPrefix(links[0]["href"].(string), "http://cloud/compute/v2.1")
		}
	}
	if got := strings.Join(walked, " "); got != "web-0 web-1 web-2 web-3 web-4" {
		t.Errorf("pages give %s", got)
	}
	for _, bad := range []string{"limit=-1", "limit=x", "marker=nope", "sort_key=nope", "name=(", "changes-since=yesterday", "all_tenants=maybe", "locked=perhaps"} {
		if r := c.Do(93, "member", "GET", "/servers?"+bad, nil); r.Status != 400 {
			t.Errorf("%q: %d %s", bad, r.Status, r.Body)
		}
	}
}

func TestIdempotencyKeyMakesOneServer(t *testing.T) {
	c := novatest.New(t)
	body := M{"server": M{"name": "vm", "imageRef": c.Image, "flavorRef": c.Flavor("small"), "networks": "none"}}
	first := c.Must(202, 93, "member", "POST", "/servers", body, "Idempotency-Key", "k")
	again := c.Must(202, 93, "member", "POST", "/servers", body, "Idempotency-Key", "k")
	if first.Text("server", "id") != again.Text("server", "id") {
		t.Errorf("two servers: %s %s", first.Body, again.Body)
	}
	body["server"].(M)["name"] = "another"
	c.Must(400, 93, "member", "POST", "/servers", body, "Idempotency-Key", "k")
	list, err := c.Nova.Servers(context.Background(), &nova.ServerFilter{Limit: 10})
	if err != nil || len(list) != 1 {
		t.Errorf("%d servers, %v", len(list), err)
	}
}

func TestIdempotencyKeyMakesOneAction(t *testing.T) {
	c := novatest.New(t)
	id := c.Boot(c.Flavor("small"), nil)
	stop := func() int {
		return c.Do(93, "member", "POST", "/servers/"+id+"/action", M{"os-stop": nil}, "Idempotency-Key", "k").Status
	}
	if got := stop(); got != 202 {
		t.Fatalf("stop: %d", got)
	}
	c.Wait(id, "SHUTOFF")
	if got := stop(); got != 202 {
		t.Errorf("the same stop again: %d, want the first one's 202", got)
	}
	shot := func() string {
		return c.Must(202, 93, "member", "POST", "/servers/"+id+"/action", M{"createImage": M{"name": "s"}}, "Idempotency-Key", "shot").Text("image_id")
	}
	if first := shot(); first == "" || shot() != first {
		t.Error("a repeated snapshot made another image")
	}
}

func TestMultiCreateNamesItsServersAndCountsThem(t *testing.T) {
	c := novatest.New(t)
	r := c.Must(202, 93, "member", "POST", "/servers", M{"server": M{"name": "vm", "imageRef": c.Image, "flavorRef": c.Flavor("small"), "networks": "none",
		"min_count": 3, "max_count": 3, "return_reservation_id": true}})
	res := r.Text("reservation_id")
	list := c.Must(200, 93, "member", "GET", "/servers/detail?reservation_id="+res+"&sort_key=launch_index&sort_dir=asc", nil).List("servers")
	if len(list) != 3 || list[0]["name"] != "vm-1" || list[2]["name"] != "vm-3" {
		t.Fatalf("servers %v", list)
	}
	used := c.Must(200, 93, "member", "GET", "/limits", nil).Get("limits", "absolute", "totalInstancesUsed")
	if used != 3.0 {
		t.Errorf("%v instances used", used)
	}
}

func TestMicroversionsAreNegotiated(t *testing.T) {
	c := novatest.New(t)
	c.Must(406, 94, "member", "GET", "/servers", nil)
	r := c.Must(200, 93, "member", "GET", "/servers", nil)
	if r.Header.Get("OpenStack-API-Version") != "compute 2.93" || !strings.Contains(strings.Join(r.Header.Values("Vary"), ","), "OpenStack-API-Version") {
		t.Errorf("headers %v", r.Header)
	}
	req, err := http.NewRequestWithContext(context.Background(), "GET", c.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("GET / without a token: %v %v", resp, err)
	}
	resp.Body.Close()
}

func TestPortInUseAndLockAreConflicts(t *testing.T) {
	c := novatest.New(t)
	flavor := c.Flavor("small")
	port := c.Neighbours.AddPort(c.Network, "d0000000000000000000000000000001")
	id := c.Boot(flavor, M{"networks": []M{{"port": port}}})
	r := c.Do(93, "member", "POST", "/servers", M{"server": M{"name": "b", "imageRef": c.Image, "flavorRef": flavor, "networks": []M{{"port": port}}}})
	if r.Status != 409 {
		t.Errorf("a port twice: %d %s", r.Status, r.Body)
	}
	c.Act(id, "lock", nil)
	for _, k := range []struct {
		persona string
		status  int
	}{{"member", 409}, {"admin", 202}} {
		if r := c.Do(93, k.persona, "POST", "/servers/"+id+"/action", M{"os-stop": nil}); r.Status != k.status {
			t.Errorf("stop of a locked server as %s: %d", k.persona, r.Status)
		}
	}
	c.Wait(id, "SHUTOFF")
	c.Act(id, "unlock", nil)
	c.Must(204, 93, "member", "DELETE", "/servers/"+id, nil)
	c.Wait(id, "DELETED")
	if ports := c.Neighbours.Ports(""); len(ports) != 1 || ports[0] != port {
		t.Errorf("the user's port did not survive its server: %v", ports)
	}
}
