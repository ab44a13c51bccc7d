package glanceapi_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/authtoken/authtokentest"
	"github.com/hastack/hastack/internal/glance/glancetest"
)

func TestCreateFillsInDefaults(t *testing.T) {
	c := glancetest.New(t)
	r := c.Must(201, "member", "POST", "/v2/images", map[string]any{"name": "Ubuntu", "disk_format": "raw",
		"container_format": "bare", "id": "b2173dd3-7ad6-4362-baa6-a68bce3565cb", "os_type": "linux \"é\"\n", "tags": []string{"b", "a", "b"}})
	img := r.JSON()
	for key, want := range map[string]any{
		"id": "b2173dd3-7ad6-4362-baa6-a68bce3565cb", "status": "queued", "visibility": "shared", "owner": authtokentest.DemoProject,
		"protected": false, "os_hidden": false, "min_disk": 0.0, "size": nil, "checksum": nil, "os_type": "linux \"é\"\n",
		"self": "/v2/images/b2173dd3-7ad6-4362-baa6-a68bce3565cb", "schema": "/v2/schemas/image",
	} {
		if img[key] != want {
			t.Errorf("%s: got %v, want %v", key, img[key], want)
		}
	}
	if got := fmt.Sprint(img["tags"]); got != "[a b]" {
		t.Errorf("tags: %s", got)
	}
	if got := r.Header.Get("Location"); got != "http://cloud/image/v2/images/b2173dd3-7ad6-4362-baa6-a68bce3565cb" {
		t.Errorf("Location: %s", got)
	}
	if n, err := c.DB.NewSelect().Table("image_properties").Where("name = 'os_type'").Count(context.Background()); n != 1 || err != nil {
		t.Errorf("property rows: %d %v", n, err)
	}
	c.Must(409, "member", "POST", "/v2/images", map[string]any{"id": "b2173dd3-7ad6-4362-baa6-a68bce3565cb"})
}

func TestBadImagesAreRefused(t *testing.T) {
	c := glancetest.New(t)
	for body, want := range map[string]int{
		`{"id":"x"}`: 400, `{"id":1}`: 400, `{"name":1}`: 400, `{"name":"` + strings.Repeat("x", 256) + `"}`: 400,
		`{"disk_format":"zip"}`: 400, `{"container_format":"zip"}`: 400, `{"visibility":"secret"}`: 400,
		`{"min_disk":-1}`: 400, `{"min_ram":1.5}`: 400, `{"min_ram":"1"}`: 400, `{"min_disk":9999999999}`: 400,
		`{"protected":"FALSE"}`: 400, `{"protected":0}`: 400, `{"protected":null}`: 400, `{"os_hidden":"no"}`: 400,
		`{"tags":"a"}`: 400, `{"tags":[1]}`: 400, `{"tags":[""]}`: 400, `{"foo":1}`: 400, `{"foo":{}}`: 400, `{"":"x"}`: 400,
		`{"disk_format":"ami","container_format":"bare"}`: 400, `[]`: 400, `{`: 400, ``: 400,
		`{"status":"active"}`: 403, `{"size":1}`: 403, `{"checksum":"x"}`: 403, `{"self":"x"}`: 403, `{"locations":[]}`: 403,
		`{"deleted":true}`: 403, `{"owner":"other"}`: 403, `{"visibility":"public"}`: 403,
	} {
		if r := c.Do("member", "POST", "/v2/images", body); r.Status != want || r.Text("message") == "" || !strings.HasPrefix(r.Text("code"), fmt.Sprint(want)) {
			t.Errorf("%.60s: got %d %s, want %d", body, r.Status, r.Body, want)
		}
	}
	many := map[string]any{}
	for i := range 129 {
		many[fmt.Sprint("p", i)] = "x"
	}
	c.Must(413, "member", "POST", "/v2/images", many)
	c.Must(413, "member", "POST", "/v2/images", `{"x":"`+strings.Repeat("y", 1<<20)+`"}`)
	c.Must(415, "member", "POST", "/v2/images", `{}`, "Content-Type", "text/plain")
	c.Must(403, "reader", "POST", "/v2/images", `{}`)
	c.Must(401, "nobody", "POST", "/v2/images", `{}`)
	if n, err := c.DB.NewSelect().Table("images").Count(context.Background()); n != 0 || err != nil {
		t.Errorf("%d images came of refused requests (%v)", n, err)
	}
}

