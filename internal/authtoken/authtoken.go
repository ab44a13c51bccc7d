// Package authtoken checks the X-Auth-Token of requests and puts the caller's
// identity in their context.
//
// A token is validated by a [Validator] (in a running cloud: Keystone's public
// API, see [Remote]) and remembered for less than a second, so that a
// revocation is seen everywhere within one second whatever else is broken.
// Start with [Middleware.Wrap].
package authtoken

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
)

// MaxTTL bounds how long a validated token is remembered.
const MaxTTL = 900 * time.Millisecond

// maxTokenLen is longer than any Fernet token; a longer header is not sent on.
const maxTokenLen = 4096

// A Validator tells whose a token is. It returns Unauthorized for a token that
// is expired, revoked, malformed or unknown.
type Validator interface {
	Validate(ctx context.Context, token string) (*Identity, error)
}

// Config says how tokens are checked.
type Config struct {
	Validator Validator
	TTL       time.Duration // 0 and everything above MaxTTL mean MaxTTL
	Clock     clock.Clock   // nil means the system's
}

// Middleware authenticates requests. It is safe for concurrent use.
type Middleware struct {
	validator Validator
	ttl       time.Duration
	clock     clock.Clock
	flight    singleflight.Group

	mu   sync.Mutex // guards the two generations of the memory
	cur  map[string]entry
	prev map[string]entry
	turn time.Time
}

type entry struct {
	identity *Identity
	until    time.Time
}

// New makes a middleware.
func New(cfg Config) *Middleware {
	if cfg.TTL <= 0 || cfg.TTL > MaxTTL {
		cfg.TTL = MaxTTL
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	return &Middleware{validator: cfg.Validator, ttl: cfg.TTL, clock: cfg.Clock, cur: map[string]entry{}}
}

// spoofable are headers by which other deployments pass identities from a
// proxy to a service; from a client they mean nothing (OSSA-2026-001).
var spoofable = []string{
	"X-Identity-Status", "X-User", "X-User-Id", "X-User-Name", "X-User-Domain-Id", "X-User-Domain-Name",
	"X-Tenant", "X-Tenant-Name", "X-Project-Id", "X-Project-Name", "X-Project-Domain-Id",
	"X-Project-Domain-Name", "X-Domain-Id", "X-Domain-Name", "X-Role", "X-Roles", "X-Is-Admin-Project",
	"X-Service-Catalog", "X-Service-Roles", "X-Service-User-Id", "X-Service-Identity-Status",
	"X-Service-Project-Id", "Openstack-System-Scope",
}

// Wrap puts the caller's identity in the context of each request to next. A
// request without a token goes on without identity (the router answers 401
// where its rule wants one); a bad token fails with what onError writes.
func (m *Middleware) Wrap(next http.Handler, onError func(w http.ResponseWriter, r *http.Request, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range spoofable {
			r.Header.Del(h)
		}
		token := r.Header.Get("X-Auth-Token")
		if token == "" {
			next.ServeHTTP(w, r)
			return
		}
		id, err := m.Identify(r.Context(), token)
		if err != nil {
			onError(w, r, err)
			return
		}
		if st := r.Header.Get("X-Service-Token"); st != "" {
			service, err := m.Identify(r.Context(), st)
			if err != nil {
				onError(w, r, err)
				return
			}
			both := *id
			both.ServiceRoles = service.RoleNames()
			id = &both
		}
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), id)))
	})
}

// Identify is the identity of a token, from memory or from the validator.
func (m *Middleware) Identify(ctx context.Context, token string) (*Identity, error) {
	if len(token) > maxTokenLen {
		return nil, fault.New(fault.Unauthorized, "the token is not valid")
	}
	if id := m.recall(token); id != nil {
		return id, nil
	}
	v, err, _ := m.flight.Do(token, func() (any, error) {
		start := m.clock.Now()
		// The answer serves every request that waits for it, so the first one's
		// disconnect must not fail the others.
		vctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		defer cancel()
		id, err := m.validator.Validate(vctx, token)
		if err != nil {
			return nil, err
		}
		id.Token = config.NewSecret(token)
		id.CheckedAt, id.CheckTook = start, m.clock.Now().Sub(start)
		// Counted from before the question: a revocation during it must not
		// be hidden for longer than the TTL.
		m.remember(token, id, start.Add(m.ttl))
		return id, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Identity), nil
}

func (m *Middleware) recall(token string) *Identity {
	now := m.clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.cur[token]
	if !ok {
		e, ok = m.prev[token]
	}
	if !ok || now.After(e.until) || !now.Before(e.identity.ExpiresAt) {
		return nil
	}
	return e.identity
}

// remember keeps two generations and drops the older each TTL, so the memory
// is bounded by the tokens of the last two seconds.
func (m *Middleware) remember(token string, id *Identity, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.clock.Now(); now.Sub(m.turn) > m.ttl {
		m.prev, m.cur, m.turn = m.cur, map[string]entry{}, now
	}
	m.cur[token] = entry{id, until}
}
