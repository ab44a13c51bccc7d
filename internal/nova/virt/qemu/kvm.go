package qemu

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	accelKVM = "kvm"
	accelTCG = "tcg"
)

// probeSector is a boot sector that enters 64-bit mode, runs for a moment and
// writes 0x10 to port 0xf4, where isa-debug-exit ends QEMU with code 33. Its
// source is probe.S.txt (Go would take a .S file for its own assembler).
//
//go:embed probe.bin
var probeSector []byte

const (
	probePassed   = 33
	probeDeadline = 3 * time.Second
)

// accelerator decides once per process how guests run. The device being there
// and query-kvm saying yes prove nothing: on nested hosts the first guest that
// enters long mode hangs. So a guest of one sector is run, and the verdict is
// kept until the machine boots again or QEMU changes.
func (d *Driver) accelerator(ctx context.Context) string {
	d.accelOnce.Do(func() {
		d.accel = d.decideAccel(context.WithoutCancel(ctx))
	})
	return d.accel
}

func (d *Driver) decideAccel(ctx context.Context) string {
	switch d.cfg.Accel {
	case accelKVM, accelTCG:
		return d.cfg.Accel
	}
	if !exists("/dev/kvm") {
		d.log.Info("guests run in software, this machine has no kvm", slog.String("accel", accelTCG))
		return accelTCG
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = []byte("unknown")
	}
	key := fmt.Sprintf("%s %d", strings.TrimSpace(string(boot)), d.version)
	cache := filepath.Join(d.cfg.StateDir, "accel")
	if b, err := os.ReadFile(cache); err == nil {
		if verdict, ok := strings.CutPrefix(string(b), key+" "); ok && (verdict == accelKVM || verdict == accelTCG) {
			return verdict
		}
	}
	verdict := accelKVM
	if err := d.probe(ctx, accelKVM); err != nil {
		verdict = accelTCG
		d.log.Warn("guests run in software: kvm is there but its test guest did not end well",
			slog.String("accel", accelTCG), slog.Any("error", err))
	}
	if err := os.WriteFile(cache, []byte(key+" "+verdict), 0o600); err != nil {
		d.log.Warn("kvm verdict not kept", slog.Any("error", err))
	}
	return verdict
}

// probe runs the test guest.
func (d *Driver) probe(ctx context.Context, accel string) error {
	ctx, cancel := context.WithTimeout(ctx, probeDeadline)
	defer cancel()
	disk, err := os.CreateTemp("", "hastack-probe-")
	if err != nil {
		return err
	}
	defer os.Remove(disk.Name())
	_, err = disk.Write(probeSector)
	if err = errors.Join(err, disk.Chmod(0o644), disk.Close()); err != nil {
		return err
	}
	cpu := "max"
	if accel == accelKVM {
		cpu = "host"
	}
	cmd := exec.CommandContext(ctx, d.cfg.Binary, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc,accel="+accel,
		"-cpu", cpu, "-m", "16", "-drive", "file="+disk.Name()+",format=raw,if=ide,readonly=off,snapshot=on",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=4")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.runAs.credential()}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == probePassed {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("test guest did not end within %v", probeDeadline)
	}
	return fmt.Errorf("test guest: %w: %.200s", err, out)
}
