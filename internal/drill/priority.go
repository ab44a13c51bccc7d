package drill

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// The prober's priority, where it may have one: the operator's machine is not
// among those that a fault makes busy, but in a lab it shares their processors.
// Real time, if only the lowest, comes before every server of the lab; nice is
// weighed against each of them.
const (
	proberRealTime = 1
	proberNice     = -10
)

// Favour raises the priority of this process. Threads that are made later take
// it from those that make them, and so do the processes that they start.
// Without the right to it nothing changes.
func Favour() {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	first := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: proberRealTime}
	for _, t := range tasks {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetAttr(id, &first, 0); err != nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, proberNice)
		}
	}
}
