package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/bench"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
)

// benchCommand measures a cloud of its own, with the fake driver.
func (a *app) benchCommand() *cobra.Command {
	var asJSON bool
	var cfg bench.Config
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a cloud of its own: CPU and latency of requests, boots per second",
		Long: `Starts an ephemeral cloud with the fake driver in a process of its own, drives
it through its APIs, and prints what was measured beside the goals. Durability
is on: TMPDIR says on which disk. Nothing else should run on the machine.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.bench(cmd.Context(), cfg, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().IntVar(&cfg.Scale, "scale", 100, "percent of the usual number of repetitions")
	cmd.Flags().StringVar(&cfg.Only, "only", "", "only what has this in its name")
	return cmd
}

func (a *app) bench(ctx context.Context, cfg bench.Config, asJSON bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cloud := exec.CommandContext(ctx, self, "up", "--ephemeral", "--driver", "fake", "--no-server")
	cloud.Cancel = func() error { return cloud.Process.Signal(syscall.SIGTERM) }
	cloud.WaitDelay = 20 * time.Second
	out, err := cloud.StdoutPipe()
	if err != nil {
		return err
	}
	start := clock.System.Now()
	if err := cloud.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cloud.Process.Signal(syscall.SIGTERM)
		_ = cloud.Wait()
	}()
	var ready announcement
	if err := json.NewDecoder(out).Decode(&ready); err != nil {
		return errors.New("the cloud did not start: try hastack up --ephemeral --driver fake --no-server")
	}
	first := bench.Result{Name: "first start, content included", Value: clock.System.Now().Sub(start).Seconds(), Unit: "s"}
	cfg.AuthURL, cfg.User, cfg.Password, cfg.PID = ready.AuthURL, ready.AdminUser, config.NewSecret(ready.AdminPassword), ready.PID
	cfg.Progress = func(name string) { fmt.Fprintln(a.err, "measuring", name) }
	results, err := bench.Run(ctx, cfg)
	return errors.Join(bench.Write(a.out, append([]bench.Result{first}, results...), asJSON), err)
}
