// Package virttest is the contract of virt.Driver as tests. Every driver runs
// Run with a Setup of its own; a driver that passes may be put under the agent.
package virttest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
)

// A Setup is how the suite gets its drivers.
type Setup struct {
	// Open makes a driver whose state is in dir; the suite opens the same dir
	// again to play a restart.
	Open func(t *testing.T, dir string) virt.Driver
	// Base is a bootable or empty disk for the servers; the zero Base will do
	// for a driver that needs no image.
	Base func(t *testing.T, dir string) virt.Base
	// Properties are of the image of every server, Only names the one test to run.
	Properties map[string]string
	Only       string
}

type suite struct {
	Setup
	t   *testing.T
	dir string
	d   virt.Driver
}

// Run holds a driver to the contract.
func Run(t *testing.T, s Setup) {
	for name, f := range map[string]func(*suite){
		"DefineTwiceKeepsOneServer":             (*suite).defineTwice,
		"StartStopAreIdempotent":                (*suite).startStop,
		"UnknownServersAreNotFound":             (*suite).unknown,
		"PauseHoldsAndUnpauseReleases":          (*suite).pause,
		"SuspendedServerResumesWithStart":       (*suite).suspend,
		"ResetKeepsTheServerRunning":            (*suite).reset,
		"ServersOutliveTheDriver":               (*suite).restart,
		"DestroyLeavesNothing":                  (*suite).destroy,
		"InterfacesComeAndGoWhileRunning":       (*suite).hotplug,
		"SnapshotStandsAlone":                   (*suite).snapshot,
		"SnapshotOfAStoppedServer":              (*suite).snapshotStopped,
		"DiagnosticsNeedARunningServer":         (*suite).diagnostics,
		"ScreenAnswersWhileRunning":             (*suite).screen,
		"ConsoleIsBounded":                      (*suite).console,
		"InventoryNamesWhatIsThere":             (*suite).inventory,
		"DroppedDisksAreMadeAnew":               (*suite).rebuild,
		"ConfigDriveAndExtraDisksAreAttachable": (*suite).drives,
	} {
		if s.Only != "" && s.Only != name {
			continue
		}
		t.Run(name, func(t *testing.T) {
			su := &suite{Setup: s, t: t, dir: shortDir(t)}
			su.open()
			t.Cleanup(func() { _ = su.d.Close() }) // after the servers are destroyed
			f(su)
		})
	}
}

// shortDir is a directory whose name leaves room for socket paths.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "vt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (s *suite) open() {
	d := s.Open(s.t, s.dir)
	s.d = d
	if _, err := d.Recover(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// make defines a server and sees to its end.
func (s *suite) make(nics ...virt.NIC) *virt.Server {
	s.t.Helper()
	id := ids.UUID()
	def := &virt.Server{ID: id, InstanceName: "instance-" + id[:8], Name: "guest", ProjectID: ids.Hex(),
		VCPUs: 1, MemoryMB: 64, NICs: nics, Properties: s.Properties}
	if s.Base != nil {
		def.Root = s.Base(s.t, s.dir)
	}
	s.must(s.d.Define(s.t.Context(), def))
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.d.Destroy(ctx, id); err != nil {
			s.t.Errorf("destroy: %v", err)
		}
	})
	return def
}

func (s *suite) nic() virt.NIC {
	port := ids.UUID()
	n := virt.NIC{PortID: port, MAC: "fa:16:3e:" + port[:2] + ":" + port[2:4] + ":" + port[4:6],
		Tap: virt.TapName(port), MTU: 1450}
	s.must(s.d.PlugTap(s.t.Context(), n))
	s.t.Cleanup(func() { _ = s.d.UnplugTap(context.Background(), n.Tap) })
	return n
}

func (s *suite) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *suite) state(id string, want int) {
	s.t.Helper()
	in, err := s.d.Info(s.t.Context(), id)
	s.must(err)
	if in.PowerState != want {
		s.t.Fatalf("power state %d, want %d", in.PowerState, want)
	}
}

func (s *suite) kind(err error, want fault.Kind) {
	s.t.Helper()
	if !fault.Is(err, want) {
		s.t.Fatalf("error %v, want kind %v", err, want)
	}
}

func (s *suite) defineTwice() {
	def := s.make()
	s.must(s.d.Define(s.t.Context(), def))
	s.state(def.ID, rpc.PowerShutdown)
	s.must(s.d.Start(s.t.Context(), def.ID))
	s.kind(s.d.Define(s.t.Context(), def), fault.Conflict)
	s.state(def.ID, rpc.PowerRunning)
}

func (s *suite) startStop() {
	ctx, def := s.t.Context(), s.make()
	for range 2 {
		s.must(s.d.Start(ctx, def.ID))
		s.state(def.ID, rpc.PowerRunning)
	}
	for range 2 {
		s.must(s.d.Stop(ctx, def.ID, 0))
		s.state(def.ID, rpc.PowerShutdown)
	}
	s.must(s.d.Start(ctx, def.ID))
	s.must(s.d.Stop(ctx, def.ID, 300*time.Millisecond)) // a guest that does not listen
	s.state(def.ID, rpc.PowerShutdown)
}

