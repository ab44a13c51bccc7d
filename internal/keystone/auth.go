package keystone

import (
	"context"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
)

// A UserRef names a user by id, or by name and domain.
type UserRef struct{ ID, Name, DomainID, DomainName string }

// A Scope is what a login asks the token to be for. Project and domain are
// named by id, or by name (a project with its domain).
type Scope struct {
	Kind                           ScopeKind
	ID, Name, DomainID, DomainName string
}

// ScopeKind says what kind of scope a login asks for.
type ScopeKind int

// The scopes. With NoScope the user's default project is tried.
const (
	NoScope ScopeKind = iota
	Unscoped
	ProjectScope
	DomainScope
	SystemScope
)

// A Login is one request for a token. The part of each method that is named
// must be there.
type Login struct {
	Methods    []string
	User       UserRef // password
	Password   config.Secret
	Token      config.Secret // token
	AppCredID  string        // application_credential: by id, or by name and user
	AppCred    string
	AppUser    UserRef
	AppSecret  config.Secret
	Scope      Scope
	ReceivedAt time.Time
}

// proven is what the methods of a login have shown.
type proven struct {
	user    *User
	appCred *ApplicationCredential
	parent  *Token // the token that was shown, if any
}

// Authenticate checks every method of a login, works out the scope and issues
// a token. Whatever is wrong with user or secret gives the same Unauthorized.
func (s *Service) Authenticate(ctx context.Context, l Login) (string, *Token, error) {
	var methods []string
	for _, m := range l.Methods {
		// Each method once: a list that repeats "password" must not buy an
		// attacker a hash for every word (OSSA-2012-019).
		if !slices.Contains(methods, m) {
			methods = append(methods, m)
		}
	}
	if len(methods) == 0 {
		return "", nil, fault.New(fault.BadRequest, "auth.identity.methods must not be empty")
	}
	start := s.clock.Now()
	if err := passPoints(ctx, "1.before-effect", "1.after-effect", "1.after-record", "2.before-effect"); err != nil {
		return "", nil, err
	}
	var p proven
	for _, m := range methods {
		if err := s.prove(ctx, m, &l, &p); err != nil {
			return "", nil, err
		}
	}
	took := s.clock.Now().Sub(start)
	out, err := s.newPayload(ctx, methods, &l, &p)
	if err != nil {
		return "", nil, err
	}
	if l.ReceivedAt.IsZero() {
		l.ReceivedAt = start
	}
	secret, token, err := s.issue(ctx, out, l.ReceivedAt, took)
	if err != nil {
		return "", nil, err
	}
	return secret, token, passPoints(ctx, "2.after-effect", "2.after-record")
}

