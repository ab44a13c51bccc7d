package nova_test

import (
	"slices"
	"testing"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/nova/novatest"
)

// selectHost asks a scheduler as a conductor does that nobody hears of again.
func selectHost(t *testing.T, c *novatest.Cloud, in nova.SelectArgs) error {
	return c.Bus.Call(t.Context(), bus.Target{Topic: nova.TopicScheduler}, "select", in, new(nova.SelectReply))
}

// A scheduler that is frozen before its claim wakes up to a boot that went on
// with another one.
func TestSchedulerThatWakesUpLateLeavesTheClaimsRight(t *testing.T) {
	const point = "nova.boot.10.before-effect"
	for name, deleted := range map[string]bool{"server runs": false, "server is gone": true} {
		t.Run(name, func(t *testing.T) {
			c := novatest.New(t, novatest.WithHosts("host1", "host2"))
			flavor := c.Flavor("small")
			failpoint.Trace()
			defer arm(t, "nova.boot.8.before-effect=delay:300ms;"+point+"=delay:1500ms#1")()
			id := c.Create(flavor, nil)
			srv, err := c.Nova.Server(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			late := make(chan error, 1)
			go func() { late <- selectHost(t, c, nova.SelectArgs{ServerID: id, OpID: srv.OpID}) }()
			c.Eventually("the late one is in the middle", func() bool { return slices.Contains(failpoint.Passed(), point) })
			c.Wait(id, "ACTIVE")
			host, claims := c.Neighbours.ClaimHost(id), 1
			if deleted {
				c.Must(204, 93, "member", "DELETE", "/servers/"+id, nil)
				c.Eventually("the server is gone", func() bool { return c.Do(93, "member", "GET", "/servers/"+id, nil).Status == 404 })
				host, claims = "", 0
			}
			select {
			case err := <-late:
				t.Fatalf("the late one was not late: %v", err)
			default:
			}
			if err := <-late; err == nil && deleted {
				t.Error("the late one was served")
			}
			if got := c.Neighbours.ClaimHost(id); got != host || c.Neighbours.Claims() != claims {
				t.Errorf("claim on %q of %d, want %q", got, c.Neighbours.Claims(), host)
			}
		})
	}
}

// A request that a broker delivers again after the boot must not move the claim
// of a server that runs.
func TestRequestOfABootThatIsOverMovesNoClaim(t *testing.T) {
	c := novatest.New(t, novatest.WithHosts("host1", "host2"))
	id := c.Boot(c.Flavor("small"), nil)
	host := c.Neighbours.ClaimHost(id)
	if err := selectHost(t, c, nova.SelectArgs{ServerID: id, OpID: "an-older-boot", Exclude: []string{host}}); err == nil {
		t.Error("the scheduler served a boot that is over")
	}
	if got := c.Neighbours.ClaimHost(id); got != host {
		t.Errorf("claim on %q, was on %q", got, host)
	}
}
