package inspect

import (
	"bytes"
	"encoding/binary"
	"math"
)

const vhdCookie = "conectix"

func hasVHDFooter(tail []byte) bool {
	return len(tail) >= 512 && bytes.HasPrefix(tail[len(tail)-512:], []byte(vhdCookie))
}

// checkVHD reads the footer, which dynamic disks also carry as their header.
func checkVHD(head, tail []byte) (int64, error) {
	if !hasVHDFooter(tail) {
		return 0, unsafef("vhd: the footer is missing")
	}
	footer := tail[len(tail)-512:]
	kind := binary.BigEndian.Uint32(footer[60:])
	if bytes.HasPrefix(head, []byte(vhdCookie)) {
		if len(head) < 512 || !bytes.Equal(head[40:64], footer[40:64]) {
			return 0, unsafef("vhd: header and footer differ")
		}
		if kind != 3 {
			return 0, unsafef("vhd: disk type %d is not supported (a differencing disk needs its parent)", kind)
		}
	} else if kind != 2 {
		return 0, unsafef("vhd: disk type %d is not supported", kind)
	}
	size := binary.BigEndian.Uint64(footer[48:])
	if size > math.MaxInt64 {
		return 0, unsafef("vhd: virtual size is out of range")
	}
	return int64(size), nil
}

// VHDX identifiers as they lie in the file (the first three fields of a GUID
// are little endian).
var (
	vhdxMetadataRegion = []byte{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}
	vhdxBATRegion      = []byte{0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08}
	vhdxVirtualSize    = []byte{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8}
	vhdxFileParams     = []byte{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}
	vhdxParentLocator  = []byte{0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c}
)

const (
	vhdxRegionTable = 192 << 10
	vhdxMaxEntries  = 2047
)

// vhdxMetadata finds the offset of the metadata region in the region table.
func vhdxMetadata(head []byte) (int64, error) {
	if len(head) < vhdxRegionTable+64<<10 {
		return 0, unsafef("vhdx: the region table is cut off")
	}
	table := head[vhdxRegionTable:]
	if !bytes.HasPrefix(table, []byte("regi")) {
		return 0, unsafef("vhdx: the region table is missing")
	}
	n := binary.LittleEndian.Uint32(table[8:])
	if n > vhdxMaxEntries {
		return 0, unsafef("vhdx: the region table has %d entries", n)
	}
	at := int64(0)
	for k := range int(n) {
		e := table[16+32*k:][:32]
		switch {
		case bytes.Equal(e[:16], vhdxMetadataRegion):
			offset := binary.LittleEndian.Uint64(e[16:])
			if offset < 64<<10 || offset > math.MaxInt64/2 || at != 0 {
				return 0, unsafef("vhdx: the metadata region is out of range")
			}
			at = int64(offset)
		case bytes.Equal(e[:16], vhdxBATRegion):
		case binary.LittleEndian.Uint32(e[28:])&1 != 0:
			return 0, unsafef("vhdx: it needs an unknown region")
		}
	}
	if at == 0 {
		return 0, unsafef("vhdx: the metadata region is missing")
	}
	return at, nil
}

func (i *Inspector) checkVHDX() (int64, error) {
	at, err := vhdxMetadata(i.head)
	if err != nil {
		return 0, err
	}
	data := i.extra.data
	if len(data) < 32 || !bytes.HasPrefix(data, []byte("metadata")) {
		return 0, unsafef("vhdx: the metadata table is missing or too far from the start")
	}
	n := int(binary.LittleEndian.Uint16(data[10:]))
	if n > vhdxMaxEntries || len(data) < 32+32*n {
		return 0, unsafef("vhdx: the metadata table is cut off")
	}
	size := int64(-1)
	for k := range n {
		e := data[32+32*k:][:32]
		switch {
		case bytes.Equal(e[:16], vhdxParentLocator):
			return 0, unsafef("vhdx: it names a parent image")
		case bytes.Equal(e[:16], vhdxFileParams):
			v, err := i.vhdxItem(at, e, 8)
			if err != nil {
				return 0, err
			}
			if binary.LittleEndian.Uint32(v[4:])&2 != 0 {
				return 0, unsafef("vhdx: it has a parent image")
			}
		case bytes.Equal(e[:16], vhdxVirtualSize):
			v, err := i.vhdxItem(at, e, 8)
			if err != nil {
				return 0, err
			}
			size = int64(binary.LittleEndian.Uint64(v))
		}
	}
	if size < 0 {
		return 0, unsafef("vhdx: the virtual size is missing or out of range")
	}
	return size, nil
}

// vhdxItem returns the value of a metadata entry, which lies behind the table
// and must lie inside what was captured.
func (i *Inspector) vhdxItem(at int64, entry []byte, length int) ([]byte, error) {
	offset := at + int64(binary.LittleEndian.Uint32(entry[16:]))
	if b := i.bytesAt(offset, length); b != nil {
		return b, nil
	}
	return nil, unsafef("vhdx: a metadata item is out of range")
}

// bytesAt returns captured bytes of the image, nil if they were not kept.
func (i *Inspector) bytesAt(offset int64, length int) []byte {
	for _, w := range []window{{0, i.head}, i.extra} {
		if from := offset - w.at; from >= 0 && from+int64(length) <= int64(len(w.data)) {
			return w.data[from:][:length]
		}
	}
	return nil
}
