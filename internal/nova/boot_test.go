package nova_test

import (
	"testing"

	"github.com/hastack/hastack/internal/nova/novatest"
)

func TestBootEndsActiveWithAddressAllocationAndTrace(t *testing.T) {
	c := novatest.New(t)
	id := c.Boot(c.Flavor("small"), nil)
	r := c.Must(200, 93, "member", "GET", "/servers/"+id, nil)
	if r.Get("server", "addresses", "private") == nil {
		t.Errorf("no address: %s", r.Body)
	}
	if c.Neighbours.ClaimHost(id) != "host1" || len(c.Neighbours.Ports(id)) != 1 {
		t.Errorf("claim on %q, ports %v", c.Neighbours.ClaimHost(id), c.Neighbours.Ports(id))
	}
	tr := c.Must(200, 93, "member", "GET", "/servers/"+id+"/hastack-trace", nil)
	steps := tr.List("trace", "steps")
	if len(steps) != 28 {
		t.Fatalf("%d steps, want 28: %s", len(steps), tr.Body)
	}
	for i, s := range steps {
		if int(s["n"].(float64)) != i+1 || s["outcome"] == "error" {
			t.Errorf("step %d is %v", i+1, s)
		}
	}
}
