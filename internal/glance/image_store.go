package glance

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

type tagRow struct {
	bun.BaseModel `bun:"table:image_tags"`
	ImageID       string
	Value         string
}

type propertyRow struct {
	bun.BaseModel `bun:"table:image_properties"`
	ImageID       string
	Name          string
	Value         string
}

type deletedRow struct {
	bun.BaseModel `bun:"table:deleted_images"`
	ID            string `bun:"id,pk"`
	Location      string
	DeletedAt     time.Time
}

func (s *Service) insertImage(ctx context.Context, img *Image) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		gone, err := tx.NewSelect().Model((*deletedRow)(nil)).Where("id = ?", img.ID).Exists(ctx)
		if err != nil {
			return err
		}
		if gone {
			return fault.New(fault.Conflict, "image ID %s already exists", img.ID)
		}
		if _, err := tx.NewInsert().Model(img).Exec(ctx); err != nil {
			return err
		}
		return indexExtras(ctx, tx, nil, img)
	})
	if db.IsDuplicate(err) {
		return fault.New(fault.Conflict, "image ID %s already exists", img.ID)
	}
	return err
}

// indexExtras brings the rows that filters use in line with the image's own
// columns, which are what is read. old is nil for a new image.
func indexExtras(ctx context.Context, tx bun.Tx, old, img *Image) error {
	if old != nil && maps.Equal(old.Properties, img.Properties) && slices.Equal(old.Tags, img.Tags) {
		return nil
	}
	if old != nil {
		if err := dropExtras(ctx, tx, img.ID); err != nil {
			return err
		}
	}
	if len(img.Tags) > 0 {
		rows := make([]tagRow, len(img.Tags))
		for i, t := range img.Tags {
			rows[i] = tagRow{ImageID: img.ID, Value: t}
		}
		if _, err := tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
			return err
		}
	}
	if len(img.Properties) == 0 {
		return nil
	}
	var rows []propertyRow
	for _, name := range slices.Sorted(maps.Keys(img.Properties)) {
		rows = append(rows, propertyRow{ImageID: img.ID, Name: name, Value: img.Properties[name]})
	}
	_, err := tx.NewInsert().Model(&rows).Exec(ctx)
	return err
}

func dropExtras(ctx context.Context, tx bun.Tx, id string) error {
	for _, model := range []any{(*tagRow)(nil), (*propertyRow)(nil)} {
		if _, err := tx.NewDelete().Model(model).Where("image_id = ?", id).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) selectImage(ctx context.Context, id string) (*Image, error) {
	var img Image
	err := s.db.NewSelect().Model(&img).Where("images.id = ?", id).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, notFound(id)
	}
	if err != nil {
		return nil, err
	}
	return &img, nil
}

// casImage writes img over old. It reports false if the row has changed since
// old was read. Data columns (size, location, …) have their own statements.
func (s *Service) casImage(ctx context.Context, old, img *Image) (bool, error) {
	done := false
	err := s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewUpdate().Model(img).
			Column("name", "owner", "visibility", "disk_format", "container_format", "min_disk", "min_ram",
				"protected", "os_hidden", "properties", "tags", "updated_at").
			Set("version = version + 1").
			Where("id = ?", img.ID).Where("version = ?", old.Version).Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if done = n == 1; !done || err != nil {
			return err
		}
		return indexExtras(ctx, tx, old, img)
	})
	img.Version = old.Version + 1
	return done, err
}

// casStatus moves an image from one status to another, with further columns.
// It reports false if the image was not in that status, or not at that upload.
func (s *Service) casStatus(ctx context.Context, id, from, uploadID, to string, set func(q *bun.UpdateQuery)) (bool, error) {
	q := s.db.NewUpdate().Model((*Image)(nil)).
		Set("status = ?", to).Set("version = version + 1").Set("updated_at = ?", s.clock.Now()).
		Where("id = ?", id).Where("status = ?", from).Where("upload_id = ?", uploadID)
	if set != nil {
		set(q)
	}
	res, err := q.Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// moveToDeleted takes the image out of the catalogue and leaves the tombstone
// that keeps its id and says which data is to be removed. It reports false if
// the row changed since img was read.
func (s *Service) moveToDeleted(ctx context.Context, img *Image) (bool, error) {
	done := false
	err := s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewDelete().Model((*Image)(nil)).
			Where("id = ?", img.ID).Where("version = ?", img.Version).Where("protected = ?", false).Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if done = n == 1; !done || err != nil {
			return err
		}
		if err := dropExtras(ctx, tx, img.ID); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*Member)(nil)).Where("image_id = ?", img.ID).Exec(ctx); err != nil {
			return err
		}
		row := deletedRow{ID: img.ID, Location: img.Location, DeletedAt: s.clock.Now()}
		_, err = tx.NewInsert().Model(&row).Exec(ctx)
		return err
	})
	return done, err
}

// markRemoved records that the data of a deleted image is gone.
func (s *Service) markRemoved(ctx context.Context, id string) error {
	_, err := s.db.NewUpdate().Model((*deletedRow)(nil)).Set("location = ''").Where("id = ?", id).Exec(ctx)
	return err
}
