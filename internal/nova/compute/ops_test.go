package compute

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt/fake"
	"github.com/hastack/hastack/internal/tlsfiles"
	"github.com/hastack/hastack/internal/tlsfiles/tlstest"
)

// built is an agent with one running server.
func built(t *testing.T, cfg fake.Config) (*cloud, *Agent, *fake.Driver, *rpc.ServerSpec) {
	t.Helper()
	c, d := newCloud(), fake.New(cfg)
	a := newAgent(t, c, d)
	spec, op := c.server()
	if err := a.Build(t.Context(), op); err != nil || c.finished[op.OpID].Result.Fault != nil {
		t.Fatalf("%v %+v", err, c.finished[op.OpID])
	}
	spec.VMState, spec.PowerState = "active", rpc.PowerRunning
	return c, a, d, spec
}

func TestPowerOperationsReportWhatTheServerDoes(t *testing.T) {
	c, a, _, spec := built(t, fake.Config{})
	for _, step := range []struct {
		name string
		f    func(context.Context, rpc.ServerOp) error
		want int
	}{
		{"stop", a.Stop, rpc.PowerShutdown}, {"start", a.Start, rpc.PowerRunning}, {"pause", a.Pause, rpc.PowerPaused},
		{"unpause", a.Unpause, rpc.PowerRunning}, {"suspend", a.Suspend, rpc.PowerSuspended}, {"resume", a.Resume, rpc.PowerRunning},
		{"reboot", func(ctx context.Context, op rpc.ServerOp) error {
			return a.Reboot(ctx, rpc.RebootArgs{ServerOp: op, Type: "HARD"})
		}, rpc.PowerRunning},
	} {
		op := c.op(spec.ID)
		if err := step.f(t.Context(), op); err != nil {
			t.Fatal(step.name, err)
		}
		if r := c.finished[op.OpID].Result; r.Fault != nil || r.PowerState != step.want || r.Networks != nil {
			t.Errorf("%s: %+v", step.name, r)
		}
	}
	op := c.op(spec.ID)
	if err := a.Stop(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	op = c.op(spec.ID)
	if err := a.Pause(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	if f := c.finished[op.OpID].Result.Fault; f == nil || f.Code != 409 {
		t.Errorf("pause of a stopped server: %+v", f)
	}
}

func TestRebuildKeepsPortsAndAStoppedServerStopped(t *testing.T) {
	c, a, d, spec := built(t, fake.Config{})
	op := c.op(spec.ID)
	if err := a.Rebuild(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	if r := c.finished[op.OpID].Result; r.Fault != nil || r.VMState != "active" || r.PowerState != rpc.PowerRunning || len(c.ports) != 1 {
		t.Errorf("%+v", r)
	}
	spec.VMState = "stopped"
	op = c.op(spec.ID)
	if err := a.Rebuild(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	if r := c.finished[op.OpID].Result; r.VMState != "stopped" || r.PowerState != rpc.PowerShutdown {
		t.Errorf("%+v", r)
	}
	spec.Image.ID, spec.VMState = "missing", "active"
	if err := d.Start(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	op = c.op(spec.ID)
	if err := a.Rebuild(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	if r := c.finished[op.OpID].Result; r.Fault == nil || r.PowerState != rpc.PowerRunning {
		t.Errorf("rebuild with a missing image touched the server: %+v", r)
	}
}

func TestSnapshotFillsTheImageOrDiscardsIt(t *testing.T) {
	c, a, _, spec := built(t, fake.Config{})
	op := c.op(spec.ID)
	if err := a.Snapshot(t.Context(), rpc.SnapshotArgs{ServerOp: op, ImageID: "img1"}); err != nil {
		t.Fatal(err)
	}
	if c.uploads["img1"] != "raw" || c.finished[op.OpID].Result.Fault != nil || len(c.gone) != 0 {
		t.Errorf("%v %+v", c.uploads, c.finished[op.OpID])
	}
	op = c.op(spec.ID)
	if err := a.Snapshot(t.Context(), rpc.SnapshotArgs{ServerOp: op, ImageID: "full"}); err != nil {
		t.Fatal(err)
	}
	if f := c.finished[op.OpID].Result.Fault; f == nil || f.Code != 413 || !slices.Equal(c.gone, []string{"full"}) {
		t.Errorf("%+v, discarded %v", f, c.gone)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "hastack-fake-snapshot-*")); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestInterfacesAttachAndDetach(t *testing.T) {
	c, a, d, spec := built(t, fake.Config{})
	first := spec.Networks[0].PortID
	mine := c.addPort(port{NetworkID: "n3"})
	v, err := a.AttachInterface(t.Context(), rpc.AttachInterfaceArgs{ServerOp: c.op(spec.ID), Network: rpc.RequestedNetwork{PortID: mine.ID}})
	if err != nil || v.PortID != mine.ID || !v.Preserve {
		t.Fatalf("%+v %v", v, err)
	}
	made, err := a.AttachInterface(t.Context(), rpc.AttachInterfaceArgs{ServerOp: c.op(spec.ID), Network: rpc.RequestedNetwork{NetworkID: "n1", Tag: "x"}})
	if err != nil || made.PortID == first || made.Tag != "x" {
		t.Fatalf("%+v %v", made, err)
	}
	if len(spec.Networks) != 3 {
		t.Fatalf("networks %+v", spec.Networks)
	}
	for _, id := range []string{mine.ID, made.PortID} {
		op := c.op(spec.ID)
		if err := a.DetachInterface(t.Context(), rpc.DetachInterfaceArgs{ServerOp: op, PortID: id}); err != nil {
			t.Fatal(err)
		}
	}
	if _, there := c.ports[made.PortID]; there || c.ports[mine.ID].DeviceID != "" {
		t.Errorf("ports %+v", c.ports)
	}
	inv, _ := d.Inventory(t.Context())
	if len(spec.Networks) != 1 || len(inv.Taps) != 1 || inv.Taps[0].PortID != first {
		t.Errorf("left %+v, taps %+v", spec.Networks, inv.Taps)
	}
	if _, err := a.AttachInterface(t.Context(), rpc.AttachInterfaceArgs{ServerOp: c.op(spec.ID), Network: rpc.RequestedNetwork{PortID: ids.UUID()}}); err == nil {
		t.Error("a port that does not exist was attached")
	}
}

func TestRestartTakesUpOperationsAndReportsTheRest(t *testing.T) {
	dir := t.TempDir()
	c, a, _, runs := built(t, fake.Config{Dir: dir})
	died, op := c.server()
	if err := a.Build(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	died.VMState, died.PowerState = "active", rpc.PowerRunning
	half, build := c.server()

	d := fake.New(fake.Config{Dir: dir})
	b := newAgent(t, c, d)
	if _, err := d.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Crash(died.ID); err != nil {
		t.Fatal(err)
	}
	c.hostOps = []rpc.HostServer{{Spec: *runs}, {Spec: *died}, {Spec: *half, Op: &rpc.InFlightOp{ID: build.OpID, Method: rpc.MethodBuild}}}
	if err := b.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		c.mu.Lock()
		fin, ok := c.finished[build.OpID]
		c.mu.Unlock()
		if ok {
			if fin.Result.Fault != nil {
				t.Errorf("build taken up: %+v", fin.Result)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the build was not taken up")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if len(c.power) != 1 || c.power[0].ServerID != died.ID || c.power[0].PowerState != rpc.PowerCrashed {
		t.Errorf("power changes %+v", c.power)
	}
}

func TestServersStartAgainWithTheMachine(t *testing.T) {
	for _, leave := range []bool{false, true} {
		c, a, d, spec := built(t, fake.Config{})
		a.cfg.LeaveStopped = leave
		if err := d.Stop(t.Context(), spec.ID, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(a.cfg.StateDir, "boot_id"), []byte("an earlier boot\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.hostOps = []rpc.HostServer{{Spec: *spec}}
		if err := a.reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := map[bool]int{false: rpc.PowerRunning, true: rpc.PowerShutdown}[leave]
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			c.mu.Lock()
			told := len(c.power) == 1 && c.power[0].PowerState == want
			c.mu.Unlock()
			if told {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("leave=%v: power changes %+v", leave, c.power)
			}
		}
		if a.machineRebooted() {
			t.Error("the boot is not remembered")
		}
	}
}

func TestLostOperationsStop(t *testing.T) {
	c := newCloud()
	a := newAgent(t, c, fake.New(fake.Config{Delay: map[string]time.Duration{"Define": time.Hour}}))
	spec, op := c.server()
	done := make(chan error, 1)
	go func() { done <- a.Build(context.WithoutCancel(t.Context()), op) }()
	for len(a.busy()) == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	c.mu.Lock()
	c.op(spec.ID)
	c.mu.Unlock()
	a.renew(t.Context())
	if err := <-done; err != nil {
		t.Errorf("lost build: %v", err)
	}
	if len(c.finished) != 0 {
		t.Errorf("a lost operation was finished: %v", c.finished)
	}
}

func TestHeartbeatsCarryResourcesOnlyWhenTheyChange(t *testing.T) {
	c, a, _, _ := built(t, fake.Config{})
	for i := range 3 {
		if err := a.register(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.reportHost(t.Context(), i == 0); err != nil {
			t.Fatal(err)
		}
	}
	if c.reports[0].Resources == nil || c.reports[1].Resources != nil || c.reports[2].Resources != nil || c.inventories != 1 {
		t.Errorf("reports %+v, %d inventories", c.reports, c.inventories)
	}
	if r := c.reports[0].Resources; r.RunningServers != 1 || r.ProviderID == "" {
		t.Errorf("%+v", r)
	}
}

func TestNetworkChangeRefreshesTheCacheInOrder(t *testing.T) {
	c, a, _, spec := built(t, fake.Config{})
	first := spec.Networks[0].PortID
	c.addPort(port{ID: "00000000-0000-4000-8000-000000000000", NetworkID: "n9", DeviceID: spec.ID})
	err := a.ExternalEvents(t.Context(), rpc.ExternalEventsArgs{Events: []rpc.ExternalEvent{{Name: rpc.EventNetworkChanged, ServerID: spec.ID}}})
	if err != nil {
		t.Fatal(err)
	}
	got := c.networks[spec.ID]
	if len(got) != 2 || got[0].PortID != first {
		t.Errorf("networks %+v", got)
	}
}

func TestSec38TicketOpensOneScreenOnce(t *testing.T) {
	_, a, d, spec := built(t, fake.Config{})
	r, err := listenRelay(t.Context(), "127.0.0.1:0", nil, a.clock, a.log)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	a.relay = r
	reply, err := a.VNCConsole(t.Context(), rpc.ServerArgs{ServerID: spec.ID})
	if err != nil {
		t.Fatal(err)
	}
	try := func(ticket string) string {
		conn, err := net.Dial("tcp", reply.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(conn, "HASTACK-VNC "+ticket+"\n")
		line, _ := bufio.NewReader(conn).ReadString('\n')
		return line
	}
	if got := try("guess"); got != "" {
		t.Errorf("a guessed ticket got %q", got)
	}
	if got := try(reply.Ticket); !strings.HasPrefix(got, "RFB ") {
		t.Errorf("the ticket got %q", got)
	}
	if got := try(reply.Ticket); got != "" {
		t.Errorf("a used ticket got %q", got)
	}
	late, err := a.VNCConsole(t.Context(), rpc.ServerArgs{ServerID: spec.ID})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Destroy(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	if got := try(late.Ticket); got != "" {
		t.Errorf("the ticket of a deleted server got %q", got)
	}
	if _, err := a.VNCConsole(t.Context(), rpc.ServerArgs{ServerID: spec.ID}); err == nil {
		t.Error("a deleted server has a screen")
	}
}

func TestScreensBetweenServersAreEncryptedAndForTheCloudOnly(t *testing.T) {
	_, a, _, spec := built(t, fake.Config{})
	ca := tlstest.New(t)
	ours, err := tlsfiles.Open(ca.Issue(t, t.TempDir(), 2, time.Unix(1, 0), "127.0.0.1"), clock.System)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := tlsfiles.Open(tlstest.Files(t, "127.0.0.1"), clock.System)
	if err != nil {
		t.Fatal(err)
	}
	r, err := listenRelay(t.Context(), "127.0.0.1:0", ours.Mutual(), a.clock, a.log)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	a.relay = r
	stranger := ours.Client("127.0.0.1")
	stranger.GetClientCertificate = foreign.Client("").GetClientCertificate
	for name, tc := range map[string]struct {
		client *tls.Config
		want   string
	}{"a part of the cloud": {ours.Client("127.0.0.1"), "RFB 003"}, "a stranger": {stranger, ""}} {
		reply, err := a.VNCConsole(t.Context(), rpc.ServerArgs{ServerID: spec.ID})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", reply.Address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		secure := tls.Client(conn, tc.client)
		_, _ = io.WriteString(secure, "HASTACK-VNC "+reply.Ticket+"\n")
		got := make([]byte, 7)
		n, _ := io.ReadFull(secure, got)
		if string(got[:n]) != tc.want {
			t.Errorf("%s got %q", name, got[:n])
		}
		_ = conn.Close()
	}
}

func TestLastLines(t *testing.T) {
	for _, tc := range []struct {
		n    int
		want string
	}{{1, "c\n"}, {2, "b\nc\n"}, {3, "a\nb\nc\n"}, {9, "a\nb\nc\n"}} {
		if got := string(lastLines([]byte("a\nb\nc\n"), tc.n)); got != tc.want {
			t.Errorf("%d: %q", tc.n, got)
		}
	}
}

func TestAuditRemovesOnlyWhatItIsTold(t *testing.T) {
	c, a, d, keep := built(t, fake.Config{})
	drop, op := c.server()
	if err := a.Build(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	out, err := a.Audit(t.Context(), rpc.AuditArgs{Remove: []string{drop.ID}})
	if err != nil || len(out.Disks) != 1 || out.Disks[0].ServerID != keep.ID || out.Host != "h1" {
		t.Errorf("%+v %v", out, err)
	}
	if _, err := d.Info(t.Context(), keep.ID); err != nil {
		t.Error(err)
	}
}
