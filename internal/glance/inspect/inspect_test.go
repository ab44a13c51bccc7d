package inspect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// qcow is a hand-made qcow2 image of 1 GiB with clusters of 64 KiB.
func qcow(change func(h []byte)) []byte {
	h := make([]byte, 4<<16)
	copy(h, "QFI\xfb")
	be := binary.BigEndian
	be.PutUint32(h[4:], 3)
	be.PutUint32(h[20:], 16)
	be.PutUint64(h[24:], 1<<30)
	be.PutUint32(h[36:], 2)
	be.PutUint64(h[40:], 3<<16)
	be.PutUint64(h[48:], 1<<16)
	be.PutUint32(h[56:], 1)
	be.PutUint32(h[96:], 4)
	be.PutUint32(h[100:], 104)
	if change != nil {
		change(h)
	}
	return h
}

// vmdk is a hand-made sparse VMDK with the given descriptor.
func vmdk(descriptor string) []byte {
	h := make([]byte, 64<<10)
	copy(h, "KDMV")
	le := binary.LittleEndian
	le.PutUint32(h[4:], 1)
	le.PutUint64(h[12:], 20480)
	le.PutUint64(h[20:], 128)
	le.PutUint64(h[28:], 1)
	le.PutUint64(h[36:], 20)
	copy(h[512:], descriptor)
	return h
}

const goodDescriptor = "# Disk DescriptorFile\nversion=1\nCID=7e8c54b6\nparentCID=ffffffff\ncreateType=\"monolithicSparse\"\n\n" +
	"# Extent description\nRW 20480 SPARSE \"disk.vmdk\"\n\n# The Disk Data Base\n#DDB\nddb.adapterType = \"ide\"\n"

func inspectBytes(b []byte) (Result, error) { return Read(bytes.NewReader(b)) }

func TestHandMadeImagesAreAccepted(t *testing.T) {
	r, err := inspectBytes(qcow(nil))
	if err != nil || r.Format != QCOW2 || r.VirtualSize != 1<<30 {
		t.Errorf("qcow2: %+v %v", r, err)
	}
	r, err = inspectBytes(vmdk(goodDescriptor))
	if err != nil || r.Format != VMDK || r.VirtualSize != 20480*512 {
		t.Errorf("vmdk: %+v %v", r, err)
	}
	r, err = inspectBytes(bytes.Repeat([]byte("disk"), 1000))
	if err != nil || r.Format != Raw || r.VirtualSize != 4000 {
		t.Errorf("raw: %+v %v", r, err)
	}
	if r, err = inspectBytes(nil); err != nil || r.Format != Raw || r.VirtualSize != 0 {
		t.Errorf("empty: %+v %v", r, err)
	}
}

func refused(t *testing.T, name string, b []byte, says string) {
	t.Helper()
	_, err := inspectBytes(b)
	if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %v, want refused saying %q", name, err, says)
	}
}

func TestSec01BackingFileIsRefused(t *testing.T) {
	b := qcow(func(h []byte) {
		binary.BigEndian.PutUint64(h[8:], 512)
		binary.BigEndian.PutUint32(h[16:], 11)
		copy(h[512:], "/etc/passwd")
	})
	refused(t, "backing file", b, "backing file")
	refused(t, "backing length alone", qcow(func(h []byte) { binary.BigEndian.PutUint32(h[16:], 11) }), "backing file")
	refused(t, "version 2", qcow(func(h []byte) {
		binary.BigEndian.PutUint32(h[4:], 2)
		binary.BigEndian.PutUint64(h[8:], 512)
	}), "backing file")
	refused(t, "backing format extension", qcow(func(h []byte) {
		binary.BigEndian.PutUint32(h[104:], qcowExtBackingFormat)
		binary.BigEndian.PutUint32(h[108:], 3)
	}), "backing file")
}

func TestSec02VMDKThatNamesFilesIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ old, new, says string }{
		"flat type":    {"monolithicSparse", "monolithicFlat", "not supported"},
		"flat extent":  {`SPARSE "disk.vmdk"`, `FLAT "/etc/shadow" 0`, "not a sparse extent"},
		"path":         {`"disk.vmdk"`, `"/etc/shadow"`, "another file"},
		"parent path":  {`"disk.vmdk"`, `"..\shadow"`, "another file"},
		"second one":   {"# The Disk", "RW 1 SPARSE \"b.vmdk\"\n# The Disk", "2 extents"},
		"parent":       {"parentCID=ffffffff", "parentCID=00000001", "parent"},
		"parent hint":  {"# The Disk", "parentFileNameHint=\"/etc/shadow\"\n#", "parent file"},
		"second type":  {"# The Disk", "createType=\"twoGbMaxExtentFlat\"\n#", "two createType"},
		"hidden tail":  {"# The Disk", "\x00RW 1 FLAT \"/etc/shadow\" 0\n#", "behind its end"},
		"no extent":    {"RW 20480 SPARSE \"disk.vmdk\"", "", "0 extents"},
		"url":          {`"disk.vmdk"`, `"nbd:127.0.0.1"`, "another file"},
		"strange line": {"# The Disk", "FOO BAR\n#", "not a sparse extent"},
	} {
		refused(t, name, vmdk(strings.Replace(goodDescriptor, c.old, c.new, 1)), c.says)
	}
	refused(t, "descriptor alone", []byte(strings.Replace(goodDescriptor, "monolithicSparse", "monolithicFlat", 1)), "only streamOptimized")
	refused(t, "esx sparse", append([]byte("COWD"), make([]byte, 2000)...), "only streamOptimized")
}

func TestSec03ExternalDataFileIsRefused(t *testing.T) {
	refused(t, "feature bit", qcow(func(h []byte) { binary.BigEndian.PutUint64(h[72:], qcowDataFile) }), "another file")
	refused(t, "extension", qcow(func(h []byte) {
		binary.BigEndian.PutUint32(h[104:], qcowExtDataFile)
		binary.BigEndian.PutUint32(h[108:], 40)
		copy(h[112:], `json:{"driver":"file","filename":"/etc"}`)
	}), "external data file")
	refused(t, "behind another extension", qcow(func(h []byte) {
		binary.BigEndian.PutUint32(h[104:], 0x6803f857)
		binary.BigEndian.PutUint32(h[108:], 48)
		binary.BigEndian.PutUint32(h[104+8+48:], qcowExtDataFile)
	}), "external data file")
}

func TestSec04DeclaredFormatMustBeTheRealOne(t *testing.T) {
	q, _ := inspectBytes(qcow(nil))
	v, _ := inspectBytes(vmdk(goodDescriptor))
	raw, _ := inspectBytes(make([]byte, 4096))
	for _, c := range []struct {
		r        Result
		declared string
		ok       bool
	}{
		{q, "qcow2", true}, {q, "raw", false}, {q, "vmdk", false}, {q, "ami", false}, {q, "iso", false},
		{v, "vmdk", true}, {v, "raw", false}, {raw, "raw", true}, {raw, "qcow2", false}, {raw, "vhd", false},
		{raw, "aki", true}, {Result{Format: ISO}, "iso", true}, {Result{Format: ISO}, "raw", true}, {Result{Format: LUKS}, "raw", true},
	} {
		err := c.r.Allowed(c.declared)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrMismatch) {
			t.Errorf("%s declared %s: %v", c.r.Format, c.declared, err)
		}
	}
}

func TestSec07TablesThatExhaustMemoryAreRefused(t *testing.T) {
	be := binary.BigEndian
	refused(t, "l1 entries", qcow(func(h []byte) { be.PutUint32(h[36:], 1<<31) }), "L1 table")
	refused(t, "refcount clusters", qcow(func(h []byte) { be.PutUint32(h[56:], 1<<30) }), "refcount table")
	refused(t, "l1 behind the end", qcow(func(h []byte) { be.PutUint64(h[40:], 1<<40) }), "behind the end")
	refused(t, "snapshots", qcow(func(h []byte) { be.PutUint32(h[60:], 1<<30) }), "snapshots")
	refused(t, "cluster bits", qcow(func(h []byte) { be.PutUint32(h[20:], 63) }), "cluster size")
	refused(t, "unknown feature", qcow(func(h []byte) { be.PutUint64(h[72:], 1<<40) }), "unknown features")
	refused(t, "endless extension", qcow(func(h []byte) { be.PutUint32(h[104:], 1); be.PutUint32(h[108:], 0xffffffff) }), "out of range")
}

func TestSec08HugeVirtualSizeIsSeen(t *testing.T) {
	r, err := inspectBytes(qcow(func(h []byte) { binary.BigEndian.PutUint64(h[24:], 10<<40) }))
	if err != nil || r.VirtualSize != 10<<40 {
		t.Errorf("10 TiB: %+v %v", r, err)
	}
	refused(t, "negative", qcow(func(h []byte) { binary.BigEndian.PutUint64(h[24:], 1<<63) }), "out of range")
}

