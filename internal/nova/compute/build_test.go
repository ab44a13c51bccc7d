package compute

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt/fake"
)

func TestBuildRunsTheServerAndReportsItsSteps(t *testing.T) {
	c, d := newCloud(), fake.New(fake.Config{})
	a := newAgent(t, c, d)
	spec, op := c.server()
	if err := a.Build(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	fin := c.finished[op.OpID]
	if fin.Result.Fault != nil || fin.Result.VMState != "active" || fin.Result.PowerState != rpc.PowerRunning || len(fin.Result.Networks) != 1 {
		t.Fatalf("finish %+v", fin.Result)
	}
	if in, err := d.Info(t.Context(), spec.ID); err != nil || in.PowerState != rpc.PowerRunning {
		t.Errorf("driver: %+v %v", in, err)
	}
	var ns []int
	for _, s := range c.steps {
		ns = append(ns, s.N)
		if want := map[bool]string{true: rpc.OutcomeSkipped, false: rpc.OutcomeOK}[s.N >= 25 && s.N <= 27]; s.Outcome != want {
			t.Errorf("step %d ended %s", s.N, s.Outcome)
		}
	}
	slices.Sort(ns)
	if want := []int{13, 14, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28}; !slices.Equal(ns, want) {
		t.Errorf("steps %v", ns)
	}
	if want := []string{"networking", "spawning"}; !slices.Equal(c.tasks, want) {
		t.Errorf("task states %v", c.tasks)
	}
	p := c.ports[fin.Result.Networks[0].PortID]
	if p.DeviceID != spec.ID || p.HostID != "h1" || p.DeviceOwner != "compute:nova" {
		t.Errorf("port %+v", p)
	}
}

func TestSecondBuildMessageJoinsTheFirst(t *testing.T) {
	c := newCloud()
	a := newAgent(t, c, fake.New(fake.Config{Delay: map[string]time.Duration{"Start": 50 * time.Millisecond}}))
	_, op := c.server()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := a.Build(t.Context(), op); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := a.Build(t.Context(), op); err != nil { // late: the operation is over
		t.Error(err)
	}
	if c.creates != 1 || len(c.finished) != 1 {
		t.Errorf("%d ports made, %d finishes", c.creates, len(c.finished))
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		break_ func(c *cloud, s *rpc.ServerSpec)
		fault  func(method, id string) error
		code   int
	}{
		"image missing": {break_: func(_ *cloud, s *rpc.ServerSpec) { s.Image.ID = "missing" }, code: 404},
		"port quota": {break_: func(c *cloud, _ *rpc.ServerSpec) {
			c.failPort = fault.New(fault.Conflict, "Quota exceeded for resources: ['port'].")
		}, code: 409},
		"hypervisor": {fault: func(m, _ string) error { return map[string]error{"Start": errors.New("secret path /x")}[m] }, code: 500},
		"port of others": {break_: func(c *cloud, s *rpc.ServerSpec) {
			s.Requested = []rpc.RequestedNetwork{{NetworkID: "n1"}, {PortID: c.addPort(port{DeviceID: "other"}).ID}}
		}, code: 409},
	} {
		t.Run(name, func(t *testing.T) {
			c, d := newCloud(), fake.New(fake.Config{Fault: tc.fault})
			a := newAgent(t, c, d)
			spec, op := c.server()
			if tc.break_ != nil {
				tc.break_(c, spec)
			}
			if err := a.Build(t.Context(), op); err != nil {
				t.Fatal(err)
			}
			f := c.finished[op.OpID].Result.Fault
			if f == nil || f.Code != tc.code || strings.Contains(f.Message, "secret") {
				t.Fatalf("fault %+v", f)
			}
			if inv, _ := d.Inventory(t.Context()); len(inv.Disks)+len(inv.Processes)+len(inv.Taps) != 0 {
				t.Errorf("left on the host: %+v", inv)
			}
			for _, p := range c.ports {
				if p.DeviceID == spec.ID {
					t.Errorf("port left: %+v", p)
				}
			}
		})
	}
}

// TestBuildResumesAfterEveryFault breaks a build off at each of its points, as
// a lost reply does, and lets the message come again.
func TestBuildResumesAfterEveryFault(t *testing.T) {
	probe := newCloud()
	_, op := probe.server()
	failpoint.Trace()
	if err := newAgent(t, probe, fake.New(fake.Config{})).Build(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	points := failpoint.Passed()
	failpoint.Disarm()
	if len(points) < 20 {
		t.Fatalf("only %d points: %v", len(points), points)
	}
	for _, point := range points {
		if !strings.HasPrefix(point, "nova.boot.") {
			continue
		}
		c, d := newCloud(), fake.New(fake.Config{})
		a := newAgent(t, c, d)
		_, op := c.server()
		if err := failpoint.Arm(point + "=drop#1"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := a.Build(t.Context(), op); err == nil {
				break
			}
		}
		failpoint.Disarm()
		if fin, ok := c.finished[op.OpID]; !ok || fin.Result.Fault != nil || c.creates != 1 || len(c.ports) != 1 {
			t.Errorf("%s: finished %v %+v, %d ports made", point, ok, fin.Result, c.creates)
		}
	}
}

func TestUserPortIsTakenAndGivenBack(t *testing.T) {
	c, d := newCloud(), fake.New(fake.Config{})
	a := newAgent(t, c, d)
	spec, op := c.server()
	mine := c.addPort(port{NetworkID: "n2"})
	spec.Requested = []rpc.RequestedNetwork{{PortID: mine.ID, Tag: "front"}, {NetworkID: "n1"}}
	if err := a.Build(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	nets := c.finished[op.OpID].Result.Networks
	if len(nets) != 2 || nets[0].PortID != mine.ID || !nets[0].Preserve || nets[0].Tag != "front" || nets[1].Preserve {
		t.Fatalf("networks %+v", nets)
	}
	if err := a.Delete(t.Context(), c.op(spec.ID)); err != nil {
		t.Fatal(err)
	}
	if len(c.ports) != 1 || c.ports[mine.ID].DeviceID != "" || c.ports[mine.ID].HostID != "" {
		t.Errorf("ports %+v", c.ports)
	}
	if inv, _ := d.Inventory(t.Context()); len(inv.Disks)+len(inv.Taps) != 0 {
		t.Errorf("left %+v", inv)
	}
}

func TestDeletionEndsARunningBuild(t *testing.T) {
	c := newCloud()
	d := fake.New(fake.Config{Delay: map[string]time.Duration{"Start": time.Hour}})
	a := newAgent(t, c, d)
	spec, build := c.server()
	done := make(chan error, 1)
	go func() { done <- a.Build(context.WithoutCancel(t.Context()), build) }()
	for len(a.busy()) == 0 {
		time.Sleep(time.Millisecond)
	}
	c.mu.Lock()
	del := c.op(spec.ID)
	c.mu.Unlock()
	if err := a.Delete(t.Context(), del); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("build: %v", err)
	}
	if _, told := c.finished[build.OpID]; told {
		t.Error("the build that gave way was finished")
	}
	if !c.finished[del.OpID].Result.Deleted || len(c.ports) != 0 {
		t.Errorf("delete %+v, ports %v", c.finished[del.OpID], c.ports)
	}
	if inv, _ := d.Inventory(t.Context()); len(inv.Disks) != 0 {
		t.Errorf("left %+v", inv)
	}
}

func TestBuildWaitsForItsPorts(t *testing.T) {
	c := newCloud()
	a := newAgent(t, c, tapped{fake.New(fake.Config{})})
	spec, op := c.server()
	done := make(chan error, 1)
	go func() { done <- a.Build(context.WithoutCancel(t.Context()), op) }()
	for range 50 { // the event comes as soon as the tap is there, and maybe twice
		time.Sleep(5 * time.Millisecond)
		ports, _ := c.Ports(t.Context(), spec.ID)
		for _, p := range ports {
			_ = a.ExternalEvents(t.Context(), rpc.ExternalEventsArgs{Events: []rpc.ExternalEvent{
				{Name: rpc.EventVIFPlugged, ServerID: spec.ID, Tag: p.ID, Status: "completed"}}})
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r := c.finished[op.OpID].Result; r.Fault != nil || !r.Networks[0].Active {
		t.Errorf("result %+v", r)
	}
	_, op = c.server()
	if err := a.Build(t.Context(), op); err != nil { // nobody plugs
		t.Fatal(err)
	}
	if r := c.finished[op.OpID].Result; r.Fault == nil || len(c.ports) != 1 {
		t.Errorf("unplugged build: %+v, ports %v", r, c.ports)
	}
}

func TestBuildWhosePortsAreDeletedMeanwhileLeavesNoTap(t *testing.T) {
	c := newCloud()
	driver := fake.New(fake.Config{})
	a := newAgent(t, c, tapped{driver})
	spec, op := c.server()
	taps := func() int {
		inv, err := driver.Inventory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(inv.Taps)
	}
	done := make(chan error, 1)
	go func() { done <- a.Build(context.WithoutCancel(t.Context()), op) }()
	for deadline := time.Now().Add(5 * time.Second); taps() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no tap was made")
		}
	}
	ports, _ := c.Ports(t.Context(), spec.ID)
	for _, p := range ports {
		if err := c.DeletePort(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil { // nobody plugs
		t.Fatal(err)
	}
	if n := taps(); n != 0 {
		t.Errorf("%d taps are left", n)
	}
}

func TestUnknownAndForeignOperationsAreDropped(t *testing.T) {
	c := newCloud()
	a := newAgent(t, c, fake.New(fake.Config{}))
	spec, _ := c.server()
	for _, op := range []rpc.ServerOp{{OpID: ids.UUID(), ServerID: spec.ID}, {OpID: ids.UUID(), ServerID: ids.UUID()}} {
		if err := a.Build(t.Context(), op); err != nil {
			t.Error(err)
		}
		if err := a.Stop(t.Context(), op); err != nil {
			t.Error(err)
		}
	}
	if len(c.finished) != 0 || c.creates != 0 {
		t.Errorf("finished %v", c.finished)
	}
}

func TestMessageComesAgainWhileTheConductorIsDown(t *testing.T) {
	c := newCloud()
	c.down = fault.New(fault.Unavailable, "nobody listens")
	a := newAgent(t, c, fake.New(fake.Config{}))
	_, op := c.server()
	if err := a.Build(t.Context(), op); err == nil {
		t.Fatal("the message was taken although nobody could be told")
	}
	c.down = nil
	if err := a.Build(t.Context(), op); err != nil || c.finished[op.OpID].Result.Fault != nil {
		t.Errorf("%v %+v", err, c.finished[op.OpID])
	}
}
