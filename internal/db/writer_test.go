package db_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
)

// queued starts n calls of f that wait behind a transaction, then lets them go.
func queued(t *testing.T, d *db.DB, n int, f func(i int) error) []error {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	err := d.Tx(t.Context(), func(context.Context, bun.Tx) error {
		for i := range n {
			wg.Go(func() { errs[i] = f(i) })
			time.Sleep(3 * time.Millisecond)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return errs
}

func put(ctx context.Context, q bun.IDB, id string) error {
	_, err := q.NewInsert().Model(&thing{ID: id, Name: id, MadeAt: stamp}).Exec(ctx)
	return err
}

func onSQLite(t *testing.T) *db.DB {
	return dbtest.Open(t, db.Config{URL: "sqlite://" + t.TempDir() + "/w.db"}, schema())
}

func TestWritersThatWaitShareACommit(t *testing.T) {
	d := onSQLite(t)
	before := d.Stats().Commits
	for i, err := range queued(t, d, 12, func(i int) error {
		if i%3 == 0 {
			return put(t.Context(), d, fmt.Sprint(i)) // a single statement
		}
		return d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
			return put(ctx, tx, fmt.Sprint(i))
		})
	}) {
		if err != nil {
			t.Errorf("writer %d: %v", i, err)
		}
	}
	if n := count(t, d, "1 = 1"); n != 12 {
		t.Errorf("%d of 12 rows", n)
	}
	if n := d.Stats().Commits - before; n > 6 {
		t.Errorf("%d commits for 12 writers that waited together", n)
	}
}

func TestOneFailureInASharedCommitTakesBackItsOwn(t *testing.T) {
	d := onSQLite(t)
	insert(t, d, &thing{ID: "taken", Name: "taken"})
	boom := errors.New("boom")
	errs := queued(t, d, 9, func(i int) error {
		if i == 4 {
			return put(t.Context(), d, "taken")
		}
		return d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
			if err := put(ctx, tx, fmt.Sprint(i)); err != nil {
				return err
			}
			if i == 0 || i == 5 {
				return boom
			}
			return nil
		})
	})
	for i, err := range errs {
		switch i {
		case 0, 5:
			if !errors.Is(err, boom) {
				t.Errorf("writer %d: %v, want its own error", i, err)
			}
		case 4:
			if !db.IsDuplicate(err) {
				t.Errorf("writer %d: %v, want a duplicate", i, err)
			}
		default:
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		}
		if n, want := count(t, d, "id = ?", fmt.Sprint(i)), err == nil; (n == 1) != want {
			t.Errorf("writer %d: %d rows", i, n)
		}
	}
}

func TestWhoSharedWithAFullDiskIsRepeated(t *testing.T) {
	d := onSQLite(t)
	// A page limit of the writer's connection plays the full disk.
	err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		var pages int
		if err := tx.NewRaw("PRAGMA page_count").Scan(ctx, &pages); err != nil {
			return err
		}
		return tx.NewRaw(fmt.Sprintf("PRAGMA max_page_count = %d", pages+20)).Scan(ctx, &pages)
	})
	if err != nil {
		t.Fatal(err)
	}
	errs := queued(t, d, 7, func(i int) error {
		if i == 3 {
			return d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
				_, err := tx.NewInsert().Model(&thing{ID: "big", Name: "big", MadeAt: stamp, Blob: make([]byte, 1<<20)}).Exec(ctx)
				if err == nil {
					return nil
				}
				// Whoever swallows the error still cannot commit the rest.
				_ = put(ctx, tx, "after")
				return nil
			})
		}
		if i%2 == 0 {
			return put(t.Context(), d, fmt.Sprint(i))
		}
		return d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error { return put(ctx, tx, fmt.Sprint(i)) })
	})
	for i, err := range errs {
		if (err != nil) != (i == 3) {
			t.Errorf("writer %d: %v", i, err)
		}
	}
	if n := count(t, d, "1 = 1"); n != 6 {
		t.Errorf("%d rows, want 6: all but the one that was too big", n)
	}
}

func TestWaitingWritersThatGoAwayLeaveNobodyBehind(t *testing.T) {
	d := onSQLite(t)
	const writers, each = 16, 40
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if w%2 == 0 { // these lose patience, at any moment of their wait
					ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
				}
				id := fmt.Sprintf("%d-%d", w, i)
				err := d.Tx(ctx, func(ctx context.Context, tx bun.Tx) error { return put(ctx, tx, id) })
				cancel()
				n := count(t, d, "id = ?", id)
				if (err == nil) != (n == 1) {
					t.Errorf("%s: %v with %d rows", id, err, n)
				}
				mu.Lock()
				done += n
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if done < writers/2*each {
		t.Errorf("%d rows, want at least the %d of the patient", done, writers/2*each)
	}
}

func TestInsertReturnsItsRow(t *testing.T) {
	d := onSQLite(t)
	var id string
	err := d.NewRaw("INSERT INTO things (id, name, state, count, flag, made_at) VALUES ('1', 'a', 's', 7, TRUE, ?) RETURNING id", stamp).
		Scan(t.Context(), &id)
	if err != nil || id != "1" || count(t, d, "id = '1'") != 1 {
		t.Errorf("returned %q (%v)", id, err)
	}
}