func (s *suite) unknown() {
	ctx, id := s.t.Context(), ids.UUID()
	_, infoErr := s.d.Info(ctx, id)
	_, snapErr := s.d.Snapshot(ctx, id)
	_, consoleErr := s.d.Console(ctx, id, 100)
	for _, err := range []error{infoErr, snapErr, consoleErr, s.d.Start(ctx, id), s.d.Stop(ctx, id, 0),
		s.d.Reset(ctx, id), s.d.Pause(ctx, id), s.d.Suspend(ctx, id), s.d.Detach(ctx, id, ids.UUID())} {
		s.kind(err, fault.NotFound)
	}
	s.must(s.d.Destroy(ctx, id))
	s.must(s.d.UnplugTap(ctx, virt.TapName(id)))
}

func (s *suite) pause() {
	ctx, def := s.t.Context(), s.make()
	s.kind(s.d.Pause(ctx, def.ID), fault.Conflict)
	s.must(s.d.Start(ctx, def.ID))
	for range 2 {
		s.must(s.d.Pause(ctx, def.ID))
		s.state(def.ID, rpc.PowerPaused)
	}
	for range 2 {
		s.must(s.d.Unpause(ctx, def.ID))
		s.state(def.ID, rpc.PowerRunning)
	}
}

func (s *suite) suspend() {
	if !s.d.Capabilities().Suspend {
		s.t.Skip("driver cannot suspend")
	}
	ctx, def := s.t.Context(), s.make(s.nic())
	s.must(s.d.Start(ctx, def.ID))
	for range 2 {
		s.must(s.d.Suspend(ctx, def.ID))
		s.state(def.ID, rpc.PowerSuspended)
	}
	s.must(s.d.Close())
	s.open()
	s.state(def.ID, rpc.PowerSuspended)
	s.must(s.d.Start(ctx, def.ID))
	s.state(def.ID, rpc.PowerRunning)
	s.must(s.d.Stop(ctx, def.ID, 0))
	s.state(def.ID, rpc.PowerShutdown) // the saved memory is used up
}

func (s *suite) reset() {
	ctx, def := s.t.Context(), s.make()
	s.kind(s.d.Reset(ctx, def.ID), fault.Conflict)
	s.must(s.d.Start(ctx, def.ID))
	s.must(s.d.Reset(ctx, def.ID))
	s.state(def.ID, rpc.PowerRunning)
}

func (s *suite) restart() {
	ctx, runs, stopped := s.t.Context(), s.make(), s.make()
	s.must(s.d.Start(ctx, runs.ID))
	before, err := s.d.Info(ctx, runs.ID)
	s.must(err)
	s.must(s.d.Close())
	s.d = s.Open(s.t, s.dir)
	found, err := s.d.Recover(ctx)
	s.must(err)
	got := map[string]virt.Info{}
	for _, in := range found {
		got[in.ID] = in
	}
	if len(got) != 2 || got[runs.ID].PowerState != rpc.PowerRunning || got[stopped.ID].PowerState != rpc.PowerShutdown {
		s.t.Fatalf("recovered %+v", found)
	}
	if got[runs.ID].PID != before.PID {
		s.t.Fatalf("process %d became %d", before.PID, got[runs.ID].PID)
	}
	s.must(s.d.Pause(ctx, runs.ID))
	s.state(runs.ID, rpc.PowerPaused)
}

func (s *suite) destroy() {
	ctx, n := s.t.Context(), s.nic()
	def := s.make(n)
	s.must(s.d.Start(ctx, def.ID))
	for range 2 {
		s.must(s.d.Destroy(ctx, def.ID))
	}
	_, err := s.d.Info(ctx, def.ID)
	s.kind(err, fault.NotFound)
	inv, err := s.d.Inventory(ctx)
	s.must(err)
	for _, p := range inv.Processes {
		if p.ServerID == def.ID {
			s.t.Errorf("process %d is left", p.PID)
		}
	}
	for _, disk := range inv.Disks {
		if disk.ServerID == def.ID {
			s.t.Errorf("disk %s is left", disk.Path)
		}
	}
	for _, tap := range inv.Taps {
		if tap.Name == n.Tap {
			s.t.Errorf("tap %s is left", tap.Name)
		}
	}
	left, _ := filepath.Glob(filepath.Join(s.dir, "*", "*"+def.ID+"*"))
	if len(left) != 0 {
		s.t.Errorf("files left: %v", left)
	}
}

func (s *suite) hotplug() {
	ctx, def := s.t.Context(), s.make(s.nic())
	s.must(s.d.Start(ctx, def.ID))
	more := s.nic()
	for range 2 {
		s.must(s.d.Attach(ctx, def.ID, more))
	}
	diag, err := s.d.Diagnostics(ctx, def.ID)
	s.must(err)
	if len(diag.NICs) != 2 || diag.NICs[1].MAC != more.MAC {
		s.t.Fatalf("interfaces %+v", diag.NICs)
	}
	for range 2 {
		s.must(s.d.Detach(ctx, def.ID, more.PortID))
	}
	diag, err = s.d.Diagnostics(ctx, def.ID)
	s.must(err)
	if len(diag.NICs) != 1 {
		s.t.Fatalf("interfaces after detach %+v", diag.NICs)
	}
	s.must(s.d.Attach(ctx, def.ID, more))
	s.must(s.d.Stop(ctx, def.ID, 0))
	s.must(s.d.Start(ctx, def.ID)) // with both
	diag, err = s.d.Diagnostics(ctx, def.ID)
	s.must(err)
	if len(diag.NICs) != 2 {
		s.t.Fatalf("interfaces after restart %+v", diag.NICs)
	}
}
