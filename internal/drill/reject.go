package drill

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// The rules by which a round's times do not count. They are fixed here and in
// doc/ops/drills.md before any round runs. A rejected round is counted and
// reported; what it says of lost or doubled writes, orphans and overlapping
// VIPs counts all the same, for no noise excuses those.
const (
	// baselineTime is how long the probes run before the fault. A request that
	// fails in it rejects the round: the cloud was not well before.
	baselineTime = 3 * time.Second
	// maxStall is how long the prober itself, or a processor with whatever is on
	// it, may be kept from running, from the baseline to the end of the round:
	// more is the machine's, not the cloud's.
	maxStall = 250 * time.Millisecond
	// maxSteal is the share of processor time that the machine below may take
	// over the round.
	maxSteal = 0.20
	// extraRounds is how many more rounds are run for rejected ones, in
	// percent of the rounds asked for.
	extraRounds = 50
)

// Rules are the rejection rules as sentences, for the report.
func Rules() []string {
	return []string{
		fmt.Sprintf("a request failed in the %v before the fault", baselineTime),
		fmt.Sprintf("the prober itself, or a processor of the machine, was kept from running for more than %v", maxStall),
		fmt.Sprintf("the machine below took more than %.0f %% of the processor time", maxSteal*100),
	}
}

// noise is what the machine did to a round.
type noise struct {
	stall      time.Duration // of the prober
	standstill time.Duration // of a processor
	steal      float64       // share of processor time
}

// A canary measures how long what wants to run every 10 ms does not: a goroutine
// of the prober, and a thread on each processor.
type canary struct {
	clock      clock.Clock
	mu         sync.Mutex // guards stall and standstill
	stall      time.Duration
	standstill time.Duration
	stop       context.CancelFunc
	done       sync.WaitGroup
	stat       cpuTimes
}

const canaryEvery = 10 * time.Millisecond

func startCanary(ctx context.Context, c clock.Clock) *canary {
	ctx, cancel := context.WithCancel(ctx)
	k := &canary{clock: c, stop: cancel, stat: readCPU()}
	k.done.Go(func() {
		k.measure(&k.stall, func() error { return sleep(ctx, c, canaryEvery) })
	})
	k.watchProcessors(ctx)
	return k
}

// measure keeps in worst by how much a pause was longer than canaryEvery, until
// a pause fails.
func (k *canary) measure(worst *time.Duration, pause func() error) {
	for last := k.clock.Now(); pause() == nil; {
		now := k.clock.Now()
		k.mu.Lock()
		*worst = max(*worst, now.Sub(last)-canaryEvery)
		k.mu.Unlock()
		last = now
	}
}

// end returns the longest stalls and the share of stolen processor time.
func (k *canary) end() noise {
	k.stop()
	k.done.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	return noise{stall: k.stall, standstill: k.standstill, steal: readCPU().stealSince(k.stat)}
}

// rejection is why a round's times do not count, "" if they do.
func rejection(baseline window, n noise) string {
	switch {
	case baseline.failed > 0:
		return fmt.Sprintf("%d requests failed in the %v before the fault", baseline.failed, baselineTime)
	case n.stall > maxStall:
		return fmt.Sprintf("the prober was kept from running for %v", n.stall.Round(time.Millisecond))
	case n.standstill > maxStall:
		return fmt.Sprintf("a processor of the machine was kept from running for %v", n.standstill.Round(time.Millisecond))
	case n.steal > maxSteal:
		return fmt.Sprintf("the machine below took %.0f %% of the processor time", n.steal*100)
	}
	return ""
}

// cpuTimes are the machine's processor times in ticks.
type cpuTimes struct{ total, steal uint64 }

func readCPU() cpuTimes {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return cpuTimes{}
	}
	defer func() { _ = f.Close() }()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		return cpuTimes{}
	}
	return parseCPU(line)
}

// parseCPU reads "cpu user nice system idle iowait irq softirq steal …".
func parseCPU(line string) cpuTimes {
	var t cpuTimes
	for i, f := range strings.Fields(line) {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil || i > 8 {
			continue // guest times are in user already
		}
		t.total += n
		if i == 8 {
			t.steal = n
		}
	}
	return t
}

func (t cpuTimes) stealSince(before cpuTimes) float64 {
	if t.total <= before.total {
		return 0
	}
	return float64(t.steal-before.steal) / float64(t.total-before.total)
}
