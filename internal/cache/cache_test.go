package cache_test

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hastack/hastack/internal/cache"
	"github.com/hastack/hastack/internal/cache/cachetest"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	cachetest.Run(t, func(_ *testing.T, c clock.Clock) cache.Cache { return cache.NewMemoryWith(1000, c) })
}

func TestMemoryForgetsTheLeastRecentlyUsed(t *testing.T) {
	m := cache.NewMemory(3)
	for i := range 3 {
		m.Set(t.Context(), fmt.Sprint(i), []byte("v"), time.Minute)
	}
	m.Get(t.Context(), "0")
	m.Set(t.Context(), "3", []byte("v"), time.Minute)
	if _, ok := m.Get(t.Context(), "1"); ok {
		t.Error("1 was used longest ago and is still there")
	}
	if _, ok := m.Get(t.Context(), "0"); !ok {
		t.Error("0 was used just now and is gone")
	}
	if m.Len() != 3 {
		t.Errorf("%d entries, want 3", m.Len())
	}
}

// member is a real Memcached; the tests that need one skip without it.
func member(t *testing.T) string {
	t.Helper()
	addr := os.Getenv("HASTACK_TEST_MEMCACHED")
	if addr == "" {
		t.Skip("HASTACK_TEST_MEMCACHED names no member")
	}
	return addr
}

func open(t *testing.T, key string, c clock.Clock, hosts ...string) *cache.Memcached {
	t.Helper()
	m, err := cache.NewMemcachedWith(cache.MemcachedConfig{Hosts: hosts, Key: config.NewSecret(key), Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func TestMemcachedKeepsTheContract(t *testing.T) {
	addr := member(t)
	cachetest.Run(t, func(t *testing.T, c clock.Clock) cache.Cache { return open(t, "secret", c, addr) })
}

// Security case 35: a blob that somebody else wrote to the member is a miss.
func TestMemcachedIgnoresForgedValues(t *testing.T) {
	addr := member(t)
	raw := memcache.New(addr)
	defer raw.Close()
	ours, theirs := open(t, "secret", nil, addr), open(t, "other", nil, addr)
	put := func(key string, val []byte) {
		t.Helper()
		if err := raw.Set(&memcache.Item{Key: key, Value: val}); err != nil {
			t.Fatal(err)
		}
	}
	miss := func(what, key string) {
		t.Helper()
		if got, ok := ours.Get(t.Context(), key); ok {
			t.Errorf("%s: got %q", what, got)
		}
	}
	theirs.Set(t.Context(), "forged", []byte("admin"), time.Minute)
	miss("written with another key", "forged")
	put("hastack:bare", []byte("admin"))
	miss("not signed at all", "bare")

	ours.Set(t.Context(), "good", []byte("member"), time.Minute)
	item, err := raw.Get("hastack:good")
	if err != nil {
		t.Fatal(err)
	}
	put("hastack:renamed", item.Value)
	miss("copied under another name", "renamed")
	item.Value[len(item.Value)-1] ^= 1
	put("hastack:good", item.Value)
	miss("changed by one bit", "good")
}

func TestMemcachedGoesOnWithoutItsMembers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // it accepts and never answers
	for what, host := range map[string]string{"refuses": "127.0.0.1:1", "hangs": ln.Addr().String()} {
		m := open(t, "secret", nil, host)
		start := clock.System.Now()
		m.Set(t.Context(), "k", []byte("v"), time.Minute)
		if _, ok := m.Get(t.Context(), "k"); ok {
			t.Errorf("member that %s: a hit", what)
		}
		m.Delete(t.Context(), "k")
		if took := clock.System.Now().Sub(start); took > 2*time.Second {
			t.Errorf("member that %s: three requests took %s", what, took)
		}
	}
}

func TestMemcachedNeedsAKeyAndMembers(t *testing.T) {
	if _, err := cache.NewMemcachedWith(cache.MemcachedConfig{Hosts: []string{"127.0.0.1:1"}}); err == nil {
		t.Error("no key was accepted")
	}
	if _, err := cache.NewMemcachedWith(cache.MemcachedConfig{Key: config.NewSecret("x")}); err == nil {
		t.Error("no members were accepted")
	}
}

func TestMemcachedThatCannotWorkAlwaysMisses(t *testing.T) {
	m := cache.NewMemcached(nil)
	m.Set(t.Context(), "k", []byte("v"), time.Minute)
	if _, ok := m.Get(t.Context(), "k"); ok {
		t.Error("a hit")
	}
}
