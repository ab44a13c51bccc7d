package clock

import (
	"testing"
	"time"
)

func TestSystemNowIsUTCAndMicroseconds(t *testing.T) {
	now := System.Now()
	if now.Location() != time.UTC || now.Nanosecond()%1000 != 0 {
		t.Fatalf("Now() = %v (%v)", now, now.Location())
	}
}

func TestFakeFiresInOrderAndOnce(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.FixedZone("x", 3600))
	f := NewFake(start)
	late, soon := f.After(3*time.Second), f.After(time.Second)
	tick := f.NewTicker(time.Second)

	f.Advance(999 * time.Millisecond)
	if len(late)+len(soon)+len(tick.C()) != 0 {
		t.Fatal("fired early")
	}
	f.Advance(time.Millisecond)
	if got := <-soon; !got.Equal(f.Now()) {
		t.Fatalf("after fired at %v, clock stands at %v", got, f.Now())
	}
	<-tick.C()
	f.Advance(10 * time.Second)
	if got, want := <-late, start.UTC().Truncate(time.Microsecond).Add(3*time.Second); !got.Equal(want) {
		t.Fatalf("late fired at %v, want %v", got, want)
	}
	if len(tick.C()) != 1 {
		t.Fatal("a slow receiver must find exactly one tick")
	}
	tick.Stop()
	if n := f.Waiters(); n != 0 {
		t.Fatalf("%d waiters left", n)
	}
	if len(f.After(0)) != 1 {
		t.Fatal("After(0) must deliver at once")
	}
}
