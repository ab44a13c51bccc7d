package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/topology"
)

// registry is where the machine's labs are known by their short names, so that
// two of one name, from different state directories, do not meet.
const registry = "/run/hastack-labs"

// programs are what a lab runs on the machine, and the Debian package of each.
var programs = [...]struct{ program, pkg string }{
	{"systemd-nspawn", "systemd-container"}, {"nft", "nftables"}, {"mount", "mount"}, {"ssh", "openssh-client"}, {"ip", "iproute2"},
}

// checkMachine says in one sentence what is missing on this machine.
func checkMachine(c *cgroups) error {
	if os.Geteuid() != 0 {
		return errors.New("a lab makes network namespaces and machines: run as root (sudo)")
	}
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p.program); err != nil {
			missing = append(missing, p.pkg)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("programs are missing: apt-get install %s", strings.Join(missing, " "))
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return errors.New("/dev/net/tun is missing: load the module (modprobe tun)")
	}
	b, err := os.ReadFile("/proc/filesystems")
	if err == nil && !strings.Contains(string(b), "\toverlay\n") {
		return errors.New("the kernel has no overlay file system: load the module (modprobe overlay)")
	}
	return c.check()
}

// checkDisk refuses a state directory that cannot hold an overlay's upper layer.
func checkDisk(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return err
	}
	if st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("%s is itself on an overlay, which cannot hold another: use a directory on a disk or tmpfs (--state-dir)", dir)
	}
	return nil
}

// claim writes down that the lab's name is this state directory's.
func (l *Lab) claim() error {
	if err := os.MkdirAll(registry, 0o755); err != nil {
		return err
	}
	file := filepath.Join(registry, short(l.name))
	b, err := os.ReadFile(file)
	if err == nil && string(b) != l.dir {
		if _, err := os.Stat(filepath.Join(string(b), "lab.json")); err == nil {
			return fmt.Errorf("this machine has another lab of that name in %s: take it down first (hastack lab down --state-dir %s %s)",
				b, filepath.Dir(filepath.Dir(string(b))), filepath.Base(string(b)))
		}
	}
	return os.WriteFile(file, []byte(l.dir), 0o644)
}

func (l *Lab) unclaim() error {
	file := filepath.Join(registry, short(l.name))
	if b, err := os.ReadFile(file); err == nil && string(b) == l.dir {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	if err := os.Remove(registry); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	return nil
}

// kernelNeeds are settings of the whole machine that servers share: each systemd
// takes several inotify instances, and all namespaces share one table of
// neighbours.
func kernelNeeds(t *topology.Topology) map[string]int {
	n := len(t.Servers) + 1
	return map[string]int{
		"/proc/sys/fs/inotify/max_user_instances":     128 + 64*n,
		"/proc/sys/fs/inotify/max_user_watches":       8192 + 4096*n,
		"/proc/sys/fs/aio-max-nr":                     65536 + 8192*n,
		"/proc/sys/net/ipv4/neigh/default/gc_thresh2": 512 + 8*n*n,
		"/proc/sys/net/ipv4/neigh/default/gc_thresh3": 1024 + 16*n*n,
	}
}

// raiseKernel raises what is too low and remembers what it was.
func raiseKernel(s *state, t *topology.Topology) error {
	for path, need := range kernelNeeds(t) {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // not in this kernel, or not seen from this network namespace
		}
		if err != nil {
			return err
		}
		was := strings.TrimSpace(string(b))
		if have, err := strconv.Atoi(was); err != nil || have >= need {
			continue
		}
		if s.Kernel == nil {
			s.Kernel = map[string]string{}
		}
		if s.Kernel[path] == "" {
			s.Kernel[path] = was
		}
		if err := os.WriteFile(path, []byte(strconv.Itoa(need)), 0); err != nil {
			return fmt.Errorf("raise %s to %d: %w", path, need, err)
		}
	}
	return nil
}

// restoreKernel puts the settings back, unless another lab may live by them.
func restoreKernel(s *state) error {
	others, err := os.ReadDir(registry)
	if err == nil && len(others) > 1 {
		return nil
	}
	var errs []error
	for path, was := range s.Kernel {
		errs = append(errs, os.WriteFile(path, []byte(was), 0))
	}
	return errors.Join(errs...)
}
