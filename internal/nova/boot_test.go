package nova_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/nova/novatest"
	"github.com/hastack/hastack/internal/nova/virt/fake"
)

type M = novatest.M

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
	if strings.Contains(string(tr.Body), "host1") {
		t.Errorf("the trace tells a member the host: %s", tr.Body)
	}
	ev := c.Must(200, 93, "admin", "GET", "/servers/"+id+"/os-instance-actions", nil).List("instanceActions")
	if len(ev) != 1 || ev[0]["action"] != "create" {
		t.Errorf("actions %v", ev)
	}
}

func TestTaskStatesOfABootComeInOrder(t *testing.T) {
	c := novatest.New(t, novatest.WithDriver(func(_ string, cfg *fake.Config) {
		cfg.Delay = map[string]time.Duration{"Start": 30 * time.Millisecond}
	}))
	stop := arm(t, "nova.boot.22.before-effect=delay:30ms;nova.boot.9.before-effect=delay:30ms")
	defer stop()
	id := c.Create(c.Flavor("small"), nil)
	var seen []string
	c.Eventually("active", func() bool {
		s, err := c.Nova.Server(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) == 0 || seen[len(seen)-1] != s.TaskState {
			seen = append(seen, s.TaskState)
		}
		return s.VMState == nova.Active
	})
	order := []string{"scheduling", "networking", "block_device_mapping", "spawning", ""}
	for i, at := 0, 0; i < len(seen); i++ {
		for at < len(order) && order[at] != seen[i] {
			at++
		}
		if at == len(order) {
			t.Fatalf("task states %v, want the order %v", seen, order)
		}
	}
}

func arm(t *testing.T, spec string) func() {
	t.Helper()
	if err := failpoint.Arm(spec); err != nil {
		t.Fatal(err)
	}
	return func() { failpoint.Disarm() }
}

func TestAcknowledgedServerIsBuiltByASuccessor(t *testing.T) {
	first := novatest.New(t)
	flavor := first.Flavor("small")
	first.StopAll()
	id := first.Create(flavor, nil)
	s, err := first.Nova.Server(context.Background(), id)
	if err != nil || s.VMState != nova.Building || s.TaskState != nova.TaskScheduling {
		t.Fatalf("server %+v, %v", s, err)
	}
	novatest.New(t, novatest.WithNeighbours(first)).Wait(id, "ACTIVE")
}

func TestHostThatFailsIsLeftForAnother(t *testing.T) {
	var mu sync.Mutex
	failed := ""
	c := novatest.New(t, novatest.WithHosts("host1", "host2"), novatest.WithDriver(func(host string, cfg *fake.Config) {
		cfg.Fault = func(method, _ string) error {
			mu.Lock()
			defer mu.Unlock()
			if method == "Start" && (failed == "" || failed == host) {
				failed = host
				return errors.New("no")
			}
			return nil
		}
	}))
	id := c.Boot(c.Flavor("small"), nil)
	r := c.Must(200, 93, "admin", "GET", "/servers/"+id, nil)
	host := r.Text("server", "OS-EXT-SRV-ATTR:host")
	if failed == "" || host == failed || c.Neighbours.ClaimHost(id) != host {
		t.Errorf("failed on %q, is on %q, claim on %q", failed, host, c.Neighbours.ClaimHost(id))
	}
	if n := len(c.Neighbours.Ports(id)); n != 1 {
		t.Errorf("%d ports, want 1", n)
	}
}

func TestBootThatFailsEverywhereNamesItsStepAndLeavesNothing(t *testing.T) {
	c := novatest.New(t, novatest.WithDriver(func(_ string, cfg *fake.Config) {
		cfg.Fault = func(method, _ string) error {
			if method == "Start" {
				return errors.New("secret of the host")
			}
			return nil
		}
	}))
	id := c.Create(c.Flavor("small"), nil)
	r := c.Wait(id, "ERROR")
	if msg := r.Text("server", "fault", "message"); !strings.Contains(msg, "step 28") || strings.Contains(msg, "secret") {
		t.Errorf("fault %q must name step 28 and nothing of the host", msg)
	}
	c.Eventually("claim and ports are gone", func() bool { return c.Neighbours.Claims() == 0 && len(c.Neighbours.Ports(id)) == 0 })
	steps := c.Must(200, 93, "member", "GET", "/servers/"+id+"/hastack-trace", nil).List("trace", "steps")
	if last := steps[len(steps)-1]; last["outcome"] != "error" && last["n"] != 28.0 {
		t.Errorf("last step %v", last)
	}
	remove(t, c, id)
}

// remove deletes a server and checks that nothing of it is left.
func remove(t *testing.T, c *novatest.Cloud, id string) {
	t.Helper()
	c.Must(204, 93, "member", "DELETE", "/servers/"+id, nil)
	c.Wait(id, "DELETED")
	if c.Neighbours.ClaimHost(id) != "" || len(c.Neighbours.Ports(id)) != 0 {
		t.Errorf("left: claim on %q, ports %v", c.Neighbours.ClaimHost(id), c.Neighbours.Ports(id))
	}
	diff, err := c.Nova.AuditQuota(context.Background(), false)
	if err != nil || len(diff) > 0 {
		t.Errorf("quota counters are wrong: %v, %v", diff, err)
	}
}

