package cache

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/ids"
)

// MemcachedConfig says which members hold the cache.
type MemcachedConfig struct {
	// Hosts are the members, host:port; every process must list the same.
	Hosts []string
	// Key authenticates the values: Memcached has no password, so anybody on
	// its network could write a token that validates. All processes share it;
	// empty is refused.
	Key config.Secret
	// Timeout bounds one request; default 200 ms, for a cache that is slower
	// than the database is no use.
	Timeout time.Duration
	Log     *slog.Logger
	Clock   clock.Clock
}

// Memcached spreads keys over members. A member that fails is a miss.
type Memcached struct {
	client *memcache.Client
	key    []byte
	log    *slog.Logger
	clock  clock.Clock
	quiet  atomic.Int64 // Unix seconds until which failures are not logged again
}

const (
	maxKey   = 250     // of the protocol
	maxValue = 1 << 20 // of a member's default configuration
	// maxRelative is the longest ttl that the protocol takes as a duration;
	// above it, it is a date.
	maxRelative = 30 * 24 * time.Hour
	stampSize   = 8
)

// NewMemcached is NewMemcachedWith that never fails: a configuration that
// cannot work makes a cache that always misses, which is logged.
func NewMemcached(key []byte, hosts ...string) *Memcached {
	cfg := MemcachedConfig{Hosts: hosts, Key: config.NewSecret(string(key)), Log: slog.Default()}
	m, err := NewMemcachedWith(cfg)
	if err == nil {
		return m
	}
	cfg.Log.Error("cache: going on without it", "error", err)
	cfg.Key = config.NewSecret(ids.Secret(32)) // nobody knows it: every value is foreign
	cfg.Hosts = []string{"127.0.0.1:0"}
	m, _ = NewMemcachedWith(cfg)
	return m
}

// NewMemcachedWith makes a client; it connects when it is used.
func NewMemcachedWith(cfg MemcachedConfig) (*Memcached, error) {
	if len(cfg.Hosts) == 0 {
		return nil, errors.New("cache: no member is given")
	}
	if cfg.Key.Empty() {
		return nil, errors.New("cache: no key to authenticate the values is given")
	}
	servers := new(memcache.ServerList)
	if err := servers.SetServers(cfg.Hosts...); err != nil {
		return nil, err
	}
	client := memcache.NewFromSelector(servers)
	client.Timeout = cfg.Timeout
	if client.Timeout <= 0 {
		client.Timeout = 200 * time.Millisecond
	}
	client.MaxIdleConns = 64
	m := &Memcached{client: client, key: []byte(cfg.Key.Reveal()), log: cfg.Log, clock: cfg.Clock}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.clock == nil {
		m.clock = clock.System
	}
	return m, nil
}

// Get implements Cache. A value that was not written with our key, or under
// another name, or that has expired, is a miss.
func (m *Memcached) Get(ctx context.Context, key string) ([]byte, bool) {
	if ctx.Err() != nil {
		return nil, false
	}
	item, err := m.client.Get(memberKey(key))
	if err != nil {
		m.note(ctx, "get", err)
		return nil, false
	}
	if len(item.Value) < sha256.Size+stampSize {
		return nil, false
	}
	sum, signed := item.Value[:sha256.Size], item.Value[sha256.Size:]
	if !hmac.Equal(sum, m.sign(key, signed)) {
		m.log.WarnContext(ctx, "cache: a value is not authentic, ignored")
		return nil, false
	}
	expires := time.UnixMicro(int64(binary.BigEndian.Uint64(signed)))
	if !m.clock.Now().Before(expires) {
		return nil, false
	}
	return signed[stampSize:], true
}

// Set implements Cache. A value that a member would refuse for its size is
// not stored.
func (m *Memcached) Set(ctx context.Context, key string, val []byte, ttl time.Duration) {
	if ctx.Err() != nil {
		return
	}
	if ttl <= 0 || len(val)+sha256.Size+stampSize+maxKey > maxValue {
		m.Delete(ctx, key)
		return
	}
	// Members count in seconds; the exact time is inside the value, signed
	// with it, so that an old value cannot be written back.
	signed := make([]byte, stampSize, stampSize+len(val))
	binary.BigEndian.PutUint64(signed, uint64(m.clock.Now().Add(ttl).UnixMicro()))
	signed = append(signed, val...)
	blob := append(m.sign(key, signed), signed...)
	seconds := int32((min(ttl, maxRelative) + time.Second - 1) / time.Second)
	err := m.client.Set(&memcache.Item{Key: memberKey(key), Value: blob, Expiration: seconds})
	m.note(ctx, "set", err)
}

// Delete implements Cache.
func (m *Memcached) Delete(ctx context.Context, key string) {
	m.note(ctx, "delete", m.client.Delete(memberKey(key)))
}

// Close ends the idle connections.
func (m *Memcached) Close() error { return m.client.Close() }

// sign covers the name too: a value must not serve under another.
func (m *Memcached) sign(key string, signed []byte) []byte {
	h := hmac.New(sha256.New, m.key)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(key)))
	h.Write(n[:])
	h.Write([]byte(key))
	h.Write(signed)
	return h.Sum(nil)
}

// memberKey is key where the protocol can carry it, else its hash.
func memberKey(key string) string {
	const prefix = "hastack:"
	plain := len(key) > 0 && len(prefix)+len(key) <= maxKey
	for i := 0; plain && i < len(key); i++ {
		plain = key[i] > ' ' && key[i] < 0x7f
	}
	if plain {
		return prefix + key
	}
	sum := sha256.Sum256([]byte(key))
	return prefix + "#" + hex.EncodeToString(sum[:])
}

// note logs a failing member, but not for every request it fails.
func (m *Memcached) note(ctx context.Context, op string, err error) {
	if err == nil || errors.Is(err, memcache.ErrCacheMiss) {
		return
	}
	now := m.clock.Now().Unix()
	if until := m.quiet.Load(); now >= until && m.quiet.CompareAndSwap(until, now+10) {
		m.log.WarnContext(ctx, "cache: a member fails, going on without it", "op", op, "error", err)
	}
}
