package cache

import (
	"bytes"
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// DefaultEntries is the size of a Memory made with no size.
const DefaultEntries = 10_000

// Memory forgets the entry that was used longest ago when it is full.
type Memory struct {
	clock clock.Clock
	max   int

	mu    sync.Mutex // guards what follows
	byKey map[string]*list.Element
	order *list.List // of *entry, the last used in front
}

type entry struct {
	key     string
	val     []byte
	expires time.Time
}

// NewMemory makes a cache of at most max entries; zero means DefaultEntries.
func NewMemory(max int) *Memory { return NewMemoryWith(max, clock.System) }

// NewMemoryWith is NewMemory on the given clock.
func NewMemoryWith(max int, c clock.Clock) *Memory {
	if max <= 0 {
		max = DefaultEntries
	}
	return &Memory{clock: c, max: max, byKey: map[string]*list.Element{}, order: list.New()}
}

// Get implements Cache.
func (m *Memory) Get(_ context.Context, key string) ([]byte, bool) {
	now := m.clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	el, ok := m.byKey[key]
	if !ok {
		return nil, false
	}
	e := el.Value.(*entry)
	if !now.Before(e.expires) {
		m.drop(el)
		return nil, false
	}
	m.order.MoveToFront(el)
	return bytes.Clone(e.val), true
}

// Set implements Cache.
func (m *Memory) Set(_ context.Context, key string, val []byte, ttl time.Duration) {
	e := &entry{key: key, val: append(make([]byte, 0, len(val)), val...), expires: m.clock.Now().Add(ttl)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if el, ok := m.byKey[key]; ok {
		m.drop(el)
	}
	if ttl <= 0 {
		return
	}
	m.byKey[key] = m.order.PushFront(e)
	if m.order.Len() > m.max {
		m.drop(m.order.Back())
	}
}

// Delete implements Cache.
func (m *Memory) Delete(_ context.Context, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if el, ok := m.byKey[key]; ok {
		m.drop(el)
	}
}

// Len is how many entries are held, expired ones that nobody asked for included.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.order.Len()
}

// drop needs mu.
func (m *Memory) drop(el *list.Element) {
	delete(m.byKey, el.Value.(*entry).key)
	m.order.Remove(el)
}
