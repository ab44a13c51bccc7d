package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/deploy"
)

// nodeCommand is about single servers of a cluster.
func (a *app) nodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "node", Short: "Work on one server of a cluster",
		Long: "Work on one server of a cluster. To add a server, add it to the topology file and run hastack deploy.",
	}
	cmd.AddCommand(a.nodeRemoveCommand(), a.nodeRunCommand(), a.nodeGuardCommand())
	return cmd
}

// nodeRemoveCommand takes a server out of a running cluster.
func (a *app) nodeRemoveCommand() *cobra.Command {
	var at clusterFlag
	var force bool
	cmd := &cobra.Command{
		Use:   "remove SERVER",
		Short: "Drain a server and take it out of the cluster",
		Long: "Take a server out of the cluster: nothing new is placed on it, its units are stopped and disabled, its agents and\n" +
			"memberships are forgotten. It refuses while guests are on it, or when a quorum would become even, unless --force is\n" +
			"given; a server that is lost for good is removed with --force too. It can be run again after it was cut off.",
		Example: "  hastack node remove compute03\n  hastack deploy cluster.yaml   # without compute03 in it",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.deployedCluster(at)
			if err != nil {
				return err
			}
			defer d.Close()
			s := d.Topology.Server(args[0])
			if s == nil {
				var names []string
				for _, s := range d.Topology.Servers {
					names = append(names, s.Name)
				}
				return usageError{fmt.Errorf("cluster %s has no server %s: it has %s", d.Topology.Name, args[0], strings.Join(names, ", "))}
			}
			c, _, err := a.deployContext(d, nil)
			if err != nil {
				return err
			}
			bars := newDeployProgress(a.out)
			c.Progress = bars
			unlock, err := d.Lock()
			if err != nil {
				return err
			}
			defer unlock()
			if err := deploy.Remove(cmd.Context(), c, s, force); err != nil {
				bars.Fail()
				return err
			}
			if err := d.NoteRemoved(s.Name); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "\n%[1]s is out of cluster %s\nNext\n  take %[1]s out of the topology file\n  hastack deploy FILE\n", s.Name, d.Topology.Name)
			return err
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "lose its guests, accept an even quorum, or remove a server that does not answer")
	at.add(cmd)
	return cmd
}
