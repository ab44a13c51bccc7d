package reach

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

func TestMinorityIsToldAfterThePatienceAndAtOnceWhenItEnds(t *testing.T) {
	a, b := netip.MustParseAddr("10.3.0.12"), netip.MustParseAddr("10.3.0.13")
	now := time.Unix(1000, 0)
	r := newTable([]netip.Addr{a, b}, now)
	check := func(want int) {
		t.Helper()
		if n, all := r.count(now); n != want || all != 3 {
			t.Errorf("at %s: %d of %d in reach, want %d of 3", now.Sub(time.Unix(1000, 0)), n, all, want)
		}
	}
	step := func(n int) {
		for range n {
			now = now.Add(Every)
			r.count(now)
		}
	}
	check(3)
	step(3)
	check(3) // 600 ms of silence
	step(1)
	check(1)
	r.answered(b, now)
	check(2)
	r.answered(netip.MustParseAddr("10.3.0.99"), now)
	check(2) // a stranger is no member
}

func TestTimeInWhichTheGuardDidNotRunIsNobodysSilence(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newTable([]netip.Addr{netip.MustParseAddr("10.3.0.12")}, now)
	if n, _ := r.count(now.Add(time.Minute)); n != 2 {
		t.Error("a guard that was not running accuses the members")
	}
	if n, _ := r.count(now.Add(-time.Hour)); n != 2 {
		t.Error("a clock that was set back accuses the members")
	}
	// Nor does it bring back a member that was silent before.
	r = newTable([]netip.Addr{netip.MustParseAddr("10.3.0.12")}, now)
	for range 6 {
		now = now.Add(Every)
		r.count(now)
	}
	if n, _ := r.count(now.Add(3 * time.Second)); n != 1 {
		t.Error("a guard that was not running for a while takes a silent member for one in reach")
	}
}

func TestWatchReachesLoopbackAndNotASilentAddress(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("pinging needs root")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	enough := errors.New("enough")
	// 127.255.255.254 answers, 127.0.0.1 asks; nobody has 0.0.0.1.
	err := Watch(ctx, clock.System, netip.MustParseAddr("127.0.0.1"),
		[]netip.Addr{netip.MustParseAddr("127.255.255.254"), netip.MustParseAddr("0.0.0.1")},
		func(reached, all int) error {
			if all != 3 {
				t.Errorf("%d servers", all)
			}
			if reached == 2 {
				return enough
			}
			return nil
		})
	if !errors.Is(err, enough) {
		t.Errorf("never reached just one of two: %v", err)
	}
}
