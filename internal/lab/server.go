package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/topology"
)

// Limits of a server when the topology says nothing.
const (
	defaultMemoryMB   = 1024
	defaultCPUPercent = 100
)

// killTimeout is how long killed processes may take to be gone.
const killTimeout = 20 * time.Second

// Start switches a server on with the disk that it had. It returns when the
// server boots; [Lab.WaitSSH] tells when it can be reached.
func (l *Lab) Start(ctx context.Context, server string) error {
	if err := l.checkServer(server); err != nil {
		return err
	}
	return l.change(ctx, func(s *state) error { return l.start(ctx, s, server) })
}

func (l *Lab) start(ctx context.Context, s *state, server string) error {
	running, err := l.running(server)
	if err != nil || running {
		return err
	}
	// What the last life left of its network state goes: a server that was
	// switched off from inside still has it.
	if err := l.powerOff(ctx, server); err != nil {
		return err
	}
	if err := l.prepare(server); err != nil {
		return fmt.Errorf("server %s: %w", server, err)
	}
	if err := errors.Join(l.wire(s, server), l.applyLinks(s)); err != nil {
		return fmt.Errorf("server %s: %w", server, err)
	}
	if err := l.boot(ctx, s, server); err != nil {
		return fmt.Errorf("server %s: %w", server, err)
	}
	return nil
}

// Kill pulls the power cord: the cables are dead at once, then every process.
// Memory, network state and mounts are gone; the disk stays.
func (l *Lab) Kill(ctx context.Context, server string) error {
	if err := l.checkServer(server); err != nil {
		return err
	}
	return l.change(ctx, func(*state) error { return l.powerOff(ctx, server) })
}

// PowerOff pulls the power cords of all servers at once.
func (l *Lab) PowerOff(ctx context.Context) error {
	return l.change(ctx, func(*state) error {
		// No server must see the others go before it goes itself.
		errs := []error{l.unplug(l.Servers()...)}
		for _, s := range l.Servers() {
			_, err := killOnce(l.cgroups, s)
			errs = append(errs, err)
		}
		for _, s := range l.Servers() {
			errs = append(errs, l.powerOff(ctx, s))
		}
		return errors.Join(errs...)
	})
}

// PowerCycle switches everything off at once and on again, in the topology's
// order or a random one, and returns that order.
func (l *Lab) PowerCycle(ctx context.Context, random bool) ([]string, error) {
	if err := l.PowerOff(ctx); err != nil {
		return nil, err
	}
	order := l.Servers()
	if random {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	for _, s := range order {
		if err := l.Start(ctx, s); err != nil {
			return order, err
		}
	}
	return order, nil
}

// Stop shuts a server down in order, as its power button does, and then takes
// its power. It waits until ctx ends at most.
func (l *Lab) Stop(ctx context.Context, server string) error {
	if err := l.checkServer(server); err != nil {
		return err
	}
	if err := l.Thaw(ctx, server); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(l.serverDir(server), "pid"))
	if err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && l.owns(server, pid) {
			if err := unix.Kill(pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("stop %s: %w", server, err)
			}
		}
	}
	if err := l.gone(ctx, server); err != nil {
		return err
	}
	return l.Kill(ctx, server)
}

// owns tells whether a process is one of the server's; process ids come again.
func (l *Lab) owns(server string, pid int) bool {
	pids, err := l.cgroups.pids(server)
	return err == nil && slices.Contains(pids, pid)
}

// gone waits until a server has no process.
func (l *Lab) gone(ctx context.Context, server string) error {
	for {
		running, err := l.running(server)
		if err != nil || !running {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("server %s still has processes: %w", server, ctx.Err())
		case <-clock.System.After(5 * time.Millisecond):
		}
	}
}

// Freeze stops every process of a server where it is; its kernel goes on to
// answer pings and to keep connections, as that of a hung machine does.
func (l *Lab) Freeze(ctx context.Context, server string) error {
	return l.setFrozen(ctx, server, true)
}

// Thaw lets a frozen server go on.
func (l *Lab) Thaw(ctx context.Context, server string) error { return l.setFrozen(ctx, server, false) }

func (l *Lab) setFrozen(ctx context.Context, server string, frozen bool) error {
	if err := l.checkServer(server); err != nil {
		return err
	}
	return l.change(ctx, func(*state) error {
		running, err := l.running(server)
		if err != nil {
			return err
		}
		if !running {
			if frozen {
				return fmt.Errorf("server %s is off: start it first (hastack lab start %s %s)", server, l.name, server)
			}
			return nil
		}
		if err := l.cgroups.freeze(server, frozen); err != nil {
			return fmt.Errorf("freeze or thaw %s: %w", server, err)
		}
		return nil
	})
}

func (l *Lab) checkServer(server string) error {
	if l.topology.Server(server) == nil {
		return fmt.Errorf("%q is no server of lab %s; it has %s", server, l.name, strings.Join(l.Servers(), ", "))
	}
	return nil
}

func (l *Lab) running(server string) (bool, error) {
	pids, err := l.cgroups.pids(server)
	return len(pids) > 0, err
}

