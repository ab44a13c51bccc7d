package keystone

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

func (s *Service) selectRevocationsAfter(ctx context.Context, revision int64) ([]revocationEvent, error) {
	var rows []revocationEvent
	err := s.db.NewSelect().Model(&rows).Where("revision > ?", revision).
		Where("expires_at > ?", s.clock.Now()).OrderExpr("revision").Scan(ctx)
	return rows, err
}

func (s *Service) insertRevocation(ctx context.Context, kind, subject string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		return s.revoke(ctx, tx, kind, subject)
	})
}

// revoke records an event inside a transaction that changes something else.
// Raising the revision takes that row until the commit, so the events' order
// is the order in which others see them.
func (s *Service) revoke(ctx context.Context, tx bun.Tx, kind string, subjects ...string) error {
	if len(subjects) == 0 {
		return nil
	}
	if err := raise(ctx, tx, revocationRevision); err != nil {
		return err
	}
	var rev revisionRow
	if err := tx.NewSelect().Model(&rev).Where("name = ?", revocationRevision).Scan(ctx); err != nil {
		return fmt.Errorf("read revision: %w", err)
	}
	now := s.clock.Now()
	rows := make([]revocationEvent, len(subjects))
	for i, subject := range subjects {
		rows[i] = revocationEvent{
			Revision: rev.Value, Kind: kind, Subject: subject, IssuedBefore: now,
			ExpiresAt: now.Add(s.cfg.TokenTTL + s.cfg.ExpiredWindow),
		}
	}
	if _, err := tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
		return fmt.Errorf("record revocation of %s %v: %w", kind, subjects, err)
	}
	return nil
}

// purgeRevocations removes events that are over, from the database and from
// memory.
func (s *Service) purgeRevocations(ctx context.Context) error {
	now := s.clock.Now()
	s.revoked.forget(now)
	_, err := s.db.NewDelete().Model((*revocationEvent)(nil)).Where("expires_at < ?", now).Exec(ctx)
	return err
}
