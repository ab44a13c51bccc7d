package nova

import (
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// lookupTTL is how long nova-api believes what a neighbour said of an image or
// a project's networks. It only saves calls: the host that builds the server
// asks again.
const lookupTTL = 3 * time.Second

// maxLookups bounds a cache; a full one starts again empty.
const maxLookups = 4096

// lookupCache remembers answers of neighbours for a moment. Keys carry the
// project, so that one project never sees what another may.
type lookupCache[T any] struct {
	clock clock.Clock
	ttl   time.Duration

	mu   sync.Mutex // guards seen
	seen map[string]lookup[T]
}

type lookup[T any] struct {
	value T
	until time.Time
}

func newLookupCache[T any](c clock.Clock, ttl time.Duration) *lookupCache[T] {
	return &lookupCache[T]{clock: c, ttl: ttl, seen: map[string]lookup[T]{}}
}

// get returns the remembered value of key, or asks and remembers. Errors are
// not remembered.
func (c *lookupCache[T]) get(key string, ask func() (T, error)) (T, error) {
	now := c.clock.Now()
	c.mu.Lock()
	l, ok := c.seen[key]
	c.mu.Unlock()
	if ok && now.Before(l.until) {
		return l.value, nil
	}
	v, err := ask()
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) >= maxLookups {
		c.seen = map[string]lookup[T]{}
	}
	c.seen[key] = lookup[T]{v, now.Add(c.ttl)}
	return v, nil
}
