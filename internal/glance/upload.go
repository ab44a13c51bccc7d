package glance

import (
	"context"
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/glance/inspect"
	"github.com/hastack/hastack/internal/ids"
)

// An upload goes through these steps. A crash between any two leaves an image
// that the janitor puts back to queued, and a file that it removes.
//
//	claim     the row gets an owner and a deadline       queued → saving
//	write     bytes to partial/, hashed and inspected    (the deadline moves on)
//	publish   fsync, rename into images/, fsync
//	copy      the same on other servers, where there are any (peers.go)
//	activate  one statement with all that is known now   saving → active
//
// Points for faults: glance.upload.STEP.before-effect, .after-effect.

// stagedLease is how long staged data waits to be imported.
const (
	stagedLease = 24 * time.Hour
	stagedOwner = "staged"
)

// cleanTime bounds the cleaning after an upload that failed.
const cleanTime = 30 * time.Second

const chunkSize = 1 << 20

var chunks = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}

// Upload stores the data of a queued image and makes it active. length is what
// the client announced, -1 if it did not. Whatever goes wrong, the image is
// queued again and nothing of the data stays.
func (s *Service) Upload(ctx context.Context, img *Image, body io.Reader, length int64) error {
	return s.receive(ctx, img, StatusSaving, body, length)
}

// Stage stores the data of a queued image for a later Import.
func (s *Service) Stage(ctx context.Context, img *Image, body io.Reader, length int64) error {
	return s.receive(ctx, img, StatusUploading, body, length)
}

// Import makes an image with staged data active.
func (s *Service) Import(ctx context.Context, img *Image) error {
	if img.Status != StatusUploading || img.UploadID != stagedOwner {
		return fault.New(fault.Conflict, "image %s has no staged data (its status is %s)", img.ID, img.Status)
	}
	ok, err := s.activateStaged(ctx, img.ID)
	if err == nil && !ok {
		err = fault.New(fault.Conflict, "image %s is no longer staged", img.ID)
	}
	return err
}

// transfer is one upload under way.
type transfer struct {
	s      *Service
	img    *Image
	id     string // of the upload
	during string // status meanwhile
	file   *os.File
	renew  time.Time
}

func (s *Service) receive(ctx context.Context, img *Image, during string, body io.Reader, length int64) error {
	if length > s.cfg.MaxImageBytes {
		return s.tooLarge()
	}
	t := &transfer{s: s, img: img, id: s.process + "-" + ids.Hex()[:24], during: during}
	if err := t.claim(ctx); err != nil {
		return err
	}
	err := t.run(ctx, body, length)
	if err != nil {
		t.abandon(ctx, err)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return fault.Wrap(fault.TooLarge, err, "image storage media is full")
		}
	}
	return err
}

func (s *Service) tooLarge() error {
	return fault.New(fault.TooLarge, "the image is larger than the limit of %d bytes", s.cfg.MaxImageBytes)
}

func at(ctx context.Context, step string) error { return failpoint.At(ctx, "glance.upload."+step) }

func (t *transfer) claim(ctx context.Context) error {
	if err := at(ctx, "claim.before-effect"); err != nil {
		return err
	}
	now := t.s.clock.Now()
	t.renew = now.Add(t.s.cfg.UploadLease / 3)
	for range casTries {
		if t.img.DiskFormat == nil || t.img.ContainerFormat == nil {
			return fault.New(fault.BadRequest, "properties disk_format, container_format must be set prior to saving data.")
		}
		ok, err := t.s.claimUpload(ctx, t.img, t.during, t.id, now.Add(t.s.cfg.UploadLease))
		if err != nil {
			return err
		}
		if ok {
			return at(ctx, "claim.after-effect")
		}
		if t.img, err = t.s.selectImage(ctx, t.img.ID); err != nil {
			return err
		}
		if t.img.Status != StatusQueued {
			break
		}
	}
	return fault.New(fault.Conflict, "image status transition from %s to %s is not allowed", t.img.Status, t.during)
}

// run does everything after the claim; the caller cleans up if it fails.
func (t *transfer) run(ctx context.Context, body io.Reader, length int64) error {
	if err := at(ctx, "write.before-effect"); err != nil {
		return err
	}
	file, err := t.s.files.create(t.img.ID, t.id)
	if err != nil {
		return err
	}
	t.file = file
	defer func() { _ = file.Close() }()
	sum := sums{md5: md5.New(), sha512: sha512.New()}
	size, err := t.copy(ctx, body, &sum)
	if err != nil {
		return err
	}
	if length >= 0 && size != length {
		return fault.New(fault.BadRequest, "%d bytes were announced and %d came", length, size)
	}
	result, err := t.judge(&sum.inspector)
	if err != nil {
		return err
	}
	if err := at(ctx, "write.after-effect"); err != nil {
		return err
	}
	if err := at(ctx, "publish.before-effect"); err != nil {
		return err
	}
	loc, err := t.s.files.publish(file, t.img.ID, t.id)
	if err != nil {
		return err
	}
	if err := at(ctx, "publish.after-effect"); err != nil {
		return err
	}
	if err := t.s.pushAll(ctx, t, loc, hex.EncodeToString(sum.sha512.Sum(nil)), size); err != nil {
		return err
	}
	return t.activate(ctx, loc, size, result, &sum)
}

