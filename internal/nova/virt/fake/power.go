package fake

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// Start implements virt.Driver.
func (d *Driver) Start(ctx context.Context, id string) error {
	return d.change(ctx, "Start", id, func(s *server) error {
		if s.State == rpc.PowerRunning || s.State == rpc.PowerPaused {
			return nil
		}
		if s.State != rpc.PowerSuspended {
			s.Boots++
		}
		s.State, s.Started = rpc.PowerRunning, d.cfg.Clock.Now()
		return nil
	})
}

// Stop implements virt.Driver.
func (d *Driver) Stop(ctx context.Context, id string, _ time.Duration) error {
	return d.change(ctx, "Stop", id, func(s *server) error {
		s.State = rpc.PowerShutdown
		return nil
	})
}

// running runs f on a server that must run (paused included).
func (d *Driver) running(ctx context.Context, method, id string, f func(*server)) error {
	return d.change(ctx, method, id, func(s *server) error {
		if s.State != rpc.PowerRunning && s.State != rpc.PowerPaused {
			return fault.New(fault.Conflict, "server %s does not run", id)
		}
		f(s)
		return nil
	})
}

// Reset implements virt.Driver.
func (d *Driver) Reset(ctx context.Context, id string) error {
	return d.running(ctx, "Reset", id, func(s *server) { s.Boots++ })
}

// Pause implements virt.Driver.
func (d *Driver) Pause(ctx context.Context, id string) error {
	return d.running(ctx, "Pause", id, func(s *server) { s.State = rpc.PowerPaused })
}

// Unpause implements virt.Driver.
func (d *Driver) Unpause(ctx context.Context, id string) error {
	return d.running(ctx, "Unpause", id, func(s *server) { s.State = rpc.PowerRunning })
}

// Suspend implements virt.Driver.
func (d *Driver) Suspend(ctx context.Context, id string) error {
	return d.change(ctx, "Suspend", id, func(s *server) error {
		if s.State == rpc.PowerShutdown {
			return fault.New(fault.Conflict, "server %s does not run", id)
		}
		s.State = rpc.PowerSuspended
		return nil
	})
}

// Destroy implements virt.Driver.
func (d *Driver) Destroy(ctx context.Context, id string) error {
	if err := d.enter(ctx, "Destroy", id); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.servers[id]
	if s == nil {
		return nil
	}
	for _, n := range s.Def.NICs {
		if err := d.dropTap(n.Tap); err != nil {
			return err
		}
	}
	if d.cfg.Dir != "" {
		err := os.Remove(filepath.Join(d.cfg.Dir, id+".json"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	delete(d.servers, id)
	return nil
}

// DropDisks implements virt.Driver: there are none.
func (d *Driver) DropDisks(ctx context.Context, id string) error {
	if err := d.enter(ctx, "DropDisks", id); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.servers[id]
	if s != nil && (s.State == rpc.PowerRunning || s.State == rpc.PowerPaused) {
		return fault.New(fault.Conflict, "server %s runs on its disks", id)
	}
	return nil
}