func TestInjectedFaultNamesItsStep(t *testing.T) {
	for _, point := range []string{"8.before-effect", "9.before-effect", "10.after-effect", "11.before-effect", "12.before-effect", "22.before-effect"} {
		t.Run(point, func(t *testing.T) {
			c := novatest.New(t)
			flavor := c.Flavor("small")
			defer arm(t, "nova.boot."+point+"=error")()
			id := c.Create(flavor, nil)
			r := c.Wait(id, "ERROR")
			n, _, _ := strings.Cut(point, ".")
			if msg := r.Text("server", "fault", "message"); !strings.Contains(msg, "step "+n+" ") {
				t.Errorf("fault %q, want step %s", msg, n)
			}
			failpoint.Disarm()
			c.Eventually("nothing is held", func() bool { return c.Neighbours.Claims() == 0 && len(c.Neighbours.Ports("")) == 0 })
			remove(t, c, id)
		})
	}
}

func TestNoValidHostTellsWhyWithoutNamingHosts(t *testing.T) {
	c := novatest.New(t, novatest.WithHosts("host1", "host2"))
	flavor := c.Flavor("small")
	c.Must(200, 93, "admin", "POST", "/flavors/"+flavor+"/os-extra_specs", M{"extra_specs": M{"aggregate_instance_extra_specs:ssd": "true"}})
	r := c.Wait(c.Create(flavor, nil), "ERROR")
	msg := r.Text("server", "fault", "message")
	for _, want := range []string{"No valid host", "2 host(s) had room", "AggregateInstanceExtraSpecsFilter removed 2 (0 left)", "nearest miss"} {
		if !strings.Contains(msg, want) {
			t.Errorf("fault %q lacks %q", msg, want)
		}
	}
	if strings.Contains(msg, "host1") || strings.Contains(msg, "host2") {
		t.Errorf("fault names a host: %q", msg)
	}
	big := c.Must(200, 1, "admin", "POST", "/flavors", M{"flavor": M{"name": "big", "vcpus": 1, "ram": 4096, "disk": 1 << 20}}).Text("flavor", "id")
	if msg := c.Wait(c.Create(big, nil), "ERROR").Text("server", "fault", "message"); !strings.Contains(msg, "DISK_GB") {
		t.Errorf("fault does not say what is missing: %q", msg)
	}
}

func TestDeleteDuringABootLeavesNothing(t *testing.T) {
	for _, point := range []string{"nova.boot.9.before-effect", "nova.boot.13.before-effect", "nova.boot.22.after-effect", "nova.boot.28.before-effect", "nova.boot.28.after-effect"} {
		t.Run(point, func(t *testing.T) {
			c := novatest.New(t)
			flavor := c.Flavor("small")
			defer arm(t, point+"=delay:200ms")()
			id := c.Create(flavor, nil)
			time.Sleep(60 * time.Millisecond)
			remove(t, c, id)
		})
	}
}

func TestDeleteWorksWhileTheHostIsDownAndTheHostCleansUpLater(t *testing.T) {
	c := novatest.New(t)
	id := c.Boot(c.Flavor("small"), nil)
	c.StopHost("host1")
	down := func(yes bool) {
		list := c.Must(200, 93, "admin", "GET", "/os-services?host=host1&binary=nova-compute", nil).List("services")
		c.Must(200, 93, "admin", "PUT", "/os-services/"+list[0]["id"].(string), M{"forced_down": yes})
	}
	down(true)
	remove(t, c, id)
	down(false)
	list, err := c.Nova.AuditServers(context.Background(), "host1")
	if err != nil || len(list) != 1 || !list[0].Cleanup {
		t.Fatalf("the host is not told to clean up: %+v, %v", list, err)
	}
	if n := len(c.Must(200, 93, "member", "GET", "/servers/"+id+"/os-instance-actions", nil).List("instanceActions")); n != 2 {
		t.Errorf("a deleted server shows %d actions, want 2", n)
	}
	c.StartHost("host1")
	c.Eventually("the host has cleaned up", func() bool {
		list, err := c.Nova.AuditServers(context.Background(), "host1")
		return err == nil && len(list) == 0
	})
}

