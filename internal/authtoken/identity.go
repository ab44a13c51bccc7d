package authtoken

import (
	"context"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/policy"
)

// A Role is one role that a token carries.
type Role struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// An Identity is what Keystone says of a valid token. It is shared between
// requests: never change one.
type Identity struct {
	UserID, UserName, UserDomainID, UserDomainName             string
	ProjectID, ProjectName, ProjectDomainID, ProjectDomainName string
	DomainID, DomainName                                       string
	SystemScope                                                string // "all" or ""
	Roles                                                      []Role
	Methods                                                    []string
	AuditIDs                                                   []string
	IssuedAt, ExpiresAt                                        time.Time
	AppCredID                                                  string
	AppCredUnrestricted                                        bool

	// ServiceRoles are the roles of a valid X-Service-Token that came with the
	// request, nil if there was none.
	ServiceRoles []string

	// TokenRequestedAt and TokenVerified say when the client's password request
	// reached Keystone and how long its check took; zero when Keystone no
	// longer knows.
	TokenRequestedAt time.Time
	TokenVerified    time.Duration

	// CheckedAt and CheckTook say when this process asked Keystone about the
	// token and how long the answer took.
	CheckedAt time.Time
	CheckTook time.Duration

	Token config.Secret
}

// HasRole tells whether the token carries the role of that name.
func (i *Identity) HasRole(name string) bool {
	return slices.ContainsFunc(i.Roles, func(r Role) bool { return r.Name == name })
}

// IsAdmin tells whether the token carries the admin role.
func (i *Identity) IsAdmin() bool { return i.HasRole("admin") }

// RoleNames are the names of the roles.
func (i *Identity) RoleNames() []string {
	names := make([]string, len(i.Roles))
	for n, r := range i.Roles {
		names[n] = r.Name
	}
	return names
}

// Credentials are what policy rules look at.
func (i *Identity) Credentials() policy.Credentials {
	return policy.Credentials{
		UserID: i.UserID, ProjectID: i.ProjectID, DomainID: i.DomainID,
		SystemScope: i.SystemScope, UserDomainID: i.UserDomainID,
		ProjectDomainID: i.ProjectDomainID, Roles: i.RoleNames(), ServiceRoles: i.ServiceRoles,
	}
}

type contextKey struct{}

// NewContext returns ctx with the identity of its caller.
func NewContext(ctx context.Context, i *Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, i)
}

// FromContext is the identity of the caller, nil if the request has none.
func FromContext(ctx context.Context) *Identity {
	i, _ := ctx.Value(contextKey{}).(*Identity)
	return i
}
