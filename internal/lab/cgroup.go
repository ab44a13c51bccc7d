package lab

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/topology"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroups is a lab's part of the machine's control groups. A server's processes
// are in the group of its name, which is how they are found again, limited,
// frozen and killed. Both layouts work: one tree (v2), or one per controller.
type cgroups struct {
	name string // hl-three
	v2   bool
	// trees are the hierarchies: by controller, or one with the key "". The
	// freezer's is the one that tells which processes are a server's.
	trees map[string]string
}

func newCgroups(name string) *cgroups {
	c := &cgroups{name: name, trees: map[string]string{}}
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		c.v2 = true
		c.trees[""] = cgroupRoot
		return c
	}
	// A server gets a group in every hierarchy, systemd's own two ("systemd" and
	// "unified") above all: in a group that servers shared, the systemd of each
	// would find the processes of the others among those of its units. Only
	// cpuset's groups take no process before they are given processors.
	procs, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs")) // the pattern is well formed
	for _, p := range procs {
		if k := filepath.Base(filepath.Dir(p)); k != "cpuset" {
			c.trees[k] = filepath.Dir(p)
		}
	}
	return c
}

// check says what is missing for a lab.
func (c *cgroups) check() error {
	if c.v2 || c.trees["freezer"] != "" {
		return nil
	}
	return fmt.Errorf("no control groups in %s: mount them (mount -t cgroup2 none %s)", cgroupRoot, cgroupRoot)
}

// dir is a server's group in a controller's tree, "" if there is none.
func (c *cgroups) dir(controller, server string) string {
	if c.v2 {
		controller = ""
	}
	tree := c.trees[controller]
	if tree == "" {
		return ""
	}
	return filepath.Join(tree, c.name, server)
}

// ensure makes a server's groups and returns the files that take its first
// process.
func (c *cgroups) ensure(server string) ([]string, error) {
	var procs []string
	for _, tree := range c.trees {
		dir := filepath.Join(tree, c.name, server)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make control group: %w", err)
		}
		if c.v2 {
			// Without these the limits have no files; limit says so then.
			for _, parent := range []string{tree, filepath.Join(tree, c.name)} {
				_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory +cpu +pids"), 0)
			}
		}
		procs = append(procs, filepath.Join(dir, "cgroup.procs"))
	}
	slices.Sort(procs)
	return procs, nil
}

// cpuPeriod is how often a share of the processors is given out, in µs. A group
// that has used its own waits for the rest of it, so that it must be short beside
// the times that are measured in a lab.
const cpuPeriod = 20_000

// labPercent is what a lab may use of the machine's processors, in percent of
// one. The rest is for the prober beside it, and for the machine below: one that
// is used to its last percent is often stopped as a whole.
func labPercent() int { return runtime.NumCPU() * 90 }

// share gives the lab the weight that so many servers would have as programs of
// their own, and bounds it. Without the weight all of them together weigh no
// more than one program beside the lab, and starve when that is a compiler.
func (c *cgroups) share(servers int) error {
	settings := []setting{
		{"cpu", "cpu.shares", strconv.Itoa(1024 * servers)},
		{"cpu", "cpu.cfs_period_us", strconv.Itoa(cpuPeriod)},
		{"cpu", "cpu.cfs_quota_us", strconv.Itoa(cpuPeriod * labPercent() / 100)},
	}
	if c.v2 {
		settings = []setting{
			{"", "cpu.weight", strconv.Itoa(min(100*servers, 10_000))},
			{"", "cpu.max", fmt.Sprintf("%d %d", cpuPeriod*labPercent()/100, cpuPeriod)},
		}
	}
	return errors.Join(c.set("", settings), c.ration("", labRealtime), c.set(fabricName, weightSettings(c.v2, fabricWeight)))
}

// fabricWeight is of what carries the legs over: no server waits for another's
// processor before its cable is looked at.
const fabricWeight = 16

func weightSettings(v2 bool, weight int) []setting {
	if v2 {
		return []setting{{"", "cpu.weight", strconv.Itoa(100 * weight)}}
	}
	return []setting{{"cpu", "cpu.shares", strconv.Itoa(1024 * weight)}}
}

// weight is a server's part of the processors when there are too few for all.
// What every request passes through has more of them than a server that nobody
// asks anything: on machines of their own, none would take the other's.
func weight(s *topology.Server) int {
	switch {
	case s.Has(topology.RoleLoadBalancer):
		return 16
	case s.Has(topology.RoleControl):
		return 4
	}
	return 1
}

