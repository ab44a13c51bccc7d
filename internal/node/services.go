package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// serviceCollector asks Hastack's services on this server whether they serve.
type serviceCollector struct {
	services []ServiceConfig
	client   *http.Client
	clock    clock.Clock
	log      *slog.Logger
	since    since
}

func (*serviceCollector) Name() string         { return "services" }
func (*serviceCollector) Every() time.Duration { return 5 * time.Second }

// Collect asks all of them at the same time: one that hangs delays no other.
func (c *serviceCollector) Collect(ctx context.Context) (Facts, error) {
	out := make([]Service, len(c.services))
	var wg sync.WaitGroup
	for i, s := range c.services {
		wg.Go(func() { out[i] = c.ask(ctx, s) })
	}
	wg.Wait()
	now := c.clock.Now()
	for i := range out {
		var changed bool
		out[i].Since, changed = c.since.of(out[i].Name, strconv.FormatBool(out[i].Ready), now)
		if changed {
			c.log.WarnContext(ctx, "service changed", "name", out[i].Name, "ready", out[i].Ready, "error", out[i].Error,
				"waiting", strings.Join(out[i].Waiting, ", "))
		}
	}
	return func(s *State) { s.Services = out }, nil
}

func (c *serviceCollector) ask(ctx context.Context, s ServiceConfig) Service {
	v := Service{Name: s.Name}
	code, body, err := healthcheck(ctx, c.client, s)
	if code == 0 {
		v.Error = err.Error()
		return v
	}
	var said struct {
		Ready   bool     `json:"ready"`
		Waiting []string `json:"waiting"`
	}
	if err == nil {
		err = json.Unmarshal(body, &said)
	}
	if err != nil && code != http.StatusOK {
		v.Error = fmt.Sprintf("%d %s", code, http.StatusText(code))
		return v
	}
	v.Ready, v.Waiting = code == http.StatusOK, said.Waiting
	return v
}

// healthcheck asks a service how it is. Without an answer the code is 0; an
// error beside a code is of the body, which is read to keep the connection.
func healthcheck(ctx context.Context, client *http.Client, s ServiceConfig) (code int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(s.URL, "/")+"/healthcheck", nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, reason(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, body, err
}

// auditCollector fetches the verdict that the auditors share.
type auditCollector struct {
	url    string
	client *http.Client
}

func (auditCollector) Name() string         { return "audit" }
func (auditCollector) Every() time.Duration { return 10 * time.Second }

// Collect asks the auditor on this server.
func (c auditCollector) Collect(ctx context.Context) (Facts, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.url, "/")+"/audit/last", nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the auditor: %w", reason(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, nil // no audit has ended yet
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{c.url + "/audit/last", resp.Status}
	}
	var last struct {
		At       time.Time         `json:"at"`
		Leader   string            `json:"leader"`
		Findings []json.RawMessage `json:"findings"`
		Unseen   []string          `json:"unseen"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4<<20)).Decode(&last); err != nil {
		return nil, err
	}
	a := &Audit{At: last.At, Leader: last.Leader, Findings: len(last.Findings), Unseen: len(last.Unseen)}
	return func(s *State) { s.Audit = a }, nil
}

// reason takes the method, the URL and the system call off an error: who reads
// it knows what was asked.
func reason(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		if u.Timeout() {
			return errors.New("no answer in time")
		}
		err = u.Err
	}
	if s, ok := errors.AsType[*os.SyscallError](err); ok {
		return s.Err
	}
	return err
}

// statusError is an answer that nobody expected.
type statusError struct{ url, status string }

func (e *statusError) Error() string { return e.url + " answers " + e.status }
