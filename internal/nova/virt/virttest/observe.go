package virttest

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
)

func (s *suite) snapshot() { s.takeSnapshot(true) }

func (s *suite) snapshotStopped() { s.takeSnapshot(false) }

func (s *suite) takeSnapshot(run bool) {
	ctx, def := s.t.Context(), s.make()
	want := rpc.PowerShutdown
	if run {
		s.must(s.d.Start(ctx, def.ID))
		want = rpc.PowerRunning
	}
	for range 2 {
		snap, err := s.d.Snapshot(ctx, def.ID)
		s.must(err)
		st, err := os.Stat(snap.Path)
		s.must(err)
		if st.Size() == 0 || st.Size() != snap.Size || snap.VirtualSize < def.Root.VirtualSize {
			s.t.Fatalf("snapshot %+v, file %d bytes", snap, st.Size())
		}
		snap.Remove()
		if _, err := os.Stat(snap.Path); !os.IsNotExist(err) {
			s.t.Fatalf("%s is left", snap.Path)
		}
	}
	s.state(def.ID, want)
}

func (s *suite) diagnostics() {
	ctx, def := s.t.Context(), s.make()
	_, err := s.d.Diagnostics(ctx, def.ID)
	s.kind(err, fault.Conflict)
	s.must(s.d.Start(ctx, def.ID))
	d, err := s.d.Diagnostics(ctx, def.ID)
	s.must(err)
	if d.VCPUs != 1 || d.MemoryMB != 64 || len(d.Disks) == 0 {
		s.t.Fatalf("diagnostics %+v", d)
	}
}

func (s *suite) screen() {
	ctx, def := s.t.Context(), s.make()
	_, err := s.d.VNC(ctx, def.ID)
	s.kind(err, fault.Conflict)
	s.must(s.d.Start(ctx, def.ID))
	for range 2 {
		c, err := s.d.VNC(ctx, def.ID)
		s.must(err)
		hello := make([]byte, 12)
		for n := 0; n < len(hello); {
			m, err := c.Read(hello[n:])
			s.must(err)
			n += m
		}
		if !strings.HasPrefix(string(hello), "RFB 003.") {
			s.t.Fatalf("the screen says %q", hello)
		}
		s.must(c.Close())
	}
}

func (s *suite) console() {
	ctx, def := s.t.Context(), s.make()
	b, err := s.d.Console(ctx, def.ID, 100)
	s.must(err)
	if len(b) != 0 {
		s.t.Fatalf("console of a server that never ran: %q", b)
	}
	s.must(s.d.Start(ctx, def.ID))
	b, err = s.d.Console(ctx, def.ID, 5)
	s.must(err)
	if len(b) > 5 {
		s.t.Fatalf("asked for 5 bytes, got %d", len(b))
	}
}

func (s *suite) inventory() {
	ctx, n := s.t.Context(), s.nic()
	stray := s.nic()
	def := s.make(n)
	s.must(s.d.Start(ctx, def.ID))
	inv, err := s.d.Inventory(ctx)
	s.must(err)
	if len(inv.Processes) != 1 || inv.Processes[0].ServerID != def.ID {
		s.t.Errorf("processes %+v", inv.Processes)
	}
	if len(inv.Disks) != 1 || inv.Disks[0].ServerID != def.ID {
		s.t.Errorf("disks %+v", inv.Disks)
	}
	owners := map[string]string{}
	for _, tap := range inv.Taps {
		owners[tap.Name] = tap.ServerID
	}
	owner, there := owners[stray.Tap]
	if owners[n.Tap] != def.ID || !there || owner != "" {
		s.t.Errorf("taps %+v", inv.Taps)
	}
}

func (s *suite) drives() {
	ctx, id := s.t.Context(), ids.UUID()
	def := &virt.Server{ID: id, InstanceName: "instance-1", Name: "full", VCPUs: 1, MemoryMB: 64, EphemeralGB: 1, SwapMB: 16,
		ConfigDrive: map[string][]byte{"openstack/latest/meta_data.json": []byte(`{"uuid":"` + id + `"}`),
			"openstack/latest/user_data": []byte(fmt.Sprintf("%4096d", 1))}}
	if s.Base != nil {
		def.Root = s.Base(s.t, s.dir)
	}
	s.t.Cleanup(func() { _ = s.d.Destroy(context.Background(), id) })
	s.must(s.d.Define(ctx, def))
	s.must(s.d.Start(ctx, id))
	s.state(id, rpc.PowerRunning)
	d, err := s.d.Diagnostics(ctx, id)
	s.must(err)
	if !d.ConfigDisk {
		s.t.Error("no config drive")
	}
}

func (s *suite) rebuild() {
	ctx, def := s.t.Context(), s.make(s.nic())
	s.must(s.d.Start(ctx, def.ID))
	s.kind(s.d.DropDisks(ctx, def.ID), fault.Conflict)
	s.must(s.d.Stop(ctx, def.ID, 0))
	for range 2 {
		s.must(s.d.DropDisks(ctx, def.ID))
	}
	def.RootGB = 1
	s.must(s.d.Define(ctx, def))
	s.must(s.d.Start(ctx, def.ID))
	s.state(def.ID, rpc.PowerRunning)
	s.must(s.d.DropDisks(ctx, ids.UUID()))
}
