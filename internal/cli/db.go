package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/stack"
	"github.com/hastack/hastack/internal/telemetry"
)

// syncWait bounds how long db sync waits for a database that does not answer.
const syncWait = 2 * time.Minute

func (a *app) dbCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "db", Short: "Work on the databases of the services"}
	var path string
	sync := &cobra.Command{
		Use:   "sync [SERVICE...]",
		Short: "Bring the databases to this version's schema",
		Long: "Apply the migrations that the databases have not seen. It can be repeated, and run on several servers at once: one\n" +
			"works, the others wait. Deploy does it; services of a cluster only check that it was done. Databases: " +
			strings.Join(stack.Databases(), ", ") + ".",
		Example: "  hastack db sync --config /etc/hastack/control.yaml",
		RunE: func(cmd *cobra.Command, services []string) error {
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), syncWait)
			defer cancel()
			level, err := telemetry.ParseLevel("warn")
			if err != nil {
				return err
			}
			if err := stack.SyncDatabases(ctx, cfg, telemetry.NewLogger(a.err, level), services...); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, "the databases are in step")
			return err
		},
	}
	sync.Flags().StringVar(&path, "config", "/etc/hastack/hastack.yaml", "configuration file")
	cmd.AddCommand(sync)
	return cmd
}
