// Package cli is the command line of hastack: one file a sub-command.
//
// Exit codes: 0 done, 1 the thing failed, 2 it was called wrongly. Errors are
// one sentence that names the thing and the next step. Start with [Main].
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// DefaultStateDir is where a cloud keeps its state when nothing else is said.
const DefaultStateDir = "/var/lib/hastack"

// DefaultListen is where the one-machine cloud serves its APIs.
const DefaultListen = "127.0.0.1:5000"

// app is what the sub-commands share.
type app struct {
	out, err io.Writer
	stateDir string
}

// usageError is a wrong call: exit code 2.
type usageError struct{ error }

// Main runs one command and returns the exit code of the process.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{out: stdout, err: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "hastack: %v\n", err)
		return 2
	case errors.Is(err, errChanges):
		return 3
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "hastack: interrupted")
		return 1
	}
	fmt.Fprintf(stderr, "hastack: %v\n", err)
	if errors.Is(err, errUnproven) {
		return 4
	}
	return 1
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "hastack",
		Short:         "A highly available, OpenStack-compatible cloud in one binary",
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	dir := os.Getenv("HASTACK_STATE_DIR")
	if dir == "" {
		dir = DefaultStateDir
	}
	root.PersistentFlags().StringVar(&a.stateDir, "state-dir", dir, "where the cloud keeps its state (HASTACK_STATE_DIR)")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		abs, err := filepath.Abs(a.stateDir)
		a.stateDir = abs
		return err
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(a.upCommand(), a.downCommand(), a.resetCommand(), a.serveCommand(), a.envCommand(),
		a.traceCommand(), a.auditCommand(), a.benchCommand(), a.configCommand(), a.dbCommand(), a.rotateCommand(), a.upgradeCommand(), a.backupCommand(), a.restoreCommand(), a.recoverCommand(), a.topologyCommand(), a.logsCommand(), a.planCommand(), a.deployCommand(), a.nodeCommand(), a.labCommand(), a.drillCommand(),
		a.statusCommand(), a.versionCommand())
	return root
}

// exactArgs is cobra.ExactArgs with the exit code of a wrong call.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w; usage: hastack %s", err, cmd.Use)}
		}
		return nil
	}
}

// noArgs refuses arguments with the exit code of a wrong call.
func noArgs(cmd *cobra.Command, args []string) error { return exactArgs(0)(cmd, args) }
