package qemu

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/ids"
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

func TestQ35PlugsInterfacesIntoItsPorts(t *testing.T) {
	needQEMU(t)
	virttest.Run(t, virttest.Setup{
		Open:       func(t *testing.T, dir string) virt.Driver { return newDriver(t, dir) },
		Base:       emptyBase,
		Properties: map[string]string{"hw_machine_type": "q35"},
		Only:       "InterfacesComeAndGoWhileRunning",
	})
}

func TestConsoleLogStaysBounded(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	d := newDriver(t, dir)
	t.Cleanup(func() { _ = d.Close() })
	d.cfg.ConsoleBytes = 1000
	id := ids.UUID()
	def := &virt.Server{ID: id, VCPUs: 1, MemoryMB: 64, Root: emptyBase(t, dir)}
	if err := d.Define(t.Context(), def); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(d.path(id, fileConsole), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for i := range 50 {
		fmt.Fprintf(log, "line %04d %s\n", i, strings.Repeat("x", 89))
		if err := d.rotate(id); err != nil {
			t.Fatal(err)
		}
	}
	var total int64
	for _, f := range []string{fileConsole, fileOldLog} {
		if st, err := os.Stat(d.path(id, f)); err == nil {
			total += st.Size()
		}
	}
	out, err := d.Console(t.Context(), id, 1500)
	if err != nil || total > 2200 || len(out) != 1500 || !strings.Contains(string(out), "line 0049") || !strings.Contains(string(out), "line 0040") {
		t.Errorf("%d bytes on disk, %d read, %v: %s", total, len(out), err, out)
	}
}
