package qemu

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hastack/hastack/internal/nova/virt"
)

// cgroups puts every guest into control groups of its own, where the kernel
// lets it: memory so that a QEMU gone wrong meets a limit, cpu so that guests
// share by their vCPUs. Both versions of the interface are known. A machine
// that offers neither only lacks these limits.
type cgroups struct {
	v2     string // root of the unified hierarchy with controllers
	memory string // roots of version 1
	cpu    string
}

const cgroupParent = "hastack-guests"

// overheadMB is what a QEMU may use beyond the guest's memory.
const overheadMB = 512

func findCgroups() *cgroups {
	const root = "/sys/fs/cgroup"
	c := &cgroups{}
	if exists(filepath.Join(root, "cgroup.controllers")) {
		if os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory +cpu"), 0o600) == nil {
			c.v2 = filepath.Join(root, cgroupParent)
		}
		return c
	}
	for controller, where := range map[string]*string{"memory": &c.memory, "cpu": &c.cpu} {
		if exists(filepath.Join(root, controller, "cgroup.procs")) {
			*where = filepath.Join(root, controller, cgroupParent)
		}
	}
	return c
}

// add moves a fresh QEMU into its groups. What cannot be set is left unset.
func (c *cgroups) add(s *virt.Server, pid int) {
	limit := strconv.FormatInt(int64(s.MemoryMB+overheadMB)<<20, 10)
	for _, g := range []struct{ parent, file, value string }{
		{c.v2, "memory.max", limit},
		{c.v2, "cpu.weight", strconv.Itoa(min(100*s.VCPUs, 10000))},
		{c.memory, "memory.limit_in_bytes", limit},
		{c.cpu, "cpu.shares", strconv.Itoa(1024 * s.VCPUs)},
	} {
		if g.parent == "" {
			continue
		}
		dir := filepath.Join(g.parent, s.ID)
		if os.MkdirAll(g.parent, 0o755) != nil {
			continue
		}
		if g.parent == c.v2 {
			_ = os.WriteFile(filepath.Join(g.parent, "cgroup.subtree_control"), []byte("+memory +cpu"), 0o600)
		}
		if os.MkdirAll(dir, 0o755) != nil {
			continue
		}
		_ = os.WriteFile(filepath.Join(dir, g.file), []byte(g.value), 0o600)
		_ = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600)
	}
}

// remove deletes the groups of a server whose QEMU is gone, and the parent with
// the last of them. The kernel may need a moment after the process's end.
func (c *cgroups) remove(id string) {
	for _, parent := range []string{c.v2, c.memory, c.cpu} {
		if parent == "" {
			continue
		}
		dir := filepath.Join(parent, id)
		for range 20 {
			if err := os.Remove(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		_ = os.Remove(parent) // refused while it has other guests
	}
}