// sums are what is computed of the bytes as they pass.
type sums struct {
	md5, sha512 hash.Hash
	inspector   inspect.Inspector
}

// copy reads the body to its end. Each chunk is hashed on other goroutines
// while this one writes it.
func (t *transfer) copy(ctx context.Context, body io.Reader, sum *sums) (int64, error) {
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	var size int64
	for {
		n, rerr := io.ReadFull(body, *buf)
		chunk := (*buf)[:n]
		if size += int64(n); size > t.s.cfg.MaxImageBytes {
			return 0, t.s.tooLarge()
		}
		var hashing sync.WaitGroup
		hashing.Go(func() { _, _ = sum.md5.Write(chunk) })
		hashing.Go(func() { _, _ = sum.sha512.Write(chunk) })
		_, ierr := sum.inspector.Write(chunk)
		_, werr := t.file.Write(chunk)
		hashing.Wait()
		switch {
		case ierr != nil:
			return 0, refusal(ierr)
		case werr != nil:
			return 0, werr
		case errors.Is(rerr, io.EOF), errors.Is(rerr, io.ErrUnexpectedEOF) && ctx.Err() == nil && bodyEnded(body):
			return size, nil
		case rerr != nil:
			return 0, fault.Wrap(fault.BadRequest, rerr, "the image data could not be read to its end")
		}
		if err := t.keepLease(ctx); err != nil {
			return 0, err
		}
	}
}

// bodyEnded tells the end of a body from a connection that broke, both of
// which io.ReadFull reports as ErrUnexpectedEOF: reading again gives io.EOF
// only at the real end.
func bodyEnded(body io.Reader) bool {
	var b [1]byte
	n, err := body.Read(b[:])
	return n == 0 && errors.Is(err, io.EOF)
}

// keepLease moves the deadline on, and ends the upload if the image is no
// longer this upload's: deleted, or taken over after a long silence.
func (t *transfer) keepLease(ctx context.Context) error {
	now := t.s.clock.Now()
	if now.Before(t.renew) {
		return nil
	}
	t.renew = now.Add(t.s.cfg.UploadLease / 3)
	ok, err := t.s.renewUpload(ctx, t.img.ID, t.id, now.Add(t.s.cfg.UploadLease))
	if err == nil && !ok {
		err = t.gone()
	}
	return err
}

func (t *transfer) gone() error {
	return fault.New(fault.Gone, "image %s was deleted or taken over during the upload", t.img.ID)
}

func refusal(err error) error {
	if errors.Is(err, inspect.ErrMismatch) {
		return fault.New(fault.UnsupportedMedia, "%v", err)
	}
	return fault.New(fault.BadRequest, "%v", err)
}

// judge holds what the bytes are against what was declared. Only bare images
// are disks of the declared format; archives must not be disks at all, or the
// check could be passed by under another name.
func (t *transfer) judge(i *inspect.Inspector) (inspect.Result, error) {
	r, err := i.Finish()
	if err != nil {
		return r, refusal(err)
	}
	declared := *t.img.DiskFormat
	if slices.Contains([]string{"ova", "ovf", "docker", "compressed"}, *t.img.ContainerFormat) {
		declared = "raw"
		r.VirtualSize = -1
	}
	if err := r.Allowed(declared); err != nil {
		return r, refusal(err)
	}
	return r, nil
}

func (t *transfer) activate(ctx context.Context, loc string, size int64, r inspect.Result, sum *sums) error {
	if err := at(ctx, "activate.before-effect"); err != nil {
		return err
	}
	data := storedData{
		location: loc, size: size, virtualSize: r.VirtualSize,
		checksum: hex.EncodeToString(sum.md5.Sum(nil)), hash: hex.EncodeToString(sum.sha512.Sum(nil)),
	}
	ok, err := t.s.finishUpload(ctx, t.img.ID, t.during, t.id, data)
	if err != nil {
		return err
	}
	if !ok {
		return t.gone()
	}
	// The image is active now; a fault here only loses the reply.
	return at(ctx, "activate.after-effect")
}

// abandon puts the image back to queued and removes the data. It runs although
// the client may be gone; what it cannot do, the janitor will.
func (t *transfer) abandon(ctx context.Context, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	s := t.s
	if ok, err := s.requeue(ctx, t.img.ID, t.during, t.id); err != nil {
		s.log.WarnContext(ctx, "upload not cleaned, the janitor will", "image_id", t.img.ID, "error", err)
		return
	} else if !ok {
		if img, err := s.selectImage(ctx, t.img.ID); err == nil && strings.HasSuffix(img.Location, t.id) {
			return // it had become active, only the reply was lost
		}
	}
	err := errors.Join(s.files.removePartial(t.img.ID, t.id), s.files.remove(location(t.img.ID, t.id)))
	s.log.InfoContext(ctx, "upload abandoned", "image_id", t.img.ID, "cause", cause, "error", err)
}
