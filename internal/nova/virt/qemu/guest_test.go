package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
	"github.com/hastack/hastack/internal/nova/virt/imagecache"
)

// guestImage is the disk that image/build.sh makes, named by the environment:
// building it takes packages from outside, which no unit test may.
func guestImage(t *testing.T) virt.Base {
	t.Helper()
	path := os.Getenv("HASTACK_TEST_IMAGE")
	if path == "" {
		t.Skip("HASTACK_TEST_IMAGE does not name the disk.qcow2 of image/build.sh")
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	format, size, err := imagecache.Inspect(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	return virt.Base{ImageID: "guest", Path: path, Format: format, VirtualSize: size}
}

// waitConsole waits for text on the console, n times in all.
func waitConsole(t *testing.T, d *Driver, id, text string, n int, limit time.Duration) {
	t.Helper()
	var out []byte
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var err error
		if out, err = d.Console(t.Context(), id, 1<<20); err != nil {
			t.Fatal(err)
		}
		if bytes.Count(out, []byte(text)) >= n {
			return
		}
	}
	t.Fatalf("%q did not come %d times within %v; the console ends:\n%s", text, n, limit, out[max(0, len(out)-2000):])
}

func newGuest(t *testing.T, d *Driver, base virt.Base) *virt.Server {
	t.Helper()
	id := ids.UUID()
	meta := fmt.Sprintf(`{"uuid":%q,"name":"guest","hostname":"guest.novalocal","availability_zone":"nova","launch_index":0}`, id)
	def := &virt.Server{ID: id, InstanceName: "instance-00000001", Name: "guest", VCPUs: 1, MemoryMB: 128, RootGB: 1, Root: base,
		ConfigDrive: map[string][]byte{"openstack/latest/meta_data.json": []byte(meta),
			"openstack/latest/user_data": []byte("#!/bin/sh\necho MARK user-data ran on $(hostname)\n")}}
	if err := d.Define(t.Context(), def); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Destroy(context.Background(), id); err != nil {
			t.Error(err)
		}
	})
	return def
}

