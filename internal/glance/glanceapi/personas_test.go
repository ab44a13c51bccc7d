package glanceapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/authtoken/authtokentest"
	"github.com/hastack/hastack/internal/glance/glancetest"
	"github.com/hastack/hastack/internal/httpapi"
)

// TestSec31EveryRouteRefusesStrangers walks the route table, so that a new
// route is covered the day it is added.
func TestSec31EveryRouteRefusesStrangers(t *testing.T) {
	c := glancetest.New(t)
	id := c.Active("member", map[string]any{"visibility": "private", "tags": []string{"tag"}}, "secret data")
	public := c.Active("admin", map[string]any{"visibility": "public", "tags": []string{"tag"}}, "public data")
	reads := map[string]bool{"GET /v2/images/{image_id}": true, "GET /v2/images/{image_id}/file": true}
	for _, route := range c.API.Routes() {
		if route.Rule == httpapi.Public {
			continue
		}
		path := func(image string) string {
			return strings.NewReplacer("{image_id}", image, "{member_id}", authtokentest.DemoProject, "{tag}", "tag",
				"{task_id}", image, "{store_id}", "file", "{rest...}", "namespaces").Replace(route.Path)
		}
		key := route.Method + " " + route.Path
		if r := send(t, c, "", route.Method, path(id)); r.Status != 401 {
			t.Errorf("%s without token: %d", key, r.Status)
		}
		if r := send(t, c, "forged", route.Method, path(id)); r.Status != 401 {
			t.Errorf("%s with a forged token: %d", key, r.Status)
		}
		if !strings.Contains(route.Path, "/images/{image_id}") || route.Rule == httpapi.AnyToken {
			continue
		}
		if r := send(t, c, "other", route.Method, path(id)); r.Status != 404 {
			t.Errorf("%s as a stranger on a private image: %d %s", key, r.Status, r.Body)
		}
		if r := send(t, c, "other", route.Method, path(public)); r.Status < 400 && !reads[key] || r.Status >= 500 {
			t.Errorf("%s as a stranger on a public image: %d %s", key, r.Status, r.Body)
		}
		if r := send(t, c, "reader", route.Method, path(id)); r.Status < 400 && route.Method != http.MethodGet {
			t.Errorf("%s as a reader: %d %s", key, r.Status, r.Body)
		}
	}
	for _, image := range []string{id, public} {
		if got := c.Do("admin", "GET", "/v2/images/"+image, nil); got.Text("status") != "active" || !strings.Contains(string(got.Body), `"tags":["tag"]`) {
			t.Errorf("a stranger changed the image: %s", got.Body)
		}
	}
	if n, err := c.DB.NewSelect().Table("image_members").Count(context.Background()); n != 0 || err != nil {
		t.Errorf("%d members were added by strangers (%v)", n, err)
	}
}

// send makes a request that would be right if its sender were.
func send(t *testing.T, c *glancetest.Cloud, token, method, path string) glancetest.Reply {
	t.Helper()
	body, kind := "{}", "application/json"
	switch {
	case method == http.MethodPatch:
		body, kind = `[{"op":"replace","path":"/tags","value":[]}]`, "application/openstack-images-v2.1-json-patch"
	case strings.HasSuffix(path, "/file"), strings.HasSuffix(path, "/stage"):
		body, kind = "x", "application/octet-stream"
	case strings.HasSuffix(path, "/members"):
		body = `{"member":"x"}`
	case strings.Contains(path, "/members/"):
		body = `{"status":"accepted"}`
	}
	return c.Do(token, method, path, body, "Content-Type", kind)
}
