package keystone

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
)

func (s *Service) insertDomain(ctx context.Context, d *Domain) error {
	return insert(ctx, s.db, d, "domain", d.Name)
}

func (s *Service) selectDomain(ctx context.Context, id string) (*Domain, error) {
	d := new(Domain)
	return d, findOne(ctx, s.db, d, "domain", id)
}

func (s *Service) selectDomainByName(ctx context.Context, name string) (*Domain, error) {
	d := new(Domain)
	err := s.db.NewSelect().Model(d).Where("name = ?", name).Scan(ctx)
	return d, foundOr404(err, "domain", name)
}

func (s *Service) selectDomains(ctx context.Context, f Filter) ([]Domain, error) {
	return list[Domain](ctx, s.db, domainColumns, f)
}

func (s *Service) selectDomainsIn(ctx context.Context, ids []string) ([]Domain, error) {
	return listIn[Domain](ctx, s.db, ids)
}

func (s *Service) updateDomain(ctx context.Context, d *Domain, cols []string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := update(ctx, tx, d, "domain", d.ID, d.Name, cols...); err != nil {
			return err
		}
		if !d.Enabled {
			return s.revoke(ctx, tx, revokeDomain, d.ID)
		}
		return nil
	}, identityRevision)
}

// insertInDomain runs fn in a transaction that holds the domain; a domain that
// does not exist is a BadRequest.
func (s *Service) insertInDomain(ctx context.Context, id string, fn func(ctx context.Context, tx bun.Tx) error) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := hold(ctx, tx, "domains", "domain", id); err != nil {
			return err
		}
		return fn(ctx, tx)
	})
}

// domainCascade removes what belongs to a domain, leaves first.
var domainCascade = []string{
	"DELETE FROM application_credential_roles WHERE application_credential_id IN (SELECT id FROM application_credentials WHERE user_id IN (SELECT id FROM users WHERE domain_id = ?0) OR project_id IN (SELECT id FROM projects WHERE domain_id = ?0))",
	"DELETE FROM application_credentials WHERE user_id IN (SELECT id FROM users WHERE domain_id = ?0) OR project_id IN (SELECT id FROM projects WHERE domain_id = ?0)",
	"DELETE FROM credentials WHERE user_id IN (SELECT id FROM users WHERE domain_id = ?0) OR project_id IN (SELECT id FROM projects WHERE domain_id = ?0)",
	"DELETE FROM assignments WHERE actor_kind = 'user' AND actor_id IN (SELECT id FROM users WHERE domain_id = ?0)",
	"DELETE FROM assignments WHERE actor_kind = 'group' AND actor_id IN (SELECT id FROM user_groups WHERE domain_id = ?0)",
	"DELETE FROM assignments WHERE target_kind = 'project' AND target_id IN (SELECT id FROM projects WHERE domain_id = ?0)",
	"DELETE FROM assignments WHERE target_kind = 'domain' AND target_id = ?0",
	"DELETE FROM assignments WHERE role_id IN (SELECT id FROM roles WHERE domain_id = ?0)",
	"DELETE FROM implied_roles WHERE prior_role_id IN (SELECT id FROM roles WHERE domain_id = ?0) OR implied_role_id IN (SELECT id FROM roles WHERE domain_id = ?0)",
	"DELETE FROM roles WHERE domain_id = ?0",
	"DELETE FROM memberships WHERE user_id IN (SELECT id FROM users WHERE domain_id = ?0) OR group_id IN (SELECT id FROM user_groups WHERE domain_id = ?0)",
	"DELETE FROM user_groups WHERE domain_id = ?0",
	"DELETE FROM users WHERE domain_id = ?0",
	"DELETE FROM project_tags WHERE project_id IN (SELECT id FROM projects WHERE domain_id = ?0)",
	"DELETE FROM projects WHERE domain_id = ?0",
}

func (s *Service) deleteDomain(ctx context.Context, id string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		// The domain itself goes first, and only if it is still disabled: it may
		// have been enabled since the caller looked.
		res, err := tx.NewDelete().Model((*Domain)(nil)).Where("id = ?", id).Where("enabled = ?", false).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return fault.New(fault.Conflict, "domain %s was changed meanwhile", id)
		}
		for _, q := range domainCascade {
			if _, err := tx.NewRaw(q, id).Exec(ctx); err != nil {
				return err
			}
		}
		return s.revoke(ctx, tx, revokeDomain, id)
	}, identityRevision)
}
