package stack

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
)

// clients returns a client over the shortcut and one over a real socket: what
// holds on one must hold on the other.
func clients(t *testing.T, h http.Handler) map[string]*http.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	host := strings.TrimPrefix(srv.URL, "http://")
	to := func(rt http.RoundTripper) *http.Client {
		return &http.Client{Transport: redirectHost{host, rt}}
	}
	return map[string]*http.Client{
		"socket":   to(http.DefaultTransport),
		"shortcut": to(&shortcut{host: host, handler: h, base: http.DefaultTransport}),
	}
}

type redirectHost struct {
	host string
	next http.RoundTripper
}

func (r redirectHost) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Host = r.host
	return r.next.RoundTrip(req)
}

func TestShortcutBehavesLikeASocket(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Got", r.Header.Get("X-Sent"))
		if authtoken.FromContext(r.Context()) != nil {
			w.Header().Set("X-Leak", "caller's identity")
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("GET /empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /half", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	for name, c := range clients(t, mux) {
		t.Run(name, func(t *testing.T) {
			ctx := authtoken.NewContext(t.Context(), &authtoken.Identity{UserID: "caller"})
			big := strings.Repeat("0123456789", 100_000)
			req, _ := http.NewRequestWithContext(ctx, "POST", "http://cloud/echo", strings.NewReader(big))
			req.Header.Set("X-Sent", "yes")
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil || string(b) != big || resp.StatusCode != 202 || resp.Header.Get("X-Got") != "yes" {
				t.Errorf("echo: %d, %d bytes, %v", resp.StatusCode, len(b), err)
			}
			if l := resp.Header.Get("X-Leak"); l != "" {
				t.Errorf("the handler saw the %s", l)
			}
			resp, err = c.Get("http://cloud/empty")
			if err != nil || resp.StatusCode != 204 {
				t.Errorf("empty: %v %v", resp, err)
			}
			resp, err = c.Get("http://cloud/half")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("half an answer was taken for a whole one")
			}
		})
	}
}

func TestShortcutEndsTheHandlerWithTheCaller(t *testing.T) {
	ended := make(chan struct{}, 2)
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		ended <- struct{}{}
	})
	for name, c := range clients(t, h) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://cloud/", nil)
			if _, err := c.Do(req); err == nil {
				t.Error("no error after the caller's deadline")
			}
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Error("the handler goes on after its caller left")
			}
		})
	}
}
