// Package cache keeps copies of what is dear to make. A miss is never an error
// and the cache is never the only copy: any member may vanish at any time.
//
// Two engines, one contract (package cachetest): Memory, a bounded LRU, for
// the all-in-one process, and Memcached for a cluster. Read [Cache] first.
package cache

import (
	"context"
	"time"
)

// Cache is safe for concurrent use. Every failure is a miss or a lost write.
type Cache interface {
	// Get returns a copy of the value, which the caller may change.
	Get(ctx context.Context, key string) ([]byte, bool)
	// Set keeps val for at most ttl; a ttl of zero or less keeps nothing. It
	// may be forgotten earlier.
	Set(ctx context.Context, key string, val []byte, ttl time.Duration)
	// Delete forgets key. A member that cannot be reached may still return
	// the value until its ttl has passed, so what must not outlive its
	// deletion has a short ttl.
	Delete(ctx context.Context, key string)
}