func TestPatchChangesOnlyWhatMayChange(t *testing.T) {
	c := glancetest.New(t)
	id := c.Active("member", map[string]any{"old": "1"}, "data")
	patch := func(token, body, form string, want int) glancetest.Reply {
		t.Helper()
		return c.Must(want, token, "PATCH", "/v2/images/"+id, body, "Content-Type", form)
	}
	const v21, v20 = "application/openstack-images-v2.1-json-patch", "application/openstack-images-v2.0-json-patch"
	r := patch("member", `[{"op":"replace","path":"/name","value":"Fedora"},{"op":"add","path":"/os~1x","value":"y"},{"op":"remove","path":"/old"},{"op":"replace","path":"/tags","value":["b","a"]}]`, v21, 200)
	if img := r.JSON(); img["name"] != "Fedora" || img["os/x"] != "y" || img["old"] != nil || fmt.Sprint(img["tags"]) != "[a b]" {
		t.Errorf("patched: %s", r.Body)
	}
	if r := patch("member", `[{"replace":"/name","value":"Old form"}]`, v20, 200); r.Text("name") != "Old form" {
		t.Errorf("2.0 form: %s", r.Body)
	}
	for body, want := range map[string]int{
		`{"name":"x"}`: 400, `[{"op":"move","path":"/name","from":"/x"}]`: 400, `[{"op":"replace","path":"name","value":"x"}]`: 400,
		`[{"op":"replace","path":"/name"}]`: 400, `[{"op":"replace","path":"/a/b","value":"x"}]`: 400, `[{"op":"add","path":"/a~2","value":"x"}]`: 400,
		`[{"op":"replace","path":"/nothing","value":"x"}]`: 409, `[{"op":"remove","path":"/nothing"}]`: 409, `[{"op":"remove","path":"/name"}]`: 403,
		`[{"op":"replace","path":"/disk_format","value":"qcow2"}]`: 403, `[{"op":"replace","path":"/owner","value":"x"}]`: 403,
		`[{"op":"replace","path":"/visibility","value":"public"}]`: 403, `[{"op":"add","path":"/name","value":7}]`: 400,
		`[{"op":"add","path":"/x","value":"1"},{"op":"add","path":"/y","value":2}]`: 400,
	} {
		patch("member", body, v21, want)
	}
	patch("member", `[]`, "application/json", 415)
	patch("other", `[]`, v21, 404)
	patch("reader", `[]`, v21, 403)
	img := c.Must(200, "member", "GET", "/v2/images/"+id, nil).JSON()
	if img["x"] != nil || img["name"] != "Old form" || img["visibility"] != "shared" {
		t.Errorf("refused patches left traces: %v", img)
	}
	if r := patch("admin", `[{"op":"replace","path":"/visibility","value":"public"},{"op":"replace","path":"/owner","value":"`+authtokentest.AdminProject+`"}]`, v21, 200); r.Text("visibility") != "public" {
		t.Errorf("admin: %s", r.Body)
	}
	patch("member", `[]`, v21, 403)
}

func TestSec17StatusAndDataAreImmutable(t *testing.T) {
	c := glancetest.New(t)
	id := c.Active("member", nil, "first")
	for _, name := range []string{"status", "checksum", "os_hash_value", "size", "virtual_size", "id", "created_at", "file", "direct_url"} {
		if r := c.Patch("member", id, name, "x"); r.Status != 403 {
			t.Errorf("set %s: %d %s", name, r.Status, r.Body)
		}
	}
	if r := c.Do("member", "GET", "/v2/images/"+id, nil, "X-Image-Meta-Status", "queued"); r.Text("status") != "active" {
		t.Errorf("status by header: %s", r.Body)
	}
	if r := c.Put("member", id, "second"); r.Status != 409 {
		t.Errorf("second upload: %d %s", r.Status, r.Body)
	}
	if r := c.Do("member", "PUT", "/v2/images/"+id+"/stage", "second", "Content-Type", "application/octet-stream"); r.Status != 409 {
		t.Errorf("stage over active: %d %s", r.Status, r.Body)
	}
	if r := c.Do("member", "GET", "/v2/images/"+id+"/file", nil); string(r.Body) != "first" {
		t.Errorf("data is %q", r.Body)
	}
}

