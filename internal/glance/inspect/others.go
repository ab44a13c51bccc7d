package inspect

import (
	"bytes"
	"encoding/binary"
	"math"
)

// checkVDI accepts dynamic (1) and static (2) images; the other types build on
// a parent image.
func checkVDI(head []byte) (int64, error) {
	if len(head) < 512 {
		return 0, unsafef("vdi: the header is cut off")
	}
	if major := binary.LittleEndian.Uint16(head[70:]); major != 1 {
		return 0, unsafef("vdi: version %d is not supported", major)
	}
	if kind := binary.LittleEndian.Uint32(head[76:]); kind != 1 && kind != 2 {
		return 0, unsafef("vdi: image type %d is not supported", kind)
	}
	// The UUIDs of the parent and of the parent's last change.
	if !bytes.Equal(head[424:456], make([]byte, 32)) {
		return 0, unsafef("vdi: it has a parent image")
	}
	size := binary.LittleEndian.Uint64(head[368:])
	if size > math.MaxInt64 {
		return 0, unsafef("vdi: virtual size is out of range")
	}
	return int64(size), nil
}

// checkPLoop reads the size in sectors: 32 bits in the old form, 64 in the new.
func checkPLoop(head []byte) (int64, error) {
	if len(head) < 64 {
		return 0, unsafef("ploop: the header is cut off")
	}
	sectors := binary.LittleEndian.Uint64(head[36:])
	if bytes.HasPrefix(head, []byte("WithoutFreeSpace")) {
		sectors &= math.MaxUint32
	}
	if sectors > math.MaxInt64/512 {
		return 0, unsafef("ploop: virtual size is out of range")
	}
	return int64(sectors) * 512, nil
}

// partitionTable tells whether a raw image is a partitioned disk.
func partitionTable(head []byte) Format {
	if len(head) >= 520 && bytes.Equal(head[512:520], []byte("EFI PART")) {
		return GPT
	}
	if len(head) < 512 || head[510] != 0x55 || head[511] != 0xaa {
		return ""
	}
	used := 0
	for p := 446; p < 510; p += 16 {
		if head[p] != 0 && head[p] != 0x80 {
			return "" // the boot sector of a file system, not a table
		}
		if head[p+4] != 0 {
			used++
		}
	}
	if used == 0 {
		return ""
	}
	return MBR
}
