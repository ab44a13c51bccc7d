// Package imagecache keeps verified images as bases of root disks on one host.
//
// An image is downloaded once per host, its hash is compared with what Glance
// promised, and its format is inspected again here, whatever Glance said,
// before any other program opens it. Bases are never changed. The cache is
// bounded: bases without a server go, the longest unused first.
// Read imagecache.go, then inspect.go.
package imagecache

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/keylock"
	"github.com/hastack/hastack/internal/nova/virt"
)

// An Image is what Glance says of an image.
type Image struct {
	ID         string
	Name       string
	Status     string
	DiskFormat string
	Size       int64
	Checksum   string // md5, hex
	HashAlgo   string // os_hash_algo
	HashValue  string
	MinDiskGB  int
}

// A Cache is the images of one directory. It is safe for concurrent use; two
// processes must not share a directory.
type Cache struct {
	dir   string
	limit int64
	clock clock.Clock
	locks *keylock.Locks
	// inUse lists the bases that must stay.
	inUse func(context.Context) ([]string, error)
}

// New opens the cache in dir and removes what an interrupted download left.
// limit is in bytes, 0 means 20 GiB.
func New(dir string, limit int64, clk clock.Clock, inUse func(context.Context) ([]string, error)) (*Cache, error) {
	if limit == 0 {
		limit = 20 << 30
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	parts, err := filepath.Glob(filepath.Join(dir, "*.part"))
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if err := os.Remove(p); err != nil {
			return nil, err
		}
	}
	return &Cache{dir: dir, limit: limit, clock: clk, locks: keylock.New(), inUse: inUse}, nil
}

// Base returns the verified base of an image, and whether it was there already.
// open starts the download. maxGB bounds the disk that the image makes; 0 does
// not. The same image asked for twice at once is downloaded once.
func (c *Cache) Base(ctx context.Context, img Image, maxGB int, open func(context.Context) (io.ReadCloser, error)) (virt.Base, bool, error) {
	path, err := c.path(img)
	if err != nil {
		return virt.Base{}, false, err
	}
	defer c.locks.Lock(path)()
	base, err := c.inspect(img, path)
	hit := err == nil
	if errors.Is(err, os.ErrNotExist) {
		if err = c.download(ctx, img, path, maxGB, open); err == nil {
			base, err = c.inspect(img, path)
		}
	}
	if err != nil {
		return virt.Base{}, false, err
	}
	if maxGB > 0 && base.VirtualSize > int64(maxGB)<<30 {
		return virt.Base{}, false, tooLarge(img, base.VirtualSize, maxGB)
	}
	now := c.clock.Now()
	_ = os.Chtimes(path, now, now) // only orders evictions
	return base, hit, nil
}

func tooLarge(img Image, size int64, maxGB int) error {
	return fault.New(fault.BadRequest, "image %s makes a disk of %d bytes, the flavor's disk is %d GiB", img.ID, size, maxGB)
}

// path names a base by the image and its hash: a base is never taken for
// another version of itself.
func (c *Cache) path(img Image) (string, error) {
	sum := img.HashValue
	if sum == "" {
		sum = img.Checksum
	}
	if _, err := hex.DecodeString(sum); err != nil || len(sum) < 32 {
		return "", fault.New(fault.BadRequest, "image %s has no checksum to verify it by", img.ID)
	}
	if !ids.IsUUID(img.ID) {
		return "", fault.New(fault.BadRequest, "image id %q is not a UUID", img.ID)
	}
	return filepath.Join(c.dir, strings.ToLower(img.ID+"."+sum[:32])), nil
}

