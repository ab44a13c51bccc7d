package operation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
)

// hanging is a kind whose step b never ends in the process that has the gate
// closed.
func hanging(c *calls, gate <-chan struct{}) Kind {
	return Kind{Name: "k", Deadline: time.Hour, Steps: []Step{c.step("a", nil), c.step("b", func(ctx context.Context, _ *Op) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})}}
}

var open = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// abandon stops a runner as if its process had died: nothing is given back.
func abandon(t *testing.T, cfg Config) (*Runner, func()) {
	t.Helper()
	cfg.DB = dbtest.Open(t, db.Config{URL: cfg.Context(t.Context(), nil).Value(urlKey{}).(string), NoSync: true})
	cfg.Context = nil
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { _ = r.Run(ctx); close(done) }()
	waitFor(t, r.isRunning)
	return r, func() { _ = cfg.DB.Close(); cancel(); <-done }
}

type urlKey struct{}

func at(url string) func(context.Context, *Op) context.Context {
	return func(ctx context.Context, _ *Op) context.Context { return context.WithValue(ctx, urlKey{}, url) }
}

func TestSameHostTakesOverAtOnce(t *testing.T) {
	url, c := dbtest.URL(t), &calls{}
	d := dbtest.Open(t, db.Config{URL: url, NoSync: true}, Migrations)
	dead, die := abandon(t, Config{Clock: clock.System, Context: at(url), Host: "n1", Lease: time.Hour, Kinds: []Kind{hanging(c, nil)}})
	o := begin(t, dead, Spec{Kind: "k", ResourceID: "s"})
	waitFor(t, func() bool { return c.String() == "a b" })
	die()
	// A host whose name begins alike has nothing to take over.
	stranger := start(t, Config{DB: d, Host: "n", Kinds: []Kind{hanging(c, open)}})
	stranger.Wake(o.ID)
	time.Sleep(50 * time.Millisecond)
	if c.String() != "a b" {
		t.Fatalf("calls %q: somebody else took over", c)
	}
	began := time.Now()
	heir := start(t, Config{DB: d, Host: "n1", Kinds: []Kind{hanging(c, open)}})
	if o := await(t, heir, o.ID); o.State != Done || c.String() != "a b b" {
		t.Errorf("state %s, calls %q", o.State, c)
	}
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

func TestOthersTakeOverWhenTheLeaseHasRunOut(t *testing.T) {
	url, c := dbtest.URL(t), &calls{}
	clk := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	d := dbtest.Open(t, db.Config{URL: url, NoSync: true}, Migrations)
	dead, die := abandon(t, Config{Clock: clk, Context: at(url), Host: "n1", Kinds: []Kind{hanging(c, nil)}})
	o := begin(t, dead, Spec{Kind: "k", ResourceID: "s"})
	waitFor(t, func() bool { return c.String() == "a b" })
	die()
	heir := start(t, Config{DB: d, Clock: clk, Host: "n2", Kinds: []Kind{hanging(c, open)}})
	var took time.Duration
	for began := clk.Now(); took < time.Minute; took = clk.Now().Sub(began) {
		if o, err := Find(t.Context(), d, o.ID); err != nil || o.Finished() {
			break
		}
		clk.Advance(500 * time.Millisecond)
		time.Sleep(2 * time.Millisecond)
	}
	if o := await(t, heir, o.ID); o.State != Done || c.String() != "a b b" {
		t.Errorf("state %s, calls %q", o.State, c)
	}
	if took < 9*time.Second || took > 20*time.Second {
		t.Errorf("taken over after %v, want about the 10 s of the lease", took)
	}
}

func TestLeaseIsKeptWhileTheOwnerLives(t *testing.T) {
	d, c, gate := dbtest.New(t, Migrations), &calls{}, make(chan struct{})
	cfg := Config{DB: d, Lease: 200 * time.Millisecond, Kinds: []Kind{hanging(c, gate)}}
	r := start(t, cfg)
	start(t, cfg)
	o := begin(t, r, Spec{Kind: "k", ResourceID: "s"})
	time.Sleep(1500 * time.Millisecond) // several leases, and a poll of the other
	close(gate)
	if o := await(t, r, o.ID); o.State != Done || c.String() != "a b" {
		t.Errorf("state %s, calls %q: taken over from a living owner", o.State, c)
	}
}

func TestWhoLostTheOperationCannotRecord(t *testing.T) {
	d, c, gate := dbtest.New(t, Migrations), &calls{}, make(chan struct{})
	r := start(t, Config{DB: d, Lease: time.Hour, Kinds: []Kind{hanging(c, gate)}})
	o := begin(t, r, Spec{Kind: "k", ResourceID: "s"})
	waitFor(t, func() bool { return c.String() == "a b" })
	if _, err := d.ExecContext(t.Context(), "UPDATE operations SET owner = 'other#1', version = version + 1"); err != nil {
		t.Fatal(err)
	}
	close(gate)
	waitFor(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.tasks) == 0 })
	o, err := Find(t.Context(), d, o.ID)
	if err != nil || o.State != Running || o.Owner != "other#1" || o.Step != "b" {
		t.Errorf("row %+v (%v)", o, err)
	}
}

