package keystone

import (
	"context"
	"strconv"
	"time"
)

// The revisions: counters that a transaction raises when it changes something
// that validated tokens depend on.
const (
	identityRevision   = "identity"   // users, groups, projects, domains, roles, assignments, application credentials
	catalogRevision    = "catalog"    // regions, services, endpoints
	revocationRevision = "revocation" // revocation events
)

// maxStale bounds how old a look at the revisions may be. The services
// remember validated tokens for at most 900 ms, so that a change is seen
// everywhere within a second. While nobody validates, nobody looks.
const maxStale = 50 * time.Millisecond

// snapshot is what a process remembers of the rows that every validation needs.
// It does not change once it is published.
type snapshot struct {
	changes    uint64    // s.changes before the revisions were read
	looked     time.Time // before the revisions were read
	identity   int64
	catalog    int64
	revocation int64
	roles      map[string]*Role
	implied    map[string][]string // prior role to the roles it implies directly
	services   []CatalogService
}

// view returns a snapshot not older than maxStale and not older than this
// process's own last change. It asks the database at most once every maxStale,
// whatever the load; if the database does not answer, neither do we: a token
// that may have been revoked is not a valid one.
func (s *Service) view(ctx context.Context) (*snapshot, error) {
	changes := s.changes.Load()
	if cur := s.snap.Load(); cur != nil && cur.changes == changes {
		if age := s.clock.Now().Sub(cur.looked); age >= 0 && age < maxStale {
			return cur, nil
		}
	}
	v, err, _ := s.flight.Do(strconv.FormatUint(changes, 36), func() (any, error) {
		// Others wait for this answer too, so it must not end with one client.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return s.look(ctx, changes)
	})
	if err != nil {
		return nil, err
	}
	return v.(*snapshot), nil
}

// look reads the revisions and then what changed. The order matters: rows read
// after a revision are at least as new as it, and a later change raises it.
func (s *Service) look(ctx context.Context, changes uint64) (*snapshot, error) {
	next := &snapshot{changes: changes, looked: s.clock.Now()}
	revs, err := s.selectRevisions(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	next.identity, next.catalog, next.revocation = revs[identityRevision], revs[catalogRevision], revs[revocationRevision]
	cur := s.snap.Load()
	if cur != nil && cur.identity == next.identity {
		next.roles, next.implied = cur.roles, cur.implied
	} else if next.roles, next.implied, err = s.selectRoleGraph(ctx); err != nil {
		return nil, unavailable(err)
	}
	if cur != nil && cur.catalog == next.catalog {
		next.services = cur.services
	} else if next.services, err = s.selectCatalog(ctx); err != nil {
		return nil, unavailable(err)
	}
	if err := s.revoked.catchUp(ctx, next.revocation, s.selectRevocationsAfter); err != nil {
		return nil, unavailable(err)
	}
	s.snap.Store(next)
	return next, nil
}
