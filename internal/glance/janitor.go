package glance

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"
)

// orphanAge is how old a file without an owner must be before it is removed,
// when its process is not known to be dead.
const orphanAge = 10 * time.Minute

// Sweep is one run of the janitor: it puts images whose upload died back to
// queued, removes the data of deleted images, and removes files that belong to
// nothing. It is safe beside running uploads and in several processes at once.
func (s *Service) Sweep(ctx context.Context) error {
	err := errors.Join(s.sweepUploads(ctx), s.sweepDeleted(ctx), s.sweepOrphans(ctx), s.sweepCopies(ctx))
	if err == nil {
		s.files.forgetDead()
	}
	return err
}

func (s *Service) sweepUploads(ctx context.Context) error {
	list, err := s.selectUploads(ctx)
	if err != nil {
		return err
	}
	for _, img := range list {
		expired := img.UploadDeadline != nil && img.UploadDeadline.Before(s.clock.Now())
		if !expired && !s.uploaderDead(img.UploadID) {
			continue
		}
		// The row first: whoever wins it owns the cleaning.
		ok, err := s.requeue(ctx, img.ID, img.Status, img.UploadID)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		err = errors.Join(s.files.removePartial(img.ID, img.UploadID),
			s.files.remove(location(img.ID, img.UploadID)), s.files.remove(img.Location))
		s.log.InfoContext(ctx, "interrupted upload put back", "image_id", img.ID, "error", err)
	}
	return nil
}

// uploaderDead tells whether the process of an upload is known to be gone.
func (s *Service) uploaderDead(upload string) bool {
	process, _, ok := strings.Cut(upload, "-")
	return ok && process != s.process && s.files.dead(process)
}

func (s *Service) sweepDeleted(ctx context.Context) error {
	rows, err := s.selectDeleted(ctx)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := s.removeData(ctx, row.ID, row.Location); err != nil {
			return err
		}
	}
	return nil
}

// sweepOrphans removes files that no row refers to. A file's row always comes
// before the file, so a file without one is left over.
func (s *Service) sweepOrphans(ctx context.Context) error {
	return s.files.walk(func(id, upload, path string, info fs.FileInfo) error {
		old := s.clock.Now().Sub(info.ModTime()) > orphanAge
		if !old && !s.uploaderDead(upload) {
			return nil
		}
		used, err := s.ownsFile(ctx, id, upload)
		if err != nil || used {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.log.InfoContext(ctx, "file without image removed", "image_id", id)
		return nil
	})
}
