package node

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// forget takes the pages of the binary's code and constants out of this
// process, so that only those that it works with come back. The binary holds
// every part of Hastack, and starting it touches a little of each: most of an
// agent's memory would be code that it never runs again.
func forget() error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	ranges, err := readOnly(bytes.NewReader(maps), self)
	for _, r := range ranges {
		// Nobody can have written there: what comes back is what was taken.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, r[0], r[1]-r[0], unix.MADV_DONTNEED); errno != 0 {
			err = errors.Join(err, errno)
		}
	}
	return err
}

// readOnly finds the mappings of a file that cannot be written to.
func readOnly(maps io.Reader, file string) ([][2]uintptr, error) {
	var out [][2]uintptr
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		// 00400000-01234000 r-xp 00000000 08:01 42   /usr/bin/hastack
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[5] != file || strings.Contains(f[1], "w") || !strings.HasSuffix(f[1], "p") {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		a, err1 := strconv.ParseUint(from, 16, 64)
		b, err2 := strconv.ParseUint(to, 16, 64)
		if err1 != nil || err2 != nil || b < a {
			return nil, fmt.Errorf("/proc/self/maps has the range %q", f[0])
		}
		out = append(out, [2]uintptr{uintptr(a), uintptr(b)})
	}
	return out, lines.Err()
}
