package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/stack"
)

func (a *app) downCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Short:   "Stop the cloud; its servers go on running",
		Long:    "Stop the cloud. Servers, networks and everything on disk stay: the next up adopts them.",
		Example: "  hastack down\n  openstack server stop first   # before it, to stop a server too",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.refuseCluster("down"); err != nil {
				return err
			}
			d, err := findDaemon(a.stateDir)
			if err != nil {
				return err
			}
			if d == nil {
				fmt.Fprintln(a.out, "no cloud is running in", a.stateDir)
				return nil
			}
			if err := d.stop(cmd.Context(), a.stateDir); err != nil {
				return err
			}
			cfg, err := config.Load(configFile(a.stateDir))
			if err != nil {
				return err
			}
			n, err := stack.RunningServers(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "the cloud has stopped; %d of its servers still run, and up finds them again\n", n)
			if n > 0 {
				fmt.Fprintln(a.out, "to stop them with everything else, and lose them: hastack reset --yes")
			}
			return nil
		},
	}
}

func (a *app) resetCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "reset",
		Short:   "Remove the cloud and every trace of it from this machine",
		Long:    "Stop the cloud and its servers and remove what they left: processes, namespaces, bridges, packet filter tables and the state directory with all disks.",
		Example: "  hastack reset --yes",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.refuseCluster("reset"); err != nil {
				return err
			}
			if _, err := os.Stat(a.stateDir); errors.Is(err, os.ErrNotExist) {
				fmt.Fprintln(a.out, "there is nothing in", a.stateDir)
				return nil
			}
			if !yes {
				return usageError{fmt.Errorf("reset deletes every server and disk in %s: say so with --yes", a.stateDir)}
			}
			return a.reset(cmd)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, delete everything")
	return cmd
}

func (a *app) reset(cmd *cobra.Command) error {
	// A directory that is no cloud's must not be deleted by a typing error.
	if _, err := os.Stat(lockFile(a.stateDir)); err != nil {
		if _, err := config.LoadSecrets(a.stateDir); err != nil {
			return fmt.Errorf("%s does not look like the state of a cloud: not deleted", a.stateDir)
		}
	}
	if err := rejoinMounts(a.stateDir); err != nil {
		return err
	}
	d, err := findDaemon(a.stateDir)
	if err != nil {
		return err
	}
	if d != nil {
		if err := d.stop(cmd.Context(), a.stateDir); err != nil {
			return err
		}
	}
	cfg := config.Default(a.stateDir, DefaultListen)
	if c, err := config.Load(configFile(a.stateDir)); err == nil {
		cfg = c
	}
	if err := stack.Cleanup(cmd.Context(), cfg); err != nil {
		return fmt.Errorf("clean this machine: %w", err)
	}
	if err := os.RemoveAll(a.stateDir); err != nil {
		return err
	}
	fmt.Fprintln(a.out, "removed the cloud in", a.stateDir)
	return nil
}
