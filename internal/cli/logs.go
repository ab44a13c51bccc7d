package cli

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/logs"
)

func (a *app) logsCommand() *cobra.Command {
	var flag clusterFlag
	var q logs.Query
	var asJSON bool
	since := time.Hour
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Search the logs of all servers of a cluster",
		Long: "Search the logs of all servers of a cluster, on the servers that keep them: the newest lines that match, by time.\n" +
			"A request id, from X-Openstack-Request-Id or an error, finds what every service did for that request.",
		Example: "  hastack logs --request-id req-2f1c9f4e-8b1d-4d53-a6a5-3d1f1fb0f0f2\n" +
			"  hastack logs --server node02 --since 10m --level error",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since <= 0 {
				return usageError{fmt.Errorf("--since %s: give a time back from now, 10m or 24h", since)}
			}
			d, err := a.deployedCluster(flag)
			if err != nil {
				return err
			}
			defer d.Close()
			q.Since = clock.System.Now().Add(-since)
			if err := q.Check(d.Topology); err != nil {
				return usageError{err}
			}
			lines, missing, err := logs.Search(cmd.Context(), d, q)
			if err != nil {
				return err
			}
			for _, e := range missing {
				fmt.Fprintf(a.err, "hastack: not searched: %v\n", e)
			}
			enc := json.NewEncoder(a.out)
			for _, l := range lines {
				if asJSON {
					err = enc.Encode(l)
				} else {
					_, err = fmt.Fprintln(a.out, l)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	flag.add(cmd)
	cmd.Flags().StringVar(&q.RequestID, "request-id", "", "lines of one request")
	cmd.Flags().StringVar(&q.Server, "server", "", "lines of one server")
	cmd.Flags().StringVar(&q.Level, "level", "", "lines of one level: debug, info, warn or error")
	cmd.Flags().StringVar(&q.Text, "grep", "", "lines with this text")
	cmd.Flags().DurationVar(&since, "since", since, "how far back")
	cmd.Flags().IntVar(&q.Limit, "limit", 1000, "the newest so many lines")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object a line")
	return cmd
}
