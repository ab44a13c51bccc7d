package glance

import (
	"context"
	"io"
	"os"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
)

// DeleteImage removes an image. Once the row is a tombstone the deletion is
// durable and visible; its data follows, now or, after a fault, by the janitor.
// Points for faults: glance.delete.STEP.before-effect, .after-effect with the
// steps record, data and forget.
func (s *Service) DeleteImage(ctx context.Context, v Viewer, id string) error {
	for range casTries {
		img, err := s.Image(ctx, v, id)
		if err != nil {
			return err
		}
		if img.Protected {
			return fault.New(fault.Forbidden, "image %s is protected and cannot be deleted.", id)
		}
		if err := failpoint.At(ctx, "glance.delete.record.before-effect"); err != nil {
			return err
		}
		ok, err := s.moveToDeleted(ctx, img)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := s.removeData(ctx, id, img.Location); err != nil {
			s.log.WarnContext(ctx, "image data not removed, the janitor will", "image_id", id, "error", err)
		}
		return nil
	}
	return fault.New(fault.Conflict, "image %s is being changed by others, try again", id)
}

// removeData removes the data of a deleted image and records that it is gone.
// Every step may be repeated.
func (s *Service) removeData(ctx context.Context, id, loc string) error {
	if err := failpoint.At(ctx, "glance.delete.record.after-effect"); err != nil {
		return err
	}
	if loc == "" {
		return nil
	}
	if err := failpoint.At(ctx, "glance.delete.data.before-effect"); err != nil {
		return err
	}
	if err := s.files.remove(loc); err != nil {
		return err
	}
	if err := failpoint.At(ctx, "glance.delete.data.after-effect"); err != nil {
		return err
	}
	if err := s.markRemoved(ctx, id); err != nil {
		return err
	}
	return failpoint.At(ctx, "glance.delete.forget.after-effect")
}

// Data is the open data of an image.
type Data interface {
	io.ReadSeekCloser
	io.ReaderAt
	io.WriterTo
}

// OpenData opens the data of an image for reading; the caller closes it. Only
// admins read deactivated images. It returns nil for an image without data.
func (s *Service) OpenData(ctx context.Context, v Viewer, img *Image) (Data, error) {
	switch {
	case img.Status == StatusDeactivated && !v.Admin:
		return nil, fault.New(fault.Forbidden, "the requested image has been deactivated. Image data download is forbidden.")
	case img.Status != StatusActive && img.Status != StatusDeactivated:
		return nil, nil
	}
	f, err := s.files.open(img.Location)
	if os.IsNotExist(err) && len(s.cfg.Peers.others()) > 0 {
		if err := s.pull(ctx, img); err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, "the data of image %s is on no server that answers", img.ID)
		}
		f, err = s.files.open(img.Location)
	}
	if os.IsNotExist(err) {
		return nil, fault.Wrap(fault.NotFound, err, "image %s has no data", img.ID)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}
