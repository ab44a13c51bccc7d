package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/virt"
)

// event takes one event of the guest's QEMU: it notes why the guest ends and
// hands the event to who waits for it.
func (g *guest) event(e qmpEvent) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.Name == "SHUTDOWN" {
		var why struct {
			Reason string `json:"reason"`
		}
		_ = json.Unmarshal(e.Data, &why)
		g.reason = why.Reason
	}
	for _, ch := range g.waiters[e.Name] {
		select {
		case ch <- e:
		default: // a waiter that has not read its last event finds the state by asking
		}
	}
}

// subscribe delivers the events of those names until the returned function is called.
func (g *guest) subscribe(names ...string) (<-chan qmpEvent, func()) {
	ch := make(chan qmpEvent, 16)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range names {
		g.waiters[n] = append(g.waiters[n], ch)
	}
	return ch, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, n := range names {
			g.waiters[n] = slices.DeleteFunc(g.waiters[n], func(c chan qmpEvent) bool { return c == ch })
		}
	}
}

// Start implements virt.Driver.
func (d *Driver) Start(ctx context.Context, id string) error {
	s, err := d.load(id)
	if err != nil {
		return err
	}
	if g := d.running(id); g != nil {
		if exists(d.path(id, fileResuming)) {
			return d.finishResume(ctx, g)
		}
		return nil
	}
	for _, n := range s.NICs {
		if err := d.PlugTap(ctx, n); err != nil {
			return err
		}
	}
	if exists(d.path(id, fileSuspend)) {
		return d.resume(ctx, s)
	}
	_, err = d.launch(ctx, s, start{})
	return err
}

// Stop implements virt.Driver.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	if _, err := d.load(id); err != nil {
		return err
	}
	if err := remove(d.path(id, fileSuspend), d.path(id, fileResuming)); err != nil {
		return err
	}
	g := d.running(id)
	if g == nil {
		return nil
	}
	g.mu.Lock()
	g.ending = true
	g.mu.Unlock()
	if grace > 0 {
		d.askToEnd(ctx, g, grace)
	}
	return d.end(ctx, g)
}

// askToEnd presses the power button and waits. A paused guest cannot hear it.
func (d *Driver) askToEnd(ctx context.Context, g *guest, grace time.Duration) {
	if _, err := g.mon.do(ctx, "cont", nil); err != nil {
		return
	}
	if _, err := g.mon.do(ctx, "system_powerdown", nil); err != nil {
		return
	}
	select {
	case <-g.gone:
	case <-d.clock.After(grace):
	case <-ctx.Done():
	}
}

// end lets QEMU flush its disks and quit, and kills one that does not.
func (d *Driver) end(ctx context.Context, g *guest) error {
	g.mu.Lock()
	g.ending = true
	g.mu.Unlock()
	quit, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := g.mon.do(quit, "quit", nil); err == nil || errors.Is(err, errMonitorClosed) {
		select {
		case <-g.gone:
		case <-quit.Done():
		}
	}
	if err := g.kill(); err != nil {
		return err
	}
	d.forget(g)
	return nil
}

// forget drops a guest whose process is gone; watch does the same, later.
func (d *Driver) forget(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.guests[g.id] == g {
		delete(d.guests, g.id)
	}
}

// Reset implements virt.Driver.
func (d *Driver) Reset(ctx context.Context, id string) error {
	g, err := d.mustRun(id)
	if err != nil {
		return err
	}
	if _, err := g.mon.do(ctx, "system_reset", nil); err != nil {
		return err
	}
	_, err = g.mon.do(ctx, "cont", nil)
	return err
}

// Pause implements virt.Driver.
func (d *Driver) Pause(ctx context.Context, id string) error { return d.tell(ctx, id, "stop") }

// Unpause implements virt.Driver.
func (d *Driver) Unpause(ctx context.Context, id string) error { return d.tell(ctx, id, "cont") }

func (d *Driver) tell(ctx context.Context, id, command string) error {
	g, err := d.mustRun(id)
	if err != nil {
		return err
	}
	_, err = g.mon.do(ctx, command, nil)
	return err
}

