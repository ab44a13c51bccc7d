package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/lab"
	"github.com/hastack/hastack/internal/topology"
)

// clusterFlag is how a command is told which cluster it is about.
type clusterFlag struct{ dir string }

func (f *clusterFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "cluster-dir", "", "the cluster's directory (default: clusters/NAME in the state directory)")
}

// clusterOf opens, or makes, the cluster directory of a topology file, inside
// the lab of that name if there is one.
func (a *app) clusterOf(f clusterFlag, file string) (*cluster.Dir, []byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("read topology: %w", err)}
	}
	t, err := topology.Parse(file, b)
	if err != nil {
		return nil, nil, err
	}
	dir := f.dir
	if dir == "" {
		dir = cluster.DefaultPath(a.stateDir, t.Name)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, err
	}
	if err := enterLab(a.stateDir, t.Name, dir); err != nil {
		return nil, nil, err
	}
	d, err := cluster.Ensure(dir, t)
	if err != nil {
		return nil, nil, err
	}
	return d, b, a.labAccess(d)
}

// deployedCluster opens the cluster that was deployed from here, inside the
// lab of its name if there is one; without a directory it must be the only one.
func (a *app) deployedCluster(f clusterFlag) (*cluster.Dir, error) {
	dir := f.dir
	if dir == "" {
		found, err := filepath.Glob(filepath.Join(a.stateDir, "clusters", "*", cluster.TopologyFile))
		switch {
		case err != nil:
			return nil, err
		case len(found) == 0:
			return nil, fmt.Errorf("there is no cluster in %s: deploy one (hastack deploy TOPOLOGY), or name its directory (--cluster-dir)", a.stateDir)
		case len(found) > 1:
			return nil, usageError{fmt.Errorf("there are %d clusters in %s: name the directory of one (--cluster-dir)", len(found), filepath.Join(a.stateDir, "clusters"))}
		}
		dir = filepath.Dir(found[0])
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	d, err := cluster.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := enterLab(a.stateDir, d.Topology.Name, dir); err != nil {
		return nil, err
	}
	return d, a.labAccess(d)
}

// labMark is the file in a cluster's directory that says that its servers are a
// lab's.
const labMark = "of-a-lab"

// enterLab moves into the lab of a cluster if there is one. The cluster of a
// lab that is down is refused: its addresses lead elsewhere, or to strangers.
func enterLab(stateDir, name, dir string) error {
	if err := lab.Enter(stateDir, name); err != nil {
		return err
	}
	mark := filepath.Join(dir, labMark)
	if lab.Entered() {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		return os.WriteFile(mark, nil, 0o600)
	}
	if _, err := os.Stat(mark); err == nil {
		return fmt.Errorf("the servers of %s are a lab's, and no lab %s is up in %s: start it (hastack lab up TOPOLOGY), or remove %s", name, name, stateDir, dir)
	}
	return nil
}

// labAccess uses the key of the lab, and the pins that end with the lab.
func (a *app) labAccess(d *cluster.Dir) error {
	l, err := lab.Open(a.stateDir, d.Topology.Name)
	if errors.Is(err, lab.ErrNoLab) {
		return nil
	}
	if err != nil {
		return err
	}
	d.SSHKey = l.Key()
	d.KnownHosts = filepath.Join(filepath.Dir(l.Key()), "known_hosts")
	return nil
}
