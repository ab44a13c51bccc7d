package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/fault"
)

// calls notes what steps did, in order.
type calls struct {
	mu   sync.Mutex
	list []string
}

func (c *calls) add(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, s)
}

func (c *calls) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.list, " ")
}

// step does nothing but note itself; do may be nil.
func (c *calls) step(name string, do func(ctx context.Context, op *Op) error) Step {
	return Step{
		Name: name,
		Do: func(ctx context.Context, op *Op) error {
			c.add(name)
			if do != nil {
				return do(ctx, op)
			}
			return nil
		},
		Undo: func(context.Context, *Op) error { c.add("-" + name); return nil },
	}
}

func start(t *testing.T, cfg Config) *Runner {
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for !r.isRunning() {
		time.Sleep(time.Millisecond)
	}
	return r
}

func (r *Runner) isRunning() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running
}

func begin(t *testing.T, r *Runner, spec Spec) *Op {
	t.Helper()
	var o *Op
	err := r.cfg.DB.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) (err error) {
		o, err = r.Start(ctx, tx, spec)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Launch(o)
	return o
}

func await(t *testing.T, r *Runner, id string) *Op {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	o, err := r.Await(ctx, id)
	if err != nil {
		t.Fatalf("operation did not end: %v (%+v)", err, o)
	}
	return o
}

func outcomes(o *Op) string {
	var list []string
	for _, e := range o.Journal.Steps {
		list = append(list, e.Step+":"+e.Outcome)
	}
	return strings.Join(list, " ")
}

func TestStepsRunInOrderWithOneCommitEach(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	r := start(t, Config{DB: d, Kinds: []Kind{{Name: "boot", Steps: []Step{
		c.step("a", func(_ context.Context, op *Op) error { return op.Save("host", "h1") }),
		{Name: "m", Merge: true, Do: func(context.Context, *Op) error { c.add("m"); return nil }},
		c.step("b", func(_ context.Context, op *Op) error {
			var args struct{ N int }
			var host string
			if ok, err := op.Load("host", &host); err != nil || !ok || host != "h1" {
				return fmt.Errorf("host %q (%w)", host, err)
			}
			if err := op.DecodeArgs(&args); err != nil || args.N != 7 {
				return fmt.Errorf("args %v (%w)", args, err)
			}
			return nil
		}),
	}}}})
	time.Sleep(20 * time.Millisecond) // the first poll is over
	before := d.Stats()
	o := begin(t, r, Spec{Kind: "boot", ResourceID: "s1", ProjectID: "p", RequestID: "req-1", Fresh: true, Args: map[string]int{"N": 7}})
	o = await(t, r, o.ID)
	after := d.Stats()
	if o.State != Done || c.String() != "a m b" || outcomes(o) != "a:done m:done b:done" {
		t.Errorf("state %s, calls %q, journal %q", o.State, c, outcomes(o))
	}
	if n := after.Commits - before.Commits; n != 3 {
		t.Errorf("%d commits, want 3: the start and two records", n)
	}
	if o.Owner != "" || o.Slot != nil || o.ProjectID != "p" || o.RequestID != "req-1" {
		t.Errorf("row at the end: %+v", o)
	}
}

func TestFailureUndoesInReverseAndSaysWhy(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	var hooked string
	r := start(t, Config{DB: d, Kinds: []Kind{{Name: "boot", Steps: []Step{
		c.step("a", nil),
		{Name: "n", Do: func(context.Context, *Op) error { c.add("n"); return nil }},
		c.step("b", func(context.Context, *Op) error { return fault.New(fault.Conflict, "port is gone") }),
		c.step("c", nil),
	}, Failed: func(_ context.Context, _ bun.Tx, op *Op) error { hooked = op.Error; return nil }}}})
	o := await(t, r, begin(t, r, Spec{Kind: "boot", ResourceID: "s1"}).ID)
	if o.State != Failed || c.String() != "a n b -b -a" {
		t.Errorf("state %s, calls %q", o.State, c)
	}
	if want := "a:done n:done b:failed b:undone a:undone"; outcomes(o) != want {
		t.Errorf("journal %q, want %q", outcomes(o), want)
	}
	if !fault.Is(o.Err(), fault.Conflict) || o.Err().Error() != "port is gone" || hooked != "port is gone" {
		t.Errorf("reason %v, hook got %q", o.Err(), hooked)
	}
}

