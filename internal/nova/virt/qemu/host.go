package qemu

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/nova/virt"
)

// An identity is the user that guests run as.
type identity struct {
	name     string
	uid, gid uint32
	kvm      uint32 // the group that may open /dev/kvm, 0 if none
}

// credential is what a new QEMU gets; nil keeps the agent's own user.
func (i *identity) credential() *syscall.Credential {
	if i == nil {
		return nil
	}
	c := &syscall.Credential{Uid: i.uid, Gid: i.gid}
	if i.kvm != 0 {
		c.Groups = []uint32{i.kvm}
	}
	return c
}

// findUser picks the user for guests; nil when the agent is not root and can
// only run them as itself.
func findUser(name string) (*identity, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	names := []string{"hastack-guest", "libvirt-qemu", "nobody"}
	if name != "" {
		names = []string{name}
	}
	for _, n := range names {
		u, err := user.Lookup(n)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 != nil || err2 != nil || uid == 0 {
			continue
		}
		i := &identity{name: n, uid: uint32(uid), gid: uint32(gid)}
		var st unix.Stat_t
		if unix.Stat("/dev/kvm", &st) == nil && st.Mode&0o060 == 0o060 {
			i.kvm = st.Gid
		}
		return i, nil
	}
	return nil, fmt.Errorf("no user to run guests as: none of %s exists", strings.Join(names, ", "))
}

var versionLine = regexp.MustCompile(`version (\d+)\.(\d+)\.(\d+)`)

// qemuVersion asks the binary, e.g. 7002022 for 7.2.22.
func qemuVersion(binary string) (int, error) {
	out, err := exec.Command(binary, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("%s --version: %w", binary, err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("%s --version: unexpected %.80q", binary, out)
	}
	v := 0
	for _, part := range m[1:] {
		n, _ := strconv.Atoi(string(part))
		v = v*1000 + n
	}
	return v, nil
}

// Host implements virt.Driver.
func (d *Driver) Host(ctx context.Context) (virt.Host, error) {
	h := virt.Host{Type: "QEMU", Version: d.version, Arch: "x86_64", VCPUs: runtime.NumCPU(), Accel: d.accelerator(ctx)}
	memory, err := memoryMB()
	if err != nil {
		return h, err
	}
	h.MemoryMB = max(memory-d.cfg.ReservedMemoryMB, 0)
	var st unix.Statfs_t
	if err := unix.Statfs(d.cfg.StateDir, &st); err != nil {
		return h, err
	}
	const gib = 1 << 30
	h.DiskGB = max(int(st.Blocks*uint64(st.Bsize)/gib)-d.cfg.ReservedDiskGB, 0)
	h.DiskFreeGB = int(st.Bavail * uint64(st.Bsize) / gib)
	h.CPUModel, h.Features = d.cpuName, d.cpuFlags
	h.Traits = traits(h.Features, h.Accel)
	return h, nil
}

func memoryMB() (int, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	var kb int
	if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kb); err != nil {
		return 0, fmt.Errorf("read /proc/meminfo: %w", err)
	}
	return kb / 1024, nil
}

// cpuModel reads the first CPU of /proc/cpuinfo; an unreadable one is only less
// to show.
func cpuModel() (model string, flags []string) {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "", nil
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() && flags == nil {
		key, val, _ := strings.Cut(sc.Text(), ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(val)
		case "flags":
			flags = strings.Fields(val)
		}
	}
	return model, flags
}

// traits maps CPU flags to the standard traits that flavors ask for. Under TCG
// the host's flags say nothing of what a guest gets.
func traits(flags []string, accel string) []string {
	out := []string{"COMPUTE_NODE", "COMPUTE_NET_ATTACH_INTERFACE",
		"COMPUTE_IMAGE_TYPE_QCOW2", "COMPUTE_IMAGE_TYPE_RAW", "COMPUTE_DEVICE_TAGGING",
		"COMPUTE_GRAPHICS_MODEL_VGA", "COMPUTE_NET_VIF_MODEL_VIRTIO", "COMPUTE_STORAGE_BUS_VIRTIO"}
	if accel != accelKVM {
		return out
	}
	names := map[string]string{"sse": "HW_CPU_X86_SSE", "sse2": "HW_CPU_X86_SSE2", "ssse3": "HW_CPU_X86_SSSE3",
		"sse4_1": "HW_CPU_X86_SSE41", "sse4_2": "HW_CPU_X86_SSE42", "avx": "HW_CPU_X86_AVX", "avx2": "HW_CPU_X86_AVX2",
		"aes": "HW_CPU_X86_AESNI", "vmx": "HW_CPU_X86_VMX", "svm": "HW_CPU_X86_SVM"}
	for _, f := range flags {
		if t := names[f]; t != "" {
			out = append(out, t)
		}
	}
	return out
}
