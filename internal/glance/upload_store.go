package glance

import (
	"context"
	"time"

	"github.com/uptrace/bun"
)

// storedData is what is known of complete data. A virtualSize below zero is
// not recorded.
type storedData struct {
	location          string
	size, virtualSize int64
	checksum, hash    string
}

// claimUpload gives a queued image to an upload, if the image is still as img
// says: the format that the data is held against must be the one recorded.
func (s *Service) claimUpload(ctx context.Context, img *Image, during, upload string, deadline time.Time) (bool, error) {
	return s.casStatus(ctx, img.ID, StatusQueued, "", during, func(q *bun.UpdateQuery) {
		q.Set("upload_id = ?", upload).Set("upload_deadline = ?", deadline).Where("version = ?", img.Version)
	})
}

// finishUpload records complete data: the image is active, or staged until it
// is imported.
func (s *Service) finishUpload(ctx context.Context, id, during, upload string, d storedData) (bool, error) {
	to := StatusActive
	if during == StatusUploading {
		to = StatusUploading
	}
	return s.casStatus(ctx, id, during, upload, to, func(q *bun.UpdateQuery) {
		if to == StatusActive {
			endUpload(q)
		} else {
			q.Set("upload_id = ?", stagedOwner).Set("upload_deadline = ?", s.clock.Now().Add(stagedLease))
		}
		q.Set("location = ?", d.location).Set("size = ?", d.size).Set("checksum = ?", d.checksum).
			Set("os_hash_algo = ?", hashAlgo).Set("os_hash_value = ?", d.hash)
		if d.virtualSize >= 0 {
			q.Set("virtual_size = ?", d.virtualSize)
		}
	})
}

// activateStaged makes staged data the image's own.
func (s *Service) activateStaged(ctx context.Context, id string) (bool, error) {
	return s.casStatus(ctx, id, StatusUploading, stagedOwner, StatusActive, endUpload)
}

// requeue takes an image from its upload and forgets everything that the
// upload may have recorded.
func (s *Service) requeue(ctx context.Context, id, from, upload string) (bool, error) {
	return s.casStatus(ctx, id, from, upload, StatusQueued, func(q *bun.UpdateQuery) {
		endUpload(q)
		q.Set("location = ''")
		for _, c := range []string{"size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value"} {
			q.Set("? = NULL", bun.Ident(c))
		}
	})
}

func endUpload(q *bun.UpdateQuery) { q.Set("upload_id = ''").Set("upload_deadline = NULL") }

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

// storedPage is how many images selectStored returns at once.
const storedPage = 500

// selectStored lists images that have data, by id, after one.
func (s *Service) selectStored(ctx context.Context, after string) ([]Image, error) {
	var list []Image
	err := s.db.NewSelect().Model(&list).Column("id", "location", "size", "os_hash_value").
		Where("images.id > ?", after).Where("location > ''").Where("status IN (?)", bun.List([]string{StatusActive, StatusDeactivated})).
		OrderExpr("images.id").Limit(storedPage).Scan(ctx)
	return list, err
}
