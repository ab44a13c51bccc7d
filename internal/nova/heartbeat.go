package nova

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// beats are the hosts whose heartbeat came since the last flush. A thousand
// hosts that say nothing new cost one statement and one commit for all.
type beats struct {
	mu    sync.Mutex // guards hosts
	hosts map[string]bool
}

func (b *beats) add(host string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hosts == nil {
		b.hosts = map[string]bool{}
	}
	b.hosts[host] = true
}

func (b *beats) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Sorted(maps.Keys(b.hosts))
	b.hosts = nil
	return list
}

// flushEvery is how often heartbeats are written: well within the time after
// which a silent host counts as down.
const flushEvery = 5 * time.Second

// flushBeats renews the services of all hosts that were heard of.
func (s *Service) flushBeats(ctx context.Context) error {
	for hosts := range slices.Chunk(s.beats.take(), 500) {
		if err := s.touchHosts(ctx, hosts); err != nil {
			return err
		}
	}
	return nil
}
