package cli

import (
	sdnotify "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/telemetry"
	"github.com/hastack/hastack/internal/vipguard"
)

// nodeGuardCommand watches a load balancer's virtual addresses; deploy starts
// it beside keepalived.
func (a *app) nodeGuardCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "guard",
		Short: "Make keepalived of this load balancer give its addresses away in time",
		Long: "Watch HAProxy, the legs of the networks, the majority of the cluster and the adverts of the other load balancers,\n" +
			"and tell keepalived. deploy starts it as hastack-vip-guard.service.",
		Example: "  hastack node guard --config /etc/hastack/vip-guard.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := vipguard.Load(path)
			if err != nil {
				return err
			}
			level, err := telemetry.ParseLevel("info")
			if err != nil {
				return err
			}
			// Without systemd there is nobody to tell, and that is well.
			_, _ = sdnotify.SdNotify(false, sdnotify.SdNotifyReady)
			return vipguard.New(cfg, vipguard.Deps{
				Clock: clock.System, Log: telemetry.NewLogger(a.err, level).With("role", "vip-guard"),
				Alive: func() { _, _ = sdnotify.SdNotify(false, sdnotify.SdNotifyWatchdog) },
			}).Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&path, "config", "/etc/hastack/vip-guard.yaml", "configuration file")
	return cmd
}
