// Package bench measures a whole cloud from outside: one process with every
// service, its databases on a disk, and the client share the machine's cores;
// every commit is on disk before it is answered. cpu-ms/op is the processor
// time of the cloud's process, the client's own is not in it.
//
//	HASTACK_BIN=$PWD/bin/hastack go test -run '^$' -bench . -benchtime 500x ./test/bench
//
// Give -benchtime as a count: each benchmark makes a cloud for itself, and
// would make several to find out how many times fit a duration.
// HASTACK_CPUPROFILE names a folder for a profile of each cloud's process.
package bench

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// warmUps are operations before the measured ones: first uses fill caches.
const warmUps = 10

// measure runs f b.N times one after the other.
func (c *cloud) measure(b *testing.B, f func()) {
	b.Helper()
	for range warmUps {
		f()
	}
	c.measureAll(b, func(t *timings) {
		for range b.N {
			t.time(f)
		}
	})
}

// measureAll runs f, which does b.N operations, and reports the processor time
// of the cloud's process for each, and the percentiles of what f timed.
func (c *cloud) measureAll(b *testing.B, f func(t *timings)) {
	b.Helper()
	t := &timings{}
	before := c.cpu(b)
	b.ResetTimer()
	f(t)
	b.StopTimer()
	b.ReportMetric(millis(c.cpu(b)-before)/float64(b.N), "cpu-ms/op")
	if len(t.took) > 0 {
		b.ReportMetric(millis(percentile(t.took, 50)), "p50-ms")
		b.ReportMetric(millis(percentile(t.took, 95)), "p95-ms")
	}
}

// timings are of single operations, from several goroutines.
type timings struct {
	mu   sync.Mutex // guards took
	took []time.Duration
}

func (t *timings) time(f func()) {
	begin := time.Now()
	f()
	d := time.Since(begin)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took = append(t.took, d)
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)*p/100, len(d)-1)]
}

// cpu is the user and system time of the cloud's process, to the nanosecond:
// its own clock, whose number the kernel derives from the process's.
func (c *cloud) cpu(b *testing.B) time.Duration {
	const sched = 2 // CPUCLOCK_SCHED of a whole process
	var ts unix.Timespec
	check(b, unix.ClockGettime(int32(^c.cmd.Process.Pid<<3|sched), &ts))
	return time.Duration(ts.Nano())
}

func (c *cloud) residentMB(b *testing.B) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	check(b, err)
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			check(b, err)
			return kb / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// wantDisk refuses to measure durability in memory.
func wantDisk(b *testing.B, dir string) {
	var fs syscall.Statfs_t
	check(b, syscall.Statfs(dir, &fs))
	if int64(fs.Type) == unix.TMPFS_MAGIC || int64(fs.Type) == unix.RAMFS_MAGIC {
		b.Fatalf("%s is in memory, where a commit costs nothing: set TMPDIR to a folder on a disk", dir)
	}
}