func (c *Cache) inspect(img Image, path string) (virt.Base, error) {
	f, err := os.Open(path)
	if err != nil {
		return virt.Base{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return virt.Base{}, err
	}
	format, virtual, err := Inspect(f, st.Size())
	if err != nil {
		return virt.Base{}, err
	}
	if format != img.DiskFormat {
		return virt.Base{}, fault.New(fault.BadRequest, "image %s is declared %s and is %s", img.ID, img.DiskFormat, format)
	}
	return virt.Base{ImageID: img.ID, Path: path, Format: format, VirtualSize: virtual}, nil
}

func hasher(img Image) (hash.Hash, string, error) {
	switch img.HashAlgo {
	case "sha512":
		return sha512.New(), img.HashValue, nil
	case "sha256":
		return sha256.New(), img.HashValue, nil
	case "":
		return md5.New(), img.Checksum, nil
	}
	return nil, "", fault.New(fault.BadRequest, "image %s has a hash of the unknown kind %s", img.ID, img.HashAlgo)
}

// download fetches into a temporary file, verifies, and only then gives it its
// name. A rejected image leaves nothing.
func (c *Cache) download(ctx context.Context, img Image, path string, maxGB int, open func(context.Context) (io.ReadCloser, error)) error {
	sum, want, err := hasher(img)
	if err != nil {
		return err
	}
	if maxGB > 0 && img.Size > int64(maxGB)<<30 {
		return tooLarge(img, img.Size, maxGB)
	}
	if err := c.makeRoom(ctx, img.Size); err != nil {
		return err
	}
	body, err := open(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.OpenFile(path+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	// One byte more than promised is read, so that a longer body is noticed
	// without being stored.
	n, err := io.Copy(io.MultiWriter(&sparse{f: f}, sum), io.LimitReader(body, img.Size+1))
	if err == nil && n != img.Size {
		err = fault.New(fault.BadRequest, "image %s: got %d bytes or more, expected %d", img.ID, n, img.Size)
	}
	if err == nil && hex.EncodeToString(sum.Sum(nil)) != strings.ToLower(want) {
		err = fault.New(fault.BadRequest, "image %s does not have the checksum that Glance promised", img.ID)
	}
	if err == nil {
		err = f.Truncate(n)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		_, err = c.inspect(img, path+".part")
	}
	if err == nil {
		return os.Rename(path+".part", path)
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = fault.Wrap(fault.InsufficientStorage, err, "no space for image %s on the host", img.ID)
	}
	return errors.Join(err, os.Remove(path+".part"))
}

// sparse writes around runs of zeros: raw images mostly consist of them.
type sparse struct {
	f  *os.File
	at int64
}

func (s *sparse) Write(p []byte) (int, error) {
	const block = 4096
	for done := 0; done < len(p); {
		n := min(block, len(p)-done)
		if !allZero(p[done : done+n]) {
			if _, err := s.f.WriteAt(p[done:done+n], s.at); err != nil {
				return done, err
			}
		}
		s.at += int64(n)
		done += n
	}
	return len(p), nil
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// makeRoom evicts unused bases until need more bytes fit. Bases in use may
// exceed the bound: servers stand on them.
func (c *Cache) makeRoom(ctx context.Context, need int64) error {
	type entry struct {
		path string
		size int64
		used time.Time
	}
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	var all []entry
	var total int64
	for _, f := range files {
		in, err := f.Info()
		if err != nil || !in.Mode().IsRegular() {
			continue
		}
		all = append(all, entry{filepath.Join(c.dir, f.Name()), in.Size(), in.ModTime()})
		total += in.Size()
	}
	if total+need <= c.limit {
		return nil
	}
	keep, err := c.inUse(ctx)
	if err != nil {
		return fmt.Errorf("which bases are in use: %w", err)
	}
	slices.SortFunc(all, func(a, b entry) int { return a.used.Compare(b.used) })
	for _, e := range all {
		if total+need <= c.limit {
			break
		}
		if slices.Contains(keep, e.path) || strings.HasSuffix(e.path, ".part") {
			continue
		}
		// A base that was handed out a moment ago has no server yet.
		if c.clock.Now().Sub(e.used) < 10*time.Minute {
			continue
		}
		if err := os.Remove(e.path); err != nil {
			return err
		}
		total -= e.size
	}
	return nil
}
