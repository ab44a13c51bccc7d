package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/deploy"
)

// errChanges is plan's exit code 3: there is something to do.
var errChanges = errors.New("the cluster differs from its topology")

func (a *app) planCommand() *cobra.Command {
	var asJSON, exitCode bool
	var only []string
	var at clusterFlag
	cmd := &cobra.Command{
		Use:   "plan TOPOLOGY",
		Short: "Tell what deploy would change on the servers, and what has drifted",
		Long: "Look at every server of a topology and tell what deploy would change there. Changes that somebody else made since\n" +
			"the last deploy are marked as drift. Nothing is changed.\n\n" +
			"Exit code 0 done, 1 a server could not be looked at or is not fit, 2 called wrongly; with --exit-code 3 when there are changes.",
		Example: "  hastack plan examples/three.yaml\n  hastack plan examples/three.yaml --json | jq '.[] | select(.drift)'",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, _, err := a.clusterOf(at, args[0])
			if err != nil {
				return err
			}
			defer d.Close()
			c, parts, err := a.deployContext(d, only)
			if err != nil {
				return err
			}
			c.Complete = len(only) == 0
			if err := deploy.Preflight(cmd.Context(), c); err != nil {
				return err
			}
			c.Progress = newDeployProgress(a.err)
			changes, err := deploy.Plan(cmd.Context(), c, parts)
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(a.out).Encode(append([]deploy.Change{}, changes...)) // [] when there are none
			} else {
				err = a.printPlan(changes)
			}
			if err == nil && exitCode && len(changes) > 0 {
				err = errChanges
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit code 3 when there are changes")
	cmd.Flags().StringSliceVar(&only, "only", nil, "only these parts")
	at.add(cmd)
	return cmd
}

// deployContext is what plan and deploy share.
func (a *app) deployContext(d *cluster.Dir, only []string) (*deploy.Context, []*deploy.Part, error) {
	parts := deploy.Parts()
	if len(only) > 0 {
		var names []string
		for _, p := range parts {
			names = append(names, p.Name)
		}
		for _, name := range only {
			if !slices.Contains(names, name) {
				return nil, nil, usageError{fmt.Errorf("there is no part %q: the parts are %s", name, strings.Join(names, ", "))}
			}
		}
		parts = slices.DeleteFunc(parts, func(p *deploy.Part) bool { return !slices.Contains(only, p.Name) })
	}
	c := &deploy.Context{Topology: d.Topology, Cluster: d, Clock: clock.System, Log: a.quietLog()}
	self, err := ownBinary()
	if err != nil {
		return nil, nil, err
	}
	return c, parts, c.LoadBinary(self, version())
}

// printPlan prints the changes by server, drift first.
func (a *app) printPlan(changes []deploy.Change) error {
	var b strings.Builder
	drifted := slices.DeleteFunc(slices.Clone(changes), func(c deploy.Change) bool { return !c.Drift })
	if len(drifted) > 0 {
		fmt.Fprintf(&b, "drift: changed on the servers since the last deploy\n")
		for _, c := range drifted {
			fmt.Fprintf(&b, "  ! %-12s %-13s %-10s %s  %s\n", c.Server, c.Part, c.Kind, c.Name, c.Detail)
		}
	}
	server := ""
	slices.SortStableFunc(changes, func(x, y deploy.Change) int { return strings.Compare(x.Server, y.Server) })
	for _, c := range changes {
		if c.Server != server {
			server = c.Server
			fmt.Fprintln(&b, server)
		}
		fmt.Fprintf(&b, "  %-13s %-10s %s", c.Part, c.Kind, c.Name)
		if c.Detail != "" {
			fmt.Fprintf(&b, "  (%s)", c.Detail)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintln(&b, changeCount(changes))
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

func changeCount(changes []deploy.Change) string {
	drifted := 0
	for _, c := range changes {
		if c.Drift {
			drifted++
		}
	}
	switch {
	case len(changes) == 0:
		return "nothing to change"
	case drifted > 0:
		return fmt.Sprintf("%d changes, %d of them drift", len(changes), drifted)
	}
	return fmt.Sprintf("%d changes", len(changes))
}

// overwritten are the files that a deploy would overwrite although somebody else
// changed them.
func overwritten(changes []deploy.Change) []deploy.Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c deploy.Change) bool { return !c.Drift || c.Kind != deploy.KindFile })
}

// deployLocked holds the lock while it plans and applies.
func deployLocked(ctx context.Context, c *deploy.Context, parts []*deploy.Part, accept func([]deploy.Change) error) ([]deploy.Change, error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	planned, err := deploy.Plan(ctx, c, parts)
	if err != nil {
		return nil, err
	}
	if err := accept(planned); err != nil {
		return nil, err
	}
	return deploy.Deploy(ctx, c, parts)
}