// Suspend implements virt.Driver: the memory is "migrated" into a file.
func (d *Driver) Suspend(ctx context.Context, id string) error {
	if _, err := d.load(id); err != nil {
		return err
	}
	saved := d.path(id, fileSuspend)
	g := d.running(id)
	if g == nil {
		if exists(saved) {
			return nil
		}
		return fault.New(fault.Conflict, "server %s does not run", id)
	}
	if !exists(saved) {
		if err := d.saveMemory(ctx, g, saved); err != nil {
			_, contErr := g.mon.do(ctx, "cont", nil)
			return errors.Join(err, contErr)
		}
	}
	return d.end(ctx, g)
}

func (d *Driver) saveMemory(ctx context.Context, g *guest, saved string) error {
	if _, err := g.mon.do(ctx, "stop", nil); err != nil {
		return err
	}
	f, err := os.OpenFile(saved+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := g.mon.doWithFile(ctx, "getfd", map[string]any{"fdname": "suspend"}, f); err != nil {
		return err
	}
	if _, err := g.mon.do(ctx, "migrate", map[string]any{"uri": "fd:suspend"}); err != nil {
		return err
	}
	if err := d.awaitMigration(ctx, g); err != nil {
		return errors.Join(err, remove(saved+".part"))
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(saved+".part", saved)
}

// awaitMigration polls: memory goes to or comes from a file in a second or so.
func (d *Driver) awaitMigration(ctx context.Context, g *guest) error {
	for {
		var st struct {
			Status string `json:"status"`
			Desc   string `json:"error-desc"`
		}
		if err := g.mon.ask(ctx, "query-migrate", nil, &st); err != nil {
			return err
		}
		switch st.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return errors.New("saved memory: " + st.Status + " " + st.Desc)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-g.gone:
			return errMonitorClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// resume starts a QEMU that loads the saved memory. The file goes before the
// guest runs on: memory that is older than the disk must never be loaded.
func (d *Driver) resume(ctx context.Context, s *virt.Server) error {
	f, err := os.Open(d.path(s.ID, fileSuspend))
	if err != nil {
		return err
	}
	g, err := d.launch(ctx, s, start{paused: true, incoming: f})
	if err != nil {
		return err
	}
	if err := d.awaitMigration(ctx, g); err != nil {
		return errors.Join(err, d.end(context.WithoutCancel(ctx), g))
	}
	if err := os.WriteFile(d.path(s.ID, fileResuming), nil, 0o600); err != nil {
		return err
	}
	return d.finishResume(ctx, g)
}

func (d *Driver) finishResume(ctx context.Context, g *guest) error {
	if err := remove(d.path(g.id, fileSuspend)); err != nil {
		return err
	}
	if _, err := g.mon.do(ctx, "cont", nil); err != nil {
		return err
	}
	return remove(d.path(g.id, fileResuming))
}

// remove deletes files; those that are not there are no error.
func remove(paths ...string) error {
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Destroy implements virt.Driver. The definition goes last, with the directory,
// so that a repeated call still knows the taps.
func (d *Driver) Destroy(ctx context.Context, id string) error {
	s, err := d.load(id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if g := d.running(id); g != nil {
		if err := g.kill(); err != nil { // its disks are not worth a flush
			return err
		}
		d.forget(g)
	}
	if !ids.IsUUID(id) {
		return nil
	}
	if err := d.killStrays(id); err != nil {
		return err
	}
	if s != nil {
		for _, n := range s.NICs {
			if err := d.UnplugTap(ctx, n.Tap); err != nil {
				return err
			}
		}
	}
	if !exists(d.dir(id)) {
		return nil
	}
	d.groups.remove(id)
	return os.RemoveAll(d.dir(id))
}

// killStrays ends a QEMU that the driver lost sight of: one that was started
// just before an agent died.
func (d *Driver) killStrays(id string) error {
	if !exists(d.path(id, filePID)) && !exists(d.path(id, fileMonitor)) {
		return nil
	}
	found, err := d.processes()
	if err != nil {
		return err
	}
	for _, p := range found {
		if p.serverID == id {
			g := d.newGuest(id, p.pid)
			d.wait.Add(1)
			go d.watchPID(g)
			if err := g.kill(); err != nil {
				return err
			}
		}
	}
	return nil
}