// limit bounds a server's memory and CPU (percent of one core), and weighs it.
func (c *cgroups) limit(server string, memoryMB, cpuPercent, weight int) error {
	bytes := strconv.Itoa(memoryMB << 20)
	quota := cpuPeriod * min(cpuPercent, labPercent()) / 100
	settings := []setting{
		{"memory", "memory.limit_in_bytes", bytes},
		{"cpu", "cpu.cfs_period_us", strconv.Itoa(cpuPeriod)},
		{"cpu", "cpu.cfs_quota_us", strconv.Itoa(quota)},
	}
	if c.v2 {
		settings = []setting{{"", "memory.max", bytes}, {"", "cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod)}}
	}
	return c.set(server, append(settings, weightSettings(c.v2, weight)...))
}

// A setting is a file of a controller's group and what is to be in it.
type setting struct{ controller, file, value string }

func (c *cgroups) set(server string, settings []setting) error {
	for _, s := range settings {
		dir := c.dir(s.controller, server)
		if dir == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, s.file), []byte(s.value), 0); err != nil {
			return fmt.Errorf("limit %s: %w (does this machine delegate the %s controller?)", cmp.Or(server, "the lab"), err, s.controller)
		}
	}
	return nil
}

// pids are all processes of a server, those of groups below included.
func (c *cgroups) pids(server string) ([]int, error) {
	dir := c.dir("freezer", server)
	if dir == "" {
		return nil, c.check()
	}
	var pids []int
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || d.Name() != "cgroup.procs" {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		for f := range strings.FieldsSeq(string(b)) {
			pid, err := strconv.Atoi(f)
			// 0 is a process that this process's PID namespace cannot see.
			if err == nil && pid > 0 && !zombie(pid) {
				pids = append(pids, pid)
			}
		}
		return err
	})
	return pids, err
}

// zombie tells of a process that is dead and waits to be collected.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func (c *cgroups) freeze(server string, frozen bool) error {
	dir := c.dir("freezer", server)
	file, value := "freezer.state", "THAWED"
	if frozen {
		value = "FROZEN"
	}
	if c.v2 {
		file, value = "cgroup.freeze", "0"
		if frozen {
			value = "1"
		}
	}
	err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0)
	if errors.Is(err, os.ErrNotExist) && !frozen {
		return nil
	}
	return err
}

func (c *cgroups) frozen(server string) bool {
	dir := c.dir("freezer", server)
	if c.v2 {
		b, _ := os.ReadFile(filepath.Join(dir, "cgroup.freeze"))
		return strings.TrimSpace(string(b)) == "1"
	}
	b, _ := os.ReadFile(filepath.Join(dir, "freezer.state"))
	return strings.HasPrefix(string(b), "FR") // FROZEN or FREEZING
}

// usage is a server's memory without and in the page cache, in MiB,
// and the CPU seconds that it used.
func (c *cgroups) usage(server string) (memory, cache int, cpu float64) {
	mem := c.dir("memory", server)
	stat := readStat(filepath.Join(mem, "memory.stat"))
	if c.v2 {
		total, file := readInt(filepath.Join(mem, "memory.current")), stat["file"]-stat["shmem"]
		micros := readStat(filepath.Join(c.dir("", server), "cpu.stat"))["usage_usec"]
		return int((total - file) >> 20), int(file >> 20), float64(micros) / 1e6
	}
	total, file := readInt(filepath.Join(mem, "memory.usage_in_bytes")), stat["total_cache"]-stat["total_shmem"]
	nanos := readInt(filepath.Join(c.dir("cpuacct", server), "cpuacct.usage"))
	return int((total - file) >> 20), int(file >> 20), float64(nanos) / 1e9
}

func readInt(path string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}

func readStat(path string) map[string]int64 {
	out := map[string]int64{}
	b, err := os.ReadFile(path)
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		out[k], _ = strconv.ParseInt(v, 10, 64)
	}
	return out
}

// remove takes away the groups of a server, or of the whole lab (""), once
// their processes are gone.
func (c *cgroups) remove(server string) error {
	var errs []error
	for _, tree := range c.trees {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(tree, c.name, server), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, d := range slices.Backward(dirs) { // children before their parents
			if err := os.Remove(d); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, fmt.Errorf("remove control group: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}
