package keystone

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
)

// maxTokenLen is longer than any token we make.
const maxTokenLen = 512

func badToken() error { return fault.New(fault.Unauthorized, "the token is not valid") }

// Validate judges a token: it must be one of ours, not over, not revoked, and
// its user must still be what it says. With expired, a token counts for
// Config.ExpiredWindow longer. A token that is not valid is Unauthorized.
func (s *Service) Validate(ctx context.Context, token string, expired bool) (*Token, error) {
	if token == "" || len(token) > maxTokenLen {
		return nil, badToken()
	}
	snap, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	t := s.tokens.get(token)
	if t == nil || t.revs.identity != snap.identity || t.revs.catalog != snap.catalog {
		if t, err = s.rebuild(ctx, snap, token, t); err != nil {
			return nil, err
		}
	}
	end := t.ExpiresAt
	if expired {
		end = end.Add(s.cfg.ExpiredWindow)
	}
	if !s.clock.Now().Before(end) || s.revoked.revokes(t) {
		return nil, badToken()
	}
	return t, nil
}

func (s *Service) rebuild(ctx context.Context, snap *snapshot, token string, old *Token) (*Token, error) {
	var p *payload
	if old != nil {
		p = old.payload
	} else {
		var err error
		if p, err = s.openToken(ctx, token); err != nil {
			return nil, err
		}
		// Before any row is read for it: an old token costs no statement.
		if s.clock.Now().After(p.ExpiresAt.Add(s.cfg.ExpiredWindow)) {
			return nil, badToken()
		}
	}
	t, err := s.build(ctx, snap, p)
	if err != nil {
		s.tokens.drop(token)
		return nil, err
	}
	if old != nil {
		t.RequestedAt, t.Verified = old.RequestedAt, old.Verified
	}
	s.tokens.put(token, t)
	return t, nil
}

// openToken reads what is inside a token of ours.
func (s *Service) openToken(ctx context.Context, token string) (*payload, error) {
	if len(token) > maxTokenLen {
		return nil, badToken()
	}
	msg, err := s.tokenKeys.open(ctx, token)
	if err != nil {
		return nil, err
	}
	p, err := decodePayload(msg)
	if err != nil {
		return nil, badToken()
	}
	return p, nil
}

// build reads the rows behind a payload. It is Unauthorized when the user, the
// scope or their domains are gone or disabled, or when no role is left.
func (s *Service) build(ctx context.Context, snap *snapshot, p *payload) (*Token, error) {
	t := &Token{payload: p}
	t.revs.identity, t.revs.catalog = snap.identity, snap.catalog
	var err error
	if t.User, err = s.selectUser(ctx, p.UserID); err != nil {
		return nil, hidden(err)
	}
	if t.UserDomain, err = s.selectDomain(ctx, t.User.DomainID); err != nil {
		return nil, hidden(err)
	}
	if !t.User.Enabled || !t.UserDomain.Enabled {
		return nil, unauthorized()
	}
	if err := s.buildScope(ctx, snap, t); err != nil {
		return nil, hidden(err)
	}
	if p.Scope != unscoped {
		if len(t.Roles) == 0 {
			return nil, unauthorized()
		}
		t.Catalog = catalogFor(snap.services, p)
	}
	t.identity = t.makeIdentity()
	return t, nil
}

func (s *Service) buildScope(ctx context.Context, snap *snapshot, t *Token) (err error) {
	switch t.Scope {
	case projectScope:
		if t.Project, err = s.selectProjectRow(ctx, t.ScopeID); err != nil {
			return err
		}
		t.ProjectDomain = t.UserDomain
		if t.Project.DomainID != t.UserDomain.ID {
			if t.ProjectDomain, err = s.selectDomain(ctx, t.Project.DomainID); err != nil {
				return err
			}
		}
		if !t.Project.Enabled || !t.ProjectDomain.Enabled {
			return unauthorized()
		}
		if t.Roles, err = s.projectRoles(ctx, snap, t.User.ID, t.Project); err != nil {
			return err
		}
		return s.limitToAppCred(ctx, snap, t)
	case domainScope:
		if t.Domain, err = s.selectDomain(ctx, t.ScopeID); err != nil {
			return err
		}
		if !t.Domain.Enabled {
			return unauthorized()
		}
		t.Roles, err = s.domainRoles(ctx, snap, t.User.ID, t.Domain.ID)
	case systemScope:
		t.System = true
		t.Roles, err = s.systemRoles(ctx, snap, t.User.ID)
	}
	return err
}

