package elect

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
)

func candidate(t *testing.T, d *db.DB, c clock.Clock, host string) *Candidate {
	t.Helper()
	e, err := New(Config{DB: d, Clock: c, Name: "audit", Host: host})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func mustTry(t *testing.T, c *Candidate) *Term {
	t.Helper()
	term, err := c.try(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return term
}

func TestOneLeaderUntilItsLeaseAndTheSkewArePast(t *testing.T) {
	d, clk := dbtest.New(t, Migrations), clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	a, b := candidate(t, d, clk, "a"), candidate(t, d, clk, "b")
	first := mustTry(t, a)
	if first == nil || first.Token != 1 {
		t.Fatalf("first term %+v", first)
	}
	clk.Advance(12 * time.Second) // past the lease, within the skew
	if term := mustTry(t, b); term != nil {
		t.Fatal("b leads within the skew of a's lease")
	}
	if err := first.Check(t.Context()); !errors.Is(err, ErrNotLeader) {
		t.Errorf("a's check after its lease: %v", err)
	}
	clk.Advance(time.Second)
	second := mustTry(t, b)
	if second == nil || second.Token != 2 {
		t.Fatalf("second term %+v", second)
	}
	err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error { return first.CheckTx(ctx, tx) })
	if !errors.Is(err, ErrNotLeader) {
		t.Errorf("a's write was let through: %v", err)
	}
	if err := second.Check(t.Context()); err != nil {
		t.Errorf("b's check: %v", err)
	}
	if who, err := Leader(t.Context(), d, "audit", clk.Now()); err != nil || who != b.holder {
		t.Errorf("leader %q (%v)", who, err)
	}
}

func TestNeverTwoLeadersAndTheLeadMovesOn(t *testing.T) {
	d := dbtest.New(t, Migrations)
	var now, most, terms atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	for _, host := range []string{"a", "b", "c"} {
		e, err := New(Config{DB: d, Clock: clock.System, Name: "n", Host: host, Lease: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			ended <- e.Run(ctx, func(ctx context.Context, _ *Term) error {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				terms.Add(1)
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
				return nil
			})
		}()
	}
	for i := 0; terms.Load() < 5 && i < 10000; i++ {
		time.Sleep(time.Millisecond)
	}
	cancel()
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 1 || terms.Load() < 5 {
		t.Errorf("%d leaders at once in %d terms", most.Load(), terms.Load())
	}
}

func TestTermEndsWhenTheLeaseIsGone(t *testing.T) {
	d := dbtest.New(t, Migrations)
	e, err := New(Config{DB: d, Clock: clock.System, Name: "n", Lease: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var cause error
	err = e.Run(ctx, func(ctx context.Context, _ *Term) error {
		if _, err := d.ExecContext(t.Context(), "UPDATE leases SET holder = 'thief', token = token + 1"); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		cause = context.Cause(ctx)
		cancel()
		return nil
	})
	if err != nil || !errors.Is(cause, ErrNotLeader) {
		t.Errorf("Run() = %v, the term ended with %v", err, cause)
	}
}
