// Package qemu runs servers as QEMU processes, spoken to by QMP.
//
// A QEMU is a daemon of its own: it outlives the agent, runs as a user without
// rights in a seccomp sandbox, and never opens a path: every disk, tap, log and
// socket reaches it as an open descriptor. So it needs no right to the state
// directory, and a guest that takes over its QEMU finds nothing to open.
//
// Read qemu.go for the driver and its state, args.go for the machine that a
// guest sees, launch.go for how it starts and recover.go for how a new agent
// takes over. One directory per server holds server.json, the disks, the
// console's log and the monitor's socket.
package qemu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
)

// newGuest is a QEMU that is not connected to yet.
func (d *Driver) newGuest(id string, pid int) *guest {
	g := &guest{id: id, pid: pid, gone: make(chan struct{}), waiters: map[string][]chan qmpEvent{}}
	g.mon = newLink(d.dir(id), g.event)
	return g
}

// Config is what an operator sets of the driver.
type Config struct {
	StateDir string // servers live in StateDir/servers
	Binary   string // default qemu-system-x86_64
	// User runs the guests when the agent is root; default the first that
	// exists of hastack-guest, libvirt-qemu and nobody.
	User string
	// Accel is "auto" (KVM if a test guest ran, else TCG), "kvm" or "tcg".
	Accel    string
	TBSizeMB int // TCG's translation cache per guest, default 32
	// Reserved is kept for the host itself when its size is reported.
	ReservedMemoryMB int
	ReservedDiskGB   int
	// ConsoleBytes bounds the log of a serial console, default 1 MiB.
	ConsoleBytes int64
}

// Driver drives the QEMUs of this machine. Make it with New.
type Driver struct {
	cfg    Config
	log    *slog.Logger
	clock  clock.Clock
	runAs  *identity
	events chan virt.Event
	groups *cgroups

	accelOnce sync.Once
	accel     string // kvm or tcg, once accelOnce has run
	version   int
	cpuName   string
	cpuFlags  []string

	mu     sync.Mutex // guards guests and closed
	guests map[string]*guest
	closed bool
	stop   chan struct{}
	wait   sync.WaitGroup // goroutines that watch guests
}

// A guest is a running QEMU.
type guest struct {
	id    string
	pid   int
	mon   *link
	gone  chan struct{} // closed when the process is no more
	child *exec.Cmd     // nil when an earlier agent started it

	mu       sync.Mutex // guards what follows
	ending   bool       // its end was asked for, or comes from a shutdown seen
	reason   string     // why it shut down, from QEMU's event
	waiters  map[string][]chan qmpEvent
	vncCount int
}

var _ virt.Driver = (*Driver)(nil)

// New checks what the driver needs of the machine. Call Recover next.
func New(cfg Config, clk clock.Clock, log *slog.Logger) (*Driver, error) {
	if cfg.Binary == "" {
		cfg.Binary = "qemu-system-x86_64"
	}
	if cfg.TBSizeMB == 0 {
		cfg.TBSizeMB = 32
	}
	if cfg.ConsoleBytes == 0 {
		cfg.ConsoleBytes = 1 << 20
	}
	path, err := exec.LookPath(cfg.Binary)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed (Debian package qemu-system-x86): %w", cfg.Binary, err)
	}
	cfg.Binary = path
	if cfg.StateDir, err = filepath.Abs(cfg.StateDir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(cfg.StateDir, "servers"), 0o700); err != nil {
		return nil, err
	}
	runAs, err := findUser(cfg.User)
	if err != nil {
		return nil, err
	}
	d := &Driver{cfg: cfg, log: log, clock: clk, runAs: runAs, events: make(chan virt.Event, 256),
		guests: map[string]*guest{}, stop: make(chan struct{}), groups: findCgroups()}
	if d.version, err = qemuVersion(path); err != nil {
		return nil, err
	}
	d.cpuName, d.cpuFlags = cpuModel()
	return d, nil
}

// Capabilities implements virt.Driver.
func (d *Driver) Capabilities() virt.Capabilities {
	return virt.Capabilities{Name: "qemu", NeedsImage: true, NeedsTap: true, Suspend: true,
		Snapshot: true, VNC: true, HotPlug: true}
}

// Events implements virt.Driver.
func (d *Driver) Events() <-chan virt.Event { return d.events }

// Close implements virt.Driver: the guests run on.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.stop)
	guests := slices.Collect(maps.Values(d.guests))
	d.mu.Unlock()
	for _, g := range guests {
		g.mon.close()
	}
	d.wait.Wait()
	close(d.events)
	return nil
}

// running returns the guest of a server, nil if it does not run.
func (d *Driver) running(id string) *guest {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.guests[id]
	if g == nil {
		return nil
	}
	select {
	case <-g.gone:
		return nil
	default:
		return g
	}
}

// mustRun returns the guest of a server, NotFound or Conflict without one.
func (d *Driver) mustRun(id string) (*guest, error) {
	if g := d.running(id); g != nil {
		return g, nil
	}
	if _, err := d.load(id); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.Conflict, "server %s does not run", id)
}

// Info implements virt.Driver.
func (d *Driver) Info(ctx context.Context, id string) (virt.Info, error) {
	if _, err := d.load(id); err != nil {
		return virt.Info{}, err
	}
	return d.info(ctx, id), nil
}

func (d *Driver) info(ctx context.Context, id string) virt.Info {
	in := virt.Info{ID: id, PowerState: rpc.PowerShutdown}
	if g := d.running(id); g != nil {
		in.PID = g.pid
		in.PowerState = g.powerState(ctx)
	} else if exists(d.path(id, fileSuspend)) {
		in.PowerState = rpc.PowerSuspended
	}
	return in
}

// powerState asks QEMU. One that does not answer counts as running: its
// process is there, and nobody may start a second one.
func (g *guest) powerState(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var st struct {
		Status string `json:"status"`
	}
	if err := g.mon.ask(ctx, "query-status", nil, &st); err != nil {
		if errors.Is(err, errMonitorClosed) {
			select {
			case <-g.gone:
				return rpc.PowerShutdown
			case <-time.After(200 * time.Millisecond):
			}
		}
		return rpc.PowerRunning
	}
	switch st.Status {
	case "paused", "suspended", "prelaunch", "save-vm", "postmigrate", "finish-migrate":
		return rpc.PowerPaused
	case "shutdown":
		return rpc.PowerShutdown
	case "internal-error", "guest-panicked", "io-error":
		return rpc.PowerCrashed
	}
	return rpc.PowerRunning
}
