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
	waiting := []string{}
	if !s.serving.Load() {
		waiting = append(waiting, "services")
	}
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	for _, p := range s.probes {
		if !p.ready(ctx) {
			waiting = append(waiting, p.name)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if len(waiting) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The asker may have gone; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(waiting) == 0, "waiting": waiting})
}
