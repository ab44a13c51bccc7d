// Package cluster is the directory on the operator's machine that makes a
// cluster this operator's: its topology, its secrets, its certificate
// authority and the pinned host keys; and the ways to its servers, SSH and
// HTTPS with client certificates.
//
// Everything in the directory is made once and atomically, so that a deploy
// that was killed finds it again. It is readable by its owner only. Start with
// [Ensure] and [Open]; ca.go has the certificates, ssh.go the connections.
package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

// TopologyFile is where the last deployed topology lies in the directory.
const TopologyFile = "topology.yaml"

// A Dir is an open cluster directory. It is safe for concurrent use; its
// exported fields are set before the first use.
type Dir struct {
	Path     string
	Topology *topology.Topology
	Secrets  *Secrets
	Clock    clock.Clock
	// SSHKey is the private key used when the topology names none: the lab's
	// own. "" means the agent's and the user's default keys.
	SSHKey string
	// KnownHosts is the file of pinned host keys; "" means known_hosts in the
	// directory. A lab has its own, which goes with it.
	KnownHosts string

	ca    *authority
	mu    sync.Mutex
	conns map[string]*dialled
}

// DefaultPath is the directory of the cluster of that name.
func DefaultPath(stateDir, name string) string { return filepath.Join(stateDir, "clusters", name) }

// Open opens an existing cluster directory.
func Open(dir string) (*Dir, error) {
	t, err := topology.Load(filepath.Join(dir, TopologyFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no cluster in %s: deploy one (hastack deploy TOPOLOGY), or name its directory (--cluster-dir)", dir)
	}
	if err != nil {
		return nil, err
	}
	return Ensure(dir, t)
}

// Ensure opens the directory for a topology and makes what is missing.
func Ensure(dir string, t *topology.Topology) (*Dir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make cluster directory: %w", err)
	}
	d := &Dir{Path: dir, Topology: t, Clock: clock.System, conns: map[string]*dialled{}}
	unlock, err := d.flock("make.lock", true)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if d.Secrets, err = ensureSecrets(filepath.Join(dir, config.SecretsFile)); err != nil {
		return nil, err
	}
	if d.ca, err = d.ensureAuthority(); err != nil {
		return nil, err
	}
	if _, _, err = d.operator(); err != nil {
		return nil, err
	}
	return d, d.writeClouds()
}

// SaveTopology keeps the file that is being deployed.
func (d *Dir) SaveTopology(file []byte) error {
	if old, err := os.ReadFile(d.path(TopologyFile)); err == nil && bytes.Equal(old, file) {
		return nil
	}
	if err := config.WriteFile(d.path(TopologyFile), file, 0o600); err != nil {
		return fmt.Errorf("keep topology: %w", err)
	}
	return nil
}

// removedFile lists the servers that were taken out of the cluster and may
// still be named by its topology.
const removedFile = "removed"

// NoteRemoved remembers that a server was taken out of the cluster.
func (d *Dir) NoteRemoved(name string) error {
	removed, err := d.removed()
	if err != nil || slices.Contains(removed, name) {
		return err
	}
	return d.keepRemoved(append(removed, name))
}

// CheckRemoved refuses a topology that lacks servers of the one that was
// deployed last and were not taken out: they would go on running alone. A
// removed server that the topology names joins again.
func (d *Dir) CheckRemoved() error {
	last, err := topology.Load(d.path(TopologyFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	removed, err := d.removed()
	if err != nil {
		return err
	}
	var gone []string
	for _, s := range last.Servers {
		if d.Topology.Server(s.Name) == nil && !slices.Contains(removed, s.Name) {
			gone = append(gone, s.Name)
		}
	}
	if len(gone) > 0 {
		return fmt.Errorf("the file no longer has %s, which cluster %s runs on: take it out first (hastack node remove %s)", strings.Join(gone, ", "), d.Topology.Name, gone[0])
	}
	kept := slices.DeleteFunc(slices.Clone(removed), func(name string) bool { return d.Topology.Server(name) != nil })
	if len(kept) == len(removed) {
		return nil
	}
	return d.keepRemoved(kept)
}

func (d *Dir) removed() ([]string, error) {
	b, err := os.ReadFile(d.path(removedFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read removed servers: %w", err)
	}
	return strings.Fields(string(b)), nil
}

func (d *Dir) keepRemoved(names []string) error {
	if err := config.WriteFile(d.path(removedFile), []byte(strings.Join(names, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("note removed servers: %w", err)
	}
	return nil
}

// Lock makes this process the only one that deploys from this directory; it
// refuses at once when another does.
func (d *Dir) Lock() (unlock func(), err error) {
	unlock, err = d.flock("deploy.lock", false)
	if errors.Is(err, unix.EWOULDBLOCK) {
		pid, _ := os.ReadFile(d.path("deploy.lock"))
		return nil, fmt.Errorf("cluster %s is being deployed by process %s on this machine: wait until it ends", d.Topology.Name, strings.TrimSpace(string(pid)))
	}
	return unlock, err
}

// flock locks a file of the directory; the lock ends with the process.
func (d *Dir) flock(name string, wait bool) (unlock func(), err error) {
	f, err := os.OpenFile(d.path(name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock cluster directory: %w", err)
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(f.Fd()), how)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	// Who holds it is a courtesy to the one who is refused.
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return func() { _ = f.Close() }, nil
}

func (d *Dir) path(elem ...string) string {
	return filepath.Join(append([]string{d.Path}, elem...)...)
}
