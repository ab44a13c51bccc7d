package qemu

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/nova/virt"
)

// forge writes, in the place of a guest, a qcow2 header over a file of the host
// into the guest's disk.
func forge(t *testing.T, disk, format, header string) {
	t.Helper()
	write := fmt.Sprintf("write -s %s 0 512", header)
	if out, err := exec.Command("qemu-io", "-f", format, "-c", write, disk).CombinedOutput(); err != nil {
		t.Fatalf("qemu-io: %v: %s", err, out)
	}
}

// TestSec06HeaderWrittenByAGuestOpensNothing: a header that a guest wrote on its
// own disks is data when the guest runs, is snapshotted running and stopped, is
// started again, and is rebuilt from its own snapshot.
func TestSec06HeaderWrittenByAGuestOpensNothing(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	secret, header := filepath.Join(dir, "secret"), filepath.Join(dir, "header")
	if err := os.WriteFile(secret, bytes.Repeat([]byte("TOPSECRET"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(header)
	if err != nil {
		t.Fatal(err)
	}
	if err := errorsJoin(writeQcow2(f, 1<<20, secret, "raw"), f.Close()); err != nil {
		t.Fatal(err)
	}
	d := openDriver(t, filepath.Join(dir, "state"))
	t.Cleanup(func() { _ = d.Close() })
	def := newGuest(t, d, emptyBase(t, dir))
	def.EphemeralGB, def.SwapMB = 1, 64
	if err := d.Define(t.Context(), def); err != nil {
		t.Fatal(err)
	}
	forge(t, d.path(def.ID, fileRoot), "qcow2", header)
	forge(t, d.path(def.ID, fileEphemeral), "raw", header)
	forge(t, d.path(def.ID, fileSwap), "raw", header)

	for round := range 2 {
		if err := d.Start(t.Context(), def.ID); err != nil {
			t.Fatalf("start %d: %v", round, err)
		}
		closedTo(t, d, def.ID, secret)
		noSecretIn(t, d, def.ID)
		if err := d.Stop(t.Context(), def.ID, 0); err != nil {
			t.Fatal(err)
		}
	}
	snap := noSecretIn(t, d, def.ID)
	def.Root = virt.Base{ImageID: "snapshot", Path: snap, Format: "raw", VirtualSize: 1 << 30}
	if err := errorsJoin(d.DropDisks(t.Context(), def.ID), d.Define(t.Context(), def), d.Start(t.Context(), def.ID)); err != nil {
		t.Fatal(err)
	}
	closedTo(t, d, def.ID, secret)
	noSecretIn(t, d, def.ID)
}

// closedTo checks that the guest's process has no hold of a file.
func closedTo(t *testing.T, d *Driver, id, file string) {
	t.Helper()
	in, err := d.Info(t.Context(), id)
	if err != nil || in.PID == 0 {
		t.Fatalf("%+v, %v", in, err)
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", in.PID))
	if err != nil || len(fds) == 0 {
		t.Fatalf("no open files of %d: %v", in.PID, err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.HasPrefix(to, file) {
			t.Errorf("the guest has %s open", to)
		}
	}
}

// noSecretIn takes a snapshot and returns its raw bytes as a file.
func noSecretIn(t *testing.T, d *Driver, id string) string {
	t.Helper()
	snap, err := d.Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Remove()
	raw := filepath.Join(t.TempDir(), "snapshot.raw")
	if out, err := exec.Command("qemu-img", "convert", "-f", "qcow2", "-O", "raw", snap.Path, raw).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(got, []byte("QFI\xfb")) || bytes.Contains(got, []byte("TOPSECRET")) {
		t.Error("the snapshot does not hold what the guest wrote, or more")
	}
	return raw
}
