package keystone

import (
	"context"

	"github.com/uptrace/bun"
)

type applicationCredentialRole struct {
	ApplicationCredentialID string `bun:"application_credential_id,pk"`
	RoleID                  string `bun:"role_id,pk"`
}

func (s *Service) insertAppCred(ctx context.Context, ac *ApplicationCredential) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := insert(ctx, tx, ac, "application credential", ac.Name); err != nil {
			return err
		}
		rows := make([]applicationCredentialRole, len(ac.RoleIDs))
		for i, r := range ac.RoleIDs {
			rows[i] = applicationCredentialRole{ac.ID, r}
		}
		if len(rows) == 0 {
			return nil
		}
		_, err := tx.NewInsert().Model(&rows).Exec(ctx)
		return err
	})
}

func (s *Service) selectAppCred(ctx context.Context, id string) (*ApplicationCredential, error) {
	ac := new(ApplicationCredential)
	if err := findOne(ctx, s.db, ac, "application credential", id); err != nil {
		return nil, err
	}
	return ac, s.addAppCredRoles(ctx, []*ApplicationCredential{ac})
}

func (s *Service) selectAppCredByName(ctx context.Context, userID, name string) (*ApplicationCredential, error) {
	ac := new(ApplicationCredential)
	err := s.db.NewSelect().Model(ac).Where("user_id = ?", userID).Where("name = ?", name).Scan(ctx)
	if err != nil {
		return nil, foundOr404(err, "application credential", name)
	}
	return ac, s.addAppCredRoles(ctx, []*ApplicationCredential{ac})
}

func (s *Service) selectAppCreds(ctx context.Context, f Filter) ([]ApplicationCredential, error) {
	rows, err := list[ApplicationCredential](ctx, s.db, appCredColumns, f)
	if err != nil {
		return nil, err
	}
	refs := make([]*ApplicationCredential, len(rows))
	for i := range rows {
		refs[i] = &rows[i]
	}
	return rows, s.addAppCredRoles(ctx, refs)
}

func (s *Service) addAppCredRoles(ctx context.Context, creds []*ApplicationCredential) error {
	if len(creds) == 0 {
		return nil
	}
	at := make(map[string]*ApplicationCredential, len(creds))
	keys := make([]string, len(creds))
	for i, ac := range creds {
		at[ac.ID], keys[i] = ac, ac.ID
	}
	var rows []applicationCredentialRole
	err := s.db.NewSelect().Model(&rows).Where("application_credential_id IN (?)", bun.List(keys)).OrderExpr("role_id").Scan(ctx)
	for _, r := range rows {
		ac := at[r.ApplicationCredentialID]
		ac.RoleIDs = append(ac.RoleIDs, r.RoleID)
	}
	return err
}

func (s *Service) deleteAppCred(ctx context.Context, id string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := remove(ctx, tx, (*ApplicationCredential)(nil), "application credential", id); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*applicationCredentialRole)(nil)).Where("application_credential_id = ?", id).Exec(ctx); err != nil {
			return err
		}
		return s.revoke(ctx, tx, revokeAppCred, id)
	}, identityRevision)
}