func TestActionsMoveTheServerThroughItsStates(t *testing.T) {
	c := novatest.New(t)
	id := c.Boot(c.Flavor("small"), nil)
	for _, step := range []struct {
		action string
		value  any
		status string
	}{
		{"os-stop", nil, "SHUTOFF"}, {"os-start", nil, "ACTIVE"}, {"pause", nil, "PAUSED"}, {"unpause", nil, "ACTIVE"},
		{"suspend", nil, "SUSPENDED"}, {"resume", nil, "ACTIVE"}, {"reboot", M{"type": "SOFT"}, "ACTIVE"},
		{"reboot", M{"type": "HARD"}, "ACTIVE"}, {"rebuild", M{"imageRef": c.Image}, "ACTIVE"},
	} {
		c.Act(id, step.action, step.value)
		c.Wait(id, step.status)
	}
	if n := len(c.Neighbours.Ports(id)); n != 1 || c.Neighbours.Claims() != 1 {
		t.Errorf("%d ports, %d claims after all that", n, c.Neighbours.Claims())
	}
	if r := c.Do(93, "member", "POST", "/servers/"+id+"/action", M{"os-start": nil}); r.Status != 409 ||
		!strings.Contains(r.Text("conflictingRequest", "message"), "while it is in vm_state active") {
		t.Errorf("start of a running server: %d %s", r.Status, r.Body)
	}
	remove(t, c, id)
}

func TestSnapshotFillsAnImageAndAFailedOneRemovesIt(t *testing.T) {
	var broken atomic.Bool
	c := novatest.New(t, novatest.WithDriver(func(_ string, cfg *fake.Config) {
		cfg.Fault = func(method, _ string) error {
			if broken.Load() && method == "Snapshot" {
				return errors.New("disk")
			}
			return nil
		}
	}))
	id := c.Boot(c.Flavor("small"), nil)
	image := c.Act(id, "createImage", M{"name": "snap", "metadata": M{"a": "b"}}).Text("image_id")
	c.Wait(id, "ACTIVE")
	if !c.Neighbours.HasImage(image) {
		t.Fatalf("image %q is not there", image)
	}
	broken.Store(true)
	image = c.Act(id, "createImage", M{"name": "snap"}).Text("image_id")
	c.Wait(id, "ACTIVE")
	c.Eventually("the image of the failed snapshot is gone", func() bool { return !c.Neighbours.HasImage(image) })
	actions := c.Must(200, 93, "member", "GET", "/servers/"+id+"/os-instance-actions", nil).List("instanceActions")
	if actions[0]["action"] != "createImage" || actions[0]["message"] != "Error" {
		t.Errorf("last action %v", actions[0])
	}
}

func TestAntiAffinityHoldsUnderManyAtOnce(t *testing.T) {
	c := novatest.New(t, novatest.WithHosts("h1", "h2", "h3"))
	flavor := c.Flavor("small")
	group := c.Must(200, 93, "member", "POST", "/os-server-groups", M{"server_group": M{"name": "g", "policy": "anti-affinity"}}).Text("server_group", "id")
	var ids []string
	for range 10 {
		ids = append(ids, c.Create(flavor, M{"os:scheduler_hints": M{"group": group}}))
	}
	hosts := map[string]int{}
	failed := 0
	for _, id := range ids {
		c.Eventually("boot ends", func() bool {
			s, err := c.Nova.Server(context.Background(), id)
			return err == nil && s.VMState != nova.Building
		})
		s, err := c.Nova.Server(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		if s.VMState == nova.Errored {
			failed++
			continue
		}
		hosts[s.Host]++
	}
	if failed != 7 || len(hosts) != 3 {
		t.Errorf("%d failed, hosts %v; want seven failed and one server a host", failed, hosts)
	}
	c.Eventually("claims of the three", func() bool { return c.Neighbours.Claims() == 3 })
}

// A count that is taken while servers come and go is one moment's.
func TestTheQuotaAuditHoldsWhileServersComeAndGo(t *testing.T) {
	c := novatest.New(t)
	flavor := c.Flavor("small")
	var audits sync.WaitGroup
	done := make(chan struct{})
	audits.Go(func() {
		for n := 0; ; n++ {
			if diff, err := c.Nova.AuditQuota(t.Context(), false); err != nil || len(diff) > 0 {
				t.Errorf("audit %d: %v, %v", n, diff, err)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	defer audits.Wait()
	defer close(done)
	var ids []string
	for range 10 {
		ids = append(ids, c.Create(flavor, nil))
	}
	for _, id := range ids {
		c.Must(204, 93, "member", "DELETE", "/servers/"+id, nil)
	}
}

func TestAHostThatIsInTheZoneAlreadyMayJoinWithItsServers(t *testing.T) {
	c := novatest.New(t)
	c.Wait(c.Create(c.Flavor("small"), nil), "ACTIVE")
	join := func(zone string) error {
		a := &nova.Aggregate{Name: zone, Metadata: map[string]string{"availability_zone": zone}}
		if err := c.Nova.CreateAggregate(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		_, err := c.Nova.AddAggregateHost(t.Context(), a.ID, "host1")
		return err
	}
	if err := join("nova"); err != nil {
		t.Errorf("into its own zone: %v", err)
	}
	if err := join("elsewhere"); !fault.Is(err, fault.Conflict) {
		t.Errorf("into another zone: %v, want a conflict", err)
	}
}
