package imagecache

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// qcow2 is a header of a disk of size bytes, padded to a cluster.
func qcow2(size uint64, edit func(h []byte)) []byte {
	h := make([]byte, 4096)
	copy(h, "QFI\xfb")
	be := binary.BigEndian
	be.PutUint32(h[4:], 3)
	be.PutUint32(h[20:], 16)
	be.PutUint64(h[24:], size)
	be.PutUint32(h[36:], 1)
	be.PutUint32(h[100:], 104)
	if edit != nil {
		edit(h)
	}
	return h
}

func image(format string, data []byte) Image {
	sum := sha512.Sum512(data)
	return Image{ID: ids.UUID(), Status: "active", DiskFormat: format, Size: int64(len(data)),
		HashAlgo: "sha512", HashValue: hex.EncodeToString(sum[:])}
}

func opener(data []byte, count *int) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) {
		*count++
		return io.NopCloser(bytes.NewReader(data)), nil
	}
}

func newCache(t *testing.T, limit int64, clk clock.Clock, used ...string) *Cache {
	t.Helper()
	c, err := New(t.TempDir(), limit, clk, func(context.Context) ([]string, error) { return used, nil })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBaseIsFetchedOnceAndKept(t *testing.T) {
	c := newCache(t, 0, clock.System)
	data := qcow2(1<<20, nil)
	img, n := image(Qcow2, data), 0
	for i := range 2 {
		base, hit, err := c.Base(t.Context(), img, 1, opener(data, &n))
		if err != nil || hit != (i == 1) || base.VirtualSize != 1<<20 || base.Format != Qcow2 {
			t.Fatalf("%+v hit=%v err=%v", base, hit, err)
		}
		got, _ := os.ReadFile(base.Path)
		if !bytes.Equal(got, data) {
			t.Fatal("the base differs from the image")
		}
	}
	if n != 1 {
		t.Errorf("%d downloads", n)
	}
}

func TestRefusedImagesLeaveNothing(t *testing.T) {
	be := binary.BigEndian
	good := qcow2(1<<20, nil)
	flipped := bytes.Clone(good)
	flipped[3000] ^= 1
	cases := map[string]struct {
		img  Image
		data []byte
	}{
		"Sec01BackingFile": {data: qcow2(1<<20, func(h []byte) {
			be.PutUint64(h[8:], 512)
			be.PutUint32(h[16:], 11)
			copy(h[512:], "/etc/shadow")
		})},
		"Sec03DataFileBit":        {data: qcow2(1<<20, func(h []byte) { be.PutUint64(h[72:], 4) })},
		"Sec03DataFileExtension":  {data: qcow2(1<<20, func(h []byte) { be.PutUint32(h[104:], 0x44415441); be.PutUint32(h[108:], 8) })},
		"Sec04DeclaredRawIsQcow2": {img: image(Raw, good), data: good},
		"Sec02VmdkDescriptor":     {img: image(Raw, []byte("# Disk DescriptorFile\nRW 1 FLAT \"/etc/shadow\" 0\n")), data: []byte("# Disk DescriptorFile\nRW 1 FLAT \"/etc/shadow\" 0\n")},
		"Sec08VirtualSize":        {data: qcow2(10<<40, nil)},
		"Sec21FlippedByte":        {img: image(Qcow2, good), data: flipped},
		"LongerThanPromised":      {img: image(Qcow2, good), data: append(bytes.Clone(good), 0)},
		"CutOff":                  {img: image(Qcow2, good), data: good[:2000]},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCache(t, 0, clock.System)
			img, n := tc.img, 0
			if img.ID == "" {
				img = image(Qcow2, tc.data)
			}
			_, _, err := c.Base(t.Context(), img, 1, opener(tc.data, &n))
			if !fault.Is(err, fault.BadRequest) {
				t.Fatalf("error %v", err)
			}
			left, _ := filepath.Glob(filepath.Join(c.dir, "*"))
			if name != "Sec08VirtualSize" && len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestBrokenDownloadCanBeRepeated(t *testing.T) {
	c := newCache(t, 0, clock.System)
	data := qcow2(1<<20, nil)
	img, n := image(Qcow2, data), 0
	boom := errors.New("boom")
	_, _, err := c.Base(t.Context(), img, 1, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(data[:100]), errReader{boom})), nil
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if _, hit, err := c.Base(t.Context(), img, 1, opener(data, &n)); err != nil || hit {
		t.Fatalf("hit %v, %v", hit, err)
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	clk := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	var used []string
	c, err := New(t.TempDir(), 3*4096, clk, func(context.Context) ([]string, error) { return used, nil })
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for i := range 5 {
		data := qcow2(uint64(i+1)<<20, nil)
		n := 0
		base, _, err := c.Base(t.Context(), image(Qcow2, data), 1, opener(data, &n))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, base.Path)
		if i == 0 {
			used = paths[:1]
		}
		clk.Advance(time.Hour)
	}
	for i, p := range paths {
		_, err := os.Stat(p)
		if there := err == nil; there != (i == 0 || i >= 3) {
			t.Errorf("base %d there=%v", i, there)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(qcow2(1<<20, nil))
	f.Add([]byte("KDMV"))
	f.Add([]byte(strings.Repeat("\x00", 600)))
	f.Fuzz(func(t *testing.T, data []byte) {
		format, size, err := Inspect(bytes.NewReader(data), int64(len(data)))
		if err == nil && format == Qcow2 && (size <= 0 || size > maxVirtual+511) {
			t.Fatalf("accepted a qcow2 of %d bytes", size)
		}
	})
}
