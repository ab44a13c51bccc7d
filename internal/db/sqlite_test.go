package db_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
)

func TestSQLiteIsDurableByDefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space?", "a.db")
	_, err := db.Open(t.Context(), db.Config{URL: "sqlite://" + path})
	if err == nil {
		t.Fatal("a query string in the path was accepted")
	}
	path = filepath.Join(t.TempDir(), "with space %41", "a.db")
	d := dbtest.Open(t, db.Config{URL: "sqlite://" + filepath.Dir(filepath.Dir(path)) + "/with%20space%20%2541/a.db"}, schema())
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := d.NewRaw("PRAGMA "+pragma).Scan(t.Context(), &got); err != nil || got != want {
			t.Errorf("%s = %q (%v), want %q", pragma, got, err, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of %s: %v (%v), want 0600", path, info.Mode(), err)
	}
}

func TestMemoryDatabaseIsSharedInsideTheHandleOnly(t *testing.T) {
	a := dbtest.Open(t, db.Config{URL: "sqlite::memory:"}, schema())
	b := dbtest.Open(t, db.Config{URL: "sqlite::memory:"}, schema())
	insert(t, a, &thing{ID: "1", Name: "a"})
	done := make(chan int, 4)
	for range 4 {
		go func() { done <- count(t, a, "1 = 1") }()
	}
	for range 4 {
		if n := <-done; n != 1 {
			t.Errorf("a connection sees %d rows, want 1", n)
		}
	}
	if n := count(t, b, "1 = 1"); n != 0 {
		t.Errorf("another handle sees %d rows", n)
	}
}

func TestWritersGetTheirTurnInOrder(t *testing.T) {
	d := dbtest.Open(t, db.Config{URL: "sqlite::memory:"}, schema())
	const n = 10
	order := make(chan int, n)
	hold := make(chan struct{})
	started := make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- d.Tx(t.Context(), func(context.Context, bun.Tx) error { close(started); <-hold; return nil })
	}()
	<-started
	ended := make(chan error, n)
	for i := range n {
		go func() {
			ended <- d.Tx(t.Context(), func(context.Context, bun.Tx) error { order <- i; return nil })
		}()
		time.Sleep(5 * time.Millisecond) // so that they queue in this order
	}
	close(hold)
	for i := range n {
		if got := <-order; got != i {
			t.Errorf("writer %d got turn %d", got, i)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestManyWaitingWritersLeaveAConnectionForTheOneWhoseTurnItIs(t *testing.T) {
	d := dbtest.Open(t, db.Config{URL: "sqlite::memory:"}, schema())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			id := fmt.Sprint(i)
			_, err := d.NewInsert().Model(&thing{ID: id, Name: id, MadeAt: stamp}).Exec(ctx)
			if err != nil {
				t.Error(err)
			}
			err = d.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
				_, err := tx.NewUpdate().Table("things").Set("count = count + 1").Where("id = ?", id).Exec(ctx)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := count(t, d, "count = 1"); n != 200 {
		t.Errorf("%d of 200 rows", n)
	}
}

func TestWaitingWriterLeavesWhenCancelled(t *testing.T) {
	d := dbtest.Open(t, db.Config{URL: "sqlite::memory:"}, schema())
	err := d.Tx(t.Context(), func(context.Context, bun.Tx) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := d.NewInsert().Model(&thing{ID: "1", Name: "a", MadeAt: stamp}).Exec(ctx); err == nil {
			t.Error("a second writer got in")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestURLsThatCannotWork(t *testing.T) {
	for _, u := range []string{"", "postgres://x", "sqlite://relative/x.db", "sqlite:x.db", "mysql://host/db",
		"mysql://u:p@host", "mysql://u:secret@ho st/x"} {
		if d, err := db.Open(t.Context(), db.Config{URL: u}); err == nil {
			_ = d.Close()
			t.Errorf("Open(%q) succeeded", u)
		}
	}
}

func TestCloseUnderLoadEndsEverybody(t *testing.T) {
	d, err := db.Open(t.Context(), db.Config{URL: "sqlite::memory:"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Migrate(t.Context(), schema()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d", i, n)
				err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
					_, err := tx.NewInsert().Model(&thing{ID: id, Name: id, MadeAt: stamp}).Exec(ctx)
					return err
				})
				if err != nil {
					return
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
