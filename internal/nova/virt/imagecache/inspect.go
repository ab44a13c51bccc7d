package imagecache

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/hastack/hastack/internal/fault"
)

// The two formats that a root disk may stand on.
const (
	Qcow2 = "qcow2"
	Raw   = "raw"
)

const (
	maxVirtual = int64(64) << 40 // nothing that QEMU could open is larger
	headBytes  = 64 << 10        // more than any header and its extensions need
)

// Inspect reads what an image of size bytes is and how large a disk it makes.
// It trusts no declaration: an image that names another file in any way, or
// that is not plainly qcow2 or raw, is BadRequest. Nothing but this function
// has looked into the file by then.
func Inspect(r io.ReaderAt, size int64) (format string, virtual int64, err error) {
	head := make([]byte, min(size, headBytes))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return "", 0, err
	}
	if bytes.HasPrefix(head, []byte("QFI\xfb")) {
		virtual, err = inspectQcow2(head)
		return Qcow2, virtual, err
	}
	if name := foreign(head); name != "" {
		return "", 0, fault.New(fault.BadRequest, "image format %s is not one a server can boot from", name)
	}
	if size >= 512 {
		foot := make([]byte, 512)
		if _, err := r.ReadAt(foot, size-512); err != nil && err != io.EOF {
			return "", 0, err
		}
		if bytes.HasPrefix(foot, []byte("conectix")) {
			return "", 0, fault.New(fault.BadRequest, "image format vhd is not one a server can boot from")
		}
	}
	return Raw, (size + 511) &^ 511, nil
}

// foreign names a format that is neither raw nor qcow2, by its signature.
func foreign(head []byte) string {
	for _, f := range []struct {
		at         int
		magic, fmt string
	}{
		{0, "KDMV", "vmdk"}, {0, "COWD", "vmdk"}, {0, "# Disk Descriptor", "vmdk"},
		{0, "vhdxfile", "vhdx"}, {0, "conectix", "vhd"}, {64, "\x7f\x10\xda\xbe", "vdi"},
		{0, "QED\x00", "qed"}, {0, "LUKS\xba\xbe", "luks"}, {0, "WithoutFreeSpace", "ploop"},
		{0, "WithouFreSpacExt", "ploop"}, {0, "OOOM", "cow"},
	} {
		if len(head) >= f.at+len(f.magic) && string(head[f.at:f.at+len(f.magic)]) == f.magic {
			return f.fmt
		}
	}
	return ""
}

// Bits of a qcow2's incompatible features that an image may have: a dirty
// refcount, another compression, extended L2 entries. Corrupt images and
// external data files are refused, and so is what this program does not know.
const qcow2Allowed = 1<<0 | 1<<3 | 1<<4

func inspectQcow2(h []byte) (int64, error) {
	bad := func(format string, args ...any) (int64, error) {
		return 0, fault.New(fault.BadRequest, "qcow2 image refused: "+format, args...)
	}
	if len(h) < 72 {
		return bad("its header is cut off")
	}
	be := binary.BigEndian
	version, clusterBits := be.Uint32(h[4:]), be.Uint32(h[20:])
	virtual, l1 := be.Uint64(h[24:]), be.Uint32(h[36:])
	switch {
	case version != 2 && version != 3:
		return bad("version %d", version)
	case be.Uint64(h[8:]) != 0 || be.Uint32(h[16:]) != 0:
		return bad("it names a backing file")
	case be.Uint32(h[32:]) != 0:
		return bad("it is encrypted")
	case clusterBits < 9 || clusterBits > 21:
		return bad("clusters of 2^%d bytes", clusterBits)
	case virtual == 0 || virtual > uint64(maxVirtual):
		return bad("a virtual size of %d bytes", virtual)
	case l1 > 4<<20:
		return bad("a first-level table of %d entries", l1)
	case be.Uint32(h[60:]) > 65536:
		return bad("%d snapshots", be.Uint32(h[60:]))
	}
	at := uint64(72)
	if version == 3 {
		if len(h) < 104 {
			return bad("its header is cut off")
		}
		if f := be.Uint64(h[72:]) &^ qcow2Allowed; f != 0 {
			return bad("incompatible features %#x", f)
		}
		at = uint64(be.Uint32(h[100:]))
		if at < 104 || at > uint64(len(h)) {
			return bad("a header of %d bytes", at)
		}
	}
	if err := inspectExtensions(h, at); err != nil {
		return 0, err
	}
	return int64(virtual+511) &^ 511, nil
}

// inspectExtensions walks the header extensions: one that names a file is
// refused even where its feature bit is not set.
func inspectExtensions(h []byte, at uint64) error {
	be := binary.BigEndian
	for at+8 <= uint64(len(h)) {
		kind, length := be.Uint32(h[at:]), uint64(be.Uint32(h[at+4:]))
		switch kind {
		case 0:
			return nil
		case 0x44415441: // name of an external data file
			return fault.New(fault.BadRequest, "qcow2 image refused: it names a data file")
		case 0xe2792aca: // format of a backing file
			return fault.New(fault.BadRequest, "qcow2 image refused: it names a backing format")
		}
		if length > uint64(len(h)) {
			break
		}
		at += 8 + (length+7)&^7
	}
	return fault.New(fault.BadRequest, "qcow2 image refused: its header extensions do not end")
}
