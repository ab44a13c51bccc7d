package authtoken_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/authtoken/authtokentest"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
)

// counting counts the questions and can be told that a token is revoked.
type counting struct {
	authtokentest.Static
	asked   atomic.Int64
	revoked atomic.Bool
}

func (c *counting) Validate(ctx context.Context, token string) (*authtoken.Identity, error) {
	c.asked.Add(1)
	if c.revoked.Load() {
		return nil, fault.New(fault.Unauthorized, "the token is not valid")
	}
	return c.Static.Validate(ctx, token)
}

func TestRevocationIsSeenWithinASecond(t *testing.T) {
	now := clock.NewFake(time.Unix(1700000000, 0))
	v := &counting{Static: authtokentest.Personas()}
	m := authtoken.New(authtoken.Config{Validator: v, Clock: now})
	for range 3 {
		if _, err := m.Identify(t.Context(), "member"); err != nil {
			t.Fatal(err)
		}
	}
	if n := v.asked.Load(); n != 1 {
		t.Errorf("asked %d times for three requests, want 1", n)
	}
	v.revoked.Store(true)
	now.Advance(time.Second)
	if _, err := m.Identify(t.Context(), "member"); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("one second after the revocation: %v, want unauthorized", err)
	}
}

func TestAnExpiredTokenIsForgotten(t *testing.T) {
	now := clock.NewFake(time.Unix(1700000000, 0))
	personas := authtokentest.Personas()
	personas["member"].ExpiresAt = now.Now().Add(100 * time.Millisecond)
	v := &counting{Static: personas}
	m := authtoken.New(authtoken.Config{Validator: v, Clock: now})
	if _, err := m.Identify(t.Context(), "member"); err != nil {
		t.Fatal(err)
	}
	now.Advance(100 * time.Millisecond)
	_, _ = m.Identify(t.Context(), "member")
	if n := v.asked.Load(); n != 2 {
		t.Errorf("asked %d times, want again after the expiry", n)
	}
}

func TestRemoteReadsKeystonesAnswer(t *testing.T) {
	var tokens []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("X-Auth-Token"))
		switch {
		case r.Header.Get("X-Auth-Token") == "stale":
			w.WriteHeader(http.StatusUnauthorized)
		case r.Header.Get("X-Subject-Token") != "good":
			w.WriteHeader(http.StatusNotFound)
		default:
			w.Header().Set("X-Hastack-Token-Issue", "2026-01-02T03:04:05.5Z;1500")
			_, _ = w.Write([]byte(`{"token":{"methods":["password"],"audit_ids":["a"],"issued_at":"2026-01-02T03:04:05.000000Z","expires_at":"2026-01-02T04:04:05.000000Z",
				"user":{"id":"u1","name":"demo","domain":{"id":"default","name":"Default"}},
				"project":{"id":"p1","name":"demo","domain":{"id":"default","name":"Default"}},
				"roles":[{"id":"r1","name":"member"}]}}`))
		}
	}))
	defer srv.Close()
	remote := &authtoken.Remote{AuthURL: srv.URL, Client: srv.Client(), OwnToken: func(_ context.Context, fresh bool) (string, error) {
		if fresh {
			return "new", nil
		}
		return "stale", nil
	}}
	id, err := remote.Validate(t.Context(), "good")
	if err != nil {
		t.Fatal(err)
	}
	if id.UserID != "u1" || id.ProjectID != "p1" || !id.HasRole("member") || id.TokenVerified != 1500*time.Microsecond {
		t.Errorf("identity %+v", id)
	}
	if len(tokens) != 2 || tokens[1] != "new" {
		t.Errorf("own tokens %v, want a new one after the stale one", tokens)
	}
	if _, err := remote.Validate(t.Context(), "forged"); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("forged token: %v", err)
	}
}

func TestRemoteAsksAgainWhileKeystoneIsAway(t *testing.T) {
	for name, c := range map[string]struct {
		away  func(w http.ResponseWriter)
		times int32
		asked int32
		err   fault.Kind // Internal: none
	}{
		"its balancer is replaced": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 2, 3, fault.Internal},
		"no backend is ready":      {func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }, 3, 4, fault.Internal},
		"it stays away":            {func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, 1000, 5, fault.Unavailable},
		"it answers":               {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, 1000, 1, fault.Unauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) <= c.times {
					c.away(w)
					return
				}
				_, _ = w.Write([]byte(`{"token":{"user":{"id":"u1"}}}`))
			}))
			defer srv.Close()
			transport := &http.Transport{DisableKeepAlives: true} // a reused connection would be tried again below us
			remote := &authtoken.Remote{AuthURL: srv.URL, Client: &http.Client{Transport: transport},
				OwnToken: func(context.Context, bool) (string, error) { return "own", nil }}
			id, err := remote.Validate(t.Context(), "good")
			if c.err == fault.Internal && (err != nil || id.UserID != "u1") || c.err != fault.Internal && !fault.Is(err, c.err) {
				t.Errorf("identity %+v, %v", id, err)
			}
			if n := asked.Load(); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
		})
	}
}