// passPoints passes fault points of the first two steps of a boot, which are a
// login. A token leaves no record, so their points say when, not what.
func passPoints(ctx context.Context, points ...string) error {
	for _, p := range points {
		if err := failpoint.At(ctx, "nova.boot."+p); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) prove(ctx context.Context, method string, l *Login, p *proven) error {
	var user *User
	var err error
	switch method {
	case methodPassword:
		user, err = s.provePassword(ctx, l)
	case methodToken:
		if p.parent, err = s.Validate(ctx, l.Token.Reveal(), false); err == nil {
			user = p.parent.User
			if p.parent.AppCred != nil {
				p.appCred = p.parent.AppCred
			}
		}
	case methodAppCred:
		user, p.appCred, err = s.proveAppCred(ctx, l)
	default:
		return fault.New(fault.Unauthorized, "attempted to authenticate with an unsupported method: %s", method)
	}
	if err != nil {
		return err
	}
	if p.user != nil && p.user.ID != user.ID {
		return unauthorized()
	}
	p.user = user
	return nil
}

// findUser returns the user; one that does not exist, or whose domain is
// disabled, is a user without id, which no password fits.
func (s *Service) findUser(ctx context.Context, ref UserRef) (*User, error) {
	u, err := s.lookUpUser(ctx, ref)
	if fault.Is(err, fault.NotFound) {
		return &User{}, nil
	}
	return u, err
}

func (s *Service) lookUpUser(ctx context.Context, ref UserRef) (*User, error) {
	if ref.ID != "" {
		u, err := s.selectUser(ctx, ref.ID)
		if err != nil {
			return nil, err
		}
		return s.inEnabledDomain(ctx, u)
	}
	d, err := s.domainOf(ctx, ref.DomainID, ref.DomainName)
	if err != nil {
		return nil, err
	}
	u, err := s.selectUserByName(ctx, d.ID, ref.Name)
	if err != nil {
		return nil, err
	}
	if !d.Enabled {
		u.Enabled = false
	}
	return u, nil
}

func (s *Service) inEnabledDomain(ctx context.Context, u *User) (*User, error) {
	d, err := s.selectDomain(ctx, u.DomainID)
	if err == nil && !d.Enabled {
		u.Enabled = false
	}
	return u, err
}

func (s *Service) domainOf(ctx context.Context, id, name string) (*Domain, error) {
	if id != "" {
		return s.selectDomain(ctx, id)
	}
	return s.selectDomainByName(ctx, name)
}

func (s *Service) provePassword(ctx context.Context, l *Login) (*User, error) {
	if err := checkPasswordLen(l.Password.Reveal()); err != nil {
		return nil, err
	}
	u, err := s.findUser(ctx, l.User)
	if err != nil {
		return nil, err
	}
	return u, s.checkPassword(ctx, u, l.Password.Reveal())
}

func (s *Service) proveAppCred(ctx context.Context, l *Login) (*User, *ApplicationCredential, error) {
	if err := checkPasswordLen(l.AppSecret.Reveal()); err != nil {
		return nil, nil, err
	}
	ac := &ApplicationCredential{}
	var err error
	if l.AppCredID != "" {
		ac, err = s.selectAppCred(ctx, l.AppCredID)
	} else {
		var u *User
		if u, err = s.findUser(ctx, l.AppUser); err == nil {
			ac, err = s.selectAppCredByName(ctx, u.ID, l.AppCred)
		}
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, nil, err
	}
	hash := ""
	if err == nil && (ac.ExpiresAt.IsZero() || s.clock.Now().Before(ac.ExpiresAt)) {
		hash = ac.SecretHash
	}
	right, err := s.hasher.verify(ctx, hash, l.AppSecret.Reveal())
	if err != nil {
		return nil, nil, err
	}
	if !right {
		return nil, nil, unauthorized()
	}
	u, err := s.findUser(ctx, UserRef{ID: ac.UserID})
	if err == nil && !u.Enabled {
		err = unauthorized()
	}
	return u, ac, err
}

// newPayload works out the scope, the end and the audit chain.
func (s *Service) newPayload(ctx context.Context, methods []string, l *Login, p *proven) (*payload, error) {
	now := s.clock.Now()
	out := &payload{
		UserID: p.user.ID, Methods: methods, AuditIDs: []string{newAuditID()},
		IssuedAt: now, ExpiresAt: now.Add(s.cfg.TokenTTL),
	}
	if p.parent != nil {
		// A token made from a token lives as long as that one and belongs to
		// its chain, whatever else was shown with it.
		out.ExpiresAt = p.parent.ExpiresAt
		out.AuditIDs = append(out.AuditIDs, p.parent.chainID())
		for _, m := range p.parent.Methods {
			if !slices.Contains(out.Methods, m) {
				out.Methods = append(out.Methods, m)
			}
		}
	}
	if p.appCred != nil {
		out.AppCredID, out.Scope, out.ScopeID = p.appCred.ID, projectScope, p.appCred.ProjectID
		// An application credential is for its project and nothing else.
		if l.Scope.Kind != NoScope && (l.Scope.Kind != ProjectScope || l.Scope.ID != p.appCred.ProjectID) {
			return nil, fault.New(fault.Unauthorized, "application credentials cannot request a scope")
		}
		return out, nil
	}
	return out, s.setScope(ctx, out, l.Scope, p.user)
}

func (s *Service) setScope(ctx context.Context, out *payload, sc Scope, u *User) error {
	switch sc.Kind {
	case Unscoped:
		return nil
	case SystemScope:
		out.Scope = systemScope
		return nil
	case ProjectScope:
		p, err := s.scopeProject(ctx, sc)
		if err != nil {
			return hidden(err)
		}
		out.Scope, out.ScopeID = projectScope, p.ID
		return nil
	case DomainScope:
		d, err := s.domainOf(ctx, sc.ID, sc.Name)
		if err != nil {
			return hidden(err)
		}
		out.Scope, out.ScopeID = domainScope, d.ID
		return nil
	}
	return s.setDefaultScope(ctx, out, u)
}

func (s *Service) scopeProject(ctx context.Context, sc Scope) (*Project, error) {
	if sc.ID != "" {
		return s.selectProjectRow(ctx, sc.ID)
	}
	d, err := s.domainOf(ctx, sc.DomainID, sc.DomainName)
	if err != nil {
		return nil, err
	}
	return s.selectProjectByName(ctx, d.ID, sc.Name)
}

// setDefaultScope takes the user's default project if they may use it; if not,
// the token has no scope.
func (s *Service) setDefaultScope(ctx context.Context, out *payload, u *User) error {
	if u.DefaultProjectID == "" {
		return nil
	}
	try := *out
	try.Scope, try.ScopeID = projectScope, u.DefaultProjectID
	snap, err := s.view(ctx)
	if err != nil {
		return err
	}
	if _, err := s.build(ctx, snap, &try); err == nil {
		*out = try
	} else if !fault.Is(err, fault.Unauthorized) {
		return err
	}
	return nil
}

// hidden turns "no such project" into the answer for a project that the user
// has no role on.
func hidden(err error) error {
	if fault.Is(err, fault.NotFound) {
		return unauthorized()
	}
	return err
}
