package keystone

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// An ApplicationCredential lets a program act for its user on one project with
// some of the user's roles.
type ApplicationCredential struct {
	ID           string `bun:"id,pk"`
	UserID       string
	ProjectID    string
	Name         string
	Description  *string
	SecretHash   string
	ExpiresAt    time.Time `bun:",nullzero"`
	Unrestricted bool      // may itself make credentials
	CreatedAt    time.Time
	RoleIDs      []string `bun:"-"`
}

// RefuseRestricted returns Forbidden for a caller who came by an application
// credential that may not make further credentials.
func RefuseRestricted(caller *authtoken.Identity) error {
	if caller.AppCredID != "" && !caller.AppCredUnrestricted {
		return fault.New(fault.Forbidden, "a restricted application credential cannot manage credentials")
	}
	return nil
}

// A RoleRef names a role by id, or by name among the global ones.
type RoleRef struct{ ID, Name string }

// CreateApplicationCredential makes ac for the caller and the caller's project
// with the given roles, all of the caller's if there are none. It returns the
// secret, which nobody can read again; an empty one is made up.
func (s *Service) CreateApplicationCredential(ctx context.Context, caller *authtoken.Identity, ac *ApplicationCredential, roles []RoleRef, secret config.Secret) (config.Secret, error) {
	if err := RefuseRestricted(caller); err != nil {
		return secret, err
	}
	if caller.ProjectID == "" {
		return secret, fault.New(fault.BadRequest, "an application credential needs a project-scoped token")
	}
	if err := checkName("application credential", ac.Name, 255); err != nil {
		return secret, err
	}
	now := s.clock.Now()
	if !ac.ExpiresAt.IsZero() && !ac.ExpiresAt.After(now) {
		return secret, fault.New(fault.BadRequest, "expires_at is in the past")
	}
	ac.ID, ac.UserID, ac.ProjectID, ac.CreatedAt = ids.Hex(), caller.UserID, caller.ProjectID, now
	if err := chooseRoles(caller, ac, roles); err != nil {
		return secret, err
	}
	var err error
	if secret.Empty() {
		var b [64]byte
		_, _ = rand.Read(b[:])
		secret = config.NewSecret(base64.RawURLEncoding.EncodeToString(b[:]))
		ac.SecretHash, err = s.hasher.hashSecret(ctx, secret.Reveal())
	} else {
		ac.SecretHash, err = s.hasher.hash(ctx, secret.Reveal())
	}
	if err != nil {
		return secret, err
	}
	return secret, s.insertAppCred(ctx, ac)
}

func chooseRoles(caller *authtoken.Identity, ac *ApplicationCredential, roles []RoleRef) error {
	if len(roles) == 0 {
		for _, r := range caller.Roles {
			ac.RoleIDs = append(ac.RoleIDs, r.ID)
		}
		return nil
	}
	for _, want := range roles {
		i := slices.IndexFunc(caller.Roles, func(r authtoken.Role) bool {
			return want.ID != "" && r.ID == want.ID || want.ID == "" && r.Name == want.Name
		})
		if i < 0 {
			return fault.New(fault.BadRequest, "invalid application credential: the user does not have role %s%s on the project", want.ID, want.Name)
		}
		if id := caller.Roles[i].ID; !slices.Contains(ac.RoleIDs, id) {
			ac.RoleIDs = append(ac.RoleIDs, id)
		}
	}
	return nil
}

// ApplicationCredential finds a user's application credential; another user's
// is not found.
func (s *Service) ApplicationCredential(ctx context.Context, userID, id string) (*ApplicationCredential, error) {
	ac, err := s.selectAppCred(ctx, id)
	if err == nil && ac.UserID != userID {
		return nil, fault.New(fault.NotFound, "could not find application credential: %s", id)
	}
	return ac, err
}

// ApplicationCredentials lists a user's application credentials; they can be
// filtered by name.
func (s *Service) ApplicationCredentials(ctx context.Context, userID string, f Filter) ([]ApplicationCredential, error) {
	return s.selectAppCreds(ctx, f.With("user_id", userID))
}

// DeleteApplicationCredential removes an application credential and ends its
// tokens.
func (s *Service) DeleteApplicationCredential(ctx context.Context, userID, id string) error {
	if _, err := s.ApplicationCredential(ctx, userID, id); err != nil {
		return err
	}
	return s.deleteAppCred(ctx, id)
}

// RolesByID are the roles with those ids, by name.
func (s *Service) RolesByID(ctx context.Context, ids []string) ([]Role, error) {
	snap, err := s.view(ctx)
	if err != nil {
		return nil, err
	}
	return snap.rolesOf(ids), nil
}