func TestSec18LocationsCannotBeSet(t *testing.T) {
	c := glancetest.New(t)
	id := c.Create("member", nil)
	for _, url := range []string{"file:///etc/passwd", "filesystem:///etc/passwd", "http://127.0.0.1/"} {
		loc := []map[string]any{{"url": url, "metadata": map[string]any{}}}
		for _, token := range []string{"member", "admin"} {
			if r := c.Patch(token, id, "locations", loc); r.Status != 403 {
				t.Errorf("%s by patch as %s: %d", url, token, r.Status)
			}
			if r := c.Patch(token, id, "locations/-", loc[0]); r.Status != 403 {
				t.Errorf("%s by append as %s: %d", url, token, r.Status)
			}
			if r := c.Do(token, "POST", "/v2/images", map[string]any{"locations": loc}); r.Status != 403 {
				t.Errorf("%s by create as %s: %d", url, token, r.Status)
			}
			if r := c.Do(token, "POST", "/v2/images/"+id+"/locations", loc[0]); r.Status != 501 {
				t.Errorf("%s by location API as %s: %d", url, token, r.Status)
			}
		}
	}
	if got := c.Status("member", id); got != "queued" {
		t.Errorf("status %s", got)
	}
}

func TestVisibilityDecidesWhoSees(t *testing.T) {
	c := glancetest.New(t)
	ids := map[string]string{}
	for _, v := range []string{"private", "shared", "community", "public"} {
		ids[v] = c.Create("admin", map[string]any{"visibility": v, "name": v})
	}
	for v, want := range map[string]int{"private": 404, "shared": 404, "community": 200, "public": 200} {
		if r := c.Do("member", "GET", "/v2/images/"+ids[v], nil); r.Status != want {
			t.Errorf("show %s: %d, want %d", v, r.Status, want)
		}
		want2 := map[int]int{404: 404, 200: 403}[want]
		if r := c.Do("member", "DELETE", "/v2/images/"+ids[v], nil); r.Status != want2 {
			t.Errorf("delete %s: %d, want %d", v, r.Status, want2)
		}
	}
	if got := names(c, "member", ""); got != "public" {
		t.Errorf("default list: %s", got)
	}
	if got := names(c, "member", "?visibility=all"); got != "community public" {
		t.Errorf("all: %s", got)
	}
	if got := names(c, "member", "?visibility=community"); got != "community" {
		t.Errorf("community: %s", got)
	}
	if got := names(c, "admin", ""); got != "community private public shared" {
		t.Errorf("admin: %s", got)
	}
}

