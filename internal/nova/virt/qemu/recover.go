package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
)

// envTemporary marks a QEMU that only serves one call of an agent: the next
// agent ends it.
const envTemporary = "HASTACK_TEMPORARY=1"

// A process is a QEMU of this state directory, found in /proc. A pid file alone
// is never believed: the number may be another process's by now.
type process struct {
	pid       int
	serverID  string
	temporary bool
}

// processes lists the QEMUs that belong to this state directory.
func (d *Driver) processes() ([]process, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	mark := []byte("\x00" + envState + "=" + d.cfg.StateDir + "\x00")
	var out []process
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(dir + "/cmdline")
		if err != nil || !bytes.Contains(cmdline, []byte("\x00-uuid\x00")) {
			continue
		}
		environ, err := os.ReadFile(dir + "/environ")
		if err != nil || !bytes.Contains(append([]byte{0}, environ...), mark) {
			continue
		}
		if state, err := os.ReadFile(dir + "/stat"); err != nil || zombie(state) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(cmdline), "\x00-uuid\x00")
		id, _, _ := strings.Cut(rest, "\x00")
		out = append(out, process{pid: pid, serverID: id, temporary: bytes.Contains(environ, []byte(envTemporary))})
	}
	return out, nil
}

// zombie reads the state field, which follows the last ')' of /proc/PID/stat.
func zombie(stat []byte) bool {
	i := bytes.LastIndexByte(stat, ')')
	return i < 0 || i+2 >= len(stat) || stat[i+2] == 'Z' || stat[i+2] == 'X'
}

// Recover implements virt.Driver.
func (d *Driver) Recover(ctx context.Context) ([]virt.Info, error) {
	found, err := d.processes()
	if err != nil {
		return nil, err
	}
	for _, p := range found {
		if d.running(p.serverID) != nil {
			continue
		}
		if err := d.takeOver(ctx, p); err != nil {
			return nil, err
		}
	}
	dirs, err := d.serverIDs()
	if err != nil {
		return nil, err
	}
	var out []virt.Info
	for _, id := range dirs {
		if _, err := d.load(id); err != nil {
			continue // its Define did not finish; it is repeated or destroyed
		}
		_ = os.Remove(d.path(id, fileSnapshot))
		out = append(out, d.info(ctx, id))
	}
	d.wait.Add(1)
	go d.boundConsoles()
	return out, nil
}

// takeOver connects to a QEMU of an earlier agent. One without a definition
// (its server was destroyed half way) is ended. One that does not answer now is
// kept: it may be busy, or the earlier agent may not be gone yet.
func (d *Driver) takeOver(ctx context.Context, p process) error {
	_, err := d.load(p.serverID)
	missing := fault.Is(err, fault.NotFound)
	if err != nil && !missing {
		return err
	}
	g := d.newGuest(p.serverID, p.pid)
	d.wait.Add(1)
	go d.watchPID(g)
	if missing || p.temporary {
		return g.kill()
	}
	first, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := d.connect(first, g); err != nil {
		d.log.Warn("qemu does not answer yet", slog.String("server_id", g.id), slog.Int("pid", g.pid), slog.Any("error", err))
	}
	d.adopt(g)
	return nil
}

// watchPID waits for a process that is not the agent's child, by a pidfd, which
// cannot be taken over by another process of the same number.
func (d *Driver) watchPID(g *guest) {
	defer d.wait.Done()
	fd, err := unix.PidfdOpen(g.pid, 0)
	if err != nil {
		close(g.gone)
		return
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 500)
		if n > 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
			close(g.gone)
			return
		}
		select {
		case <-d.stop:
			return
		default:
		}
	}
}

// adopt makes g the guest of its server and watches it.
func (d *Driver) adopt(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.guests[g.id] = g
	d.wait.Add(1)
	go d.watch(g)
}

// watch tells of an end that nobody asked for.
func (d *Driver) watch(g *guest) {
	defer d.wait.Done()
	select {
	case <-d.stop:
		return
	case <-g.gone:
	}
	g.mon.close()
	g.mu.Lock()
	ending, reason := g.ending, g.reason
	g.mu.Unlock()
	d.mu.Lock()
	if d.guests[g.id] == g {
		delete(d.guests, g.id)
	}
	closed := d.closed
	d.mu.Unlock()
	if ending || closed {
		return
	}
	e := virt.Event{ServerID: g.id, PowerState: rpc.PowerCrashed, At: d.clock.Now(), Reason: "the hypervisor process ended"}
	if reason != "" {
		e.PowerState, e.Reason = rpc.PowerShutdown, fmt.Sprintf("the server shut down (%s)", reason)
	}
	select {
	case d.events <- e:
	case <-d.stop:
	}
}
