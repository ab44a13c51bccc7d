package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/deploy"
)

func (a *app) rotateCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "rotate", Short: "Replace keys or certificates of a cluster while it serves"}
	cmd.AddCommand(
		a.rotation("keys", "Make a new key sign tokens", "Make the staged Fernet key of all Keystones primary and stage a new one. Tokens stay valid. Every control server must\n"+
			"answer; cut off at any moment it can be run again. Run it from a timer, once a day or a week.", deploy.RotateKeys),
		a.rotation("certs", "Issue new certificates for every server", "Issue new certificates and keys for every server and the operator and bring them to all that use them. Members of a\n"+
			"quorum restart one after another; Hastack's own services take them up as they run.", deploy.RotateCertificates),
	)
	return cmd
}

func (a *app) rotation(name, short, long string, do func(context.Context, *deploy.Context) error) *cobra.Command {
	var at clusterFlag
	cmd := &cobra.Command{
		Use: name, Short: short, Long: long, Args: noArgs,
		Example: "  hastack rotate " + name,
		RunE: func(cmd *cobra.Command, _ []string) error {
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
			if err := do(cmd.Context(), c); err != nil {
				bars.Fail()
				return err
			}
			_, err = fmt.Fprintf(a.out, "\nthe %s of cluster %s are new\n", map[string]string{"keys": "token keys", "certs": "certificates"}[name], d.Topology.Name)
			return err
		},
	}
	at.add(cmd)
	return cmd
}
