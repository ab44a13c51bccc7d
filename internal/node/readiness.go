package node

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// Limits of the question whether a service is ready. Several load balancers
// ask at about the same time, and get one answer.
const (
	readyAnswers = 500 * time.Millisecond
	readyCached  = 200 * time.Millisecond
)

// readiness answers the load balancers for the services of this server, over
// connections that it keeps: a check of their own would be a TLS handshake,
// which costs more than most requests.
type readiness struct {
	client   *http.Client
	clock    clock.Clock
	services map[string]*asked
}

// asked is a service and what it answered last.
type asked struct {
	service ServiceConfig
	mu      sync.Mutex // one question at a time; guards the rest
	at      time.Time
	code    int
	text    string
}

func newReadiness(services []ServiceConfig, client *http.Client, c clock.Clock) *readiness {
	r := &readiness{client: client, clock: c, services: map[string]*asked{}}
	for _, s := range services {
		r.services[s.Name] = &asked{service: s}
	}
	return r
}

// ServeHTTP is GET /ready/{service}: the status of the service's own
// /healthcheck (200 ready, 404 being stopped), 503 when it does not answer.
func (r *readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	code, text := http.StatusServiceUnavailable, "no such service here"
	if s := r.services[req.PathValue("service")]; s != nil {
		code, text = r.of(req.Context(), s)
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text)
}

// of is what the service says, not older than readyCached.
func (r *readiness) of(ctx context.Context, s *asked) (code int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := r.clock.Now().Sub(s.at); age >= 0 && age < readyCached {
		return s.code, s.text
	}
	// The answer is for all who ask: one of them going away does not end it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyAnswers)
	defer cancel()
	var err error
	if s.code, _, err = healthcheck(ctx, r.client, s.service); err != nil {
		s.code, s.text = http.StatusServiceUnavailable, err.Error()
	} else {
		s.text = http.StatusText(s.code)
	}
	s.at = r.clock.Now()
	return s.code, s.text
}
