package drill

import (
	"context"
	"runtime"

	"golang.org/x/sys/unix"
)

// watchProcessors measures, per processor, how long the machine below kept it
// from running: a thread with real-time scheduling, bound to the processor, wants
// to run every 10 ms. What else is on that processor stands still as long, timers
// and packets included, while the prober runs on another and sees nothing.
func (k *canary) watchProcessors(ctx context.Context) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return
	}
	for cpu := range runtime.NumCPU() {
		if allowed.IsSet(cpu) {
			k.done.Go(func() { k.watchProcessor(ctx, cpu) })
		}
	}
}

// watchProcessor measures one, unless the thread may not be bound to it or may
// not come before the prober's: it would measure how busy the machine is.
func (k *canary) watchProcessor(ctx context.Context, cpu int) {
	runtime.LockOSThread() // and never unlocked: the thread ends with its settings
	var one unix.CPUSet
	one.Set(cpu)
	fifo := unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: proberRealTime + 1}
	if unix.SchedSetaffinity(0, &one) != nil || unix.SchedSetAttr(0, &fifo, 0) != nil {
		return
	}
	pause := unix.NsecToTimespec(int64(canaryEvery))
	k.measure(&k.standstill, func() error {
		_ = unix.Nanosleep(&pause, nil) // woken early, it measures a shorter pause
		return ctx.Err()
	})
}
