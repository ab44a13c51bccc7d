package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/deploy"
)

func (a *app) upgradeCommand() *cobra.Command {
	var binary string
	var rollback bool
	var at clusterFlag
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Bring another release to a cluster, one server at a time",
		Long: "Bring another release of hastack to the servers while the cluster serves: one server after another, each of which must\n" +
			"be ready and answer real requests before the next one's turn. When one is not, the servers go back to the release that\n" +
			"they ran. Killed at any moment it can be run again, or undone.\n\n" +
			"Run it with the new release's own binary, which knows best what its units need; then --binary may be left out.",
		Example: "  ./hastack-new upgrade\n  hastack upgrade --binary ./hastack-new\n  hastack upgrade --rollback",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rollback && binary != "" {
				return usageError{errors.New("--rollback goes to the release before the last upgrade: leave --binary out")}
			}
			return a.upgrade(cmd.Context(), at, binary, rollback)
		},
	}
	cmd.Flags().StringVar(&binary, "binary", "", "the release to bring (default: this program)")
	cmd.Flags().BoolVar(&rollback, "rollback", false, "go back to the release before the last upgrade")
	at.add(cmd)
	return cmd
}

func (a *app) upgrade(ctx context.Context, at clusterFlag, binary string, rollback bool) error {
	begun := clock.System.Now()
	d, err := a.deployedCluster(at)
	if err != nil {
		return err
	}
	defer d.Close()
	c, _, err := a.deployContext(d, nil)
	if err != nil {
		return err
	}
	if binary != "" {
		v, err := versionOf(ctx, binary)
		if err != nil {
			return err
		}
		if err := c.LoadBinary(binary, v); err != nil {
			return err
		}
	}
	bars := newDeployProgress(a.out)
	c.Progress = bars
	release := c.Release
	if rollback {
		release, err = deploy.Rollback(ctx, c, a.goBack(d))
	} else {
		err = deploy.Upgrade(ctx, c, a.goBack(d))
	}
	if err != nil {
		bars.Fail()
		return err
	}
	if release == "" {
		return nil // another release's binary has said it
	}
	_, err = fmt.Fprintf(a.out, "\nall servers of %s run %s (%.0f s)\n", d.Topology.Name, release, clock.System.Now().Sub(begun).Seconds())
	return err
}

// goBack lets another release's binary do the rollback of a cluster.
func (a *app) goBack(d *cluster.Dir) deploy.GoBack {
	return func(ctx context.Context, binary string) error {
		cmd := a.upgradeBy(ctx, binary, d, "--rollback")
		cmd.Stdout, cmd.Stderr = a.out, os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 30 * time.Second
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s upgrade --rollback: %w", binary, err)
		}
		return nil
	}
}

// upgradeBy is the upgrade command of a program, for a cluster.
func (a *app) upgradeBy(ctx context.Context, program string, d *cluster.Dir, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, program, append([]string{"--state-dir", a.stateDir, "upgrade", "--cluster-dir", d.Path}, args...)...)
}

// versionOf asks a binary for its version; what cannot say it is no hastack.
func versionOf(ctx context.Context, path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, abs, "version", "--json").Output()
	var v struct {
		Version string `json:"version"`
	}
	if err == nil {
		err = json.Unmarshal(out, &v)
	}
	if err == nil && v.Version == "" {
		err = errors.New("it says no version")
	}
	if err != nil {
		return "", usageError{fmt.Errorf("%s is no binary of hastack that runs on this machine: version --json: %w", path, err)}
	}
	return v.Version, nil
}
