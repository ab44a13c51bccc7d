package stack

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/hastack/hastack/internal/audit"
	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/policy"
)

// auditRule guards the auditor's API: it shows every project.
const auditRule = "hastack:audit"

// An AuditReport is what GET and POST /audit answer.
type AuditReport struct {
	Findings []audit.Finding `json:"findings"`
	Unseen   []string        `json:"unseen"`
	Fixed    int             `json:"fixed"`
}

// buildAuditor serves GET /audit, which looks, and POST /audit, which removes
// what has no owner and looks again.
func buildAuditor(_ context.Context, s *Stack) error {
	rules, err := policy.New([]policy.Rule{{
		Name: auditRule, Check: "role:admin", Description: "Walk the ownership graph of the whole cloud",
		Operations: []policy.Operation{{Method: "GET", Path: "/audit"}, {Method: "POST", Path: "/audit"}},
	}}, nil)
	if err != nil {
		return err
	}
	c := &audit.Collector{Clients: s.service("nova"), Bus: s.bus, Log: s.log, NetworkHosts: !s.simulated()}
	rt := httpapi.NewRouter(httpapi.Config{
		Service: "audit", AuthURL: s.cfg.AuthURL(), Auth: authtoken.New(authtoken.Config{Validator: s.service("nova").Validator()}),
		Policy: rules, Log: s.log, Metrics: s.metrics, WriteError: writeAuditError,
	})
	rt.Handle("GET /audit", auditRule, http.StatusOK, func(r *httpapi.Request) (any, error) {
		if err := r.Enforce(nil); err != nil {
			return nil, err
		}
		return look(r.Context(), c)
	})
	rt.Handle("POST /audit", auditRule, http.StatusOK, func(r *httpapi.Request) (any, error) {
		if err := r.Enforce(nil); err != nil {
			return nil, err
		}
		return repair(r.Context(), c)
	})
	s.mux.Handle("/audit", rt)
	return nil
}

func look(ctx context.Context, c *audit.Collector) (*AuditReport, error) {
	w, err := c.Collect(ctx)
	if err != nil {
		return nil, err
	}
	found := audit.Check(w)
	if found == nil {
		found = []audit.Finding{}
	}
	return &AuditReport{Findings: found, Unseen: w.Unseen}, nil
}

func repair(ctx context.Context, c *audit.Collector) (*AuditReport, error) {
	before, err := look(ctx, c)
	if err != nil {
		return nil, err
	}
	fixed, err := c.Fix(ctx, before.Findings)
	if err != nil {
		c.Log.WarnContext(ctx, "audit could not remove everything", "error", err)
	}
	after, err := look(ctx, c)
	if err != nil {
		return nil, err
	}
	after.Fixed = fixed
	return after, nil
}

func writeAuditError(w http.ResponseWriter, _ *http.Request, e *fault.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Kind.Status())
	// The asker may have gone; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(map[string]string{"error": e.Text})
}
