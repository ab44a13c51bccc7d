// Package keylock holds one mutex per key, for as long as somebody wants it.
//
// It orders work inside one process (two threads at one server's disk). It is
// no substitute for compare-and-set: other processes do not see it.
package keylock

import "sync"

// Locks is a set of mutexes by key. Make it with New.
type Locks struct {
	mu   sync.Mutex
	held map[string]*entry
}

type entry struct {
	mu   sync.Mutex
	refs int // holders and waiters; the entry goes when it reaches zero
}

// New returns an empty set.
func New() *Locks { return &Locks{held: make(map[string]*entry)} }

// Lock waits until nobody holds key and returns the function that gives it
// back. Calling that function twice is a broken program and panics.
func (l *Locks) Lock(key string) (unlock func()) {
	l.mu.Lock()
	e := l.held[key]
	if e == nil {
		e = new(entry)
		l.held[key] = e
	}
	e.refs++
	l.mu.Unlock()

	e.mu.Lock()
	done := false
	return func() {
		if done {
			panic("keylock: unlocked twice: " + key)
		}
		done = true
		e.mu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if e.refs--; e.refs == 0 {
			delete(l.held, key)
		}
	}
}
