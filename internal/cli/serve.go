package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/stack"
	"github.com/hastack/hastack/internal/telemetry"
)

func (a *app) serveCommand() *cobra.Command {
	var path, listen, cpuProfile string
	cmd := &cobra.Command{
		Use:   "serve ROLE...",
		Short: "Run one or more services in this process",
		Long:  "Run services until SIGTERM. Roles: all, " + strings.Join(stack.Roles(), ", ") + ".",
		Example: "  hastack serve nova-api --config /etc/hastack/hastack.yaml --listen 127.0.0.1:8774\n" +
			"  hastack serve all --config /var/lib/hastack/hastack.yaml",
		RunE: func(cmd *cobra.Command, roles []string) error {
			if len(roles) == 0 {
				return usageError{errors.New("say which services to run: hastack serve ROLE...")}
			}
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			if listen != "" {
				cfg.Listen = listen
			}
			if cmd.Flags().Changed("state-dir") {
				cfg.StateDir = a.stateDir
			}
			if cfg.Compute.Driver != "fake" {
				if err := rejoinMounts(cfg.StateDir); err != nil {
					return err
				}
			}
			return profiled(cpuProfile, func() error { return a.serve(cmd.Context(), cfg, roles) })
		},
	}
	// For test/bench: a file that only the operator's own hand can ask for, not
	// an endpoint that somebody else finds.
	cmd.Flags().StringVar(&cpuProfile, "cpuprofile", "", "write a CPU profile of the whole run to this file")
	_ = cmd.Flags().MarkHidden("cpuprofile") // fails only for a flag that is not there
	cmd.Flags().StringVar(&path, "config", "/etc/hastack/hastack.yaml", "configuration file")
	cmd.Flags().StringVar(&listen, "listen", "", "address to serve on instead of the configuration's")
	return cmd
}

// serve runs roles until ctx ends. The whole cloud in one process holds the
// lock of its state directory meanwhile.
func (a *app) serve(ctx context.Context, cfg *config.Config, roles []string) error {
	if len(roles) == 1 && roles[0] == "all" {
		lock, err := lockState(cfg.StateDir)
		if err != nil {
			return err
		}
		if lock == nil {
			return fmt.Errorf("another process serves the cloud in %s", cfg.StateDir)
		}
		defer lock.Close()
		if err := writeRunFile(cfg.StateDir, daemon{PID: os.Getpid(), Listen: cfg.Listen, Driver: cfg.Compute.Driver}); err != nil {
			return err
		}
	}
	return a.run(ctx, cfg, roles, nil)
}

// gcPercent is how much the heap may grow between two collections.
const gcPercent = 300

func (a *app) run(ctx context.Context, cfg *config.Config, roles []string, ready func()) error {
	out, closeLog, err := a.logOutput(cfg)
	if err != nil {
		return err
	}
	defer closeLog()
	if os.Getenv("GOGC") == "" {
		// The live heap is small: collecting less often costs tens of megabytes
		// and saves a tenth of all CPU time.
		debug.SetGCPercent(gcPercent)
	}
	level, err := telemetry.ParseLevel(cfg.Log.Level)
	if err != nil {
		return err
	}
	log := telemetry.NewLogger(out, level).With("host", cfg.Host)
	s, err := stack.New(ctx, cfg, roles, log)
	if err != nil {
		log.Error("start", "error", err)
		return err
	}
	if err := s.Run(ctx, ready); err != nil {
		log.Error("stopped", "error", err)
		return err
	}
	return nil
}

func (a *app) logOutput(cfg *config.Config) (io.Writer, func(), error) {
	if cfg.Log.File == "" {
		return a.err, func() {}, nil
	}
	f, err := os.OpenFile(cfg.Log.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("open log: %w", err)
	}
	return f, func() { _ = f.Close() }, nil
}