func TestForeignErrorsAndPanicsAreNotShown(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	r := start(t, Config{DB: d, Kinds: []Kind{
		{Name: "error", Steps: []Step{c.step("a", func(context.Context, *Op) error { return errors.New("password is xyz") })}},
		{Name: "panic", Steps: []Step{c.step("p", func(context.Context, *Op) error { panic("xyz") })}},
	}})
	for _, kind := range []string{"error", "panic"} {
		o := await(t, r, begin(t, r, Spec{Kind: kind}).ID)
		if o.State != Failed || strings.Contains(o.Error, "xyz") {
			t.Errorf("%s: %s, %q", kind, o.State, o.Error)
		}
	}
	if c.String() != "a -a p -p" {
		t.Errorf("calls %q", c)
	}
}

func TestPassingFaultsAreRetried(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	n, undone := 0, 0
	r := start(t, Config{DB: d, Kinds: []Kind{{Name: "boot", Steps: []Step{
		{Name: "a", Do: func(_ context.Context, op *Op) error {
			op.OnRecord(func(context.Context, bun.Tx) error { c.add("recorded"); return nil })
			if n++; n < 3 {
				return fault.New(fault.Unavailable, "neutron is away")
			}
			return nil
		}, Undo: func(context.Context, *Op) error {
			if undone++; undone < 2 {
				return fault.New(fault.Timeout, "slow")
			}
			return nil
		}},
		c.step("b", func(context.Context, *Op) error { return fault.New(fault.NotFound, "no") }),
	}}}})
	o := await(t, r, begin(t, r, Spec{Kind: "boot"}).ID)
	if n != 3 || undone != 2 || o.Journal.Steps[0].Attempts != 3 || c.String() != "recorded b -b" {
		t.Errorf("%d calls, %d undo calls, journal %+v, calls %q", n, undone, o.Journal, c)
	}
}

func TestUndoThatCannotSucceedIsNotedAndTheRestUndone(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of growing pauses")
	}
	d, c := dbtest.New(t, Migrations), &calls{}
	r := start(t, Config{DB: d, Kinds: []Kind{{Name: "boot", Steps: []Step{
		c.step("a", nil),
		{Name: "b", Do: func(context.Context, *Op) error { return fault.New(fault.NotFound, "no") },
			Undo: func(_ context.Context, op *Op) error { return errors.New("stuck") }},
	}}}})
	id := begin(t, r, Spec{Kind: "boot"}).ID
	for range 400 { // wakes it out of its pauses
		if o, err := Find(t.Context(), d, id); err != nil || o.Finished() {
			break
		}
		r.Wake(id)
		time.Sleep(5 * time.Millisecond)
	}
	o := await(t, r, id)
	if want := "a:done b:failed b:undo failed a:undone"; outcomes(o) != want {
		t.Errorf("journal %q, want %q", outcomes(o), want)
	}
}

