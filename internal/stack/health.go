package stack

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// healthcheck is readiness: 200 when every part runs and every probe says yes,
// 503 with what is awaited otherwise. Load balancers and `up` ask it.
func (s *Stack) healthcheck(w http.ResponseWriter, r *http.Request) {
	waiting := s.waiting(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if len(waiting) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The asker may have gone; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(waiting) == 0, "waiting": waiting})
}

// waiting names what is awaited. Nothing is asked before the parts run: the
// catalog may not be whole until then.
func (s *Stack) waiting(ctx context.Context) []string {
	if !s.serving.Load() {
		return []string{"services"}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	waiting := []string{}
	for _, p := range s.probes {
		if !p.ready(ctx) {
			waiting = append(waiting, p.name)
		}
	}
	return waiting
}
