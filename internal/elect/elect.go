// Package elect makes one process the leader for a name, by a lease in SQL.
//
// Use it only for what must be single; work on rows is claimed row by row
// (jobs, operation) and needs no leader. The leader's context ends when its
// lease cannot be prolonged, and before an effect outside of SQL it asks Check.
// Each term has a fencing token, larger than all before it: whoever stores it
// with his writes can refuse those of a former leader.
//
// Clocks: a lease is dated by its holder's clock and judged by the others'. They
// may differ by Skew (a quarter of the lease); the holder stops that much early
// and the others wait that much longer, so there are never two.
package elect

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/ids"
)

// Migrations makes the table; give it to db.Migrate next to the service's own.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Config is what a candidate needs.
type Config struct {
	DB    *db.DB
	Clock clock.Clock
	Log   *slog.Logger // may be nil
	// Name is what is led, at most 64 characters.
	Name string
	// Host tells people who leads; it need not be unique.
	Host string
	// Lease is how long a silent leader stays leader; zero means 10 s.
	Lease time.Duration
}

// A Candidate runs for one name. It is safe for concurrent use.
type Candidate struct {
	cfg    Config
	holder string
}

type lease struct {
	bun.BaseModel `bun:"table:leases"`
	Name          string `bun:"name,pk"`
	Holder        string
	Token         int64
	ExpiresAt     time.Time
}

// A Term is one time as the leader.
type Term struct {
	Token int64 // larger than that of every earlier term
	c     *Candidate
	until time.Time // by our clock; Skew before the row says so
}

// ErrNotLeader is returned by Check when the term is over.
var ErrNotLeader = errors.New("not the leader any more")

// New makes a candidate; it does nothing until Run.
func New(cfg Config) (*Candidate, error) {
	if cfg.Name == "" || len(cfg.Name) > 64 || len(cfg.Host) > 120 {
		return nil, fmt.Errorf("elect: name %q must have 1 to 64 characters, host %q at most 120", cfg.Name, cfg.Host)
	}
	if cfg.Lease == 0 {
		cfg.Lease = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Candidate{cfg: cfg, holder: cfg.Host + "#" + ids.UUID()}, nil
}

// Skew is how far clocks may differ.
func (c *Candidate) Skew() time.Duration { return c.cfg.Lease / 4 }

// Run waits to become leader, calls lead, and waits again when that has
// returned or its term was lost; it returns when ctx has ended. The ctx of lead
// ends with the term. Leaving, it gives the lease back.
func (c *Candidate) Run(ctx context.Context, lead func(ctx context.Context, t *Term) error) error {
	for ctx.Err() == nil {
		t, err := c.try(ctx)
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.WarnContext(ctx, "run for leader", "name", c.cfg.Name, "error", err.Error())
		}
		if t != nil {
			c.serve(ctx, t, lead)
		}
		select {
		case <-ctx.Done():
		case <-c.cfg.Clock.After(c.cfg.Lease/4 + rand.N(c.cfg.Lease/8)):
		}
	}
	return nil
}

// serve is one term.
func (c *Candidate) serve(ctx context.Context, t *Term, lead func(ctx context.Context, t *Term) error) {
	c.cfg.Log.InfoContext(ctx, "leader", "name", c.cfg.Name, "token", t.Token)
	term, end := context.WithCancelCause(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		t.keep(term, end)
	}()
	if err := lead(term, t); err != nil && term.Err() == nil {
		c.cfg.Log.WarnContext(ctx, "leader's work", "name", c.cfg.Name, "error", err.Error())
	}
	end(nil)
	<-kept
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Lease/4)
	defer cancel()
	if err := c.resign(late, t); err != nil {
		c.cfg.Log.WarnContext(late, "give the lead back", "name", c.cfg.Name, "error", err.Error())
	}
}

// keep prolongs the lease until the term's context ends, and ends that when
// the lease can no longer be relied on.
func (t *Term) keep(ctx context.Context, end context.CancelCauseFunc) {
	c := t.c
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.cfg.Clock.After(c.cfg.Lease / 4):
		}
		now := c.cfg.Clock.Now()
		try, cancel := context.WithTimeout(ctx, c.cfg.Lease/4)
		ok, err := c.prolong(try, t, now)
		cancel()
		switch {
		case err == nil && ok:
			t.until = now.Add(c.cfg.Lease - c.Skew())
		case err == nil, !c.cfg.Clock.Now().Before(t.until):
			c.cfg.Log.WarnContext(ctx, "lead lost", "name", c.cfg.Name, "token", t.Token)
			end(ErrNotLeader)
			return
		default:
			c.cfg.Log.WarnContext(ctx, "prolong the lead", "name", c.cfg.Name, "error", err.Error())
		}
	}
}

// Check asks the database whether the term still holds, and gives it another
// lease. A leader calls it right before an effect that only one may make.
func (t *Term) Check(ctx context.Context) error {
	ok, err := t.c.prolong(ctx, t, t.c.cfg.Clock.Now())
	if err != nil {
		return err
	}
	if !ok {
		return ErrNotLeader
	}
	return nil
}

// CheckTx is Check inside a transaction: the effect and the leadership commit
// together or not at all.
func (t *Term) CheckTx(ctx context.Context, tx bun.Tx) error {
	n, err := t.c.extend(ctx, tx, t, t.c.cfg.Clock.Now())
	if err == nil && n != 1 {
		err = ErrNotLeader
	}
	return err
}
