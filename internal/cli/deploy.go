package cli

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/deploy"
)

func (a *app) deployCommand() *cobra.Command {
	var yes bool
	var only []string
	var at clusterFlag
	cmd := &cobra.Command{
		Use:   "deploy TOPOLOGY",
		Short: "Bring the servers of a topology to what it says",
		Long: "Bring the servers of a topology to what it says, over SSH. It looks at all servers first and touches none if one is\n" +
			"not fit. It can be run again at any time: what is as it should be is left alone, and a run that was killed goes on\n" +
			"where it stopped. Files that somebody changed on a server are overwritten only after a yes.\n\n" +
			"Exit code 0 done, 1 it failed (the error names the server), 2 called wrongly.",
		Example: "  hastack deploy examples/three.yaml\n  hastack deploy examples/three.yaml --only haproxy,vip",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deploy(cmd.Context(), at, args[0], only, yes)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "overwrite files that were changed on the servers without asking")
	cmd.Flags().StringSliceVar(&only, "only", nil, "only these parts")
	at.add(cmd)
	return cmd
}

func (a *app) deploy(ctx context.Context, at clusterFlag, topologyFile string, only []string, yes bool) error {
	begun := clock.System.Now()
	d, file, err := a.clusterOf(at, topologyFile)
	if err != nil {
		return err
	}
	defer d.Close()
	c, parts, err := a.deployContext(d, only)
	if err != nil {
		return err
	}
	if err := d.CheckRemoved(); err != nil {
		return err
	}
	bars := newDeployProgress(a.out)
	c.Progress, c.Complete = bars, len(only) == 0
	bars.Begin("preflight", len(d.Topology.Servers))
	if err := deploy.Preflight(ctx, c); err != nil {
		bars.Fail()
		return err
	}
	bars.End("every server is fit")
	c.Progress = nil
	bars.Begin("plan", len(d.Topology.Servers))
	made, err := deployLocked(ctx, c, parts, func(planned []deploy.Change) error {
		c.Progress = bars
		bars.End(changeCount(planned))
		if err := a.accept(planned, yes, topologyFile); err != nil {
			return err
		}
		return d.SaveTopology(file)
	})
	if err != nil {
		bars.Fail()
		return err
	}
	what := "nothing had to be changed"
	if len(made) > 0 {
		what = changeCount(made)
	}
	if _, err := fmt.Fprintf(a.out, "\n%s in %.0f s\n", what, clock.System.Now().Sub(begun).Seconds()); err != nil {
		return err
	}
	if len(only) > 0 {
		return nil
	}
	return a.yourCloud(d)
}

// accept asks before work of others is overwritten.
func (a *app) accept(planned []deploy.Change, yes bool, file string) error {
	drift := overwritten(planned)
	if len(drift) == 0 || yes {
		return nil
	}
	var b strings.Builder
	for _, c := range drift {
		fmt.Fprintf(&b, "  %s: %s  %s\n", c.Server, c.Name, c.Detail)
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return fmt.Errorf("files that somebody changed on the servers would be overwritten:\n%slook at them (hastack plan %s), then overwrite them with --yes", b.String(), file)
	}
	if _, err := fmt.Fprintf(a.out, "These files were changed on the servers since the last deploy:\n%sOverwrite them? [y/N] ", b.String()); err != nil {
		return err
	}
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if strings.ToLower(strings.TrimSpace(answer)) != "y" {
		return fmt.Errorf("nothing was changed")
	}
	return nil
}

// yourCloud says how to use what was deployed.
func (a *app) yourCloud(d *cluster.Dir) error {
	at := ""
	if d.Path != cluster.DefaultPath(a.stateDir, d.Topology.Name) {
		at = " --cluster-dir " + d.Path
	}
	_, err := fmt.Fprintf(a.out, `
Your cloud
  API         %s/identity/v3
  clients     eval "$(hastack env%s)"          # clouds hastack-demo and hastack-admin
  authority   %s
Next
  hastack status%s
  openstack server list
`, d.PublicURL(), at, d.CAFile(), at)
	return err
}

// ownBinary is the file of this program.
func ownBinary() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's own file: %w", err)
	}
	return self, nil
}

// quietLog keeps what only a developer wants to see out of a command's output.
func (a *app) quietLog() *slog.Logger {
	if os.Getenv("HASTACK_DEBUG") != "" {
		return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}
