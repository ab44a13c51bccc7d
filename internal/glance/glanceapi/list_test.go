package glanceapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/glance/glancetest"
)

// pages walks a list by its next links and returns the names in order.
func pages(t *testing.T, c *glancetest.Cloud, token, query string) []string {
	t.Helper()
	var out []string
	path := "/v2/images?" + query
	for range 50 {
		r := c.Must(200, token, "GET", path, nil).JSON()
		for _, i := range r["images"].([]any) {
			name, _ := i.(map[string]any)["name"].(string)
			out = append(out, name)
		}
		next, ok := r["next"].(string)
		if !ok {
			return out
		}
		path = next
	}
	t.Fatal("the list does not end")
	return nil
}

func TestPagingNeitherSkipsNorRepeats(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := glancetest.New(t, glancetest.WithClock(clk))
	for i := range 11 {
		attrs := map[string]any{"name": fmt.Sprint("n", i%4), "min_disk": i % 3}
		if i%5 == 0 {
			attrs["name"] = nil
		}
		token := "member"
		if i%2 == 0 {
			token = "admin"
			attrs["visibility"] = "public"
		}
		if i%3 == 0 { // others share a time
			clk.Advance(time.Second)
		}
		c.Create(token, attrs)
	}
	for _, sort := range []string{"", "sort=name:asc", "sort=name:desc,min_disk:asc", "sort_key=size&sort_dir=asc", "sort_key=min_disk", "sort=updated_at:asc", "sort_key=id&sort_dir=asc", "sort=protected:asc"} {
		for _, token := range []string{"member", "admin"} {
			whole := pages(t, c, token, sort+"&limit=1000")
			if len(whole) != 11 {
				t.Fatalf("%s as %s: %d images", sort, token, len(whole))
			}
			for _, limit := range []int{1, 2, 3, 10, 11} {
				got := pages(t, c, token, fmt.Sprint(sort, "&limit=", limit))
				if strings.Join(got, ",") != strings.Join(whole, ",") {
					t.Errorf("%s limit %d as %s: %v, want %v", sort, limit, token, got, whole)
				}
			}
		}
	}
	c.Must(400, "member", "GET", "/v2/images?marker=7b58ab4e-2db5-4b6f-a05b-3a0aa4a5f6f0", nil)
	c.Must(400, "member", "GET", "/v2/images?sort_key=location", nil)
	c.Must(400, "member", "GET", "/v2/images?sort=name:up", nil)
	c.Must(400, "member", "GET", "/v2/images?limit=-1", nil)
	if r := c.Must(200, "member", "GET", "/v2/images?limit=0", nil).JSON(); len(r["images"].([]any)) != 0 || r["next"] != nil {
		t.Errorf("limit 0: %v", r)
	}
}

func TestFilters(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := glancetest.New(t, glancetest.WithClock(clk))
	c.Active("member", map[string]any{"name": "a", "os_distro": "debian", "tags": []string{"x", "y"}}, "12345")
	clk.Advance(time.Hour)
	c.Create("member", map[string]any{"name": "b,c", "disk_format": "qcow2", "protected": true, "min_ram": 64})
	c.Create("member", map[string]any{"name": "d", "os_hidden": true, "os_distro": "debian"})
	c.Create("member", map[string]any{"name": "e", "visibility": "private", "container_format": "ovf"})
	for query, want := range map[string]string{
		"":                                   "a b,c e",
		"name=a":                             "a",
		"name=eq:a":                          "a",
		`name=in:a,"b,c"`:                    "a b,c",
		"status=active":                      "a",
		"status=in:active,queued":            "a b,c e",
		"disk_format=qcow2":                  "b,c",
		"container_format=in:ovf,ova":        "e",
		"protected=true":                     "b,c",
		"protected=False":                    "a e",
		"os_hidden=true":                     "d",
		"os_distro=debian":                   "a",
		"os_distro=debian&os_hidden=true":    "d",
		"tag=x&tag=y":                        "a",
		"tag=x&tag=z":                        "",
		"size_min=5":                         "a",
		"size_max=4":                         "",
		"min_ram=64":                         "b,c",
		"visibility=private":                 "e",
		"created_at=gt:2026-01-01T00:00:00Z": "b,c e",
		"created_at=lte:2026-01-01T00:00:00": "a",
		"created_at=gte:2026-01-01&updated_at=lt:2026-01-01T01:00:00Z": "a",
		"owner=nobody": "",
		"checksum=827ccb0eea8a706c4c34a16891f84e7b": "a",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(c, "member", "?"+q.Encode()); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"protected=1", "size_min=x", "created_at=yesterday", "visibility=mine", "name=in:", "member_status=x", "os_hidden=maybe", strings.Repeat("tag=a&", 40)} {
		if r := c.Do("member", "GET", "/v2/images?"+query, nil); r.Status != 400 {
			t.Errorf("%.40s: %d", query, r.Status)
		}
	}
	if got := names(c, "member", "?"+url.Values{"x' OR 1=1 --": {"' OR '1'='1"}}.Encode()); got != "" {
		t.Errorf("injection lists %q", got)
	}
}
