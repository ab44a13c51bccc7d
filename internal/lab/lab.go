package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hastack/hastack/internal/topology"
)

// Operator is the name of the operator's seat where a server's name is asked
// for: in links, and as an end of a drop.
const Operator = "operator"

// Anyone as an end of a drop means every server and the operator.
const Anyone = "*"

// ErrNoLab is returned by [Open] for a lab that is not there.
var ErrNoLab = errors.New("no such lab")

// A Lab is one lab of this machine. Its methods may be called from several
// goroutines and processes at once: a file lock orders what changes it. All of
// them are idempotent.
type Lab struct {
	dir      string
	stateDir string
	name     string
	topology *topology.Topology
	cgroups  *cgroups
}

// Open finds a lab that [Up] has made, wholly or in part.
func Open(stateDir, name string) (*Lab, error) {
	l := newLab(stateDir, name)
	if err := checkName(name); err != nil {
		return nil, err
	}
	if _, err := os.Stat(l.stateFile()); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is not up in %s; labs here: %s", ErrNoLab, name, stateDir, listed(stateDir))
	} else if err != nil {
		return nil, err
	}
	t, err := topology.Load(l.TopologyFile())
	if err != nil {
		return nil, err
	}
	l.topology = t
	return l, nil
}

func newLab(stateDir, name string) *Lab {
	return &Lab{dir: Dir(stateDir, name), stateDir: stateDir, name: name, cgroups: newCgroups("hl-" + short(name))}
}

// List are the names of the labs in a state directory.
func List(stateDir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(stateDir, "labs", "*", "lab.json"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	slices.Sort(names)
	return names, nil
}

// Name is the topology's name.
func (l *Lab) Name() string { return l.name }

// Topology is the topology that the lab was made from.
func (l *Lab) Topology() *topology.Topology { return l.topology }

// TopologyFile is the lab's own copy of it.
func (l *Lab) TopologyFile() string { return filepath.Join(l.dir, "topology.yaml") }

// Key is the file of the private key that the servers let in as root.
func (l *Lab) Key() string { return filepath.Join(l.dir, "id_ed25519") }

// NetNS is the path of a server's network namespace; it is another namespace
// after each power-on. [Operator] is a name too.
func (l *Lab) NetNS(server string) string { return nsPath(l.nsName(server)) }

// OperatorNetNS is the path of the operator's namespace: .1 on management,
// external and out-of-band, and the only place from which servers are reached.
func (l *Lab) OperatorNetNS() string { return nsPath(l.nsName(Operator)) }

// Servers are the names of the servers in the topology's order.
func (l *Lab) Servers() []string {
	var out []string
	for _, s := range l.topology.Servers {
		out = append(out, s.Name)
	}
	return out
}

// Switches are the names of the switches.
func (l *Lab) Switches() []string {
	var out []string
	for _, s := range l.topology.Switches {
		out = append(out, s.Name)
	}
	return out
}

// Links are all cables of the servers; [topology.Link.Name] is what Cut takes.
func (l *Lab) Links() []topology.Link {
	var out []topology.Link
	for _, s := range l.topology.Servers {
		out = append(out, s.Links()...)
	}
	return out
}

// Uplinks are the names of the cables between switches ("tor-a--tor-b").
func (l *Lab) Uplinks() []string {
	var out []string
	for _, u := range uplinks(l.topology) {
		if n := u.name(); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// Cut pulls cables: of a link ("node01/bond0l1"), of a server's network
// ("node01/management"), of a server, of a switch, or those between two
// switches ("tor-a--tor-b"). Both ends lose their carrier.
func (l *Lab) Cut(ctx context.Context, target string) error {
	return l.setCut(ctx, target, true)
}

// Heal undoes the Cut of the same target; what another Cut covers stays cut.
func (l *Lab) Heal(ctx context.Context, target string) error {
	return l.setCut(ctx, target, false)
}

// HealAll undoes every Cut and Drop, and thaws every server.
func (l *Lab) HealAll(ctx context.Context) error {
	err := l.change(ctx, func(s *state) error {
		s.Cuts, s.Drops = nil, nil
		return errors.Join(l.applyLinks(s), l.applyDrops(s))
	})
	for _, s := range l.Servers() {
		err = errors.Join(err, l.Thaw(ctx, s))
	}
	return err
}

// Drop loses percent (1 to 100) of the frames that one server sends to another
// in a network, and not the other way round. Carrier stays. [Anyone] and
// [Operator] are names too. A second Drop of the same three replaces the first.
func (l *Lab) Drop(ctx context.Context, from, to, network string, percent int) error {
	return l.setDrop(ctx, Loss{From: from, To: to, Network: network, Percent: percent})
}

// Undrop ends the Drop of the same three.
func (l *Lab) Undrop(ctx context.Context, from, to, network string) error {
	return l.setDrop(ctx, Loss{From: from, To: to, Network: network})
}

// OneWay makes a server deaf (it hears nothing in the network) or mute (nobody
// hears it), while its link stays up. Undo with HealAll, or with Undrop of
// (Anyone, server) for deaf and (server, Anyone) for mute.
func (l *Lab) OneWay(ctx context.Context, server, network string, deaf bool) error {
	if deaf {
		return l.Drop(ctx, Anyone, server, network, 100)
	}
	return l.Drop(ctx, server, Anyone, network, 100)
}

// A Loss is a one-way loss of frames.
type Loss struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Network string `json:"network"`
	Percent int    `json:"percent"`
}

func (d Loss) String() string {
	return fmt.Sprintf("%s->%s %s %d%%", d.From, d.To, d.Network, d.Percent)
}

// Power states of a server.
const (
	Running = "running"
	Frozen  = "frozen"
	Off     = "off"
)

// Status is what a lab looks like now.
type Status struct {
	Name     string         `json:"name"`
	Bonding  string         `json:"bonding"` // "kernel" or "stand-in"
	Fabric   string         `json:"fabric"`  // "running" or "off": the process that moves legs
	Servers  []ServerStatus `json:"servers"`
	Cuts     []string       `json:"cuts"`
	Drops    []Loss         `json:"drops"`
	MemoryMB int            `json:"memory_mb"` // of all servers
}

// ServerStatus is what a server of a lab looks like now.
type ServerStatus struct {
	Name  string       `json:"name"`
	Power string       `json:"power"`
	Links []LinkStatus `json:"links"`
	// MemoryMB is what its processes and its kernel objects take; CacheMB is
	// page cache, which the kernel gives back when it is needed.
	MemoryMB int     `json:"memory_mb"`
	CacheMB  int     `json:"cache_mb"`
	LimitMB  int     `json:"limit_mb"`
	CPU      float64 `json:"cpu_seconds"`
}

// LinkStatus is a cable: whether it is plugged in (up), and whether it is the
// leg that its device uses (active).
type LinkStatus struct {
	Name   string `json:"name"`
	Switch string `json:"switch"`
	Up     bool   `json:"up"`
	Active bool   `json:"active"`
}
