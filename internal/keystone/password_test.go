package keystone

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
)

func TestPasswordsCountTo72Bytes(t *testing.T) {
	h, err := newHasher(bcrypt.MinCost, 0)
	if err != nil {
		t.Fatal(err)
	}
	base := strings.Repeat("a", 72)
	hash, err := h.hash(t.Context(), base+"one tail")
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{
		base: true, base + "another tail": true, base[:71]: false, base[:71] + "b": false, "": false,
	} {
		if got, err := h.verify(t.Context(), hash, password); err != nil || got != want {
			t.Errorf("%q: %v, %v", password, got, err)
		}
	}
}

func TestNoPasswordFitsAUserWithoutOne(t *testing.T) {
	h, err := newHasher(bcrypt.MinCost, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"", "x", "no user has this"} {
		if right, err := h.verify(t.Context(), "", p); err != nil || right {
			t.Errorf("%q: %v, %v", p, right, err)
		}
	}
	// It costs a real hash all the same, or its absence could be measured.
	if err := bcrypt.CompareHashAndPassword(h.dummy, []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Errorf("the dummy is no hash: %v", err)
	}
	if cost, err := bcrypt.Cost(h.dummy); err != nil || cost != bcrypt.MinCost {
		t.Errorf("the dummy costs %d, %v", cost, err)
	}
}

func TestOverlongPasswordIsNotHashed(t *testing.T) {
	h, err := newHasher(bcrypt.MinCost, 0)
	if err != nil {
		t.Fatal(err)
	}
	h.slots = nil // a hash would now wait for ever
	if _, err := h.hash(t.Context(), strings.Repeat("x", MaxPasswordLen+1)); !fault.Is(err, fault.BadRequest) {
		t.Errorf("hash: %v", err)
	}
	if _, err := h.verify(t.Context(), "", strings.Repeat("x", MaxPasswordLen+1)); !fault.Is(err, fault.BadRequest) {
		t.Errorf("verify: %v", err)
	}
}

func TestLoginStormLeavesAProcessorAndTurnsTheRestAway(t *testing.T) {
	const queue = 3
	h, err := newHasher(bcrypt.MinCost, queue)
	if err != nil {
		t.Fatal(err)
	}
	if want := max(1, runtime.GOMAXPROCS(0)-1); cap(h.slots) != want {
		t.Errorf("%d hashes at once, want %d", cap(h.slots), want)
	}
	for range cap(h.slots) { // all processors are busy
		h.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range queue {
		wg.Go(func() {
			if _, err := h.verify(ctx, "", "x"); !errors.Is(err, context.Canceled) {
				t.Errorf("a waiting login whose client left: %v", err)
			}
		})
	}
	for len(h.queue) < queue {
		<-clock.System.After(time.Millisecond)
	}
	if _, err := h.verify(t.Context(), "", "x"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a login beyond the queue: %v, want Unavailable", err)
	}
	cancel()
	wg.Wait()
	if len(h.queue) != 0 {
		t.Errorf("%d places in the queue were never given back", len(h.queue))
	}
}

func TestCostOutOfRangeStopsTheStart(t *testing.T) {
	for _, cost := range []int{3, 32, -1} {
		if _, err := newHasher(cost, 0); err == nil {
			t.Errorf("cost %d was taken", cost)
		}
	}
}
