package stack

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/hastack/hastack/internal/audit"
	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/clock"
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
// what has no owner and looks again. In a cluster one of the auditors also looks
// on a timer, and GET /audit/last tells its verdict.
func buildAuditor(ctx context.Context, s *Stack) error {
	rules, err := policy.New([]policy.Rule{{
		Name: auditRule, Check: "role:admin", Description: "Walk the ownership graph of the whole cloud",
		Operations: []policy.Operation{{Method: "GET", Path: "/audit"}, {Method: "POST", Path: "/audit"}, {Method: "GET", Path: "/audit/last"}},
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
	if s.cfg.Database.URL.Reveal() == "sqlite:" {
		return nil // one machine, whose operator asks when he likes
	}
	return s.auditOnTimer(ctx, c, rt)
}

// auditDatabase is where the auditors of a cluster share their verdict.
const auditDatabase = "audit"

// auditOnTimer adds the timer, and GET /audit/last for admins and for the other
// servers of the cluster, who show a certificate and need no token.
func (s *Stack) auditOnTimer(ctx context.Context, c *audit.Collector, rt *httpapi.Router) error {
	d, err := s.open(ctx, auditDatabase, schema(auditDatabase)...)
	if err != nil {
		return err
	}
	timer := &audit.Timer{
		DB: d, Clock: clock.System, Log: s.log, Host: s.cfg.Host,
		Walk: func(ctx context.Context) ([]audit.Finding, []string, error) {
			r, err := look(ctx, c)
			if err != nil {
				return nil, nil, err
			}
			return r.Findings, r.Unseen, nil
		},
	}
	s.run("auditor", timer.Run)
	rt.Handle("GET /audit/last", auditRule, http.StatusOK, func(r *httpapi.Request) (any, error) {
		if err := r.Enforce(nil); err != nil {
			return nil, err
		}
		return lastVerdict(r.Context(), timer)
	})
	s.mux.HandleFunc("GET /audit/last", func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			rt.ServeHTTP(w, r)
			return
		}
		v, err := lastVerdict(r.Context(), timer)
		if err != nil {
			f := fault.As(err)
			if f == nil {
				s.log.WarnContext(r.Context(), "tell the last audit", "error", err)
				f = fault.New(fault.Unavailable, "the verdict of the last audit cannot be read")
			}
			writeAuditError(w, r, f)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// The asker may have gone; there is nobody to tell.
		_ = json.NewEncoder(w).Encode(v)
	})
	return nil
}

func lastVerdict(ctx context.Context, t *audit.Timer) (*audit.Verdict, error) {
	v, err := t.Last(ctx)
	if err == nil && v == nil {
		err = fault.New(fault.NotFound, "no audit has ended yet")
	}
	return v, err
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
