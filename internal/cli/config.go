package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/config"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Work on the configuration of a cloud"}
	cmd.AddCommand(&cobra.Command{
		Use:     "init",
		Short:   "Make the secrets and the clouds.yaml of a state directory",
		Long:    "Make secrets.yaml and clouds.yaml beside the hastack.yaml of a state directory, for services that run as separate processes.",
		Example: "  hastack config init --state-dir /var/lib/hastack",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := config.Load(configFile(a.stateDir))
			if err != nil {
				return err
			}
			if err := os.MkdirAll(a.stateDir, 0o755); err != nil {
				return err
			}
			secrets, err := config.EnsureSecrets(a.stateDir)
			if err != nil {
				return err
			}
			if err := writeClouds(cfg, secrets); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, "made", cloudsFile(a.stateDir))
			return err
		},
	})
	return cmd
}
