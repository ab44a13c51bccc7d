package cli

import (
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/deploy"
)

// recoverCommand is for what a cluster may not decide by itself.
func (a *app) recoverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "recover", Short: "Bring back what a cluster may not bring back by itself",
	}
	cmd.AddCommand(a.recoverDatabaseCommand())
	return cmd
}

func (a *app) recoverDatabaseCommand() *cobra.Command {
	var at clusterFlag
	var from string
	var yes bool
	cmd := &cobra.Command{
		Use:   "database",
		Short: "Begin the database cluster anew from one server",
		Long: "After a loss of all of its members the database comes back by itself once every control server is there. If one is\n" +
			"lost for good, or members have different histories, somebody has to say whose data counts: without --yes this shows\n" +
			"what each member has, with it the cluster begins with that of --from, and what only others have is lost. It refuses\n" +
			"while any member serves.",
		Example: "  hastack recover database --from controller02\n  hastack recover database --from controller02 --yes",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" {
				return usageError{errors.New("say from which server: --from SERVER")}
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
			unlock, err := d.Lock()
			if err != nil {
				return err
			}
			defer unlock()
			if yes {
				if err := deploy.RecoverDatabase(cmd.Context(), c, from); err != nil {
					return err
				}
				_, err := fmt.Fprintf(a.out, "the database serves again, with the data of %s\n", from)
				return err
			}
			positions, err := deploy.DatabasePositions(cmd.Context(), c)
			if err != nil {
				return err
			}
			serves := slices.ContainsFunc(positions, func(p deploy.DatabasePosition) bool { return p.Serves })
			if err := a.printPositions(positions); err != nil || serves {
				return err
			}
			_, _ = fmt.Fprintf(a.out, "begin with the data of %s: hastack recover database --from %s --yes\n", from, from)
			return deploy.ResumeDatabases(cmd.Context(), c, positions)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the server whose data counts")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	at.add(cmd)
	return cmd
}

func (a *app) printPositions(positions []deploy.DatabasePosition) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, p := range positions {
		switch {
		case p.Error != "":
			_, _ = fmt.Fprintf(w, "%s\tunknown\t%s\n", p.Server, p.Error)
		case p.Serves:
			_, _ = fmt.Fprintf(w, "%s\tserves\tthere is nothing to recover\n", p.Server)
		default:
			_, _ = fmt.Fprintf(w, "%s\thas\t%s\n", p.Server, p.Position)
		}
	}
	return w.Flush()
}
