package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/lifecycle"
)

// finishTime bounds how long open requests may take when the process stops.
const finishTime = 8 * time.Second

// web is the listener of a process and what serves on it. It serves from the
// first moment, so that whoever asks for readiness hears what is awaited.
type web struct {
	server   *http.Server
	listener net.Listener
	ended    chan error
}

func (s *Stack) listen() (*web, error) {
	l, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("serve on %s: %w", s.cfg.Listen, err)
	}
	if s.tls != nil {
		// Servers show their certificates to each other; clients have none.
		l = tls.NewListener(l, s.tls.Asking())
	}
	w := &web{listener: l, ended: make(chan error, 1), server: &http.Server{
		Handler: s.onceBuilt(s.mux), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}}
	go func() { w.ended <- w.server.Serve(l) }()
	return w, nil
}

// onceBuilt answers 503 until every route is there: a load balancer that has not
// noticed a restart yet sends requests, and a 404 would tell their clients that
// what they ask for does not exist.
func (s *Stack) onceBuilt(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.built.Load() && r.URL.Path != "/healthcheck" && r.URL.Path != "/metrics" {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "this process is starting", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// part finishes open requests when the process stops.
func (w *web) part() lifecycle.Part {
	return lifecycle.Part{Name: "http", Run: func(ctx context.Context) error {
		select {
		case err := <-w.ended:
			return err
		case <-ctx.Done():
		}
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
		defer cancel()
		if err := w.server.Shutdown(sctx); err != nil {
			return w.server.Close()
		}
		return nil
	}}
}

func (w *web) close() error {
	err := w.server.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// drain fails the readiness and waits as long as load balancers need to notice.
func (s *Stack) drain(ctx context.Context) {
	s.draining.Store(true)
	s.systemd.stopping()
	d := time.Duration(s.cfg.DrainSeconds * float64(time.Second))
	if d <= 0 || !s.serving.Load() {
		return
	}
	// Connections that are kept open end with their next answer.
	s.web.server.SetKeepAlivesEnabled(false)
	s.log.Info("draining", "duration", d.String())
	select {
	case <-clock.System.After(d):
	case <-ctx.Done():
	}
}
