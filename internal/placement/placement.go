// Package placement is the only truth about capacity: providers with
// inventories, and the allocations that consumers hold on them.
//
// A claim is compare-and-set. Each inventory row carries its capacity and what
// is used of it; a claim adds to used in a statement that changes no row if
// that would exceed the capacity, so nothing is ever allocated twice, whoever
// races. Every transaction first moves the one row of revisions, which puts
// the writers in line and tells readers that something changed.
//
// Reads are answered from a snapshot of all providers in memory. Before each
// use it is held against the revision, and the providers that changed since
// are read again (snapshot.go). It only proposes: a claim never trusts it.
//
// Files: provider.go, inventory.go, trait.go, resource_class.go, aggregate.go,
// allocation.go, reshape.go (the rules), candidates.go and candidates_*.go (who has
// room), snapshot.go, policy.go; SQL in *_store.go. placementapi/ speaks HTTP,
// placementtest/ runs the service inside tests.
package placement

import (
	"context"
	"embed"
	"errors"
	"log/slog"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

// Migrations are the service's tables.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Config of the service.
type Config struct {
	// MaxCandidates cuts the answer to a request for candidates that names no
	// limit or a larger one; 0 means 1000.
	MaxCandidates int
}

// Deps are the engines under the service.
type Deps struct {
	DB    *db.DB
	Clock clock.Clock // nil means the system's
	Log   *slog.Logger
}

// Service is the placement service. It is safe for concurrent use.
type Service struct {
	cfg   Config
	db    *db.DB
	clock clock.Clock
	log   *slog.Logger
	snap  *snapshot
}

// New makes the service. The database must be migrated.
func New(cfg Config, deps Deps) (*Service, error) {
	if deps.DB == nil {
		return nil, errors.New("placement: a database is required")
	}
	if cfg.MaxCandidates <= 0 {
		cfg.MaxCandidates = 1000
	}
	if deps.Clock == nil {
		deps.Clock = clock.System
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, db: deps.DB, clock: deps.Clock, log: deps.Log, snap: newSnapshot()}, nil
}

// Run warms the snapshot and waits for ctx: the service has no loops of its own.
func (s *Service) Run(ctx context.Context) error {
	if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "cannot read the providers yet", "error", err)
	}
	<-ctx.Done()
	return nil
}

// write runs fn in a transaction that holds the revision row.
func (s *Service) write(ctx context.Context, fn func(ctx context.Context, tx bun.Tx) error) error {
	return away(s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := bumpRevision(ctx, tx); err != nil {
			return err
		}
		return fn(ctx, tx)
	}))
}

// away tells clients of a database that cannot be reached to come again.
func away(err error) error {
	if err != nil && fault.As(err) == nil && db.IsUnavailable(err) {
		return fault.Wrap(fault.Unavailable, err, "the database of placement cannot be reached")
	}
	return err
}
