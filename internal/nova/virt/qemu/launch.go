package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/virt"
)

// envState marks the QEMUs of one state directory in /proc/PID/environ, so that
// two clouds on a machine never take each other's.
const envState = "HASTACK_STATE_DIR"

// A start is how launch begins.
type start struct {
	paused   bool     // do not run the guest yet
	noNICs   bool     // for a QEMU that only copies a disk
	incoming *os.File // saved memory to load
	env      string   // further marking
}

// launch runs QEMU for s and returns when it answers. What is opened here is
// inherited by the process and closed in the agent.
func (d *Driver) launch(ctx context.Context, s *virt.Server, how start) (*guest, error) {
	m := d.machineOf(s, d.accelerator(ctx))
	defer m.closeFiles()
	if err := d.equip(m, s, how); err != nil {
		return nil, err
	}
	cmd, err := d.spawn(s.ID, m, how)
	m.closeFiles()
	if err != nil {
		return nil, err
	}
	g := d.newGuest(s.ID, cmd.Process.Pid)
	g.child = cmd
	d.wait.Add(1)
	go d.reap(g)
	d.groups.add(s, g.pid)
	if err := os.WriteFile(d.path(s.ID, filePID), []byte(strconv.Itoa(g.pid)), 0o600); err != nil {
		return nil, errors.Join(err, g.kill())
	}
	if err := d.connect(ctx, g); err != nil {
		return nil, errors.Join(d.startFault(s.ID, err), g.kill())
	}
	d.adopt(g)
	return g, nil
}

// equip opens everything that the machine needs and puts it into m.
func (d *Driver) equip(m *machine, s *virt.Server, how start) error {
	qmp, err := d.listen(s.ID, fileMonitor)
	if err != nil {
		return err
	}
	m.monitor(qmp)
	agent, err := d.listen(s.ID, fileAgent)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(d.path(s.ID, fileConsole), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	m.serial(log, agent)
	if err := d.equipDisks(m, s); err != nil {
		return err
	}
	if !how.noNICs {
		for _, n := range s.NICs {
			tap, err := openTap(n.Tap)
			if err != nil {
				return fmt.Errorf("open tap %s of port %s: %w", n.Tap, n.PortID, err)
			}
			m.nic(n, tap)
		}
	}
	if how.paused {
		m.add("-S")
	}
	if how.incoming != nil {
		m.add("-incoming", fmt.Sprintf("fd:%d", m.fd(how.incoming)))
	}
	return nil
}

func (d *Driver) equipDisks(m *machine, s *virt.Server) error {
	base, err := os.Open(s.Root.Path)
	if err != nil {
		return fmt.Errorf("base of the root disk: %w", err)
	}
	disk, err := os.OpenFile(d.path(s.ID, fileRoot), os.O_RDWR, 0)
	if err != nil {
		return errors.Join(err, base.Close())
	}
	m.root(disk, base, s.Root.Format)
	for _, extra := range []struct {
		name, file string
		readOnly   bool
	}{{"ephemeral0", fileEphemeral, false}, {"swap", fileSwap, false}, {"config", fileDrive, true}} {
		mode := os.O_RDWR
		if extra.readOnly {
			mode = os.O_RDONLY
		}
		f, err := os.OpenFile(d.path(s.ID, extra.file), mode, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		m.raw(extra.name, f, extra.readOnly)
	}
	return nil
}

// listen makes a socket in the server's directory and returns its descriptor.
// The path goes through /proc because socket paths are limited to 107 bytes.
func (d *Driver) listen(id, name string) (*os.File, error) {
	dir, err := os.Open(d.dir(id))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
	if err := os.Remove(d.path(id, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	return f, errors.Join(err, l.Close())
}

// spawn starts the process as a session of its own, so that no signal to the
// agent's group reaches it.
func (d *Driver) spawn(id string, m *machine, how start) (*exec.Cmd, error) {
	log, err := os.OpenFile(d.path(id, fileErrors), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(d.cfg.Binary, m.args...) // without a context: it outlives them all
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles, cmd.Dir = log, log, m.files, "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TMPDIR=/tmp", envState + "=" + d.cfg.StateDir}
	if how.env != "" {
		cmd.Env = append(cmd.Env, how.env)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: d.runAs.credential()}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", d.cfg.Binary, err)
	}
	return cmd, nil
}

// connect opens the monitor of a guest. The socket listens before QEMU runs, so
// a greeting that does not come means that QEMU died or hangs.
func (d *Driver) connect(ctx context.Context, g *guest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	done := make(chan struct{})
	go func() {
		_, err = g.mon.monitor(ctx)
		close(done)
	}()
	select {
	case <-done:
		return err
	case <-g.gone:
		cancel()
		<-done
		return errors.New("qemu ended at its start")
	}
}

// startFault makes the last words of a QEMU readable for an admin.
func (d *Driver) startFault(id string, err error) error {
	b, _ := os.ReadFile(d.path(id, fileErrors))
	text := strings.TrimSpace(string(b[max(0, len(b)-500):]))
	return fault.Wrap(fault.Internal, fmt.Errorf("%w: %s", err, text), "the hypervisor did not start the server")
}

// reap waits for the agent's own child.
func (d *Driver) reap(g *guest) {
	defer d.wait.Done()
	done := make(chan struct{})
	go func() {
		_ = g.child.Wait() // its exit code says nothing that its events do not
		close(done)
	}()
	select {
	case <-done:
		close(g.gone)
	case <-d.stop: // the waiting goroutine ends with the process
	}
}

// kill ends the process and waits until the kernel has taken it away.
func (g *guest) kill() error {
	g.mu.Lock()
	g.ending = true
	g.mu.Unlock()
	select {
	case <-g.gone:
		return nil
	default:
	}
	if err := unix.Kill(g.pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill qemu %d: %w", g.pid, err)
	}
	select {
	case <-g.gone:
		return nil
	case <-time.After(20 * time.Second):
		return fmt.Errorf("qemu %d does not die", g.pid)
	}
}