// Power is Running, Frozen or Off.
func (l *Lab) Power(server string) (string, error) {
	running, err := l.running(server)
	switch {
	case err != nil:
		return "", err
	case !running:
		return Off, nil
	case l.cgroups.frozen(server):
		return Frozen, nil
	}
	return Running, nil
}

// powerOff is Kill without the lock.
func (l *Lab) powerOff(ctx context.Context, server string) error {
	if err := l.unplug(server); err != nil {
		return fmt.Errorf("unplug %s: %w", server, err)
	}
	if err := killGroup(ctx, l.cgroups, server); err != nil {
		return fmt.Errorf("kill %s: %w", server, err)
	}
	if err := deleteNS(l.nsName(server)); err != nil {
		return err
	}
	return removeGroup(ctx, l.cgroups, server)
}

// killGroup kills every process of a group ("" for all of the lab's) until none
// is left.
func killGroup(ctx context.Context, c *cgroups, server string) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	for {
		pids, err := killOnce(c, server)
		if err != nil || len(pids) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes do not end, first %d: %w", len(pids), pids[0], ctx.Err())
		case <-clock.System.After(2 * time.Millisecond):
		}
	}
}

// killOnce kills every process that a group has now, and returns them.
func killOnce(c *cgroups, server string) ([]int, error) {
	pids, err := c.pids(server)
	if err != nil || len(pids) == 0 {
		return nil, err
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return nil, err
		}
	}
	if server != "" { // a frozen process dies when it is thawed
		err = c.freeze(server, false)
	}
	return pids, err
}

// removeGroup takes the groups away; the kernel lets go of them a moment after
// the last process.
func removeGroup(ctx context.Context, c *cgroups, server string) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	for {
		err := c.remove(server)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-clock.System.After(10 * time.Millisecond):
		}
	}
}

// ownPriority gives a machine, or the fabric, the ordinary priority: whoever
// starts it, a drill's prober for one, may have another.
const ownPriority = "{ chrt -o -p 0 $$; renice -n 0 -p $$; } >/dev/null 2>&1 || :\n"

// bootScript puts itself into the control groups, mounts the server's root in a
// mount namespace of its own, and becomes the machine. What systemd-nspawn keeps
// on the host for a machine goes with that namespace, too.
const bootScript = `set -e
` + ownPriority + `root=$1 overlay=$2 pid=$3 groups=$4; shift 4
for g in $groups; do echo $$ > "$g"; done
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o size=1m tmpfs /run/systemd/nspawn
mount -t overlay overlay -o "$overlay" "$root"
echo $$ > "$pid"
exec "$@"`

// boot starts the machine. It belongs to nobody: it outlives this process.
func (l *Lab) boot(ctx context.Context, s *state, server string) error {
	groups, err := l.cgroups.ensure(server)
	if err != nil {
		return err
	}
	lim, of := l.limits(server), l.topology.Server(server)
	if err := l.cgroups.limit(server, lim.MemoryMB, lim.CPUPercent, weight(of)); err != nil {
		return err
	}
	if err := l.cgroups.ration(server, realtime(l.topology, of)); err != nil {
		return err
	}
	dir := l.serverDir(server)
	overlay := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", strings.Join(s.Layers, ":"), dir, dir)
	args := []string{"-c", bootScript, "boot", filepath.Join(dir, "root"), overlay, filepath.Join(dir, "pid"), strings.Join(groups, " "),
		"systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot",
		"--directory=" + filepath.Join(dir, "root"), "--machine=" + l.machine(server), "--hostname=" + server,
		"--network-namespace-path=" + l.NetNS(server), "--capability=all",
		// The clock is the machine's, not the server's.
		"--drop-capability=CAP_SYS_TIME", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--settings=no"}
	log, err := os.OpenFile(filepath.Join(dir, "console.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", "SYSTEMD_NSPAWN_LOCK=0"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: unix.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start systemd-nspawn: %w", err)
	}
	return l.joined(ctx, cmd, server)
}

// joined waits until a new machine is in its control group, which is how it is
// known to run.
func (l *Lab) joined(ctx context.Context, cmd *exec.Cmd, server string) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // a dead machine must not stay as a zombie of a long drill
	for !l.owns(server, cmd.Process.Pid) {
		select {
		case err := <-ended:
			return fmt.Errorf("systemd-nspawn has ended: %w; the end of its console: %s", err, l.consoleEnd(server))
		case <-ctx.Done():
			return ctx.Err()
		case <-clock.System.After(2 * time.Millisecond):
		}
	}
	return nil
}

// machine is the server's name among all machines of the host.
func (l *Lab) machine(server string) string { return "hl-" + short(l.name) + "-" + server }

func (l *Lab) limits(server string) topology.Limits {
	lim := topology.Limits{MemoryMB: defaultMemoryMB, CPUPercent: defaultCPUPercent}
	for _, from := range []topology.Limits{l.topology.Lab, l.topology.Server(server).Lab} {
		if from.MemoryMB > 0 {
			lim.MemoryMB = from.MemoryMB
		}
		if from.CPUPercent > 0 {
			lim.CPUPercent = from.CPUPercent
		}
	}
	return lim
}
