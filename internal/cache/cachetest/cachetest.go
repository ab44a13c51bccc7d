// Package cachetest is the contract of cache.Cache as tests; every engine runs it.
package cachetest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/cache"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/ids"
)

// Run holds an engine to the contract. open makes a cache on the clock.
func Run(t *testing.T, open func(t *testing.T, c clock.Clock) cache.Cache) {
	for name, test := range map[string]func(*testing.T, cache.Cache, *clock.Fake){
		"GetReturnsWhatWasSet":       getSet,
		"UnknownKeyIsAMiss":          miss,
		"SetReplaces":                replaces,
		"DeleteForgets":              deletes,
		"EntriesExpire":              expires,
		"TTLOfZeroKeepsNothing":      zeroTTL,
		"AnyKeyWorks":                keys,
		"LongKeysStayApart":          longKeys,
		"ValuesAreCopies":            copies,
		"HugeValuesAreNotAnError":    huge,
		"ConcurrentUseIsSafe":        concurrent,
		"EmptyValueIsAHit":           emptyValue,
		"LongTTLIsKeptForItsSeconds": longTTL,
	} {
		t.Run(name, func(t *testing.T) {
			// Members have a clock of their own: start at the real time.
			c := clock.NewFake(clock.System.Now())
			test(t, open(t, c), c)
		})
	}
}

func key() string { return "k-" + ids.Hex() }

func want(t *testing.T, c cache.Cache, key, val string) {
	t.Helper()
	got, ok := c.Get(t.Context(), key)
	if !ok || string(got) != val {
		t.Errorf("get %.40q = %.40q, %t; want %.40q", key, got, ok, val)
	}
}

func wantMiss(t *testing.T, c cache.Cache, key string) {
	t.Helper()
	if got, ok := c.Get(t.Context(), key); ok {
		t.Errorf("get %.40q = %.40q, want a miss", key, got)
	}
}

func getSet(t *testing.T, c cache.Cache, _ *clock.Fake) {
	k := key()
	c.Set(t.Context(), k, []byte("v\x00\r\n1"), time.Minute)
	want(t, c, k, "v\x00\r\n1")
}

func miss(t *testing.T, c cache.Cache, _ *clock.Fake) { wantMiss(t, c, key()) }

func replaces(t *testing.T, c cache.Cache, _ *clock.Fake) {
	k := key()
	c.Set(t.Context(), k, []byte("one"), time.Minute)
	c.Set(t.Context(), k, []byte("two"), time.Minute)
	want(t, c, k, "two")
}

func deletes(t *testing.T, c cache.Cache, _ *clock.Fake) {
	k := key()
	c.Set(t.Context(), k, []byte("v"), time.Minute)
	c.Delete(t.Context(), k)
	wantMiss(t, c, k)
	c.Delete(t.Context(), k)
}

func expires(t *testing.T, c cache.Cache, clk *clock.Fake) {
	k := key()
	c.Set(t.Context(), k, []byte("v"), 900*time.Millisecond)
	clk.Advance(899 * time.Millisecond)
	want(t, c, k, "v")
	clk.Advance(time.Millisecond)
	wantMiss(t, c, k)
}

func zeroTTL(t *testing.T, c cache.Cache, _ *clock.Fake) {
	k := key()
	c.Set(t.Context(), k, []byte("old"), time.Minute)
	c.Set(t.Context(), k, []byte("v"), 0)
	wantMiss(t, c, k)
	c.Set(t.Context(), k, []byte("v"), -time.Second)
	wantMiss(t, c, k)
}

func keys(t *testing.T, c cache.Cache, _ *clock.Fake) {
	for i, k := range []string{"", " ", "with space", "new\r\nline", "täg", "\x00", strings.Repeat("x", 250), strings.Repeat("y", 10_000)} {
		val := fmt.Sprint("v", i)
		c.Set(t.Context(), k, []byte(val), time.Minute)
		want(t, c, k, val)
		c.Delete(t.Context(), k)
		wantMiss(t, c, k)
	}
}

func longKeys(t *testing.T, c cache.Cache, _ *clock.Fake) {
	long := key() + strings.Repeat("x", 300)
	c.Set(t.Context(), long+"a", []byte("a"), time.Minute)
	c.Set(t.Context(), long+"b", []byte("b"), time.Minute)
	want(t, c, long+"a", "a")
	want(t, c, long+"b", "b")
}

func copies(t *testing.T, c cache.Cache, _ *clock.Fake) {
	k, val := key(), []byte("abc")
	c.Set(t.Context(), k, val, time.Minute)
	val[0] = 'X'
	got, _ := c.Get(t.Context(), k)
	if len(got) > 0 {
		got[1] = 'X'
	}
	want(t, c, k, "abc")
}

func huge(t *testing.T, c cache.Cache, _ *clock.Fake) {
	k, big := key(), bytes.Repeat([]byte("x"), 4<<20)
	c.Set(t.Context(), k, []byte("small"), time.Minute)
	c.Set(t.Context(), k, big, time.Minute)
	if got, ok := c.Get(t.Context(), k); ok && !bytes.Equal(got, big) {
		t.Errorf("a stale or cut value of %d bytes came back", len(got))
	}
}

func emptyValue(t *testing.T, c cache.Cache, _ *clock.Fake) {
	k := key()
	c.Set(t.Context(), k, nil, time.Minute)
	want(t, c, k, "")
}

func longTTL(t *testing.T, c cache.Cache, _ *clock.Fake) {
	k := key()
	c.Set(t.Context(), k, []byte("v"), 365*24*time.Hour)
	want(t, c, k, "v")
}

func concurrent(t *testing.T, c cache.Cache, _ *clock.Fake) {
	prefix := key()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				k := fmt.Sprint(prefix, i%10)
				c.Set(t.Context(), k, []byte(k), time.Minute)
				if got, ok := c.Get(t.Context(), k); ok && string(got) != k {
					t.Errorf("worker %d: %q under %q", w, got, k)
				}
				if i%7 == 0 {
					c.Delete(t.Context(), k)
				}
			}
		})
	}
	wg.Wait()
}
