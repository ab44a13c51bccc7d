package inspect

import "encoding/binary"

// Incompatible feature bits of a qcow2 header, from the format's
// specification. Unknown bits must be refused by anyone who reads the image.
const (
	qcowDirty       = 1 << 0
	qcowCorrupt     = 1 << 1
	qcowDataFile    = 1 << 2
	qcowCompression = 1 << 3
	qcowExtendedL2  = 1 << 4
)

// Header extensions that name other files.
const (
	qcowExtEnd           = 0
	qcowExtBackingFormat = 0xe2792aca
	qcowExtDataFile      = 0x44415441
)

// Bounds that no ordinary image meets: qemu allocates tables of these sizes
// before it looks at anything else.
const (
	qcowMaxL1       = 4 << 20 // entries: 32 MiB of table
	qcowMaxRefcount = 8 << 20 // bytes of refcount table
	qcowMaxSnaps    = 1024
)

// checkQCOW2 verifies the header; size is the image's length, -1 if not known
// yet. It returns the virtual size.
func checkQCOW2(head []byte, size int64) (int64, error) {
	if len(head) < 72 {
		return 0, unsafef("qcow2: the header is cut off")
	}
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(head[at:]) }
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(head[at:]) }
	version, clusterBits := u32(4), u32(20)
	switch {
	case version != 2 && version != 3:
		return 0, unsafef("qcow2: version %d is not supported", version)
	case u64(8) != 0 || u32(16) != 0:
		return 0, unsafef("qcow2: it has a backing file")
	case clusterBits < 9 || clusterBits > 21:
		return 0, unsafef("qcow2: cluster size 2^%d is out of range", clusterBits)
	case u32(32) > 2:
		return 0, unsafef("qcow2: encryption method %d is unknown", u32(32))
	case u32(32) == 1:
		return 0, unsafef("qcow2: AES encryption is not supported")
	case u32(36) > qcowMaxL1:
		return 0, unsafef("qcow2: the L1 table has %d entries", u32(36))
	case uint64(u32(56))<<clusterBits > qcowMaxRefcount:
		return 0, unsafef("qcow2: the refcount table has %d clusters", u32(56))
	case u32(60) > qcowMaxSnaps:
		return 0, unsafef("qcow2: it has %d snapshots", u32(60))
	}
	cluster := uint64(1) << clusterBits
	if err := qcowTables(size, cluster, u64(24), u64(40), u64(48), uint64(u32(36))*8); err != nil {
		return 0, err
	}
	headerLen := uint32(72)
	if version == 3 {
		if len(head) < 104 {
			return 0, unsafef("qcow2: the header is cut off")
		}
		if err := qcowFeatures(u64(72)); err != nil {
			return 0, err
		}
		if u32(96) > 6 {
			return 0, unsafef("qcow2: refcount width 2^%d is out of range", u32(96))
		}
		if headerLen = u32(100); headerLen < 104 || headerLen%8 != 0 || uint64(headerLen) > cluster {
			return 0, unsafef("qcow2: header length %d is out of range", headerLen)
		}
	}
	if err := qcowExtensions(head, headerLen, cluster); err != nil {
		return 0, err
	}
	return int64(u64(24)), nil
}

// qcowTables checks what the header says of the tables against the size of the
// disk and, once it is known, of the file.
func qcowTables(size int64, cluster, virtual, l1, refcount, l1Bytes uint64) error {
	const maxVirtual = 1 << 60
	if virtual > maxVirtual {
		return unsafef("qcow2: virtual size %d is out of range", virtual)
	}
	// An L2 table of one cluster maps cluster/8 clusters (half with extended L2).
	perL1 := cluster * cluster / 16
	if virtual/perL1 > qcowMaxL1 {
		return unsafef("qcow2: virtual size %d needs too large a table", virtual)
	}
	if l1%cluster != 0 || refcount%cluster != 0 {
		return unsafef("qcow2: tables are not aligned to clusters")
	}
	if size >= 0 && (l1 > uint64(size) || l1Bytes > uint64(size)-l1 || refcount >= uint64(size)) {
		return unsafef("qcow2: tables lie behind the end of the file")
	}
	return nil
}

func qcowFeatures(bits uint64) error {
	const known = qcowDirty | qcowCompression | qcowExtendedL2
	switch {
	case bits&qcowDataFile != 0:
		return unsafef("qcow2: its data is in another file")
	case bits&qcowCorrupt != 0:
		return unsafef("qcow2: it is marked corrupt")
	case bits&^known != 0:
		return unsafef("qcow2: it needs unknown features %#x", bits&^known)
	}
	return nil
}

// qcowExtensions walks the header extensions up to their end mark. They must
// lie inside the first cluster and inside what was captured.
func qcowExtensions(head []byte, at uint32, cluster uint64) error {
	end := min(uint64(len(head)), cluster)
	for pos := uint64(at); ; {
		if pos == end && uint64(len(head)) >= cluster {
			return nil // the cluster ends where an end mark would be
		}
		if pos+8 > end {
			return unsafef("qcow2: header extensions are cut off")
		}
		kind := binary.BigEndian.Uint32(head[pos:])
		length := uint64(binary.BigEndian.Uint32(head[pos+4:]))
		switch kind {
		case qcowExtEnd:
			return nil
		case qcowExtBackingFormat:
			return unsafef("qcow2: it names the format of a backing file")
		case qcowExtDataFile:
			return unsafef("qcow2: it names an external data file")
		}
		pos += 8 + (length+7)&^7
		if pos > end {
			return unsafef("qcow2: a header extension of %d bytes is out of range", length)
		}
	}
}
