package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// rejoinMounts starts this program again in the mount namespace where the
// cloud's servers and DHCP servers live, when that is another than this one.
// A caller such as `ip netns exec` has a mount namespace for itself, and the
// network namespaces that a cloud makes in one are known by name only there.
func rejoinMounts(stateDir string) error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil //nolint:nilerr // without /proc there is nothing to rejoin
	}
	pid := survivor(stateDir, own)
	if pid == 0 {
		return nil
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("enter the mount namespace of process %d: %w", pid, err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	wd, err := os.Getwd()
	if err != nil {
		wd = "/"
	}
	args := append([]string{nsenter, "--mount=/proc/" + strconv.Itoa(pid) + "/ns/mnt", "--wd=" + wd, "--", self}, os.Args[1:]...)
	if err := syscall.Exec(nsenter, args, os.Environ()); err != nil {
		return fmt.Errorf("enter the mount namespace of process %d: %w", pid, err)
	}
	return nil
}

// survivor is a process of the cloud's machine side that lives in another
// mount namespace than own; 0 if there is none.
func survivor(stateDir, own string) int {
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0
	}
	for _, path := range procs {
		cmdline, err := os.ReadFile(path)
		if err != nil || !belongs(strings.Split(string(cmdline), "\x00"), stateDir) {
			continue
		}
		dir := filepath.Dir(path)
		mnt, err := os.Readlink(filepath.Join(dir, "ns", "mnt"))
		if err != nil || mnt == own {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			return pid
		}
	}
	return 0
}

// belongs tells whether a command line is that of a DHCP server or a QEMU of
// the cloud in stateDir. QEMU's names no path, but the server that it runs.
func belongs(args []string, stateDir string) bool {
	program := filepath.Base(args[0])
	switch {
	case program == "dnsmasq":
		return slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, stateDir+"/") })
	case strings.HasPrefix(program, "qemu-system-"):
		i := slices.Index(args, "-uuid")
		if i < 0 || i+1 >= len(args) {
			return false
		}
		_, err := os.Stat(filepath.Join(stateDir, "servers", args[i+1]))
		return err == nil
	}
	return false
}
