package stack

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/lifecycle"
)

// systemd is told how this process does; every method does nothing where the
// process was not started by a unit of type notify.
type systemd struct {
	on    bool
	every time.Duration // half of the watchdog's patience, 0 without one
}

func newSystemd() *systemd {
	d := &systemd{on: os.Getenv("NOTIFY_SOCKET") != ""}
	if patience, err := daemon.SdWatchdogEnabled(false); err == nil && d.on {
		d.every = patience / 2
	}
	return d
}

// tell sends a state. A manager that does not listen cannot be told anything.
func (d *systemd) tell(state string) {
	if d.on {
		_, _ = daemon.SdNotify(false, state)
	}
}

// starting says what a start waits for, and asks for more time.
func (d *systemd) starting(status string) {
	d.tell(fmt.Sprintf("STATUS=%s\nEXTEND_TIMEOUT_USEC=%d", status, (30 * time.Second).Microseconds()))
}

func (d *systemd) ready()    { d.tell("READY=1\nSTATUS=serving") }
func (d *systemd) stopping() { d.tell("STOPPING=1\nSTATUS=draining") }

// watchdog is the part that tells systemd that the process works, as long as
// its own listener answers a real request: a process that is there but stuck
// is then killed and started again.
func (s *Stack) watchdog() lifecycle.Part {
	return lifecycle.Part{Name: "watchdog", Run: func(ctx context.Context) error {
		if s.systemd.every <= 0 {
			<-ctx.Done()
			return nil
		}
		client := &http.Client{Timeout: s.systemd.every, Transport: s.toSelf()}
		defer client.CloseIdleConnections()
		ticker := clock.System.NewTicker(s.systemd.every / 2)
		defer ticker.Stop()
		for {
			if err := s.answers(ctx, client); err == nil {
				s.systemd.tell("WATCHDOG=1")
			} else if ctx.Err() == nil {
				s.log.Warn("this process does not answer itself", "error", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C():
			}
		}
	}}
}

// toSelf reaches this process's own listener, whatever name is asked for.
func (s *Stack) toSelf() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", s.web.listener.Addr().String())
	}
	if s.tls != nil {
		t.TLSClientConfig = s.tls.Client("localhost")
	}
	return t
}

// answers asks the own listener; any answer is a sign of life.
func (s *Stack) answers(ctx context.Context, client *http.Client) error {
	scheme := "http"
	if s.tls != nil {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://localhost/healthcheck", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	return err
}
