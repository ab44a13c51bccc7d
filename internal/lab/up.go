package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

// bootTimeout is how long the servers may take until ssh answers.
const bootTimeout = 5 * time.Minute

// Options say what lab to make.
type Options struct {
	StateDir string
	// TopologyFile is copied: the lab keeps its own.
	TopologyFile string
	// Cache and Mirror default to DefaultCache and DefaultMirror.
	Cache, Mirror string
	// Fabric is the command line of the fabric process; it defaults to this
	// program's hidden command.
	Fabric []string
	// Progress is told each step; nil is silence.
	Progress func(step, detail string)
}

// Up makes a lab, or completes one: what is there and well is left as it is.
// A changed topology adds servers and removes those that are gone from it; other
// networks or switches need a new lab.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if o.Progress == nil {
		o.Progress = func(string, string) {}
	}
	raw, err := os.ReadFile(o.TopologyFile)
	if err != nil {
		return nil, err
	}
	t, err := topology.Parse(o.TopologyFile, raw)
	if err != nil {
		return nil, err
	}
	if err := checkNames(t); err != nil {
		return nil, err
	}
	l := newLab(o.StateDir, t.Name)
	o.Progress("machine", fmt.Sprintf("%d servers, %d switches, %d networks", len(t.Servers), len(t.Switches), len(t.Networks)))
	if err := checkMachine(l.cgroups); err != nil {
		return nil, err
	}
	layers, err := o.layers(ctx)
	if err != nil {
		return nil, err
	}
	o.Progress("switches", "")
	if err := l.found(ctx, t, raw, layers); err != nil {
		return nil, fmt.Errorf("lab %s: %w", l.name, err)
	}
	if err := l.startFabric(o.Fabric); err != nil {
		return nil, fmt.Errorf("lab %s: %w", l.name, err)
	}
	o.Progress("switches", fmt.Sprintf("%d cables, %d between switches, bonding by the %s", len(l.Links()), len(uplinks(t)), l.bonding()))
	return l, l.bootAll(ctx, o.Progress)
}

func (o *Options) layers(ctx context.Context) ([]string, error) {
	c := &cache{dir: o.Cache, mirror: o.Mirror, progress: o.Progress}
	if c.dir == "" {
		c.dir = DefaultCache
	}
	if c.mirror == "" {
		c.mirror = DefaultMirror
	}
	o.Progress("root", "")
	layers, err := c.layers(ctx)
	if err != nil {
		return nil, err
	}
	o.Progress("root", filepath.Base(layers[0])+" over "+filepath.Base(layers[1]))
	return layers, nil
}

// found makes everything of the lab but its servers.
func (l *Lab) found(ctx context.Context, t *topology.Topology, raw []byte, layers []string) error {
	if err := os.MkdirAll(filepath.Join(l.dir, "servers"), 0o755); err != nil {
		return err
	}
	if err := errors.Join(checkDisk(l.dir), l.claim(), l.ensureKey()); err != nil {
		return err
	}
	return l.change(ctx, func(s *state) error {
		if old, err := topology.Load(l.TopologyFile()); err == nil {
			if err := sameWires(old, t); err != nil {
				return err
			}
		}
		if err := config.WriteFile(l.TopologyFile(), raw, 0o644); err != nil {
			return err
		}
		l.topology = t
		if len(s.Layers) == 0 {
			s.Layers = layers
		}
		if err := raiseKernel(s, t); err != nil {
			return err
		}
		if err := l.save(s); err != nil { // so that down knows what was raised
			return err
		}
		if err := l.buildFabric(); err != nil {
			return err
		}
		if !nsAlive(l.nsName(Operator)) {
			s.Bonding = kernelBonds(l.nsName(fabricName))
		}
		if err := l.removeGone(ctx); err != nil {
			return err
		}
		return errors.Join(l.wireOperator(s), l.applyLinks(s), l.applyDrops(s))
	})
}

func sameWires(old, now *topology.Topology) error {
	if reflect.DeepEqual(old.Networks, now.Networks) && reflect.DeepEqual(old.Switches, now.Switches) {
		return nil
	}
	return fmt.Errorf("its networks or switches are not those that it was made with: take it down first (hastack lab down %s)", old.Name)
}

// removeGone removes servers that the topology does not have any more.
func (l *Lab) removeGone(ctx context.Context) error {
	entries, err := os.ReadDir(filepath.Join(l.dir, "servers"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(l.Servers(), e.Name()) {
			continue
		}
		if err := l.powerOff(ctx, e.Name()); err != nil {
			return err
		}
		if err := os.RemoveAll(l.serverDir(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// bootAll starts what is off and waits until every server can be reached.
func (l *Lab) bootAll(ctx context.Context, progress func(step, detail string)) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	progress("servers", "")
	for i, s := range l.Servers() {
		if err := l.Start(ctx, s); err != nil {
			return err
		}
		progress("servers", fmt.Sprintf("%d of %d boot", i+1, len(l.Servers())))
	}
	var g errgroup.Group
	g.SetLimit(8)
	var (
		mu       sync.Mutex // guards answered and the calls of progress
		answered int
	)
	for _, s := range l.Servers() {
		g.Go(func() error {
			if err := l.WaitSSH(ctx, s); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			answered++
			progress("servers", fmt.Sprintf("%d of %d answer ssh", answered, len(l.Servers())))
			return nil
		})
	}
	return g.Wait()
}

func (l *Lab) bonding() string {
	if s, err := l.load(); err == nil && s.Bonding {
		return "kernel"
	}
	return "stand-in"
}

// startFabric starts the lab's process unless it runs. It belongs to nobody.
func (l *Lab) startFabric(command []string) error {
	if running, err := l.running(fabricName); err != nil || running {
		return err
	}
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		command = []string{self, "lab", "fabric", "--state-dir", l.stateDir, l.name}
	}
	groups, err := l.cgroups.ensure(fabricName)
	if err != nil {
		return err
	}
	if err := l.cgroups.share(len(l.topology.Servers)); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(l.dir, "fabric.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	const script = ownPriority + `for g in $1; do echo $$ > "$g"; done; shift; exec "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "fabric", strings.Join(groups, " ")}, command...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the fabric process: %w", err)
	}
	go func() { _ = cmd.Wait() }()
	return nil
}
