package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hastack/hastack/internal/stack"
)

// errFindings makes the exit code 1 when the audit found something.
var errFindings = errors.New("the audit has findings")

func (a *app) auditCommand() *cobra.Command {
	var fix, asJSON bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Name everything in the cloud that has no owner",
		Long: "Walk server, allocation, port, disk, QEMU process, tap, packet filter, DHCP and quota and report what does not fit\n" +
			"together. Exit code 0 when there is nothing, 1 when there is.",
		Example: "  hastack audit\n  hastack audit --fix",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin(cmd.Context())
			if err != nil {
				return err
			}
			method := http.MethodGet
			if fix {
				method = http.MethodPost
			}
			var r stack.AuditReport
			if err := s.call(cmd.Context(), method, s.auditURL, &r); err != nil {
				return err
			}
			if asJSON {
				if err := json.NewEncoder(a.out).Encode(r); err != nil {
					return err
				}
			} else {
				a.printAudit(&r, fix)
			}
			if len(r.Findings)+len(r.Unseen) > 0 {
				return errFindings
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "remove what has no owner")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return a.onCluster(cmd)
}

func (a *app) printAudit(r *stack.AuditReport, fix bool) {
	for _, f := range r.Findings {
		fmt.Fprintln(a.out, f)
	}
	if len(r.Unseen) > 0 {
		fmt.Fprintln(a.out, "did not answer:", strings.Join(r.Unseen, ", "))
	}
	if fix {
		fmt.Fprintf(a.out, "%d removed, ", r.Fixed)
	}
	fmt.Fprintf(a.out, "%d findings\n", len(r.Findings))
}
