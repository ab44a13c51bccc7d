package drill

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/hastack/hastack/internal/config"
)

// Access says where the cloud is and who the prober is.
type Access struct {
	// Public and API are the bases of the endpoints: https://VIP. They may be
	// the same.
	Public, API string
	User        string
	Password    config.Secret
	Project     string
	// CA are the certificates that the endpoints are checked with; nil for the
	// machine's own.
	CA *x509.CertPool
}

// A cloud is a client of the cloud's APIs that does as little as possible
// beside the request, so that what it measures is the cloud.
type cloud struct {
	access  Access
	base    string
	http    *http.Client
	session *session
}

// session is shared by all clients of a run.
type session struct {
	token   atomic.Value // string
	project atomic.Value // string
	user    atomic.Value // string
}

func (s *session) Token() string { t, _ := s.token.Load().(string); return t }

func newCloud(a Access, base string, s *session) *cloud {
	return &cloud{access: a, base: base, session: s, http: &http.Client{Transport: newTransport(a.CA)}}
}

// newTransport keeps connections as clients do. HTTP/2 is off: one connection
// for everything would make one lost segment look like an outage.
func newTransport(ca *x509.CertPool) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: ca, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 2 * time.Second,
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     30 * time.Second,
	}
}

// own is the same client with connections of its own.
func (c *cloud) own() *cloud { return newCloud(c.access, c.base, c.session) }

// An answerError is an answer that is not a success.
type answerError struct {
	Status int
	Text   string
}

func (e *answerError) Error() string { return fmt.Sprintf("%d %s", e.Status, e.Text) }

// refused tells that the cloud said no and meant it: nothing was done.
func refused(err error) bool {
	var a *answerError
	return errors.As(err, &a) && a.Status >= 400 && a.Status < 500 && a.Status != http.StatusRequestTimeout
}

// errNotSent is of a request of which no byte reached the cloud, so that even a
// write may be repeated.
var errNotSent = errors.New("not sent")

// errSilentRepeat is of a request that the HTTP client itself repeated because
// a kept connection was dead. It counts as a failed first try.
var errSilentRepeat = errors.New("the kept connection was dead; the HTTP client repeated the request")

// do sends body as JSON ([]byte as it is, nil for none) and reads the answer
// into out, if that is not nil.
func (c *cloud) do(ctx context.Context, method, path string, body, out any, headers ...string) (http.Header, error) {
	req, err := c.request(ctx, method, path, body, headers)
	if err != nil {
		return nil, err
	}
	// The callbacks may run in the transport's goroutines after Do returned.
	var conns atomic.Int32
	var wrote atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { conns.Add(1) },
		WroteHeaders: func() { wrote.Store(true) },
	}))
	res, err := c.http.Do(req)
	if err != nil {
		c.http.CloseIdleConnections()
		if !wrote.Load() {
			return nil, fmt.Errorf("%w: %w", errNotSent, err)
		}
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	reply, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		return res.Header, &answerError{res.StatusCode, string(bytes.TrimSpace(reply[:min(len(reply), 200)]))}
	}
	if out != nil {
		if err := json.Unmarshal(reply, out); err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	if conns.Load() > 1 {
		c.http.CloseIdleConnections()
		return res.Header, errSilentRepeat
	}
	return res.Header, nil
}

func (c *cloud) request(ctx context.Context, method, path string, body any, headers []string) (*http.Request, error) {
	var in io.Reader
	kind := "application/json"
	switch body := body.(type) {
	case nil:
	case []byte:
		in, kind = bytes.NewReader(body), "application/octet-stream"
	default:
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, in)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	if t := c.session.Token(); t != "" {
		req.Header.Set("X-Auth-Token", t)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req, nil
}

type object = map[string]any

type tokenBody struct {
	Token struct {
		Project struct{ ID string }
		User    struct{ ID string }
	}
}

// login gets a token by password and keeps it for all clients of the run.
func (c *cloud) login(ctx context.Context) error {
	domain := object{"id": "default"}
	body := object{"auth": object{
		"identity": object{"methods": []string{"password"}, "password": object{
			"user": object{"name": c.access.User, "password": c.access.Password.Reveal(), "domain": domain}}},
		"scope": object{"project": object{"name": c.access.Project, "domain": domain}}}}
	var out tokenBody
	h, err := c.do(ctx, "POST", "/identity/v3/auth/tokens", body, &out)
	if err != nil && !errors.Is(err, errSilentRepeat) {
		return fmt.Errorf("log in at %s as %s: %w", c.base, c.access.User, err)
	}
	c.session.token.Store(h.Get("X-Subject-Token"))
	c.session.project.Store(out.Token.Project.ID)
	c.session.user.Store(out.Token.User.ID)
	return nil
}

func (s *session) Project() string { p, _ := s.project.Load().(string); return p }
func (s *session) User() string    { u, _ := s.user.Load().(string); return u }

// retried runs f up to n times with a pause, for the parts of a drill that are
// no measurement.
func retried(ctx context.Context, c waiter, n int, pause time.Duration, f func(context.Context) error) error {
	var err error
	for i := range n {
		if i > 0 {
			if e := sleep(ctx, c, pause); e != nil {
				return errors.Join(err, e)
			}
		}
		try, cancel := context.WithTimeout(ctx, 20*time.Second)
		err = f(try)
		cancel()
		if err == nil || errors.Is(err, errSilentRepeat) {
			return nil
		}
		if refused(err) {
			return err
		}
	}
	return err
}
