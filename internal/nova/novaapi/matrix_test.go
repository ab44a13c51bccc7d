package novaapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova/novatest"
)

// TestSec31EveryRouteForEveryPersona sends each route of the table as each
// persona at the first and the last microversion: without a token 401, a
// stranger changes nothing of others, a reader changes nothing at all, and
// nobody gets a 500, whatever the body.
func TestSec31EveryRouteForEveryPersona(t *testing.T) {
	c := novatest.New(t)
	flavor := c.Flavor("small")
	server := c.Boot(flavor, M{"metadata": M{"k": "v"}})
	group := c.Must(200, 93, "member", "POST", "/os-server-groups", M{"server_group": M{"name": "g", "policy": "affinity"}}).Text("server_group", "id")
	c.Must(201, 91, "member", "POST", "/os-keypairs", M{"keypair": M{"name": "key"}})
	agg := fmt.Sprint(c.Must(200, 93, "admin", "POST", "/os-aggregates", M{"aggregate": M{"name": "a"}}).Get("aggregate", "id"))
	ids := strings.NewReplacer("{server_id}", server, "{flavor_id}", flavor, "{key}", "k", "{tag}", "t", "{label}", "private", "{port_id}",
		c.Neighbours.Ports(server)[0], "{volume_id}", server, "{request_id}", "req-1", "{token}", "x", "{name}", "key", "{alias}", "os-aggregates")
	for _, route := range c.API.Routes() {
		path := strings.TrimPrefix(route.Path, "/v2.1")
		if path == route.Path { // the list of versions
			continue
		}
		id := group
		if strings.HasPrefix(path, "/os-aggregates") {
			id = agg
		}
		path = ids.Replace(strings.ReplaceAll(path, "{id}", id))
		for _, minor := range []int{1, 93} {
			for _, persona := range []string{"", "reader", "other", "system-reader"} {
				checkRoute(t, c, route, persona, path, minor)
			}
		}
	}
	s := c.Must(200, 93, "member", "GET", "/servers/"+server, nil)
	if s.Text("server", "status") != "ACTIVE" || s.Get("server", "metadata", "k") != "v" || s.Text("server", "name") != "vm" {
		t.Errorf("the server was changed: %s", s.Body)
	}
	c.Must(200, 93, "member", "GET", "/os-server-groups/"+group, nil)
	c.Must(200, 93, "member", "GET", "/os-keypairs/key", nil)
}

// own are routes on which everybody may change what is his own.
var own = []string{"POST /v2.1/servers", "POST /v2.1/os-keypairs", "POST /v2.1/os-server-groups", "DELETE /v2.1/os-keypairs/{name}"}

func checkRoute(t *testing.T, c *novatest.Cloud, route httpapi.Route, persona, path string, minor int) {
	t.Helper()
	what := fmt.Sprintf("%s %s as %q at 2.%d", route.Method, route.Path, persona, minor)
	bodies := []any{nil}
	if route.Method == http.MethodPost || route.Method == http.MethodPut {
		bodies = []any{"{}", `{"server": {"name": "x"}, "x": []}`, "[[[]]]", `{"a": {"b": 1e999}}`, "\xff\xfe", M{"os-stop": nil}, M{"delete": nil}}
	}
	for _, body := range bodies {
		r := c.Do(minor, persona, route.Method, path, body)
		switch {
		case r.Status == 500:
			t.Errorf("%s: 500 for %v: %s", what, body, r.Body)
		case persona == "" && route.Rule != httpapi.Public && r.Status != 401:
			t.Errorf("%s: %d, want 401", what, r.Status)
		case persona == "other" && strings.Contains(route.Path, "{server_id}") && r.Status < 300:
			t.Errorf("%s: %d, but the server is another project's: %s", what, r.Status, r.Body)
		case persona != "" && route.Method != http.MethodGet && r.Status < 300 && !slices.Contains(own, route.Method+" "+route.Path):
			t.Errorf("%s: %d for %v", what, r.Status, body)
		}
	}
}
