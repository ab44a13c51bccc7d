package inspect

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
)

const (
	vmdkSector   = 512
	vmdkGDAtEnd  = math.MaxUint64 // the grain directory is described by a footer
	vmdkMaxLines = 256
	vmdkMaxBytes = 64 << 10
)

// isDescriptor reports whether an image is the text file that describes a VMDK
// made of other files.
func isDescriptor(head []byte) bool {
	text := bytes.TrimLeft(head[:min(len(head), 1024)], " \t\r\n")
	return bytes.HasPrefix(bytes.ToLower(text[:min(len(text), 64)]), []byte("# disk descriptorfile"))
}

// checkVMDK verifies a sparse VMDK with its embedded descriptor; size is -1
// until the whole image was seen, and then tail holds its end. Only the types
// whose data is in the file itself are accepted.
func checkVMDK(head, tail []byte, size int64) (int64, error) {
	if !bytes.HasPrefix(head, []byte("KDMV")) {
		return 0, unsafef("vmdk: only streamOptimized and monolithicSparse are supported")
	}
	if len(head) < vmdkSector {
		return 0, unsafef("vmdk: the header is cut off")
	}
	u64 := func(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	if v := binary.LittleEndian.Uint32(head[4:]); v < 1 || v > 3 {
		return 0, unsafef("vmdk: version %d is not supported", v)
	}
	capacity, at, sectors := u64(head, 12), u64(head, 28), u64(head, 36)
	if capacity > math.MaxInt64/vmdkSector {
		return 0, unsafef("vmdk: capacity is out of range")
	}
	if at == 0 || sectors == 0 || sectors > vmdkMaxBytes/vmdkSector || at > uint64(headMax)/vmdkSector-sectors {
		return 0, unsafef("vmdk: the descriptor is missing or too far from the start")
	}
	if uint64(len(head)) < (at+sectors)*vmdkSector {
		return 0, unsafef("vmdk: the descriptor is cut off")
	}
	if err := vmdkDescriptor(head[at*vmdkSector : (at+sectors)*vmdkSector]); err != nil {
		return 0, err
	}
	if size >= 0 && u64(head, 56) == vmdkGDAtEnd {
		if err := vmdkFooter(head, tail); err != nil {
			return 0, err
		}
	}
	return int64(capacity) * vmdkSector, nil
}

// vmdkFooter checks that the second copy of the header, which readers use
// instead of the first, describes the same disk.
func vmdkFooter(head, tail []byte) error {
	if len(tail) < 1024 {
		return unsafef("vmdk: the footer is cut off")
	}
	footer := tail[len(tail)-1024:][:vmdkSector]
	if !bytes.Equal(footer[:4], head[:4]) || !bytes.Equal(footer[12:44], head[12:44]) {
		return unsafef("vmdk: header and footer differ")
	}
	return nil
}

// vmdkDescriptor accepts one sparse extent inside the file and no parent.
func vmdkDescriptor(text []byte) error {
	if i := bytes.IndexByte(text, 0); i >= 0 {
		if len(bytes.Trim(text[i:], "\x00")) > 0 {
			return unsafef("vmdk: the descriptor has text behind its end")
		}
		text = text[:i]
	}
	lines := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) > vmdkMaxLines {
		return unsafef("vmdk: the descriptor has %d lines", len(lines))
	}
	kind, extents := "", 0
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && !strings.ContainsAny(strings.TrimSpace(key), " \t\"") {
			value = strings.Trim(strings.TrimSpace(value), `"`)
			switch key = strings.ToLower(strings.TrimSpace(key)); {
			case key == "createtype" && kind != "":
				return unsafef("vmdk: the descriptor has two createType lines")
			case key == "createtype":
				kind = value
			case key == "parentcid" && !strings.EqualFold(value, "ffffffff"):
				return unsafef("vmdk: it has a parent image")
			case key == "parentfilenamehint":
				return unsafef("vmdk: it names a parent file")
			}
			continue
		}
		extents++
		if err := vmdkExtent(line); err != nil {
			return err
		}
	}
	if kind != "streamOptimized" && kind != "monolithicSparse" {
		return unsafef("vmdk: type %.40q is not supported, only streamOptimized and monolithicSparse", kind)
	}
	if extents != 1 {
		return unsafef("vmdk: it has %d extents instead of one", extents)
	}
	return nil
}

// vmdkExtent checks a line like: RW 20480 SPARSE "disk.vmdk".
func vmdkExtent(line string) error {
	spec, name, ok := strings.Cut(line, `"`)
	f := strings.Fields(spec)
	if !ok || len(f) != 3 || (f[0] != "RW" && f[0] != "RDONLY") || f[2] != "SPARSE" {
		return unsafef("vmdk: extent %.60q is not a sparse extent of the file itself", line)
	}
	name = strings.TrimSuffix(strings.TrimSpace(name), `"`)
	if name == "" || strings.ContainsAny(name, `"/\`) || name == ".." || strings.Contains(name, ":") {
		return unsafef("vmdk: the extent names another file: %.60q", name)
	}
	return nil
}
