package qemu

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/nova/virt"
	"github.com/hastack/hastack/internal/nova/virt/virttest"
)

// needQEMU skips where a QEMU cannot be run as it runs in a cloud.
func needQEMU(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for tap devices and another user's processes")
	}
	for _, tool := range []string{"qemu-system-x86_64", "genisoimage", "prlimit"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	if testing.Short() {
		t.Skip("starts QEMU processes")
	}
}

func newDriver(t *testing.T, dir string) *Driver {
	t.Helper()
	d, err := New(Config{StateDir: dir, Accel: accelTCG}, clock.System, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// emptyBase is a raw disk of 4 MiB with nothing to boot on it.
func emptyBase(t *testing.T, dir string) virt.Base {
	t.Helper()
	path := filepath.Join(dir, "base.raw")
	if err := os.WriteFile(path, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return virt.Base{ImageID: "none", Path: path, Format: "raw", VirtualSize: 4 << 20}
}

func TestQEMUKeepsTheDriverContract(t *testing.T) {
	needQEMU(t)
	virttest.Run(t, virttest.Setup{
		Open: func(t *testing.T, dir string) virt.Driver { return newDriver(t, dir) },
		Base: emptyBase,
	})
}
