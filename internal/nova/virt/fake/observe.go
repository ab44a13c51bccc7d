package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"

	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
)

// Snapshot implements virt.Driver: the copy is an empty raw disk of one MiB.
func (d *Driver) Snapshot(ctx context.Context, id string) (*virt.Snapshot, error) {
	if err := d.change(ctx, "Snapshot", id, func(*server) error { return nil }); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "hastack-fake-snapshot-")
	if err != nil {
		return nil, err
	}
	remove := func() { _ = os.Remove(f.Name()) }
	if _, err := f.Write(bytes.Repeat([]byte{0}, 1<<20)); err != nil {
		remove()
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		remove()
		return nil, err
	}
	return &virt.Snapshot{Path: f.Name(), Format: "raw", Size: 1 << 20, VirtualSize: 1 << 20, Remove: remove}, nil
}

// Attach implements virt.Driver.
func (d *Driver) Attach(ctx context.Context, id string, nic virt.NIC) error {
	return d.change(ctx, "Attach", id, func(s *server) error {
		for _, n := range s.Def.NICs {
			if n.PortID == nic.PortID {
				return nil
			}
		}
		s.Def.NICs = append(s.Def.NICs, nic)
		return nil
	})
}

// Detach implements virt.Driver.
func (d *Driver) Detach(ctx context.Context, id, portID string) error {
	return d.change(ctx, "Detach", id, func(s *server) error {
		for i, n := range s.Def.NICs {
			if n.PortID == portID {
				s.Def.NICs = append(s.Def.NICs[:i], s.Def.NICs[i+1:]...)
				return nil
			}
		}
		return nil
	})
}

// Info implements virt.Driver.
func (d *Driver) Info(ctx context.Context, id string) (virt.Info, error) {
	if err := d.enter(ctx, "Info", id); err != nil {
		return virt.Info{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.find(id)
	if err != nil {
		return virt.Info{}, err
	}
	return virt.Info{ID: id, PowerState: s.State}, nil
}

// Console implements virt.Driver: one line for each boot.
func (d *Driver) Console(ctx context.Context, id string, limit int) ([]byte, error) {
	var out bytes.Buffer
	err := d.change(ctx, "Console", id, func(s *server) error {
		for i := range s.Boots {
			fmt.Fprintf(&out, "FAKE: %s boot %d\n", s.Def.Name, i+1)
		}
		return nil
	})
	b := out.Bytes()
	return b[max(len(b)-limit, 0):], err
}

// VNC implements virt.Driver: the greeting of an RFB server, then silence.
func (d *Driver) VNC(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	if err := d.running(ctx, "VNC", id, func(*server) {}); err != nil {
		return nil, err
	}
	here, there := net.Pipe()
	go func() {
		_, _ = there.Write([]byte("RFB 003.008\n"))
		_, _ = io.Copy(io.Discard, there)
		_ = there.Close()
	}()
	return here, nil
}

// Diagnostics implements virt.Driver.
func (d *Driver) Diagnostics(ctx context.Context, id string) (*rpc.Diagnostics, error) {
	var out *rpc.Diagnostics
	err := d.running(ctx, "Diagnostics", id, func(s *server) {
		out = &rpc.Diagnostics{State: "running", Driver: "fake", Hypervisor: "fake", HypeOS: runtime.GOOS,
			UptimeSec: int64(d.cfg.Clock.Now().Sub(s.Started).Seconds()), MemoryMB: s.Def.MemoryMB,
			VCPUs: s.Def.VCPUs, ConfigDisk: s.Drive > 0, Disks: []rpc.DiskDiagnostic{{}}}
		for _, n := range s.Def.NICs {
			out.NICs = append(out.NICs, rpc.NICDiagnostic{MAC: n.MAC})
		}
	})
	return out, err
}

// Inventory implements virt.Driver. A running server counts as a process.
func (d *Driver) Inventory(ctx context.Context) (*rpc.HostAudit, error) {
	if err := d.enter(ctx, "Inventory", ""); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	out := &rpc.HostAudit{}
	owner := map[string]rpc.AuditTap{}
	for id, s := range d.servers {
		out.Disks = append(out.Disks, rpc.AuditDisk{ServerID: id, Path: "fake:" + id})
		if s.State == rpc.PowerRunning || s.State == rpc.PowerPaused {
			out.Processes = append(out.Processes, rpc.AuditProcess{ServerID: id})
		}
		for _, n := range s.Def.NICs {
			owner[n.Tap] = rpc.AuditTap{Name: n.Tap, PortID: n.PortID, ServerID: id}
		}
	}
	for t := range d.taps {
		a := owner[t]
		a.Name = t
		out.Taps = append(out.Taps, a)
	}
	return out, nil
}

// Crash ends a running server as if its process had died, event included.
func (d *Driver) Crash(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.find(id)
	if err != nil {
		return err
	}
	s.State = rpc.PowerCrashed
	if !d.closed {
		d.events <- virt.Event{ServerID: id, PowerState: rpc.PowerCrashed, At: d.cfg.Clock.Now(), Reason: "hypervisor process ended"}
	}
	return d.save(s)
}

// Bases implements virt.Driver: a fake server has no disk.
func (d *Driver) Bases(context.Context) ([]string, error) { return nil, nil }
