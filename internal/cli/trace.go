package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// A trace is what nova-api tells of the last boot of a server.
type trace struct {
	ServerID  string      `json:"server_id"`
	Action    string      `json:"action"`
	RequestID string      `json:"request_id"`
	Message   string      `json:"message"`
	Steps     []traceStep `json:"steps"`
}

type traceStep struct {
	N        int       `json:"n"`
	Name     string    `json:"name"`
	Actor    string    `json:"actor"`
	Peer     string    `json:"peer"`
	Protocol string    `json:"protocol"`
	Start    time.Time `json:"start"`
	Duration *float64  `json:"duration_ms"` // null where nobody knows it any more
	Outcome  string    `json:"outcome"`
	Detail   string    `json:"detail"`
}

func (a *app) traceCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "trace SERVER",
		Short:   "Show the steps of a server's boot",
		Long:    "Show the 28 steps of a server's boot with who talked to whom, how, how long, and what came of it.\nSERVER is an id or a name.",
		Example: "  hastack trace first\n  hastack trace first --json",
		Args:    exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin(cmd.Context())
			if err != nil {
				return err
			}
			id, err := s.findServer(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var doc struct {
				Trace trace `json:"trace"`
			}
			if err := s.call(cmd.Context(), "GET", s.compute("/servers/"+id+"/hastack-trace"), &doc); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(a.out).Encode(doc.Trace)
			}
			printTrace(a.out, &doc.Trace)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return a.onCluster(cmd)
}

func (s *session) compute(path string) string { return s.computeURL + "/v2.1" + path }

// findServer turns a name or an id into an id, over all projects.
func (s *session) findServer(ctx context.Context, name string) (string, error) {
	var doc struct {
		Servers []struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"servers"`
	}
	if err := s.call(ctx, "GET", s.compute("/servers?all_tenants=1&name="+url.QueryEscape(name)), &doc); err != nil {
		return "", err
	}
	var found []string
	for _, x := range doc.Servers {
		if x.Name == name {
			found = append(found, x.ID)
		}
	}
	switch len(found) {
	case 0:
		return name, nil // nova-api says so if it is no id
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%d servers have the name %s: say which by id: %s", len(found), name, strings.Join(found, " "))
}

func printTrace(w io.Writer, t *trace) {
	fmt.Fprintf(w, "%s of %s, request %s\n", t.Action, t.ServerID, t.RequestID)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range t.Steps {
		took := "      ?"
		if s.Duration != nil {
			took = fmt.Sprintf("%7.1f", *s.Duration)
		}
		outcome := s.Outcome
		if s.Detail != "" {
			outcome += ": " + s.Detail
		}
		fmt.Fprintf(table, "%3d\t%s\t%s\t%s\t%s\t%s ms\t%s\n", s.N, s.Name, s.Actor, s.Peer, s.Protocol, took, outcome)
	}
	// The terminal may have been closed; there is nobody to tell.
	_ = table.Flush()
}