func TestDeadlineEndsAWait(t *testing.T) {
	d, c, clk := dbtest.New(t, Migrations), &calls{}, clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	r := start(t, Config{DB: d, Clock: clk, Kinds: []Kind{{Name: "boot", Deadline: time.Minute, Steps: []Step{
		c.step("a", nil),
		c.step("b", func(context.Context, *Op) error { return Wait(0) }),
	}}}})
	id := begin(t, r, Spec{Kind: "boot", ResourceID: "s"}).ID
	waitFor(t, func() bool { return strings.HasSuffix(c.String(), "b") })
	for range 200 {
		if o, err := Find(t.Context(), d, id); err != nil || o.Finished() {
			break
		}
		clk.Advance(time.Second)
		time.Sleep(time.Millisecond)
	}
	o := await(t, r, id)
	if o.State != Failed || o.ErrorKind != fault.Timeout || c.String() != "a b -b -a" {
		t.Errorf("state %s, kind %v, calls %q", o.State, o.ErrorKind, c)
	}
	if at := o.UpdatedAt.Sub(o.CreatedAt); at < time.Minute {
		t.Errorf("ended after %v", at)
	}
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for range 5000 {
		if cond() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("did not happen within 5 s")
}

func TestWakeEndsAWaitWithoutACommit(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	var mu sync.Mutex
	up := false
	r := start(t, Config{DB: d, Kinds: []Kind{{Name: "boot", Steps: []Step{
		c.step("a", func(context.Context, *Op) error {
			mu.Lock()
			defer mu.Unlock()
			if !up {
				return Wait(time.Hour)
			}
			return nil
		}),
	}, Deadline: 2 * time.Hour}}})
	o := begin(t, r, Spec{Kind: "boot", Fresh: true, ResourceID: "s"})
	waitFor(t, func() bool { return c.String() == "a" })
	before := d.Stats()
	r.Wake(o.ID)
	waitFor(t, func() bool { return c.String() == "a a" })
	if n := d.Stats().Commits - before.Commits; n != 0 {
		t.Errorf("%d commits for a wait", n)
	}
	mu.Lock()
	up = true
	mu.Unlock()
	r.Wake(o.ID)
	if o := await(t, r, o.ID); o.State != Done || c.String() != "a a a" {
		t.Errorf("state %s, calls %q", o.State, c)
	}
}

func TestWakeDuringTheStepIsNotLost(t *testing.T) {
	d := dbtest.New(t, Migrations)
	var r *Runner
	n := 0
	r = start(t, Config{DB: d, Kinds: []Kind{{Name: "boot", Steps: []Step{{Name: "a", Do: func(_ context.Context, op *Op) error {
		if n++; n == 1 {
			r.Wake(op.ID) // the event comes before the step has said that it waits
			return Wait(time.Hour)
		}
		return nil
	}}}}}})
	if o := await(t, r, begin(t, r, Spec{Kind: "boot"}).ID); o.State != Done || n != 2 {
		t.Errorf("state %s after %d calls", o.State, n)
	}
}

func TestOneResourceOneOperationInOrder(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	kind := Kind{Name: "k", Steps: []Step{{Name: "a", Do: func(_ context.Context, op *Op) error {
		var n int
		if err := op.DecodeArgs(&n); err != nil {
			return err
		}
		c.add(fmt.Sprintf("+%d", n))
		time.Sleep(2 * time.Millisecond)
		c.add(fmt.Sprintf("-%d", n))
		return nil
	}}}}
	r := start(t, Config{DB: d, Kinds: []Kind{kind}})
	other := start(t, Config{DB: d, Kinds: []Kind{kind}})
	var last *Op
	var want []string
	for i := range 10 {
		via := r
		if i%3 == 2 {
			via = other
		}
		last = begin(t, via, Spec{Kind: "k", ResourceID: "s", Args: i})
		want = append(want, fmt.Sprintf("+%d", i), fmt.Sprintf("-%d", i))
	}
	await(t, r, last.ID)
	if got := c.String(); got != strings.Join(want, " ") {
		t.Errorf("calls %s\nwant  %s", got, strings.Join(want, " "))
	}
}

func TestIdempotencyKeyFindsTheFirst(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	r := start(t, Config{DB: d, Kinds: []Kind{{Name: "k", Steps: []Step{c.step("a", nil)}}}})
	first := begin(t, r, Spec{Kind: "k", ResourceID: "s1", Key: "p/1"})
	var again *Op
	err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) (err error) {
		again, err = r.Start(ctx, tx, Spec{Kind: "k", ResourceID: "s2", Key: "p/1"})
		return err
	})
	if !errors.Is(err, ErrExists) || again.ID != first.ID || again.ResourceID != "s1" {
		t.Errorf("second start: %v, %+v", err, again)
	}
}

