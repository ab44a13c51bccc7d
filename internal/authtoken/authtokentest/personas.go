// Package authtokentest has ready identities for service tests, so that a
// test of one service needs no Keystone.
package authtokentest

import (
	"context"
	"maps"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
)

// The projects of the personas, in Keystone's form.
const (
	AdminProject = "a0000000000000000000000000000001"
	DemoProject  = "d0000000000000000000000000000001"
	OtherProject = "e0000000000000000000000000000001"
)

// Static validates a fixed set of tokens.
type Static map[string]*authtoken.Identity

// Validate returns a copy of the identity of the token.
func (s Static) Validate(_ context.Context, token string) (*authtoken.Identity, error) {
	id, ok := s[token]
	if !ok {
		return nil, fault.New(fault.Unauthorized, "the token is not valid")
	}
	c := *id
	return &c, nil
}

// Personas are tokens named after who they stand for: "admin" (admin of the
// admin project), "member" and "reader" of the demo project, "other" (member
// of another project), "service" (admin and service roles in the service
// project), "system-admin", "system-reader".
func Personas() Static {
	s := Static{
		"admin":   person("admin", AdminProject, "admin", "admin", "manager", "member", "reader"),
		"member":  person("member", DemoProject, "demo", "member", "reader"),
		"reader":  person("reader", DemoProject, "demo", "reader"),
		"other":   person("other", OtherProject, "other", "member", "reader"),
		"service": person("service", "50000000000000000000000000000001", "service", "admin", "service", "manager", "member", "reader"),
	}
	for token, roles := range map[string][]string{
		"system-admin": {"admin", "manager", "member", "reader"}, "system-reader": {"reader"},
	} {
		id := person(token, "", "", roles...)
		id.SystemScope = "all"
		s[token] = id
	}
	return maps.Clone(s)
}

func person(name, project, projectName string, roles ...string) *authtoken.Identity {
	id := &authtoken.Identity{
		UserID: "f000000000000000000000" + pad(name), UserName: name, UserDomainID: "default", UserDomainName: "Default",
		ProjectID: project, ProjectName: projectName, Methods: []string{"password"},
		AuditIDs: []string{"audit-" + name},
		IssuedAt: time.Unix(1700000000, 0).UTC(), ExpiresAt: time.Unix(4100000000, 0).UTC(),
	}
	if project != "" {
		id.ProjectDomainID, id.ProjectDomainName = "default", "Default"
	}
	for _, r := range roles {
		id.Roles = append(id.Roles, authtoken.Role{ID: "9" + pad(r), Name: r})
	}
	return id
}

// pad spells a name in ten hexadecimal digits.
func pad(name string) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 10)
	for i := range out {
		out[i] = '0'
		if i < len(name) {
			out[i] = digits[name[i]%16]
		}
	}
	return string(out)
}
