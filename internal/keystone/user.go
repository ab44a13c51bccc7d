package keystone

import (
	"context"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// A User can log in. Its password is kept as a bcrypt hash only; an empty hash
// means that no password is right.
type User struct {
	ID                string `bun:"id,pk"`
	DomainID          string
	Name              string
	Enabled           bool
	DefaultProjectID  string `bun:",nullzero"`
	PasswordHash      string
	PasswordChangedAt time.Time `bun:",nullzero"`
	PasswordExpiresAt time.Time `bun:",nullzero"`
	FailedLogins      int64
	FailedLoginAt     time.Time `bun:",nullzero"`
	Extra             Extra
	CreatedAt         time.Time
}

// A UserUpdate holds what is to change; nil keeps, an empty default project
// removes it. A password of nil keeps the old one.
type UserUpdate struct {
	Name, DefaultProjectID *string
	Enabled                *bool
	Password               *config.Secret
	Extra                  Extra
}

// CreateUser adds u with the password, nil for a user who cannot log in by one.
func (s *Service) CreateUser(ctx context.Context, u *User, password *config.Secret) error {
	if err := checkName("user", u.Name, 255); err != nil {
		return err
	}
	if u.ID == "" {
		u.ID = ids.Hex()
	}
	u.CreatedAt = s.clock.Now()
	if err := s.setPassword(ctx, u, password); err != nil {
		return err
	}
	return s.insertUser(ctx, u)
}

func (s *Service) setPassword(ctx context.Context, u *User, password *config.Secret) error {
	if password == nil {
		return nil
	}
	hash, err := s.hasher.hash(ctx, password.Reveal())
	if err != nil {
		return err
	}
	u.PasswordHash, u.PasswordChangedAt = hash, s.clock.Now()
	return nil
}

// User finds a user by id.
func (s *Service) User(ctx context.Context, id string) (*User, error) {
	return s.selectUser(ctx, id)
}

// Users lists users; they can be filtered by name, enabled, domain_id and
// password_expires_at.
func (s *Service) Users(ctx context.Context, f Filter) ([]User, error) {
	return s.selectUsers(ctx, f)
}

// UpdateUser changes a user. A new password, or disabling, ends all tokens of
// the user.
func (s *Service) UpdateUser(ctx context.Context, id string, up UserUpdate) (*User, error) {
	u, err := s.selectUser(ctx, id)
	if err != nil {
		return nil, err
	}
	var cols []string
	if up.Name != nil {
		if err := checkName("user", *up.Name, 255); err != nil {
			return nil, err
		}
		u.Name, cols = *up.Name, append(cols, "name")
	}
	if up.DefaultProjectID != nil {
		u.DefaultProjectID, cols = *up.DefaultProjectID, append(cols, "default_project_id")
	}
	if up.Enabled != nil {
		u.Enabled, cols = *up.Enabled, append(cols, "enabled")
	}
	if u.Extra.merge(up.Extra) {
		cols = append(cols, "extra")
	}
	if up.Password != nil {
		if err := s.setPassword(ctx, u, up.Password); err != nil {
			return nil, err
		}
		u.FailedLogins = 0
		cols = append(cols, "password_hash", "password_changed_at", "failed_logins")
	}
	return u, s.updateUser(ctx, u, cols, up.Password != nil || !u.Enabled)
}

// ChangePassword lets a user who knows the old password set a new one.
func (s *Service) ChangePassword(ctx context.Context, id string, old, new config.Secret) error {
	if err := checkPasswordLen(new.Reveal()); err != nil {
		return err
	}
	u, err := s.selectUser(ctx, id)
	if err != nil {
		u = &User{}
		if !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	if err := s.checkPassword(ctx, u, old.Reveal()); err != nil {
		return err
	}
	_, err = s.UpdateUser(ctx, id, UserUpdate{Password: &new})
	return err
}

// DeleteUser removes a user with their memberships, assignments and credentials.
func (s *Service) DeleteUser(ctx context.Context, id string) error {
	return s.deleteUser(ctx, id)
}

// unauthorized is the one answer to everything that can be wrong with a login,
// so that it tells nobody which users exist or are locked.
func unauthorized() *fault.Error {
	return fault.New(fault.Unauthorized, "the request you have made requires authentication")
}

// checkPassword compares a password with a user's. A user without id does not
// exist; that, a disabled and a locked user all cost the same one hash.
func (s *Service) checkPassword(ctx context.Context, u *User, password string) error {
	hash := u.PasswordHash
	locked := s.cfg.LockoutAttempts > 0 && u.FailedLogins >= int64(s.cfg.LockoutAttempts) &&
		s.clock.Now().Before(u.FailedLoginAt.Add(s.cfg.LockoutFor))
	if locked || !u.Enabled || !u.PasswordExpiresAt.IsZero() && s.clock.Now().After(u.PasswordExpiresAt) {
		hash = ""
	}
	right, err := s.hasher.verify(ctx, hash, password)
	if err != nil {
		return err
	}
	if right {
		if u.FailedLogins > 0 {
			return s.resetFailedLogins(ctx, u.ID)
		}
		return nil
	}
	if s.cfg.LockoutAttempts > 0 && u.ID != "" && !locked {
		if err := s.countFailedLogin(ctx, u.ID); err != nil {
			return err
		}
	}
	return unauthorized()
}
