package glance

import (
	"context"
	"time"
)

func (s *Service) renewUpload(ctx context.Context, id, upload string, deadline time.Time) (bool, error) {
	res, err := s.db.NewUpdate().Model((*Image)(nil)).Set("upload_deadline = ?", deadline).
		Where("id = ?", id).Where("upload_id = ?", upload).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// selectUploads lists the images that are being uploaded or are staged.
func (s *Service) selectUploads(ctx context.Context) ([]Image, error) {
	var list []Image
	err := s.db.NewSelect().Model(&list).Column("id", "status", "upload_id", "upload_deadline", "location").
		Where("upload_deadline IS NOT NULL").Scan(ctx)
	return list, err
}

// selectDeleted lists deleted images whose data may still be there.
func (s *Service) selectDeleted(ctx context.Context) ([]deletedRow, error) {
	var rows []deletedRow
	err := s.db.NewSelect().Model(&rows).Where("location > ''").Limit(1000).Scan(ctx)
	return rows, err
}

// ownsFile tells whether an image or a pending deletion refers to the file of
// that upload.
func (s *Service) ownsFile(ctx context.Context, id, upload string) (bool, error) {
	loc := location(id, upload)
	used, err := s.db.NewSelect().Model((*Image)(nil)).Where("id = ?", id).
		Where("location = ? OR upload_id = ?", loc, upload).Exists(ctx)
	if err != nil || used {
		return used, err
	}
	return s.db.NewSelect().Model((*deletedRow)(nil)).Where("id = ?", id).Where("location = ?", loc).Exists(ctx)
}
