package drill

import (
	"context"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/clock"
)

// standstill measures, per processor, how long the machine below kept it from
// running: a thread with real-time scheduling, bound to the processor, wants to
// run every 10 ms. What else is on that processor stands still as long, timers
// and packets included, while the prober runs on another and sees nothing.
type standstill struct {
	clock clock.Clock
	stop  context.CancelFunc
	done  sync.WaitGroup
	mu    sync.Mutex // guards worst
	worst time.Duration
}

func startStandstill(ctx context.Context, c clock.Clock) *standstill {
	ctx, cancel := context.WithCancel(ctx)
	s := &standstill{clock: c, stop: cancel}
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return s
	}
	for cpu := range runtime.NumCPU() {
		if allowed.IsSet(cpu) {
			s.done.Go(func() { s.watch(ctx, cpu) })
		}
	}
	return s
}

// watch measures one processor, unless the thread may not be bound to it or may
// not have real-time scheduling: it would measure how busy the machine is.
func (s *standstill) watch(ctx context.Context, cpu int) {
	runtime.LockOSThread() // and never unlocked: the thread ends with its settings
	var one unix.CPUSet
	one.Set(cpu)
	fifo := unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1}
	if unix.SchedSetaffinity(0, &one) != nil || unix.SchedSetAttr(0, &fifo, 0) != nil {
		return
	}
	pause := unix.NsecToTimespec(int64(canaryEvery))
	for last := s.clock.Now(); ctx.Err() == nil; {
		_ = unix.Nanosleep(&pause, nil) // woken early, it measures a shorter pause
		now := s.clock.Now()
		s.mu.Lock()
		s.worst = max(s.worst, now.Sub(last)-canaryEvery)
		s.mu.Unlock()
		last = now
	}
}

// end returns the longest time that a processor stood still.
func (s *standstill) end() time.Duration {
	s.stop()
	s.done.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.worst
}
