package keystone

import (
	"context"

	"github.com/uptrace/bun"
)

func (s *Service) insertUser(ctx context.Context, u *User) error {
	return s.insertInDomain(ctx, u.DomainID, func(ctx context.Context, tx bun.Tx) error {
		return insert(ctx, tx, u, "user", u.Name)
	})
}

func (s *Service) selectUser(ctx context.Context, id string) (*User, error) {
	u := new(User)
	return u, findOne(ctx, s.db, u, "user", id)
}

func (s *Service) selectUserByName(ctx context.Context, domainID, name string) (*User, error) {
	u := new(User)
	err := s.db.NewSelect().Model(u).Where("domain_id = ?", domainID).Where("name = ?", name).Scan(ctx)
	return u, foundOr404(err, "user", name)
}

func (s *Service) selectUsers(ctx context.Context, f Filter) ([]User, error) {
	return list[User](ctx, s.db, userColumns, f)
}

func (s *Service) selectUsersIn(ctx context.Context, ids []string) ([]User, error) {
	return listIn[User](ctx, s.db, ids)
}

func (s *Service) updateUser(ctx context.Context, u *User, cols []string, revoke bool) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := update(ctx, tx, u, "user", u.ID, u.Name, cols...); err != nil {
			return err
		}
		if revoke {
			return s.revoke(ctx, tx, revokeUser, u.ID)
		}
		return nil
	}, identityRevision)
}

func (s *Service) countFailedLogin(ctx context.Context, id string) error {
	_, err := s.db.NewUpdate().Model((*User)(nil)).Set("failed_logins = failed_logins + 1").
		Set("failed_login_at = ?", s.clock.Now()).Where("id = ?", id).Exec(ctx)
	return err
}

func (s *Service) resetFailedLogins(ctx context.Context, id string) error {
	_, err := s.db.NewUpdate().Model((*User)(nil)).Set("failed_logins = 0").Where("id = ?", id).Exec(ctx)
	return err
}

func (s *Service) deleteUser(ctx context.Context, id string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := remove(ctx, tx, (*User)(nil), "user", id); err != nil {
			return err
		}
		for _, q := range []string{
			"DELETE FROM memberships WHERE user_id = ?",
			"DELETE FROM assignments WHERE actor_kind = 'user' AND actor_id = ?",
			"DELETE FROM application_credential_roles WHERE application_credential_id IN (SELECT id FROM application_credentials WHERE user_id = ?)",
			"DELETE FROM application_credentials WHERE user_id = ?",
			"DELETE FROM credentials WHERE user_id = ?",
		} {
			if _, err := tx.NewRaw(q, id).Exec(ctx); err != nil {
				return err
			}
		}
		return s.revoke(ctx, tx, revokeUser, id)
	}, identityRevision)
}
