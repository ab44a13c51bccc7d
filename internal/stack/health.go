package stack

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// healthcheck is readiness: 200 when every part runs and every probe has said
// yes once, 404 while it is being stopped, 503 with what is awaited otherwise.
// Load balancers and `up` ask it.
//
// A process that was ready stays so until it is told to stop: what it shares
// with its copies on other servers (database, bus, Keystone) being away for a
// moment is no reason to send requests elsewhere, for there it is away too. A
// server that is cut off answers nobody anyway.
func (s *Stack) healthcheck(w http.ResponseWriter, r *http.Request) {
	waiting := s.waiting(r.Context())
	w.Header().Set("Content-Type", "application/json")
	switch {
	case s.draining.Load():
		// To HAProxy, 404 is a server that gets nothing new and finishes what it
		// has; after a 503 it would cut that off.
		w.WriteHeader(http.StatusNotFound)
	case len(waiting) > 0:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The asker may have gone; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(waiting) == 0, "waiting": waiting})
}

// waiting names what is awaited. Nothing is asked before the parts run: the
// catalog may not be whole until then.
func (s *Stack) waiting(ctx context.Context) []string {
	if s.draining.Load() {
		return []string{"the end: this process is stopping"}
	}
	if what := s.awaited.Load(); what != nil {
		return []string{*what}
	}
	if !s.serving.Load() {
		return []string{"services"}
	}
	waiting := []string{}
	if s.ready.Load() {
		return waiting
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for _, p := range s.probes {
		if !p.ready(ctx) {
			waiting = append(waiting, p.name)
		}
	}
	if len(waiting) == 0 {
		s.ready.Store(true)
	}
	return waiting
}
