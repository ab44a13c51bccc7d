// Package vipguard watches, on a load balancer, what keepalived cannot see or
// sees too late, and makes it give the virtual addresses away in time.
//
// Four watchers run several times a second. answers (haproxy.go): HAProxy runs
// and does not answer. majority (reach.go): this server reaches no majority of
// the cluster over management, so the others may have taken its addresses.
// segment (segment.go): every leg of a network is down, behind a bridge that
// has other ports. Each writes 0 or 1 into a file that keepalived tracks. rival
// (rival.go) is for a keepalived that hangs: another server has taken an
// address that is still here, so keepalived is killed, and its unit clears the
// address.
//
// The guard decides nothing about who holds an address: VRRP does. Without it
// all goes on, by keepalived's own slower checks. Start with [Guard.Run].
package vipguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/hastack/hastack/internal/clock"
)

// Config is the guard's file; deploy writes it.
type Config struct {
	// StateDir holds the files that keepalived tracks.
	StateDir string `yaml:"state_dir"`
	// HAProxy answers GET /alive at this address on loopback.
	HAProxy string `yaml:"haproxy"`
	// Address is this server's in the management network, Members are those of
	// the other servers that count for the majority, Rivals those of the other
	// load balancers.
	Address netip.Addr   `yaml:"address"`
	Members []netip.Addr `yaml:"members"`
	Rivals  []netip.Addr `yaml:"rivals"`
	VIPs    []VIP        `yaml:"vips"`
}

// VIP is a virtual address that this server may hold.
type VIP struct {
	Name    string     `yaml:"name"`
	ID      int        `yaml:"id"` // virtual router id
	Address netip.Addr `yaml:"address"`
	// Legs are the interfaces that lead to its network; when all are down, it
	// must not be here.
	Legs []string `yaml:"legs"`
}

// Names of the files that keepalived tracks, beside one a VIP ([SegmentFile]).
const (
	AnswersFile  = "answers"
	MajorityFile = "majority"
)

// SegmentFile is the file of a VIP's network.
func SegmentFile(vip string) string { return "segment-" + vip }

// Load reads the guard's file.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read vip guard's configuration: %w", err)
	}
	defer f.Close()
	var c Config
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.StateDir == "" || !c.Address.IsValid() || c.HAProxy == "" {
		return nil, fmt.Errorf("%s: state_dir, haproxy and address must be given", path)
	}
	return &c, nil
}

// Deps are what a guard needs.
type Deps struct {
	Clock clock.Clock
	Log   *slog.Logger
	// Kill ends a unit's processes with SIGKILL; nil asks systemd.
	Kill func(ctx context.Context, unit string) error
	// RunDir has the pid files; "" is /run.
	RunDir string
	// Alive is called by each watcher's round, for systemd's watchdog; nil is none.
	Alive func()
}

// Guard is the watchers of one server.
type Guard struct {
	cfg   *Config
	clock clock.Clock
	log   *slog.Logger
	kill  func(ctx context.Context, unit string) error
	alive func()
	run   string
}

// pidFile is a daemon's, below RunDir.
func (g *Guard) pidFile(path string) string { return filepath.Join(g.run, filepath.Base(path)) }

// New makes a guard; nothing is watched yet.
func New(cfg *Config, d Deps) *Guard {
	g := &Guard{cfg: cfg, clock: d.Clock, log: d.Log, kill: d.Kill, alive: d.Alive, run: d.RunDir}
	if g.run == "" {
		g.run = "/run"
	}
	if g.kill == nil {
		g.kill = systemdKill
	}
	if g.alive == nil {
		g.alive = func() {}
	}
	return g
}

// Run watches until ctx ends. At the end the files say that all is well: what
// nobody watches must not keep an address away.
func (g *Guard) Run(ctx context.Context) error {
	files := []string{AnswersFile, MajorityFile}
	for _, v := range g.cfg.VIPs {
		files = append(files, SegmentFile(v.Name))
	}
	release := func() error {
		var errs []error
		for _, f := range files {
			errs = append(errs, g.write(f, true))
		}
		return errors.Join(errs...)
	}
	if err := release(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, watch := range []func(context.Context) error{g.watchHAProxy, g.watchMajority, g.watchSegments, g.watchRivals} {
		group.Go(func() error { return watch(ctx) })
	}
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, release())
}

// write tells keepalived whether a watcher is content.
func (g *Guard) write(file string, well bool) error {
	text := "1\n"
	if well {
		text = "0\n"
	}
	// In place: keepalived watches the file itself, and reads what is complete
	// when it is closed.
	if err := os.WriteFile(filepath.Join(g.cfg.StateDir, file), []byte(text), 0o644); err != nil {
		return fmt.Errorf("tell keepalived: %w", err)
	}
	return nil
}

// A verdict writes its file when it changes, and the log why.
type verdict struct {
	guard *Guard
	file  string
	bad   bool
}

func (v *verdict) set(ctx context.Context, well bool, why string, args ...any) error {
	if well != v.bad {
		return nil
	}
	v.bad = !well
	if well {
		v.guard.log.InfoContext(ctx, "well again", "watcher", v.file)
	} else {
		v.guard.log.WarnContext(ctx, "giving the addresses away", append([]any{"watcher", v.file, "reason", why}, args...)...)
	}
	return v.guard.write(v.file, well)
}

// systemdKill ends every process of a unit. A process that is stopped by
// SIGSTOP is ended too.
func systemdKill(ctx context.Context, unit string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "kill", "--signal=KILL", unit).CombinedOutput()
	if err != nil {
		return fmt.Errorf("kill %s: %w: %s", unit, err, strings.TrimSpace(string(out)))
	}
	return nil
}