func TestOrderlyEndGivesEverythingBack(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	r, err := New(Config{DB: d, Clock: clock.System, Kinds: []Kind{hanging(c, nil)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	waitFor(t, r.isRunning)
	o := begin(t, r, Spec{Kind: "k", ResourceID: "s"})
	waitFor(t, func() bool { return c.String() == "a b" })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if o, err = Find(t.Context(), d, o.ID); err != nil || o.Owner != "" || o.State != Running || o.Step != "b" {
		t.Errorf("row %+v (%v)", o, err)
	}
	heir := start(t, Config{DB: d, Kinds: []Kind{hanging(c, open)}})
	if o := await(t, heir, o.ID); o.State != Done {
		t.Errorf("state %s", o.State)
	}
}

func TestTwoRunnersDoEveryStepOnce(t *testing.T) {
	d := dbtest.New(t, Migrations)
	var mu sync.Mutex
	seen := map[string]int{}
	note := func(name string) func(context.Context, *Op) error {
		return func(_ context.Context, op *Op) error {
			mu.Lock()
			defer mu.Unlock()
			seen[op.ID+name]++
			return nil
		}
	}
	cfg := Config{DB: d, Lease: time.Minute, Kinds: []Kind{{Name: "k", Steps: []Step{{Name: "a", Do: note("a")}, {Name: "b", Do: note("b")}}}}}
	one, two := start(t, cfg), start(t, cfg)
	const n = 60
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r := one
			if i%2 == 1 {
				r = two
			}
			o := begin(t, r, Spec{Kind: "k", ResourceID: fmt.Sprint(i)})
			one.Wake(o.ID) // both ways, and from the wrong side
			two.Wake(o.ID)
			await(t, r, o.ID)
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 2*n {
		t.Errorf("%d steps ran, want %d", len(seen), 2*n)
	}
	for k, times := range seen {
		if times != 1 {
			t.Errorf("step %s ran %d times", k, times)
		}
	}
}

func TestPruneLeavesTheUnfinished(t *testing.T) {
	d, c := dbtest.New(t, Migrations), &calls{}
	r := start(t, Config{DB: d, Kinds: []Kind{hanging(c, nil), {Name: "quick", Steps: []Step{c.step("q", nil)}}}})
	kept := begin(t, r, Spec{Kind: "k"})
	await(t, r, begin(t, r, Spec{Kind: "quick"}).ID)
	if n, err := Prune(t.Context(), d, clock.System.Now().Add(-time.Hour), 10); err != nil || n != 0 {
		t.Errorf("pruned %d young ones (%v)", n, err)
	}
	if n, err := Prune(t.Context(), d, clock.System.Now().Add(time.Hour), 10); err != nil || n != 1 {
		t.Errorf("pruned %d (%v), want 1", n, err)
	}
	if _, err := Find(t.Context(), d, kept.ID); err != nil {
		t.Error(err)
	}
}

// The crash matrix: a child process runs a boot of three steps whose effects
// are files, and dies at one of the points; its successor must finish the boot
// or leave nothing of it.

const crashEnv = "HASTACK_OPERATION_CRASH" // "url dir fail|pass"

func boot(dir string, failing bool) Kind {
	effect := func(name string) Step {
		path := filepath.Join(dir, name)
		return Step{Name: name,
			Do: func(_ context.Context, op *Op) error {
				op.OnRecord(func(ctx context.Context, tx bun.Tx) error {
					_, err := tx.ExecContext(ctx, "INSERT INTO marks (id) VALUES (?)", name)
					return err
				})
				return os.WriteFile(path, nil, 0o600)
			},
			Undo: func(_ context.Context, op *Op) error {
				op.OnRecord(func(ctx context.Context, tx bun.Tx) error {
					_, err := tx.ExecContext(ctx, "DELETE FROM marks WHERE id = ?", name)
					return err
				})
				if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
					return err
				}
				return nil
			}}
	}
	steps := []Step{effect("disk"), effect("port"), effect("spawn")}
	if failing {
		do := steps[2].Do
		steps[2].Do = func(ctx context.Context, op *Op) error {
			if err := do(ctx, op); err != nil {
				return err
			}
			return fault.New(fault.Conflict, "qemu does not start")
		}
	}
	return Kind{Name: "boot", Steps: steps}
}

func bootOnce(t *testing.T, url, dir string, failing bool) *Op {
	r := start(t, Config{DB: dbtest.Open(t, db.Config{URL: url}), Host: "n1", Kinds: []Kind{boot(dir, failing)}})
	return await(t, r, begin(t, r, Spec{Kind: "boot", ResourceID: "s1", Key: "first"}).ID)
}

func TestCrashMatrix(t *testing.T) {
	if job := os.Getenv(crashEnv); job != "" {
		f := strings.Fields(job)
		bootOnce(t, f[0], f[1], f[2] == "fail")
		os.Exit(0)
	}
	if testing.Short() {
		t.Skip("starts many processes")
	}
	for _, mode := range []string{"pass", "fail"} {
		points := passed(t, mode == "fail")
		if want := 9; mode == "pass" && len(points) != want {
			t.Fatalf("points %v, want %d", points, want)
		}
		for _, point := range points {
			t.Run(mode+"/"+point, func(t *testing.T) { crashAt(t, mode, point) })
		}
	}
}

// passed lists the points that an undisturbed run goes through.
func passed(t *testing.T, failing bool) []string {
	url := dbtest.URL(t)
	marks(t, dbtest.Open(t, db.Config{URL: url}, Migrations))
	failpoint.Trace()
	defer failpoint.Disarm()
	bootOnce(t, url, t.TempDir(), failing)
	points := failpoint.Passed()
	if !failing {
		return points
	}
	return slices.DeleteFunc(points, func(p string) bool { return !strings.Contains(p, ".undo.") })
}

func marks(t *testing.T, d *db.DB) {
	t.Helper()
	if _, err := d.ExecContext(t.Context(), "CREATE TABLE marks (id VARCHAR(36) NOT NULL PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
}

func crashAt(t *testing.T, mode, point string) {
	url, dir := dbtest.URL(t), t.TempDir()
	d := dbtest.Open(t, db.Config{URL: url}, Migrations)
	marks(t, d)
	child := exec.Command(os.Args[0], "-test.run=^TestCrashMatrix$")
	child.Env = append(os.Environ(), crashEnv+"="+url+" "+dir+" "+mode, failpoint.Env+"="+point+"=crash")
	out, err := child.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != failpoint.CrashCode {
		t.Fatalf("the child did not die at %s: %v\n%s", point, err, out)
	}
	ops, err := OfResource(t.Context(), d, "s1", 10)
	if err != nil || len(ops) != 1 {
		t.Fatalf("%d operations (%v)", len(ops), err)
	}
	r := start(t, Config{DB: d, Host: "n1", Kinds: []Kind{boot(dir, mode == "fail")}})
	o := await(t, r, ops[0].ID)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := d.NewSelect().Table("marks").Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, state := 3, Done
	if mode == "fail" {
		want, state = 0, Failed
	}
	if o.State != state || len(files) != want || int(rows) != want {
		t.Errorf("state %s with %d files and %d rows, want %s and %d; journal %s", o.State, len(files), rows, state, want, outcomes(o))
	}
}
