package node

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hostCollector reads memory, load and uptime.
type hostCollector struct {
	root fs.FS
	cpus int // counted once: the kernel asks every one of them to answer
}

func (*hostCollector) Name() string         { return "host" }
func (*hostCollector) Every() time.Duration { return 5 * time.Second }

// Collect reads /proc.
func (c *hostCollector) Collect(context.Context) (Facts, error) {
	h := &Host{}
	mem, err := fs.ReadFile(c.root, "proc/meminfo")
	if err != nil {
		return nil, err
	}
	kb := map[string]int64{}
	for line := range bytes.Lines(mem) {
		name, rest, _ := strings.Cut(string(line), ":")
		if f := strings.Fields(rest); len(f) > 0 {
			kb[name], _ = strconv.ParseInt(f[0], 10, 64)
		}
	}
	h.MemoryTotal, h.MemoryAvailable, h.SwapUsed = kb["MemTotal"]<<10, kb["MemAvailable"]<<10, (kb["SwapTotal"]-kb["SwapFree"])<<10
	if h.MemoryTotal == 0 {
		return nil, fmt.Errorf("/proc/meminfo has no MemTotal")
	}
	load, err := fs.ReadFile(c.root, "proc/loadavg")
	if err != nil {
		return nil, err
	}
	if f := strings.Fields(string(load)); len(f) > 0 {
		h.Load1, _ = strconv.ParseFloat(f[0], 64)
	}
	up, err := fs.ReadFile(c.root, "proc/uptime")
	if err != nil {
		return nil, err
	}
	if f := strings.Fields(string(up)); len(f) > 0 {
		s, _ := strconv.ParseFloat(f[0], 64)
		h.Uptime = time.Duration(s * float64(time.Second)).Truncate(time.Second)
	}
	if c.cpus == 0 {
		if info, err := fs.ReadFile(c.root, "proc/cpuinfo"); err == nil {
			c.cpus = bytes.Count(info, []byte("processor\t"))
		}
	}
	h.CPUs = c.cpus
	if id, err := fs.ReadFile(c.root, "proc/sys/kernel/random/boot_id"); err == nil {
		h.BootID = strings.TrimSpace(string(id))
	}
	return func(s *State) { s.Host = h }, nil
}

// diskCollector asks file systems how full they are.
type diskCollector struct {
	paths  []string
	statfs func(path string, st *unix.Statfs_t) error
}

func (diskCollector) Name() string         { return "disk" }
func (diskCollector) Every() time.Duration { return 5 * time.Second }

// Collect asks each path's file system.
func (c diskCollector) Collect(context.Context) (Facts, error) {
	var disks []Disk
	var failed error
	seen := map[unix.Fsid]bool{}
	for _, p := range c.paths {
		var st unix.Statfs_t
		if err := c.statfs(p, &st); err != nil {
			failed = fmt.Errorf("file system of %s: %w", p, err)
			continue
		}
		if seen[st.Fsid] {
			continue // two paths on one file system
		}
		seen[st.Fsid] = true
		disks = append(disks, Disk{
			Path: p, Size: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize,
			Inodes: int64(st.Files), FreeInodes: int64(st.Ffree), ReadOnly: st.Flags&unix.ST_RDONLY != 0,
		})
	}
	return func(s *State) { s.Disks = disks }, failed
}

// guestCollector counts the QEMU processes.
type guestCollector struct{ root fs.FS }

func (guestCollector) Name() string         { return "guests" }
func (guestCollector) Every() time.Duration { return 15 * time.Second }

// Collect looks at the name of every process.
func (c guestCollector) Collect(context.Context) (Facts, error) {
	list, err := fs.ReadDir(c.root, "proc")
	if err != nil {
		return nil, err
	}
	n := 0
	for _, e := range list {
		if b := e.Name()[0]; b < '1' || b > '9' {
			continue
		}
		// A process that ended meanwhile has no name and is no guest.
		comm, _ := fs.ReadFile(c.root, "proc/"+e.Name()+"/comm")
		if bytes.HasPrefix(comm, []byte("qemu-system")) {
			n++
		}
	}
	return func(s *State) { s.Guests = &n }, nil
}