// limitToAppCred leaves only the roles that the application credential has and
// its user still has.
func (s *Service) limitToAppCred(ctx context.Context, snap *snapshot, t *Token) error {
	if t.AppCredID == "" {
		return nil
	}
	ac, err := s.selectAppCred(ctx, t.AppCredID)
	if err != nil {
		return err
	}
	if ac.UserID != t.User.ID || ac.ProjectID != t.Project.ID || !ac.ExpiresAt.IsZero() && !s.clock.Now().Before(ac.ExpiresAt) {
		return unauthorized()
	}
	t.AppCred = ac
	has := t.Roles
	t.Roles = slices.DeleteFunc(snap.tokenRoles(ac.RoleIDs), func(r Role) bool {
		return !slices.ContainsFunc(has, func(h Role) bool { return h.ID == r.ID })
	})
	return nil
}

// catalogFor fills in the endpoints' URLs for one token. Tokens share the
// catalog where no URL depends on them.
func catalogFor(services []CatalogService, p *payload) []CatalogService {
	if !slices.ContainsFunc(services, func(c CatalogService) bool {
		return slices.ContainsFunc(c.Endpoints, func(e Endpoint) bool { return strings.Contains(e.URL, "(") })
	}) {
		return services
	}
	projectID := ""
	if p.Scope == projectScope {
		projectID = p.ScopeID
	}
	out := make([]CatalogService, len(services))
	for i, c := range services {
		out[i] = c
		out[i].Endpoints = nil
		for _, e := range c.Endpoints {
			var ok bool
			if e.URL, ok = expandURL(e.URL, projectID, p.UserID); ok {
				out[i].Endpoints = append(out[i].Endpoints, e)
			}
		}
	}
	return out
}

func (t *Token) makeIdentity() *authtoken.Identity {
	id := &authtoken.Identity{
		UserID: t.User.ID, UserName: t.User.Name, UserDomainID: t.UserDomain.ID, UserDomainName: t.UserDomain.Name,
		Methods: t.Methods, AuditIDs: t.AuditIDs, IssuedAt: t.IssuedAt, ExpiresAt: t.ExpiresAt, AppCredID: t.AppCredID,
	}
	if t.Project != nil {
		id.ProjectID, id.ProjectName = t.Project.ID, t.Project.Name
		id.ProjectDomainID, id.ProjectDomainName = t.ProjectDomain.ID, t.ProjectDomain.Name
	}
	if t.Domain != nil {
		id.DomainID, id.DomainName = t.Domain.ID, t.Domain.Name
	}
	if t.System {
		id.SystemScope = "all"
	}
	if t.AppCred != nil {
		id.AppCredUnrestricted = t.AppCred.Unrestricted
	}
	for _, r := range t.Roles {
		id.Roles = append(id.Roles, authtoken.Role{ID: r.ID, Name: r.Name})
	}
	return id
}

// Local judges tokens inside Keystone's own process, for its own API.
type Local struct{ Service *Service }

// Validate is as in authtoken.Validator.
func (l Local) Validate(ctx context.Context, token string) (*authtoken.Identity, error) {
	t, err := l.Service.Validate(ctx, token, false)
	if err != nil {
		return nil, err
	}
	id := *t.identity // the caller writes into it
	id.TokenRequestedAt, id.TokenVerified = t.RequestedAt, t.Verified
	return &id, nil
}

// tokenCache keeps recently judged tokens in two generations, so that it is
// bounded and what is used stays.
type tokenCache struct {
	mu        sync.RWMutex // guards the maps
	cur, prev map[string]*Token
}

// tokensPerGeneration bounds the memory: about 4 KiB a token with its bodies.
const tokensPerGeneration = 4096

func newTokenCache() *tokenCache { return &tokenCache{cur: map[string]*Token{}} }

func (c *tokenCache) get(token string) *Token {
	c.mu.RLock()
	t, ok := c.cur[token]
	if !ok {
		t = c.prev[token]
	}
	c.mu.RUnlock()
	if !ok && t != nil {
		c.put(token, t)
	}
	return t
}

func (c *tokenCache) put(token string, t *Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.cur) >= tokensPerGeneration {
		c.prev, c.cur = c.cur, make(map[string]*Token, tokensPerGeneration)
	}
	c.cur[token] = t
}

func (c *tokenCache) drop(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cur, token)
	delete(c.prev, token)
}
