package keystone

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"sync/atomic"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
)

// A Token is a valid token with all that it stands for. It is shared between
// requests: never change one.
type Token struct {
	*payload
	User          *User
	UserDomain    *Domain
	Project       *Project // with its domain, if the scope is a project
	ProjectDomain *Domain
	Domain        *Domain // if the scope is a domain
	System        bool
	Roles         []Role
	AppCred       *ApplicationCredential
	Catalog       []CatalogService // nil for an unscoped token

	// RequestedAt and Verified say when the login reached us and how long its
	// check took, if it was this process that issued the token.
	RequestedAt time.Time
	Verified    time.Duration

	identity *authtoken.Identity
	revs     struct{ identity, catalog int64 } // what it was built from
	bodies   [2]atomic.Pointer[[]byte]
}

// Body returns the token as a response body, made once by encode and kept.
func (t *Token) Body(catalog bool, encode func(*Token, bool) ([]byte, error)) ([]byte, error) {
	slot := &t.bodies[0]
	if catalog {
		slot = &t.bodies[1]
	}
	if b := slot.Load(); b != nil {
		return *b, nil
	}
	b, err := encode(t, catalog)
	if err != nil {
		return nil, err
	}
	slot.Store(&b)
	return b, nil
}

// newAuditID names a token in audit trails and revocations without giving the
// token away.
func newAuditID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24: it ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// issue makes a token of the payload, if its user may have it.
func (s *Service) issue(ctx context.Context, p *payload, received time.Time, verified time.Duration) (string, *Token, error) {
	snap, err := s.view(ctx)
	if err != nil {
		return "", nil, err
	}
	t, err := s.build(ctx, snap, p)
	if err != nil {
		return "", nil, err
	}
	t.RequestedAt, t.Verified = received, verified
	text, err := s.tokenKeys.seal(ctx, p.encode())
	if err != nil {
		return "", nil, err
	}
	s.tokens.put(text, t)
	return text, t, nil
}