// names lists the names of images in alphabetical order.
func names(c *glancetest.Cloud, token, query string) string {
	var out []string
	list, _ := c.Do(token, "GET", "/v2/images"+query, nil).JSON()["images"].([]any)
	for _, i := range list {
		out = append(out, fmt.Sprint(i.(map[string]any)["name"]))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestMembersTakeOrRefuse(t *testing.T) {
	c := glancetest.New(t)
	id := c.Active("member", map[string]any{"name": "gift"}, "data")
	path := "/v2/images/" + id + "/members"
	c.Must(404, "other", "GET", "/v2/images/"+id, nil)
	m := c.Must(200, "member", "POST", path, map[string]string{"member": authtokentest.OtherProject})
	if m.Text("status") != "pending" || m.Text("member_id") != authtokentest.OtherProject {
		t.Errorf("new member: %s", m.Body)
	}
	c.Must(409, "member", "POST", path, map[string]string{"member": authtokentest.OtherProject})
	c.Must(400, "member", "POST", path, map[string]string{"member": ""})
	c.Must(200, "other", "GET", "/v2/images/"+id, nil)
	if got := names(c, "other", ""); got != "" {
		t.Errorf("pending is listed: %s", got)
	}
	if got := names(c, "other", "?visibility=shared&member_status=pending"); got != "gift" {
		t.Errorf("pending is not found: %q", got)
	}
	one := path + "/" + authtokentest.OtherProject
	c.Must(403, "member", "PUT", one, map[string]string{"status": "accepted"})
	c.Must(400, "other", "PUT", one, map[string]string{"status": "maybe"})
	c.Must(200, "other", "PUT", one, map[string]string{"status": "accepted", "member": authtokentest.OtherProject})
	if got := names(c, "other", ""); got != "gift" {
		t.Errorf("accepted is not listed: %q", got)
	}
	if r := c.Must(200, "other", "GET", "/v2/images/"+id+"/file", nil); string(r.Body) != "data" {
		t.Errorf("member reads %q", r.Body)
	}
	c.Must(403, "other", "POST", path, map[string]string{"member": "third"})
	c.Must(403, "other", "DELETE", "/v2/images/"+id, nil)
	c.Must(200, "member", "POST", path, map[string]string{"member": "third"})
	if list := c.Must(200, "other", "GET", path, nil).JSON()["members"].([]any); len(list) != 1 {
		t.Errorf("member sees %d members", len(list))
	}
	c.Must(404, "other", "GET", path+"/third", nil)
	c.Must(403, "other", "DELETE", one, nil)
	c.Must(204, "member", "DELETE", one, nil)
	c.Must(404, "other", "GET", "/v2/images/"+id, nil)
	private := c.Create("member", map[string]any{"visibility": "private"})
	c.Must(403, "member", "POST", "/v2/images/"+private+"/members", map[string]string{"member": "x"})
}

func TestDeleteKeepsTheIDForEver(t *testing.T) {
	c := glancetest.New(t)
	id := c.Active("member", map[string]any{"protected": true, "tags": []string{"t"}}, "data")
	c.Must(403, "member", "DELETE", "/v2/images/"+id, nil)
	c.Patch("member", id, "protected", false)
	c.Must(404, "other", "DELETE", "/v2/images/"+id, nil)
	c.Must(204, "member", "DELETE", "/v2/images/"+id, nil)
	c.Must(404, "member", "GET", "/v2/images/"+id, nil)
	c.Must(404, "member", "DELETE", "/v2/images/"+id, nil)
	c.Must(409, "member", "POST", "/v2/images", map[string]any{"id": id})
	for _, table := range []string{"images", "image_tags", "image_properties", "image_members"} {
		if n, err := c.DB.NewSelect().Table(table).Count(context.Background()); n != 0 || err != nil {
			t.Errorf("%s: %d rows left, %v", table, n, err)
		}
	}
	if files := dataFiles(t, c.Dir); len(files) != 0 {
		t.Errorf("files left: %v", files)
	}
}

func TestTags(t *testing.T) {
	c := glancetest.New(t)
	id := c.Create("member", nil)
	for range 2 {
		c.Must(204, "member", "PUT", "/v2/images/"+id+"/tags/web", nil)
	}
	c.Must(403, "reader", "PUT", "/v2/images/"+id+"/tags/web", nil)
	c.Must(404, "other", "PUT", "/v2/images/"+id+"/tags/web", nil)
	if got := names(c, "member", "?tag=web"); got != "test" {
		t.Errorf("by tag: %q", got)
	}
	if got := names(c, "member", "?tag=web&tag=db"); got != "" {
		t.Errorf("by two tags: %q", got)
	}
	c.Must(204, "member", "DELETE", "/v2/images/"+id+"/tags/web", nil)
	c.Must(404, "member", "DELETE", "/v2/images/"+id+"/tags/web", nil)
	c.Must(400, "member", "PUT", "/v2/images/"+id+"/tags/"+strings.Repeat("x", 256), nil)
}

func TestDeactivatedDataIsForAdminsOnly(t *testing.T) {
	c := glancetest.New(t)
	id := c.Active("member", nil, "data")
	queued := c.Create("member", nil)
	c.Must(403, "member", "POST", "/v2/images/"+queued+"/actions/deactivate", nil)
	c.Must(204, "member", "POST", "/v2/images/"+id+"/actions/deactivate", nil)
	c.Must(204, "member", "POST", "/v2/images/"+id+"/actions/deactivate", nil)
	if got := c.Status("member", id); got != "deactivated" {
		t.Errorf("status %s", got)
	}
	c.Must(403, "member", "GET", "/v2/images/"+id+"/file", nil)
	c.Must(200, "admin", "GET", "/v2/images/"+id+"/file", nil)
	c.Must(204, "member", "POST", "/v2/images/"+id+"/actions/reactivate", nil)
	c.Must(200, "member", "GET", "/v2/images/"+id+"/file", nil)
}

func TestDocumentsWithoutTokenAndTheRest(t *testing.T) {
	c := glancetest.New(t)
	for path, want := range map[string]int{"/": 300, "/v2": 300, "/v2/": 300, "/versions": 200} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", c.URL+path, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	c.Must(200, "reader", "GET", "/v2/info/import", nil)
	c.Must(200, "reader", "GET", "/v2/info/stores", nil)
	c.Must(403, "member", "GET", "/v2/info/stores/detail", nil)
	c.Must(200, "member", "GET", "/v2/info/usage", nil)
	c.Must(501, "member", "GET", "/v2/metadefs/namespaces", nil)
	c.Must(501, "member", "GET", "/v2/tasks", nil)
	c.Must(404, "member", "GET", "/v2/images/not-a-uuid", nil)
	c.Must(405, "member", "PUT", "/v2/images", nil)
	for _, s := range []string{"image", "images", "member", "members"} {
		c.Must(200, "reader", "GET", "/v2/schemas/"+s, nil)
	}
}
