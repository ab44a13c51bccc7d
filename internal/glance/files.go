package glance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hastack/hastack/internal/ids"
)

// fileStore keeps image data in one directory:
//
//	partial/ID.UPLOAD      being written
//	images/II/ID.UPLOAD    complete; II are the first two digits of the id
//	process/PROCESS.lock   locked as long as the process lives
//
// A file's name carries the upload that wrote it, so a process that was
// thought dead can never write into what another has published. Names are
// made of ids only; nothing a client sends becomes part of a path.
type fileStore struct {
	dir  string
	lock *os.File
}

func openFiles(dir string) (*fileStore, error) {
	for _, sub := range []string{"partial", "images", "process"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return nil, fmt.Errorf("image store: %w", err)
		}
	}
	return &fileStore{dir: dir}, nil
}

// markAlive holds the lock by which others see that process lives.
func (f *fileStore) markAlive(process string) error {
	lock, err := os.OpenFile(f.lockPath(process), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return fmt.Errorf("image store: lock %s: %w", lock.Name(), err)
	}
	f.lock = lock
	return nil
}

func (f *fileStore) lockPath(process string) string {
	return filepath.Join(f.dir, "process", process+".lock")
}

// dead reports whether a process that used this directory is known to be gone.
// A process whose lock is not here may live on another machine.
func (f *fileStore) dead(process string) bool {
	lock, err := os.OpenFile(f.lockPath(process), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer func() { _ = lock.Close() }()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// forgetDead removes the locks of dead processes, once nothing of theirs is left.
func (f *fileStore) forgetDead() {
	entries, _ := os.ReadDir(filepath.Join(f.dir, "process"))
	for _, e := range entries {
		if process, ok := strings.CutSuffix(e.Name(), ".lock"); ok && f.dead(process) {
			_ = os.Remove(f.lockPath(process))
		}
	}
}

func (f *fileStore) close() error {
	if f.lock == nil {
		return nil
	}
	name := f.lock.Name()
	err := f.lock.Close()
	f.lock = nil
	return errors.Join(err, os.Remove(name))
}

// location is the name of the data of one upload inside images/.
func location(id, upload string) string { return id[:2] + "/" + id + "." + upload }

func (f *fileStore) partial(id, upload string) string {
	return filepath.Join(f.dir, "partial", id+"."+upload)
}

func (f *fileStore) path(location string) string {
	return filepath.Join(f.dir, "images", filepath.FromSlash(location))
}

func (f *fileStore) create(id, upload string) (*os.File, error) {
	return os.OpenFile(f.partial(id, upload), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
}

// publish makes a complete file durable under its location: contents first,
// then the name.
func (f *fileStore) publish(file *os.File, id, upload string) (string, error) {
	loc := location(id, upload)
	return loc, f.publishAs(file, f.partial(id, upload), loc)
}

// publishAs is publish of a file whose partial name is another.
func (f *fileStore) publishAs(file *os.File, partial, loc string) error {
	if err := file.Sync(); err != nil {
		return err
	}
	dir := filepath.Dir(f.path(loc))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if err := os.Rename(partial, f.path(loc)); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func (f *fileStore) open(location string) (*os.File, error) { return os.Open(f.path(location)) }

// remove is repeatable: data that is gone is no error.
func (f *fileStore) remove(location string) error {
	if location == "" {
		return nil
	}
	return removeDurably(f.path(location))
}

func (f *fileStore) removePartial(id, upload string) error {
	return removeDurably(f.partial(id, upload))
}

func removeDurably(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// walk calls f with each data file: its image, its upload, and its full path.
func (f *fileStore) walk(visit func(id, upload, path string, info fs.FileInfo) error) error {
	for _, sub := range []string{"partial", "images"} {
		err := filepath.WalkDir(filepath.Join(f.dir, sub), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			id, upload, ok := strings.Cut(e.Name(), ".")
			info, err := e.Info()
			if !ok || !ids.IsUUID(id) || err != nil {
				return nil //nolint:nilerr // it is not ours, or went away meanwhile
			}
			return visit(id, upload, path, info)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
