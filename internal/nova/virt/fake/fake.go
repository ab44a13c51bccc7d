// Package fake is a hypervisor that only remembers its servers. It needs no
// root, runs thousands of servers in a process, and keeps the contract of
// virt.Driver well enough for every test of what lies above it. With a
// directory its servers outlive the process, as QEMU's do; delays and faults
// can be set per method. It has no screen and no disk contents.
package fake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
)

// Config sets the size and the manners of the pretended host.
type Config struct {
	// Dir keeps one JSON file per server and tap; empty keeps them in memory.
	Dir      string
	VCPUs    int // default 64
	MemoryMB int // default 512 GiB
	DiskGB   int // default 10 TiB
	// Delay makes a method ("Start", "Define", …) take that long.
	Delay map[string]time.Duration
	// Fault is asked before each method and may refuse it; nil refuses nothing.
	Fault func(method, id string) error
	Clock clock.Clock
}

// Driver is the pretended hypervisor. Make it with New.
type Driver struct {
	cfg    Config
	events chan virt.Event

	mu      sync.Mutex // guards the maps and closed
	servers map[string]*server
	taps    map[string]bool
	closed  bool
}

type server struct {
	Def     virt.Server `json:"def"`
	State   int         `json:"state"` // power state
	Started time.Time   `json:"started"`
	Boots   int         `json:"boots"`
	Drive   int         `json:"drive"` // files on the config drive
}

var _ virt.Driver = (*Driver)(nil)

// New returns a driver; it reads Dir only in Recover.
func New(cfg Config) *Driver {
	if cfg.VCPUs == 0 {
		cfg.VCPUs = 64
	}
	if cfg.MemoryMB == 0 {
		cfg.MemoryMB = 512 << 10
	}
	if cfg.DiskGB == 0 {
		cfg.DiskGB = 10 << 10
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	return &Driver{cfg: cfg, events: make(chan virt.Event, 64),
		servers: map[string]*server{}, taps: map[string]bool{}}
}

// Capabilities implements virt.Driver.
func (d *Driver) Capabilities() virt.Capabilities {
	return virt.Capabilities{Name: "fake", Suspend: true, Snapshot: true, HotPlug: true}
}

// Events implements virt.Driver.
func (d *Driver) Events() <-chan virt.Event { return d.events }

// Host implements virt.Driver.
func (d *Driver) Host(context.Context) (virt.Host, error) {
	return virt.Host{Type: "fake", Version: 1, Arch: "x86_64", CPUModel: "fake", Accel: "fake",
		VCPUs: d.cfg.VCPUs, MemoryMB: d.cfg.MemoryMB, DiskGB: d.cfg.DiskGB, DiskFreeGB: d.cfg.DiskGB}, nil
}

// enter makes the delay and the fault of a method happen.
func (d *Driver) enter(ctx context.Context, method, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t := d.cfg.Delay[method]; t > 0 {
		select {
		case <-d.cfg.Clock.After(t):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if d.cfg.Fault != nil {
		return d.cfg.Fault(method, id)
	}
	return nil
}

// change runs f on a server under the lock and stores what came of it.
func (d *Driver) change(ctx context.Context, method, id string, f func(*server) error) error {
	if err := d.enter(ctx, method, id); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.find(id)
	if err != nil {
		return err
	}
	if err := f(s); err != nil {
		return err
	}
	return d.save(s)
}

// find needs mu.
func (d *Driver) find(id string) (*server, error) {
	if s := d.servers[id]; s != nil {
		return s, nil
	}
	return nil, fault.New(fault.NotFound, "server %s is not on this host", id)
}

func (d *Driver) save(s *server) error {
	if d.cfg.Dir == "" {
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(d.cfg.Dir, s.Def.ID+".json"), b)
}

// writeFile replaces a file so that a crash leaves the old or the new one.
func writeFile(path string, b []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// Recover implements virt.Driver.
func (d *Driver) Recover(ctx context.Context) ([]virt.Info, error) {
	if err := d.enter(ctx, "Recover", ""); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cfg.Dir != "" {
		if err := d.load(); err != nil {
			return nil, err
		}
	}
	out := make([]virt.Info, 0, len(d.servers))
	for id, s := range d.servers {
		out = append(out, virt.Info{ID: id, PowerState: s.State})
	}
	return out, nil
}

func (d *Driver) load() error {
	if err := os.MkdirAll(d.cfg.Dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if tap, ok := strings.CutSuffix(e.Name(), ".tap"); ok {
			d.taps[tap] = true
			continue
		}
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(d.cfg.Dir, e.Name()))
		if err != nil {
			return err
		}
		s := new(server)
		if err := json.Unmarshal(b, s); err != nil {
			return fmt.Errorf("server file %s: %w", e.Name(), err)
		}
		d.servers[s.Def.ID] = s
	}
	return nil
}

// Define implements virt.Driver.
func (d *Driver) Define(ctx context.Context, s *virt.Server) error {
	if err := d.enter(ctx, "Define", s.ID); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	have := d.servers[s.ID]
	if have == nil {
		have = &server{State: rpc.PowerShutdown}
		d.servers[s.ID] = have
	}
	if have.State == rpc.PowerRunning || have.State == rpc.PowerPaused {
		return fault.New(fault.Conflict, "server %s runs and cannot be defined anew", s.ID)
	}
	have.Def = *s
	have.Def.NICs = append([]virt.NIC(nil), s.NICs...)
	have.Def.ConfigDrive, have.Drive = nil, len(s.ConfigDrive)
	return d.save(have)
}

// PlugTap implements virt.Driver.
func (d *Driver) PlugTap(ctx context.Context, nic virt.NIC) error {
	if err := d.enter(ctx, "PlugTap", nic.Tap); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taps[nic.Tap] = true
	if d.cfg.Dir == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(d.cfg.Dir, nic.Tap+".tap"), nil, 0o600)
}

// UnplugTap implements virt.Driver.
func (d *Driver) UnplugTap(ctx context.Context, tap string) error {
	if err := d.enter(ctx, "UnplugTap", tap); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dropTap(tap)
}

func (d *Driver) dropTap(tap string) error {
	delete(d.taps, tap)
	if d.cfg.Dir == "" {
		return nil
	}
	err := os.Remove(filepath.Join(d.cfg.Dir, tap+".tap"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Close implements virt.Driver.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		close(d.events)
	}
	return nil
}