func TestTwoSignaturesAreRefused(t *testing.T) {
	b := qcow(nil)
	copy(b[32769:], "CD001")
	refused(t, "qcow2 and iso", b, "several formats")
}

func TestRefusedAsSoonAsTheHeadIsThere(t *testing.T) {
	var i Inspector
	bad := qcow(func(h []byte) { binary.BigEndian.PutUint64(h[8:], 512) })
	if _, err := i.Write(bad); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("first %d bytes: %v", len(bad), err)
	}
	if _, err := i.Write([]byte("more")); !errors.Is(err, ErrUnsafe) {
		t.Errorf("went on: %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	var i Inspector
	buf := make([]byte, 1<<20)
	for range 64 {
		if _, err := i.Write(buf); err != nil {
			t.Fatal(err)
		}
	}
	if kept := cap(i.head) + cap(i.tail) + cap(i.extra.data); kept > 1<<20 {
		t.Errorf("keeps %d bytes of 64 MiB", kept)
	}
}

// TestImagesOfQemuAreAccepted holds the parsers against the program whose
// images people upload, written in pieces of awkward sizes.
func TestImagesOfQemuAreAccepted(t *testing.T) {
	qemuImg, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("qemu-img is not installed")
	}
	const size = 10 << 20
	for _, c := range []struct {
		args   string
		format Format
	}{
		{"-f qcow2", QCOW2}, {"-f qcow2 -o compat=0.10", QCOW2}, {"-f qcow2 -o cluster_size=2M,extended_l2=on", QCOW2},
		{"-f qcow2 -o compression_type=zstd", QCOW2}, {"-f qcow2 -o cluster_size=512", QCOW2},
		{"-f vmdk", VMDK}, {"-f vmdk -o subformat=streamOptimized", VMDK},
		{"-f vpc -o force_size=on", VHD}, {"-f vpc -o subformat=fixed,force_size=on", VHD},
		{"-f vhdx", VHDX}, {"-f vhdx -o subformat=fixed", VHDX}, {"-f vdi", VDI}, {"-f raw", Raw},
	} {
		file := filepath.Join(t.TempDir(), "disk")
		args := append(append([]string{"create", "-q"}, strings.Fields(c.args)...), file, "10M")
		if out, err := exec.Command(qemuImg, args...).CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v %s", args, err, out)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range []int{1 << 20, 4093, 300_000} {
			var i Inspector
			for rest := b; len(rest) > 0; {
				n := min(piece, len(rest))
				if _, err := i.Write(rest[:n]); err != nil {
					t.Fatalf("%s: %v", c.args, err)
				}
				rest = rest[n:]
			}
			r, err := i.Finish()
			if err != nil || r.Format != c.format || r.VirtualSize != size {
				t.Errorf("%s in pieces of %d: %+v %v", c.args, piece, r, err)
			}
		}
	}
	for name, args := range map[string][]string{
		"backing":   {"create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "disk", "1M"},
		"data file": {"create", "-q", "-f", "qcow2", "-o", "data_file=other.raw", "disk", "1M"},
		"flat vmdk": {"create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", "disk", "1M"},
	} {
		cmd := exec.Command(qemuImg, args...)
		cmd.Dir = t.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v %s", args, err, out)
		}
		b, _ := os.ReadFile(filepath.Join(cmd.Dir, "disk"))
		if _, err := inspectBytes(b); !errors.Is(err, ErrUnsafe) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(qcow(nil)[:512], 0)
	f.Add(vmdk(goodDescriptor)[:2048], 7)
	f.Add([]byte("vhdxfile"), 196608)
	f.Add([]byte("regi"), vhdxRegionTable)
	f.Add([]byte("conectix"), 0)
	f.Add([]byte("\x7f\x10\xda\xbe"), 64)
	f.Add([]byte("WithouFreSpacExt"), 0)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		b := data
		if at > 0 && at < 1<<20 {
			b = make([]byte, at+len(data)+1024)
			copy(b, "vhdxfile")
			copy(b[at:], data)
		}
		whole, wholeErr := inspectBytes(b)
		var i Inspector
		for k := 0; k < len(b); k += 997 {
			if _, err := i.Write(b[k:min(k+997, len(b))]); err != nil {
				break
			}
		}
		pieces, piecesErr := i.Finish()
		if (wholeErr == nil) != (piecesErr == nil) || wholeErr == nil && whole != pieces {
			t.Fatalf("whole %+v %v, in pieces %+v %v", whole, wholeErr, pieces, piecesErr)
		}
		if wholeErr == nil && whole.VirtualSize < 0 {
			t.Fatalf("negative virtual size: %+v", whole)
		}
	})
}
