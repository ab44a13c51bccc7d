package keystone

import (
	"context"
	"sync"
	"time"
)

// What a revocation event is about.
const (
	revokeAudit   = "audit"   // one token, by its audit id
	revokeChain   = "chain"   // all tokens made from one login
	revokeUser    = "user"    // tokens of a user
	revokeProject = "project" // tokens scoped to a project
	revokeDomain  = "domain"  // tokens of a domain's users, or scoped to it or into it
	revokeAppCred = "appcred" // tokens got by an application credential
)

// A revocationEvent ends the tokens it is about that were issued up to
// IssuedBefore, to the microsecond.
type revocationEvent struct {
	Revision     int64     `bun:"revision,pk"`
	Kind         string    `bun:"kind,pk"`
	Subject      string    `bun:"subject,pk"`
	IssuedBefore time.Time `bun:"issued_before"`
	ExpiresAt    time.Time `bun:"expires_at"`
}

// revocations are the events in memory, by what they are about, so that a
// token is judged by a few look-ups however many events there are.
type revocations struct {
	mu       sync.RWMutex // guards the rest
	revision int64
	until    map[revocationKey]revocationEnd
}

type revocationKey struct{ kind, subject string }

type revocationEnd struct{ issuedBefore, expiresAt time.Time }

func newRevocations() *revocations {
	return &revocations{until: map[revocationKey]revocationEnd{}}
}

// catchUp reads the events up to revision that are not in memory yet.
func (r *revocations) catchUp(ctx context.Context, revision int64, after func(context.Context, int64) ([]revocationEvent, error)) error {
	r.mu.RLock()
	have := r.revision
	r.mu.RUnlock()
	if have >= revision {
		return nil
	}
	events, err := after(ctx, have)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revision = max(r.revision, revision)
	for _, e := range events {
		k := revocationKey{e.Kind, e.Subject}
		end := r.until[k]
		if e.IssuedBefore.After(end.issuedBefore) {
			end.issuedBefore = e.IssuedBefore
		}
		if e.ExpiresAt.After(end.expiresAt) {
			end.expiresAt = e.ExpiresAt
		}
		r.until[k] = end
		r.revision = max(r.revision, e.Revision)
	}
	return nil
}

// hit tells whether a token of that issue time is ended by such an event.
func (r *revocations) hit(kind, subject string, issued time.Time) bool {
	if subject == "" {
		return false
	}
	end, ok := r.until[revocationKey{kind, subject}]
	return ok && !issued.After(end.issuedBefore)
}

// revokes tells whether any event ends the token.
func (r *revocations) revokes(t *Token) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.until) == 0 {
		return false
	}
	at := t.IssuedAt
	if r.hit(revokeAudit, t.AuditIDs[0], at) || r.hit(revokeChain, t.chainID(), at) ||
		r.hit(revokeUser, t.User.ID, at) || r.hit(revokeDomain, t.User.DomainID, at) {
		return true
	}
	if t.Project != nil && (r.hit(revokeProject, t.Project.ID, at) || r.hit(revokeDomain, t.Project.DomainID, at)) {
		return true
	}
	if t.Domain != nil && r.hit(revokeDomain, t.Domain.ID, at) {
		return true
	}
	return t.AppCred != nil && r.hit(revokeAppCred, t.AppCred.ID, at)
}

// forget drops events that no living token can match.
func (r *revocations) forget(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, end := range r.until {
		if now.After(end.expiresAt) {
			delete(r.until, k)
		}
	}
}

// RevokeToken ends a token at once; with chain also every token made from the
// same login.
func (s *Service) RevokeToken(ctx context.Context, token string, chain bool) error {
	p, err := s.openToken(ctx, token)
	if err != nil {
		return err
	}
	if chain {
		return s.insertRevocation(ctx, revokeChain, p.chainID())
	}
	return s.insertRevocation(ctx, revokeAudit, p.AuditIDs[0])
}

// RevokeUserTokens ends all tokens of a user.
func (s *Service) RevokeUserTokens(ctx context.Context, userID string) error {
	if _, err := s.User(ctx, userID); err != nil {
		return err
	}
	return s.insertRevocation(ctx, revokeUser, userID)
}
