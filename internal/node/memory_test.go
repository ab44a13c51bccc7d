package node

import (
	"reflect"
	"strings"
	"testing"
)

func TestOnlyMappingsThatCannotBeWrittenAreGivenBack(t *testing.T) {
	const maps = `00400000-00410000 r-xp 00000000 08:01 42                 /usr/bin/hastack
00410000-00420000 r--p 00010000 08:01 42                 /usr/bin/hastack
00420000-00430000 rw-p 00020000 08:01 42                 /usr/bin/hastack
7f0000000000-7f0000001000 r-xp 00000000 08:01 43         /usr/lib/libc.so
7f0000002000-7f0000003000 r--s 00000000 08:01 42         /usr/bin/hastack
7ffc00000000-7ffc00001000 rw-p 00000000 00:00 0          [stack]
`
	got, err := readOnly(strings.NewReader(maps), "/usr/bin/hastack")
	if want := [][2]uintptr{{0x400000, 0x410000}, {0x410000, 0x420000}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%x, %v", got, err)
	}
}

func TestProcessGoesOnWithoutItsPages(t *testing.T) {
	if err := forget(); err != nil {
		t.Fatal(err)
	}
	if strings.Repeat("a", 3) != "aaa" {
		t.Error("it does not")
	}
}
