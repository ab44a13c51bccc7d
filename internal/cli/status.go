package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/status"
)

// errUnhealthy makes the exit code 1 when something is wrong.
var errUnhealthy = errors.New("the cluster is not healthy")

func (a *app) statusCommand() *cobra.Command {
	var flag clusterFlag
	var asJSON, watch bool
	every, within := 2*time.Second, status.Deadline
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell how every layer of a cluster is",
		Long: "Ask every server's node agent, the cloud's APIs and the monitors, and tell a line a layer: members, leader or writer,\n" +
			"holders of the virtual addresses, quorum, lag, ages of keys. A line that begins with ! names what is wrong and where the\n" +
			"runbook has more. Exit code 0 when nothing is wrong, 1 when something is.",
		Example: "  hastack status\n  hastack status --watch\n  hastack status --json --cluster-dir /var/lib/hastack/clusters/three",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 500*time.Millisecond {
				return usageError{fmt.Errorf("--every %s: at least 500ms", every)}
			}
			if within < 100*time.Millisecond {
				return usageError{fmt.Errorf("--timeout %s: at least 100ms", within)}
			}
			d, err := a.statusCluster(flag)
			if err != nil {
				return err
			}
			s := status.New(d.Topology, d.HTTPClient(within), d.Secrets.AdminPassword, clock.System).Within(within)
			if watch {
				return a.watchStatus(cmd.Context(), s, every, asJSON)
			}
			r := s.Look(cmd.Context())
			if err := a.printStatus(r, asJSON); err != nil {
				return err
			}
			if !r.Healthy {
				return errUnhealthy
			}
			return nil
		},
	}
	flag.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&watch, "watch", false, "look again and again until interrupted")
	cmd.Flags().DurationVar(&within, "timeout", within, "how long a look may take; what has not answered then does not answer")
	cmd.Flags().DurationVar(&every, "every", every, "how often --watch looks")
	return cmd
}

// statusCluster is the cluster that the flag, or --state-dir, names.
func (a *app) statusCluster(flag clusterFlag) (*cluster.Dir, error) {
	if flag.dir == "" && a.isCluster() {
		return a.openCluster()
	}
	return a.deployedCluster(flag)
}

// printStatus writes one report; colours only on a terminal.
func (a *app) printStatus(r *status.Report, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(a.out).Encode(r)
	}
	style := status.Style{}
	if a.onTerminal() {
		style = status.Terminal()
	}
	return r.Write(a.out, style)
}

func (a *app) onTerminal() bool {
	f, ok := a.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// watchStatus redraws the screen; in a pipe it writes one report after the
// other. It ends when it is interrupted, which is no failure.
func (a *app) watchStatus(ctx context.Context, s *status.Source, every time.Duration, asJSON bool) error {
	for {
		r := s.Look(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // who interrupts a watch has seen enough
		}
		var screen bytes.Buffer
		whole := &app{out: &screen}
		style := status.Style{}
		if a.onTerminal() && !asJSON {
			// Home, and what is left of the last screen goes after this one.
			screen.WriteString("\x1b[H\x1b[2J")
			style = status.Terminal()
		}
		var err error
		if asJSON {
			err = whole.printStatus(r, true)
		} else {
			fmt.Fprintf(&screen, "%s\n", r.Time.Format("15:04:05"))
			err = r.Write(&screen, style)
		}
		if err == nil {
			// One write: a half drawn screen flickers.
			_, err = a.out.Write(screen.Bytes())
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-clock.System.After(every):
		}
	}
}
