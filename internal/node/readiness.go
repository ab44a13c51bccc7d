package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
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
	url  string
	mu   sync.Mutex // one question at a time; guards the rest
	at   time.Time
	code int
	text string
}

func newReadiness(services []ServiceConfig, client *http.Client, c clock.Clock) *readiness {
	r := &readiness{client: client, clock: c, services: map[string]*asked{}}
	for _, s := range services {
		r.services[s.Name] = &asked{url: strings.TrimRight(s.URL, "/") + "/healthcheck"}
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
	if s.code, err = r.ask(ctx, s.url); err != nil {
		s.code, s.text = http.StatusServiceUnavailable, err.Error()
	} else {
		s.text = http.StatusText(s.code)
	}
	s.at = r.clock.Now()
	return s.code, s.text
}

func (r *readiness) ask(ctx context.Context, url string) (code int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, reason(err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is kept
	return resp.StatusCode, err
}
