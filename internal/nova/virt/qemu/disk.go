package qemu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/virt"
)

const gib = int64(1) << 30

// Define implements virt.Driver. Disks that exist are kept: a second Define
// follows a crash, and the guest may have written by then.
func (d *Driver) Define(ctx context.Context, s *virt.Server) error {
	if !ids.IsUUID(s.ID) {
		return fault.New(fault.BadRequest, "server id %q is not a UUID", s.ID)
	}
	if d.running(s.ID) != nil {
		return fault.New(fault.Conflict, "server %s runs and cannot be defined anew", s.ID)
	}
	if err := os.MkdirAll(d.dir(s.ID), 0o700); err != nil {
		return err
	}
	size := s.Root.VirtualSize
	if want := int64(s.RootGB) * gib; want > 0 {
		if want < size {
			return fault.New(fault.BadRequest, "image %s needs %d bytes of disk, the flavor gives %d GiB", s.Root.ImageID, size, s.RootGB)
		}
		size = want
	}
	if err := d.makeOnce(s.ID, fileRoot, func(f *os.File) error {
		return writeQcow2(f, size, s.Root.Path, s.Root.Format)
	}); err != nil {
		return fmt.Errorf("root disk: %w", err)
	}
	if s.EphemeralGB > 0 {
		err := d.makeOnce(s.ID, fileEphemeral, func(f *os.File) error {
			return formatted(ctx, f, int64(s.EphemeralGB)*gib, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "ephemeral0", "-E", "nodiscard,lazy_itable_init=1")
		})
		if err != nil {
			return fmt.Errorf("ephemeral disk: %w", err)
		}
	}
	if s.SwapMB > 0 {
		err := d.makeOnce(s.ID, fileSwap, func(f *os.File) error { return formatted(ctx, f, int64(s.SwapMB)<<20, "mkswap") })
		if err != nil {
			return fmt.Errorf("swap disk: %w", err)
		}
	}
	if err := d.makeDrive(ctx, s); err != nil {
		return fmt.Errorf("config drive: %w", err)
	}
	return d.save(s)
}

// DropDisks implements virt.Driver.
func (d *Driver) DropDisks(_ context.Context, id string) error {
	if !ids.IsUUID(id) {
		return nil
	}
	if d.running(id) != nil {
		return fault.New(fault.Conflict, "server %s runs on its disks", id)
	}
	var files []string
	for _, f := range []string{fileSuspend, fileResuming, fileRoot, fileEphemeral, fileSwap, fileDrive} {
		files = append(files, d.path(id, f))
	}
	return remove(files...)
}

// makeOnce makes a file under a temporary name, so that a file of its final
// name is whole.
func (d *Driver) makeOnce(id, name string, fill func(*os.File) error) error {
	final := d.path(id, name)
	if exists(final) {
		return nil
	}
	f, err := os.OpenFile(final+".part", os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return errors.Join(err, remove(final+".part"))
	}
	return os.Rename(final+".part", final)
}

// formatted makes a sparse file and lets a tool put its structures on it.
func formatted(ctx context.Context, f *os.File, size int64, tool string, args ...string) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	return run(ctx, time.Minute, limited(tool, append(args, f.Name())...)...)
}

// makeDrive packs the config drive's files into an ISO 9660 image.
func (d *Driver) makeDrive(ctx context.Context, s *virt.Server) error {
	if s.ConfigDrive == nil || exists(d.path(s.ID, fileDrive)) {
		return nil
	}
	tree, err := os.MkdirTemp(d.dir(s.ID), "drive-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	for name, content := range s.ConfigDrive {
		clean := path.Clean("/" + name) // "../" cannot leave the tree
		file := filepath.Join(tree, filepath.FromSlash(clean))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return err
		}
	}
	return d.makeOnce(s.ID, fileDrive, func(f *os.File) error {
		return run(ctx, time.Minute, limited("genisoimage", "-quiet", "-J", "-r", "-V", "config-2", "-input-charset", "utf-8",
			"-publisher", "Hastack", "-o", f.Name(), tree)...)
	})
}

// limited wraps a tool in limits of memory and CPU time: what it reads may have
// been made to exhaust it.
func limited(tool string, args ...string) []string {
	return append([]string{"prlimit", "--as=1073741824", "--cpu=60", "--", tool}, args...)
}

func run(ctx context.Context, limit time.Duration, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv[4:5], " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// The geometry of the qcow2 files that writeQcow2 makes.
const (
	qcowClusterBits = 16
	qcowCluster     = 1 << qcowClusterBits
	qcowHeaderLen   = 104
)

// writeQcow2 makes an empty qcow2 of size bytes over a base (none if basePath
// is empty): a header, one refcount block and an L1 table of zeros. Writing the
// few fields here instead of by qemu-img saves a process per boot, and no tool
// run by root looks into the base.
func writeQcow2(f *os.File, size int64, basePath, baseFormat string) error {
	size = (size + 511) &^ 511
	const l2Span = int64(qcowCluster) / 8 * qcowCluster // bytes that one L1 entry maps
	l1Entries := (size + l2Span - 1) / l2Span
	l1Clusters := (l1Entries*8 + qcowCluster - 1) / qcowCluster
	if size <= 0 || l1Clusters > 64 {
		return fault.New(fault.BadRequest, "a disk of %d bytes cannot be made", size)
	}
	h := make([]byte, qcowCluster)
	be := binary.BigEndian
	copy(h, "QFI\xfb")
	be.PutUint32(h[4:], 3)
	be.PutUint32(h[20:], qcowClusterBits)
	be.PutUint64(h[24:], uint64(size))
	be.PutUint32(h[36:], uint32(l1Entries))
	be.PutUint64(h[40:], 3*qcowCluster) // L1 table
	be.PutUint64(h[48:], 1*qcowCluster) // refcount table, its block follows
	be.PutUint32(h[56:], 1)
	be.PutUint32(h[96:], 4) // refcounts of 16 bits
	be.PutUint32(h[100:], qcowHeaderLen)
	at := qcowHeaderLen
	if basePath != "" {
		be.PutUint32(h[at:], 0xe2792aca) // extension: format of the backing file
		be.PutUint32(h[at+4:], uint32(len(baseFormat)))
		copy(h[at+8:], baseFormat)
		at += 8 + (len(baseFormat)+7)&^7
	}
	at += 8 // end of extensions: type 0, length 0
	if basePath != "" {
		if len(basePath) > 1023 {
			return fmt.Errorf("path of the base is longer than 1023 bytes: %s", basePath)
		}
		be.PutUint64(h[8:], uint64(at))
		be.PutUint32(h[16:], uint32(len(basePath)))
		copy(h[at:], basePath)
	}
	table := make([]byte, 2*qcowCluster)
	be.PutUint64(table, 2*qcowCluster)
	for i := range 3 + l1Clusters {
		be.PutUint16(table[qcowCluster+2*i:], 1)
	}
	if _, err := f.Write(append(h, table...)); err != nil {
		return err
	}
	return f.Truncate((3 + l1Clusters) * qcowCluster)
}
