// Package inspect tells what a disk image is from its bytes as they pass, and
// refuses what would make a hypervisor read files that are not the image's.
//
// An [Inspector] is written to while an image is uploaded or downloaded; it
// keeps a bounded part of what it sees (the head, the last 1.5 KiB, and the
// metadata region of VHDX) whatever the image's length. It never opens other
// files, never follows a name found inside an image, and trusts no length
// field before it is checked against what was captured.
//
// Read [Inspector.Finish] first; each format has its own file.
package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Format is what the bytes of an image are, in the words of disk_format where
// there is one.
type Format string

// Formats that are recognised. Raw is what is none of the others.
const (
	Raw   Format = "raw"
	QCOW2 Format = "qcow2"
	QED   Format = "qed"
	VMDK  Format = "vmdk"
	VHD   Format = "vhd"
	VHDX  Format = "vhdx"
	VDI   Format = "vdi"
	ISO   Format = "iso"
	PLoop Format = "ploop"
	LUKS  Format = "luks"
	GPT   Format = "gpt"
	MBR   Format = "mbr"
)

// ErrUnsafe marks an image that must not be used as any format: it refers to
// other files, needs features that are not known, or is malformed.
var ErrUnsafe = errors.New("image refused")

// ErrMismatch marks an image whose bytes are not of the declared disk_format.
var ErrMismatch = errors.New("image format mismatch")

func unsafef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsafe, fmt.Sprintf(format, args...))
}

// Bounds of what an Inspector keeps, in bytes.
const (
	headMax  = 256 << 10 // VHDX has its region table at 192 KiB
	tailMax  = 1536      // footers of VHD (512) and VMDK (1024 and 512)
	extraMax = 192 << 10 // VHDX metadata: a table of 64 KiB, its items behind it
)

// An Inspector sees the bytes of one image in order, by Write. The zero value
// is ready. It belongs to one goroutine.
type Inspector struct {
	head  []byte
	tail  []byte
	extra window
	size  int64
	early error
	ready bool // the head is complete and was looked at
}

// window captures the bytes [at, at+extraMax) of the stream.
type window struct {
	at   int64 // 0 means nothing is wanted
	data []byte
}

// Result is what an image turned out to be.
type Result struct {
	Format Format
	// Container is GPT or MBR where a raw image is a partitioned disk.
	Container Format
	// VirtualSize is the size of the disk as a guest would see it, in bytes.
	VirtualSize int64
	// Size is the number of bytes seen.
	Size int64
}

// Write takes the next bytes. It fails as soon as the head of the image alone
// is enough to refuse it, so that a hostile upload ends early; after that it
// keeps failing.
func (i *Inspector) Write(p []byte) (int, error) {
	if i.early != nil {
		return 0, i.early
	}
	i.keepTail(p)
	for rest := p; len(rest) > 0; {
		part := rest
		if room := headMax - len(i.head); room > 0 {
			part = rest[:min(room, len(rest))]
			i.head = append(i.head, part...)
		}
		i.keepExtra(part)
		i.size += int64(len(part))
		rest = rest[len(part):]
		if !i.ready && len(i.head) == headMax {
			i.ready = true
			if i.early = i.lookEarly(); i.early != nil {
				return 0, i.early
			}
		}
	}
	return len(p), nil
}

func (i *Inspector) keepTail(p []byte) {
	if len(p) >= tailMax {
		i.tail = append(i.tail[:0], p[len(p)-tailMax:]...)
		return
	}
	if drop := len(i.tail) + len(p) - tailMax; drop > 0 {
		i.tail = append(i.tail[:0], i.tail[drop:]...)
	}
	i.tail = append(i.tail, p...)
}

func (i *Inspector) keepExtra(p []byte) {
	if i.extra.at == 0 || len(i.extra.data) >= extraMax {
		return
	}
	want := i.extra.at + int64(len(i.extra.data))
	if want < i.size || want >= i.size+int64(len(p)) {
		return
	}
	part := p[want-i.size:]
	i.extra.data = append(i.extra.data, part[:min(len(part), extraMax-len(i.extra.data))]...)
}