func TestStartRolledBackLeavesNothing(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	r := start(t, Config{DB: d, Kinds: []Kind{{Name: "k", Steps: []Step{c.step("a", nil)}}}})
	var o *Op
	_ = d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) (err error) {
		o, _ = r.Start(ctx, tx, Spec{Kind: "k"})
		return errors.New("no")
	})
	r.Wake(o.ID)
	waitFor(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.expected) == 0 })
	if _, err := Find(t.Context(), d, o.ID); !db.IsNoRows(err) || c.String() != "" {
		t.Errorf("found: %v, calls %q", err, c)
	}
}

func TestForgottenLaunchIsFound(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	r := start(t, Config{DB: d, Kinds: []Kind{{Name: "k", Steps: []Step{c.step("a", nil)}}}})
	var o *Op
	_ = d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) (err error) {
		o, err = r.Start(ctx, tx, Spec{Kind: "k"})
		return err
	})
	if o := await(t, r, o.ID); o.State != Done {
		t.Errorf("state %s", o.State)
	}
}

func TestRecordCarriesTheStepsOwnRows(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	if _, err := d.ExecContext(t.Context(), "CREATE TABLE marks (id VARCHAR(36) NOT NULL PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	mark := func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO marks (id) VALUES ('x')")
		return err
	}
	r := start(t, Config{DB: d, Kinds: []Kind{
		{Name: "good", Steps: []Step{c.step("a", func(_ context.Context, op *Op) error { op.OnRecord(mark); return nil })}},
		{Name: "bad", Steps: []Step{c.step("b", func(_ context.Context, op *Op) error {
			op.OnRecord(func(context.Context, bun.Tx) error { return fault.New(fault.Conflict, "state has changed") })
			return nil
		})}},
	}})
	await(t, r, begin(t, r, Spec{Kind: "good"}).ID)
	if n, err := d.NewSelect().Table("marks").Count(t.Context()); err != nil || n != 1 {
		t.Errorf("%d marks (%v), want 1", n, err)
	}
	o := await(t, r, begin(t, r, Spec{Kind: "bad"}).ID)
	if o.State != Failed || o.Error != "state has changed" || c.String() != "a b -b" {
		t.Errorf("state %s, reason %q, calls %q", o.State, o.Error, c)
	}
}

func TestCancelStopsTheRunningStep(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	r := start(t, Config{DB: d, Kinds: []Kind{
		{Name: "boot", Steps: []Step{c.step("a", nil), c.step("b", func(ctx context.Context, _ *Op) error { <-ctx.Done(); return ctx.Err() })}},
		{Name: "wait", Steps: []Step{c.step("w", func(context.Context, *Op) error { return Wait(time.Hour) })}},
	}})
	for kind, step := range map[string]struct{ runs, calls string }{"boot": {"b", "a b -b -a"}, "wait": {"w", "w -w"}} {
		want := step.calls
		c.list = nil
		o := begin(t, r, Spec{Kind: kind, ResourceID: "s"})
		waitFor(t, func() bool { return slices.Contains(strings.Fields(c.String()), step.runs) })
		if err := r.Cancel(t.Context(), o.ID); err != nil {
			t.Fatal(err)
		}
		if o := await(t, r, o.ID); o.State != Failed || c.String() != want {
			t.Errorf("%s: state %s, calls %q, want %q", kind, o.State, c, want)
		}
	}
}

func TestForwardKindRetriesWhateverTheError(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	n := 0
	r := start(t, Config{DB: d, Kinds: []Kind{{Name: "delete", Forward: true, Steps: []Step{
		c.step("a", func(context.Context, *Op) error {
			if n++; n < 3 {
				return errors.New("odd")
			}
			return nil
		}),
	}}}})
	o := begin(t, r, Spec{Kind: "delete"})
	if err := r.Cancel(t.Context(), o.ID); err != nil {
		t.Fatal(err)
	}
	if o := await(t, r, o.ID); o.State != Done || c.String() != "a a a" {
		t.Errorf("state %s, calls %q", o.State, c)
	}
}
