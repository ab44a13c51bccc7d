package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hastack/hastack/internal/lifecycle"
)

// finish is how long answers may take when the agent stops.
const finish = 300 * time.Millisecond

// listen opens the agent's listeners.
func (a *Agent) listen(ctx context.Context) ([]lifecycle.Part, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.cfg.Listen.String())
	if err != nil {
		return nil, fmt.Errorf("serve on %s: %w", a.cfg.Listen, err)
	}
	parts := []lifecycle.Part{a.serve("state", tls.NewListener(l, a.tls.Mutual()), a.handler())}
	if !a.cfg.Checks.IsValid() {
		return parts, nil
	}
	plain, err := inherited(a.cfg.Checks)
	if err == nil && plain == nil {
		plain, err = lc.Listen(ctx, "tcp", a.cfg.Checks.String())
	}
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("serve on %s: %w", a.cfg.Checks, err)
	}
	return append(parts, a.serve("load balancers", plain, a.checks())), nil
}

// checks is what load balancers may ask.
func (a *Agent) checks() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /ready/{service}", newReadiness(a.cfg.Services, localClient(a.tls), a.deps.Clock))
	if a.galera != nil {
		mux.Handle("GET /galera", a.galera)
	}
	return mux
}

// inherited is the listener that systemd holds for the agent, nil if it holds
// none: load balancers that ask while the agent is being restarted then wait
// for the answer. Without it they would take the whole server for dead.
func inherited(at netip.AddrPort) (net.Listener, error) {
	all, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("listeners of systemd: %w", err)
	}
	var found net.Listener
	for _, l := range all {
		switch {
		case l == nil:
		case found == nil && l.Addr().String() == at.String():
			found = l
		default:
			_ = l.Close()
		}
	}
	return found, nil
}

// handler is what those with a certificate of the cluster may ask.
func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// The asker may have gone; there is nobody to tell.
		_ = json.NewEncoder(w).Encode(a.State())
	})
	reg := prometheus.NewRegistry()
	reg.MustRegister(newFigures(a.State))
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		DisableCompression: true, ErrorHandling: promhttp.ContinueOnError, // one bad figure hides no other
	}))
	return mux
}

// serve is the part that answers on one listener.
func (a *Agent) serve(name string, l net.Listener, h http.Handler) lifecycle.Part {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(a.deps.Log.Handler(), slog.LevelDebug),
	}
	return lifecycle.Part{Name: name, Run: func(ctx context.Context) error {
		errs := make(chan error, 1)
		go func() { errs <- srv.Serve(l) }()
		select {
		case err := <-errs:
			return err
		case <-ctx.Done():
		}
		// Who asks just now is answered; who does not end is cut off.
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
		defer cancel()
		err := srv.Shutdown(sctx)
		if err != nil {
			err = srv.Close()
		}
		if serr := <-errs; err == nil && !errors.Is(serr, http.ErrServerClosed) {
			err = serr
		}
		return err
	}}
}
