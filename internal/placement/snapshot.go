package placement

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// A snapshot is what this process knows of the providers. It is brought up to
// the revision of the database before each use, by reading what changed.
type snapshot struct {
	loading sync.Mutex // held by who reads all providers; taken before mu

	mu sync.RWMutex // guards all below; providers and trees are replaced, not changed

	version, epoch int64
	providers      map[string]*Provider
	trees          []*tree // in the order in which their roots became known
	byRoot         map[string]int
	sharing        []*Provider // with SharingTrait
}

// A tree is a root with everything below it.
type tree struct {
	root    *Provider
	members []*Provider // the root first
}

func newSnapshot() *snapshot {
	return &snapshot{providers: map[string]*Provider{}, byRoot: map[string]int{}}
}

// read brings the snapshot up to date and gives it to fn, which must not keep
// it; the providers in it may be kept.
func (s *Service) read(ctx context.Context, fn func(v *snapshot) error) error {
	if err := s.refresh(ctx); err != nil {
		return away(err)
	}
	s.snap.mu.RLock()
	defer s.snap.mu.RUnlock()
	return fn(s.snap)
}

// refresh reads what changed since the snapshot's revision.
func (s *Service) refresh(ctx context.Context) error {
	v := s.snap
	for {
		version, epoch := v.at()
		if version == 0 {
			if err := s.load(ctx, epoch); err != nil {
				return err
			}
			continue // what changed while it was read
		}
		d, err := selectDelta(ctx, s.db, version)
		if err != nil {
			return err
		}
		if d.epoch == epoch {
			v.merge(d)
			return nil
		}
		if err := s.load(ctx, epoch); err != nil { // something is gone: start anew
			return err
		}
	}
}

// load reads all providers, one request for all who wait. seen is the epoch
// that the caller wants to get away from.
func (s *Service) load(ctx context.Context, seen int64) error {
	v := s.snap
	v.loading.Lock()
	defer v.loading.Unlock()
	if _, epoch := v.at(); epoch != seen {
		return nil // another request was faster
	}
	d, err := selectDelta(ctx, s.db, 0)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.providers)
	clear(v.byRoot)
	v.trees, v.sharing = nil, nil
	v.apply(d.changes)
	v.version, v.epoch = d.version, d.epoch
	return nil
}

// at is where the snapshot is; version 0 before it was read.
func (v *snapshot) at() (version, epoch int64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.version, v.epoch
}

// merge enters a delta unless a later one was faster: two that overlap hold
// the same rows, the later one newer.
func (v *snapshot) merge(d *delta) {
	if len(d.changes) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if d.version > v.version && d.epoch == v.epoch {
		v.apply(d.changes)
		v.version = d.version
	}
}

// A change is a provider as it is now. If it is not whole only its inventories
// and its generation were read.
type change struct {
	Provider
	whole bool
}

// apply enters changes; it needs mu.
func (v *snapshot) apply(changes []*change) {
	stale := map[string]bool{} // roots whose tree has to be made again
	for _, c := range changes {
		old := v.providers[c.UUID]
		if old != nil && !c.whole {
			c.Traits, c.Aggregates = old.Traits, old.Aggregates
		}
		p := &c.Provider
		v.providers[c.UUID] = p
		if old != nil && old.HasTrait(SharingTrait) {
			v.sharing = slices.DeleteFunc(v.sharing, func(q *Provider) bool { return q == old })
		}
		if p.HasTrait(SharingTrait) {
			v.sharing = append(v.sharing, p)
		}
		if !v.replaceAlone(old, p) {
			stale[p.RootUUID] = true
		}
	}
	v.rebuild(stale)
}

// replaceAlone swaps a provider that stays in its place, the common case.
func (v *snapshot) replaceAlone(old, p *Provider) bool {
	if old == nil || old.RootUUID != p.RootUUID || old.ParentUUID != p.ParentUUID {
		return false
	}
	i, ok := v.byRoot[p.RootUUID]
	if !ok {
		return false
	}
	t := &tree{root: v.trees[i].root, members: slices.Clone(v.trees[i].members)}
	if t.root == old {
		t.root = p
	}
	for j, m := range t.members {
		if m == old {
			t.members[j] = p
		}
	}
	v.trees[i] = t
	return true
}

// rebuild makes trees from the providers that name their roots. A change of
// roots comes with a new epoch, so a tree never has to lose a member here.
func (v *snapshot) rebuild(roots map[string]bool) {
	if len(roots) == 0 {
		return
	}
	members := map[string][]*Provider{}
	for _, p := range v.providers {
		if roots[p.RootUUID] {
			members[p.RootUUID] = append(members[p.RootUUID], p)
		}
	}
	for _, uuid := range sortedKeys(members) {
		root := v.providers[uuid]
		if root == nil {
			continue // not read yet; it comes with the next revision
		}
		list := members[uuid]
		slices.SortFunc(list, func(a, b *Provider) int {
			switch root {
			case a:
				return -1
			case b:
				return 1
			}
			return strings.Compare(a.UUID, b.UUID)
		})
		t := &tree{root: root, members: list}
		if i, ok := v.byRoot[uuid]; ok {
			v.trees[i] = t
			continue
		}
		v.byRoot[uuid] = len(v.trees)
		v.trees = append(v.trees, t)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
