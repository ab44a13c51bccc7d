package agent_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// The other servers of the cluster, played by addresses of the loopback.
var memberAddrs = [...]string{"192.0.2.11", "192.0.2.12"}

func members(t *testing.T, cut bool) {
	t.Helper()
	verb := "add"
	if cut {
		verb = "del"
	}
	for _, m := range memberAddrs {
		dt.Must(t, "", "ip", "addr", verb, m+"/32", "dev", "lo")
	}
}

func isolationRig(t *testing.T) *cloud {
	t.Helper()
	c := newCloud(t)
	for _, m := range memberAddrs {
		c.members = append(c.members, netip.MustParseAddr(m))
	}
	dt.Must(t, "", "ip", "link", "set", "lo", "up")
	members(t, false)
	c.state = withRouter(privateNetwork(false))
	c.start(t.TempDir())
	dt.Eventually(t, "gateway answers", 5*time.Second, func() bool { return pings("172.24.4.10") })
	return c
}

func (c *cloud) setSilent(silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = silent
}

func TestCutOffHostTakesItsGatewaysOffTheExternalNetwork(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := isolationRig(t)
	c.setSilent(true)
	members(t, true)
	dt.Eventually(t, "gateway is gone", 8*time.Second, func() bool { return !pings("172.24.4.10") })
	time.Sleep(1500 * time.Millisecond) // the agent's own checks go on
	if pings("172.24.4.10") {
		t.Fatal("a fenced gateway came back by itself")
	}
	members(t, false)
	c.setSilent(false)
	dt.Eventually(t, "gateway is back", 8*time.Second, func() bool { return pings("172.24.4.10") })
}

func TestRouterThatMovedMeanwhileDoesNotComeBack(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := isolationRig(t)
	c.setSilent(true)
	members(t, true)
	dt.Eventually(t, "gateway is gone", 8*time.Second, func() bool { return !pings("172.24.4.10") })
	c.mu.Lock()
	c.state.Revision++
	c.state.Routers = nil
	c.state.Ports = c.state.Ports[:len(c.state.Ports)-2] // the router's
	c.mu.Unlock()
	answered := make(chan bool, 1)
	done := make(chan struct{})
	go func() { // one answer would be one too many
		defer close(answered)
		for {
			select {
			case <-done:
				return
			default:
				if pings("172.24.4.10") {
					answered <- true
					return
				}
			}
		}
	}()
	members(t, false)
	c.setSilent(false)
	dt.Eventually(t, "the agent hears again", 8*time.Second, func() bool {
		out, _ := dt.Run("", "ip", "netns", "list")
		return !strings.Contains(out, "qrouter-")
	})
	close(done)
	if <-answered {
		t.Error("the gateway answered although the router is elsewhere")
	}
}

func TestDeadControllersAloneLeaveEverythingForwarding(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	c := isolationRig(t)
	c.setSilent(true)
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); {
		if !pings("172.24.4.10") {
			t.Fatal("the gateway went down with the controllers")
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.setSilent(false)
	c.change(func(st *rpc.HostState) {}, rpc.Changed{})
	if !pings("172.24.4.10") {
		t.Error("the gateway went down when the controllers came back")
	}
}
