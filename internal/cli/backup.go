package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/deploy"
)

func (a *app) backupCommand() *cobra.Command {
	var at clusterFlag
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Save the control plane of a cluster in one file",
		Long: "Save the databases of all services as they are at one moment, and the cluster directory with its topology, secrets,\n" +
			"authority and keys. The file opens everything in the cloud: it is readable by its owner only, keep it so. Image data\n" +
			"and the disks of servers are not in it.",
		Example: "  hastack backup /srv/backup/three-2026-11-21.tar.gz",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.deployedCluster(at)
			if err != nil {
				return err
			}
			defer d.Close()
			c, _, err := a.deployContext(d, nil)
			if err != nil {
				return err
			}
			bars := newDeployProgress(a.out)
			c.Progress = bars
			if err := deploy.Backup(cmd.Context(), c, args[0]); err != nil {
				bars.Fail()
				return err
			}
			st, err := os.Stat(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "\nthe control plane of %s is in %s, %d KiB\n", d.Topology.Name, args[0], (st.Size()+1023)>>10)
			return err
		},
	}
	at.add(cmd)
	return cmd
}

func (a *app) restoreCommand() *cobra.Command {
	var at clusterFlag
	var yes bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Bring the control plane of a cluster back from a backup",
		Long: "Bring back what hastack backup saved. Where the cluster directory is lost, it is made out of the backup; deploy from it\n" +
			"then, and run restore again. Where the cluster is deployed, its databases become those of the backup: what was written\n" +
			"since is lost, so it must be confirmed with --yes. Servers and networks run on meanwhile.",
		Example: "  hastack restore /srv/backup/three.tar.gz          # the directory is gone\n" +
			"  hastack deploy /var/lib/hastack/clusters/three/topology.yaml\n  hastack restore /srv/backup/three.tar.gz --yes",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.restore(cmd, at, args[0], yes) },
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, what was written since the backup may be lost")
	at.add(cmd)
	return cmd
}

func (a *app) restore(cmd *cobra.Command, at clusterFlag, file string, yes bool) error {
	about, err := deploy.LoadBackup(file)
	if err != nil {
		return err
	}
	if at.dir == "" {
		at.dir = cluster.DefaultPath(a.stateDir, about.Cluster)
	}
	if !holdsCluster(at.dir) {
		dir, err := filepath.Abs(at.dir)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return err
		}
		if err := deploy.RestoreDirectory(file, dir); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "made the directory of cluster %s in %s, as of %s\nNext\n  hastack deploy %s --cluster-dir %s\n  hastack restore %s --cluster-dir %s --yes\n",
			about.Cluster, dir, about.Taken.Format("2006-01-02 15:04:05 MST"), filepath.Join(dir, cluster.TopologyFile), dir, file, dir)
		return err
	}
	if !yes {
		return usageError{fmt.Errorf("restore brings cluster %s back to %s; what was written since is lost: say so with --yes",
			about.Cluster, about.Taken.Format("2006-01-02 15:04:05 MST"))}
	}
	d, err := a.deployedCluster(at)
	if err != nil {
		return err
	}
	defer d.Close()
	c, _, err := a.deployContext(d, nil)
	if err != nil {
		return err
	}
	bars := newDeployProgress(a.out)
	c.Progress = bars
	if err := deploy.Restore(cmd.Context(), c, file); err != nil {
		bars.Fail()
		return err
	}
	_, err = fmt.Fprintf(a.out, "\ncluster %s is as of %s\nNext\n  hastack audit        # what was made or deleted since the backup\n",
		about.Cluster, about.Taken.Format("2006-01-02 15:04:05 MST"))
	return err
}
