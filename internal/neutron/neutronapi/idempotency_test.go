package neutronapi_test

import (
	"testing"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/neutron/neutrontest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// A fault before a change leaves nothing of it, one after it leaves all of it,
// and in either case the client that repeats its request gets the one port.
func TestLostRepliesCanBeAskedForAgain(t *testing.T) {
	c := neutrontest.New(t)
	net, _ := c.Network("member", "10.0.0.0/24")
	ports := func() int {
		return len(c.Must(200, "member", "GET", "/v2.0/ports", nil).List("ports"))
	}
	body := m{"port": m{"network_id": net}}
	for i, step := range []struct {
		point string
		left  int
	}{{"neutron.port.create.before-effect", 0}, {"neutron.port.create.after-effect", 1}} {
		if err := failpoint.Arm(step.point + "=error"); err != nil {
			t.Fatal(err)
		}
		r := c.Do("member", "POST", "/v2.0/ports", body, "Idempotency-Key", step.point)
		failpoint.Disarm(step.point)
		if step.left == 0 && r.Status < 500 {
			t.Errorf("%s: %d %s", step.point, r.Status, r.Text)
		}
		if got := ports() - i; got != step.left {
			t.Errorf("%s left %d ports, want %d", step.point, got, step.left)
		}
		c.Must(201, "member", "POST", "/v2.0/ports", body, "Idempotency-Key", step.point)
		if got := ports() - i; got != 1 {
			t.Errorf("%s and a second try made %d ports", step.point, got)
		}
	}
	audit, err := c.Service.Audit(t.Context(), rpc.AuditArgs{})
	if err != nil || len(audit.Problems) > 0 {
		t.Errorf("audit: %v %v", audit.Problems, err)
	}
}