func openDriver(t *testing.T, dir string) *Driver {
	t.Helper()
	d := newDriver(t, dir)
	if _, err := d.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestGuestLife takes a real guest through what its owner may do with it.
func TestGuestLife(t *testing.T) {
	needQEMU(t)
	base := guestImage(t)
	d := openDriver(t, t.TempDir())
	t.Cleanup(func() { _ = d.Close() })
	def := newGuest(t, d, base)
	begin := time.Now()
	if err := d.Start(t.Context(), def.ID); err != nil {
		t.Fatal(err)
	}
	t.Logf("qemu answered after %v", time.Since(begin))
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("start took %v", took)
	}
	waitConsole(t, d, def.ID, "MARK user-data ran on guest", 1, 90*time.Second)
	waitConsole(t, d, def.ID, "testvm: ready", 1, 90*time.Second)
	t.Logf("guest ready after %v", time.Since(begin))

	if err := d.Suspend(t.Context(), def.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), def.ID); err != nil {
		t.Fatal(err)
	}
	if in, _ := d.Info(t.Context(), def.ID); in.PowerState != rpc.PowerRunning {
		t.Fatalf("after resume: %+v", in)
	}
	snap, err := d.Snapshot(t.Context(), def.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Remove()
	checkQcow2(t, snap.Path, 1<<30)

	t.Logf("suspended, resumed and copied after %v", time.Since(begin))
	begin = time.Now()
	if err := d.Stop(t.Context(), def.ID, 60*time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 50*time.Second {
		t.Errorf("the resumed guest did not hear the power button: %v", took)
	}
	t.Logf("power button took %v", time.Since(begin))
	if err := d.Start(t.Context(), def.ID); err != nil {
		t.Fatal(err)
	}
	waitConsole(t, d, def.ID, "testvm: ready", 2, 90*time.Second)

	// A server from the snapshot boots.
	second := newGuest(t, d, virt.Base{ImageID: "snap", Path: snap.Path, Format: "qcow2", VirtualSize: snap.VirtualSize})
	if err := d.Start(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	waitConsole(t, d, second.ID, "testvm: ready", 1, 90*time.Second)
}

// checkQcow2 holds a snapshot against qemu-img: sound, alone, and as large as
// the disk.
func checkQcow2(t *testing.T, path string, size int64) {
	t.Helper()
	out, err := exec.Command("qemu-img", "info", "-f", "qcow2", "-U", "--output=json", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Size    int64  `json:"virtual-size"`
		Backing string `json:"backing-filename"`
	}
	if err := json.Unmarshal(out, &info); err != nil || info.Size != size || info.Backing != "" {
		t.Errorf("%s: %v", out, err)
	}
	if out, err := exec.Command("qemu-img", "check", "-f", "qcow2", "-U", path).CombinedOutput(); err != nil {
		t.Errorf("qemu-img check: %v: %s", err, out)
	}
}

func TestOwnQcow2IsSoundForQemuImg(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("needs qemu-img")
	}
	for _, size := range []int64{512, 4 << 20, 1 << 30, 3<<40 + 512} {
		path := filepath.Join(t.TempDir(), "d.qcow2")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeQcow2(f, size, "", ""); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		checkQcow2(t, path, size)
	}
}

// TestSec05GuestWrittenHeaderStaysData: whatever a guest writes into its disk is
// read back as bytes by every operation; none of them guesses a format.
func TestSec05GuestWrittenHeaderStaysData(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, bytes.Repeat([]byte("TOPSECRET"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	forged := filepath.Join(dir, "forged.raw")
	f, err := os.Create(forged)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeQcow2(f, 1<<20, secret, "raw"); err != nil {
		t.Fatal(err)
	}
	if err := errorsJoin(f.Truncate(4<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	// The base stands for what the guest wrote: a raw disk that looks like a
	// qcow2 over a file of the host.
	d := openDriver(t, filepath.Join(dir, "state"))
	t.Cleanup(func() { _ = d.Close() })
	def := &virt.Server{ID: ids.UUID(), InstanceName: "instance-1", VCPUs: 1, MemoryMB: 64,
		Root: virt.Base{Path: forged, Format: "raw", VirtualSize: 4 << 20}}
	if err := d.Define(t.Context(), def); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Destroy(context.Background(), def.ID) })
	snap, err := d.Snapshot(t.Context(), def.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Remove()
	raw := filepath.Join(dir, "out.raw")
	if out, err := exec.Command("qemu-img", "convert", "-f", "qcow2", "-O", "raw", snap.Path, raw).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(got, []byte("QFI\xfb")) || bytes.Contains(got, []byte("TOPSECRET")) {
		t.Error("the forged header was obeyed")
	}
}

func errorsJoin(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestGuestProcessHasNoRights(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	d := openDriver(t, dir)
	t.Cleanup(func() { _ = d.Close() })
	def := newGuest(t, d, emptyBase(t, dir))
	if err := d.Start(t.Context(), def.ID); err != nil {
		t.Fatal(err)
	}
	in, err := d.Info(t.Context(), def.ID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", in.PID))
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]string{}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ":")
		status[k] = strings.TrimSpace(v)
	}
	if strings.HasPrefix(status["Uid"], "0\t") || status["CapEff"] != "0000000000000000" || status["Seccomp"] != "2" {
		t.Errorf("uid %s, capabilities %s, seccomp %s", status["Uid"], status["CapEff"], status["Seccomp"])
	}
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", in.PID))
	if bytes.Contains(cmdline, []byte(dir)) {
		t.Error("the command line names the state directory")
	}
}

func TestDeathOfAProcessIsToldOnce(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	d := openDriver(t, dir)
	t.Cleanup(func() { _ = d.Close() })
	def := &virt.Server{ID: ids.UUID(), InstanceName: "instance-1", VCPUs: 1, MemoryMB: 64, Root: emptyBase(t, dir)}
	if err := d.Define(t.Context(), def); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Destroy(context.Background(), def.ID) })
	for _, adopted := range []bool{false, true} {
		if err := d.Start(t.Context(), def.ID); err != nil {
			t.Fatal(err)
		}
		if adopted {
			_ = d.Close()
			d = openDriver(t, dir)
		}
		in, err := d.Info(t.Context(), def.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(in.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-d.Events():
			if e.ServerID != def.ID || e.PowerState != rpc.PowerCrashed {
				t.Errorf("adopted=%v: %+v", adopted, e)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("adopted=%v: nobody told", adopted)
		}
		if in, _ = d.Info(t.Context(), def.ID); in.PowerState != rpc.PowerShutdown {
			t.Errorf("adopted=%v: %+v", adopted, in)
		}
	}
	select {
	case e := <-d.Events():
		t.Errorf("told twice: %+v", e)
	default:
	}
}

// A second agent may start before the first has gone, and a QEMU may be too busy
// to answer: neither may cost a guest its life.
func TestGuestWhoseMonitorIsTakenLivesOn(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	first := openDriver(t, dir)
	def := &virt.Server{ID: ids.UUID(), InstanceName: "instance-1", VCPUs: 1, MemoryMB: 64, Root: emptyBase(t, dir)}
	if err := first.Define(t.Context(), def); err != nil {
		t.Fatal(err)
	}
	if err := first.Start(t.Context(), def.ID); err != nil {
		t.Fatal(err)
	}
	before, _ := first.Info(t.Context(), def.ID)
	second := openDriver(t, dir) // while the first holds the monitor
	t.Cleanup(func() {
		_ = second.Destroy(context.Background(), def.ID)
		_ = second.Close()
	})
	if in, err := second.Info(t.Context(), def.ID); err != nil || in.PowerState != rpc.PowerRunning || in.PID != before.PID {
		t.Fatalf("%+v %v", in, err)
	}
	_ = first.Close()
	if err := second.Pause(t.Context(), def.ID); err != nil {
		t.Fatal(err)
	}
	if in, _ := second.Info(t.Context(), def.ID); in.PowerState != rpc.PowerPaused || in.PID != before.PID {
		t.Fatalf("%+v", in)
	}
	if err := second.Destroy(t.Context(), def.ID); err != nil {
		t.Fatal(err)
	}
}

func TestStaleProcessNumberIsNotBelieved(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	d := openDriver(t, dir)
	t.Cleanup(func() { _ = d.Close() })
	def := newGuest(t, d, emptyBase(t, dir))
	bystander := exec.Command("sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bystander.Process.Kill(); _ = bystander.Wait() }()
	if err := os.WriteFile(d.path(def.ID, filePID), fmt.Appendf(nil, "%d", bystander.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Destroy(t.Context(), def.ID); err != nil {
		t.Fatal(err)
	}
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a bystander was killed: %v", err)
	}
}

func TestQEMUThatDoesNotStartIsAFault(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	d := openDriver(t, dir)
	t.Cleanup(func() { _ = d.Close() })
	def := newGuest(t, d, emptyBase(t, dir))
	def.MemoryMB = 1 << 30 // more than any machine has
	if err := d.Define(t.Context(), def); err != nil {
		t.Fatal(err)
	}
	err := d.Start(t.Context(), def.ID)
	if !fault.Is(err, fault.Internal) || strings.Contains(fault.As(err).Text, dir) {
		t.Fatalf("error %v", err)
	}
	if in, _ := d.Info(t.Context(), def.ID); in.PowerState != rpc.PowerShutdown {
		t.Errorf("%+v", in)
	}
}

func TestSec08ImageLargerThanTheFlavorIsRefused(t *testing.T) {
	needQEMU(t)
	d := openDriver(t, t.TempDir())
	t.Cleanup(func() { _ = d.Close() })
	def := &virt.Server{ID: ids.UUID(), VCPUs: 1, MemoryMB: 64, RootGB: 1, Root: virt.Base{Path: "/none", Format: "raw", VirtualSize: 2 << 30}}
	if err := d.Define(t.Context(), def); !fault.Is(err, fault.BadRequest) {
		t.Errorf("error %v", err)
	}
}

func TestSec44DriveFilesStayInTheDrive(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	d := openDriver(t, filepath.Join(dir, "state"))
	t.Cleanup(func() { _ = d.Close() })
	base := emptyBase(t, dir)
	def := &virt.Server{ID: ids.UUID(), VCPUs: 1, MemoryMB: 64, Root: base,
		ConfigDrive: map[string][]byte{"../../../../../../" + dir + "/escaped": []byte("x"), "/abs/../../" + dir + "/escaped2": []byte("x")}}
	if err := d.Define(t.Context(), def); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Destroy(context.Background(), def.ID) })
	left, _ := filepath.Glob(filepath.Join(dir, "escaped*"))
	if len(left) != 0 {
		t.Errorf("written outside: %v", left)
	}
	for _, id := range []string{"../../etc", "", "a/b", strings.Repeat("x", 36)} {
		if err := d.Define(t.Context(), &virt.Server{ID: id, Root: base}); err == nil {
			t.Errorf("server id %q was taken", id)
		}
	}
}

func TestProbeTellsWhetherGuestsRun(t *testing.T) {
	needQEMU(t)
	d := newDriver(t, t.TempDir())
	if err := d.probe(t.Context(), accelTCG); err != nil {
		t.Errorf("tcg: %v", err)
	}
	begin := time.Now()
	err := d.probe(t.Context(), accelKVM)
	if took := time.Since(begin); took > probeDeadline+2*time.Second {
		t.Errorf("the probe took %v", took)
	}
	t.Logf("kvm: %v", err)
}
