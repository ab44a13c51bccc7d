package keylock

import (
	"fmt"
	"sync"
	"testing"
)

func TestOneHolderPerKeyAndNothingLeft(t *testing.T) {
	l := New()
	counts := make([]int, 3) // guarded by the key locks only: -race proves it
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			unlock := l.Lock(fmt.Sprint(i % 3))
			defer unlock()
			counts[i%3]++
		})
	}
	wg.Wait()
	for k, n := range counts {
		if n != 100 {
			t.Errorf("key %d: %d of 100 increments", k, n)
		}
	}
	if len(l.held) != 0 {
		t.Errorf("%d entries left", len(l.held))
	}
}

func TestKeysDoNotBlockEachOther(t *testing.T) {
	l := New()
	defer l.Lock("a")()
	l.Lock("b")()
}
