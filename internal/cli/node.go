package cli

import "github.com/spf13/cobra"

// nodeCommand is about single servers of a cluster.
func (a *app) nodeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "Work on one server of a cluster"}
	cmd.AddCommand(a.nodeRunCommand(), a.nodeGuardCommand())
	return cmd
}
