package cli

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/node"
	"github.com/hastack/hastack/internal/telemetry"
)

// nodeRunCommand is the agent that deploy starts on every server.
func (a *app) nodeRunCommand() *cobra.Command {
	var path, level, cpuProfile string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the node agent of this server",
		Long: "Collect how this server is (links, virtual addresses, units, disks, clock, certificates, engines, peers) and serve it\n" +
			"to the operator and to Prometheus until SIGTERM. deploy starts it as hastack-node.service.",
		Example: "  hastack node run --config /etc/hastack/node.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := node.LoadConfig(path)
			if err != nil {
				return err
			}
			l, err := telemetry.ParseLevel(level)
			if err != nil {
				return usageError{err}
			}
			log := telemetry.NewLogger(a.err, l).With("host", cfg.Server, "service", "node")
			agent, err := node.New(cfg, node.Deps{Clock: clock.System, Log: log, Version: release()})
			if err != nil {
				return err
			}
			return profiled(cpuProfile, func() error { return agent.Run(cmd.Context()) })
		},
	}
	cmd.Flags().StringVar(&path, "config", "/etc/hastack/node.yaml", "configuration file")
	cmd.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	// For measuring what the agent costs: the operator's own hand only.
	cmd.Flags().StringVar(&cpuProfile, "cpuprofile", "", "write a CPU profile of the whole run to this file")
	_ = cmd.Flags().MarkHidden("cpuprofile") // fails only for a flag that is not there
	return cmd
}

// release is the name of the release that deploy put this binary into, the
// commit anywhere else.
func release() string {
	exe, err := os.Executable()
	if err != nil {
		return version()
	}
	if exe, err = filepath.EvalSymlinks(exe); err != nil {
		return version()
	}
	dir := filepath.Dir(exe)
	if filepath.Base(filepath.Dir(dir)) != "releases" {
		return version()
	}
	return filepath.Base(dir)
}
