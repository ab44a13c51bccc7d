package glance

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

func (s *Service) insertMember(ctx context.Context, m *Member) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		// The image may have been deleted since it was read; who holds it counts alone.
		there, err := db.Hold(ctx, tx, "images", "id = ?", m.ImageID)
		if err == nil && there == 0 {
			err = notFound(m.ImageID)
		}
		if err != nil {
			return err
		}
		n, err := tx.NewSelect().Model((*Member)(nil)).Where("image_id = ?", m.ImageID).Count(ctx)
		if err != nil {
			return err
		}
		if n >= int64(s.cfg.MaxProperties) {
			return fault.New(fault.TooLarge, "the limit of %d members of one image has been exceeded", s.cfg.MaxProperties)
		}
		_, err = tx.NewInsert().Model(m).Exec(ctx)
		return err
	})
	if db.IsDuplicate(err) {
		return fault.New(fault.Conflict, "image member %s already exists for image %s", m.Member, m.ImageID)
	}
	return err
}

// Member returns one membership.
func (s *Service) Member(ctx context.Context, img *Image, project string) (*Member, error) {
	var m Member
	err := s.db.NewSelect().Model(&m).Where("image_id = ?", img.ID).Where("member = ?", project).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, memberNotFound(img.ID, project)
	}
	return &m, err
}

func (s *Service) isMember(ctx context.Context, id, project string) (bool, error) {
	return s.db.NewSelect().Model((*Member)(nil)).Where("image_id = ?", id).Where("member = ?", project).Exists(ctx)
}

func (s *Service) selectMembers(ctx context.Context, id, only string) ([]Member, error) {
	list := []Member{}
	q := s.db.NewSelect().Model(&list).Where("image_id = ?", id).Order("member").Limit(int64(s.cfg.MaxProperties))
	if only != "" {
		q.Where("member = ?", only)
	}
	return list, q.Scan(ctx)
}

func (s *Service) updateMember(ctx context.Context, m *Member) (bool, error) {
	res, err := s.db.NewUpdate().Model(m).Column("status", "updated_at").WherePK().Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func (s *Service) deleteMember(ctx context.Context, id, project string) (bool, error) {
	res, err := s.db.NewDelete().Model((*Member)(nil)).Where("image_id = ?", id).Where("member = ?", project).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}