// lookEarly judges by the head alone.
func (i *Inspector) lookEarly() error {
	switch found := i.detect(); {
	case len(found) > 1:
		return ambiguous(found)
	case len(found) == 0:
		return nil
	case found[0] == VHDX:
		at, err := vhdxMetadata(i.head)
		if err != nil {
			return err
		}
		i.extra.at = at
		if at < int64(len(i.head)) {
			i.extra.data = append(i.extra.data, i.head[at:]...)
		}
		return nil
	case found[0] == QCOW2:
		_, err := checkQCOW2(i.head, -1)
		return err
	case found[0] == QED:
		return unsafef("qed images are not supported")
	case found[0] == VMDK:
		_, err := checkVMDK(i.head, nil, -1)
		return err
	}
	return nil
}

// detect lists the structured formats whose signature the image carries. ISO
// is only listed where nothing else is: hybrid images are ordinary.
func (i *Inspector) detect() []Format {
	var found []Format
	for _, s := range signatures {
		if len(i.head) >= s.at+len(s.magic) && bytes.Equal(i.head[s.at:s.at+len(s.magic)], []byte(s.magic)) && !slices.Contains(found, s.format) {
			found = append(found, s.format)
		}
	}
	if isDescriptor(i.head) && !slices.Contains(found, VMDK) {
		found = append(found, VMDK)
	}
	return found
}

// signatures are where each format has its magic bytes. An image with the
// signatures of two is refused: programs would disagree about what it is.
var signatures = []struct {
	at     int
	magic  string
	format Format
}{
	{0, "QFI\xfb", QCOW2},
	{0, "QED\x00", QED},
	{0, "KDMV", VMDK},
	{0, "COWD", VMDK},
	{0, "conectix", VHD},
	{0, "vhdxfile", VHDX},
	{64, "\x7f\x10\xda\xbe", VDI},
	{0, "WithoutFreeSpace", PLoop},
	{0, "WithouFreSpacExt", PLoop},
	{0, "LUKS\xba\xbe", LUKS},
	{32769, "CD001", ISO},
}

func ambiguous(found []Format) error {
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = string(f)
	}
	return unsafef("it has the signatures of several formats: %s", strings.Join(names, ", "))
}

// Finish says what the image is once all of it was written. The error is
// ErrUnsafe for an image that must not be used.
func (i *Inspector) Finish() (Result, error) {
	r := Result{Format: Raw, VirtualSize: i.size, Size: i.size}
	if i.early != nil {
		return r, i.early
	}
	found := i.detect()
	if len(found) > 1 {
		return r, ambiguous(found)
	}
	if len(found) == 0 {
		if hasVHDFooter(i.tail) {
			found = []Format{VHD}
		} else {
			r.Container = partitionTable(i.head)
			return r, nil
		}
	}
	r.Format = found[0]
	virtual, err := i.check(found[0])
	if err != nil {
		return r, err
	}
	if virtual < 0 {
		return r, unsafef("%s: the virtual size in the header is negative or too large", r.Format)
	}
	r.VirtualSize = virtual
	return r, nil
}

// check verifies the structures of format f and returns the virtual size.
func (i *Inspector) check(f Format) (int64, error) {
	switch f {
	case QCOW2:
		return checkQCOW2(i.head, i.size)
	case VMDK:
		return checkVMDK(i.head, i.tail, i.size)
	case VHD:
		return checkVHD(i.head, i.tail)
	case VHDX:
		return i.checkVHDX()
	case VDI:
		return checkVDI(i.head)
	case PLoop:
		return checkPLoop(i.head)
	case QED:
		return 0, unsafef("qed images are not supported")
	}
	return i.size, nil // iso, luks: the bytes are the disk
}

// Allowed returns nil if bytes that were found to be r may be stored as
// disk_format declared, ErrMismatch otherwise.
func (r Result) Allowed(declared string) error {
	ok := false
	switch declared {
	case "raw", "ami":
		// A LUKS volume, a partitioned disk and an ISO are all bytes to a raw disk.
		ok = r.Format == Raw || r.Format == LUKS || r.Format == ISO
	case "aki", "ari":
		ok = r.Format == Raw
	default:
		ok = string(r.Format) == declared
	}
	if ok {
		return nil
	}
	return fmt.Errorf("%w: the image was declared as %s and is %s", ErrMismatch, declared, r.Format)
}

// Read inspects all of r.
func Read(r io.Reader) (Result, error) {
	var i Inspector
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		if _, werr := i.Write(buf[:n]); werr != nil {
			return Result{}, werr
		}
		if errors.Is(err, io.EOF) {
			return i.Finish()
		}
		if err != nil {
			return Result{}, err
		}
	}
}
