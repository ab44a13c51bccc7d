package db_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
)

// kill ends the server's side of the connection that tx uses.
func kill(t *testing.T, ctx context.Context, d *db.DB, tx bun.Tx) error {
	t.Helper()
	var id int64
	if err := tx.NewRaw("SELECT CONNECTION_ID()").Scan(ctx, &id); err != nil {
		return err
	}
	_, err := d.ExecContext(t.Context(), fmt.Sprintf("KILL %d", id))
	return err
}

func TestTransactionIsRepeatedAfterALostConnection(t *testing.T) {
	if !dbtest.MySQL() {
		t.Skip("SQLite has no connection to lose; set " + dbtest.Env)
	}
	d := dbtest.New(t, schema())
	runs := 0
	err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&thing{ID: "1", Name: "a", MadeAt: stamp}).Exec(ctx); err != nil {
			return err
		}
		if runs++; runs == 1 {
			if err := kill(t, ctx, d, tx); err != nil {
				return err
			}
		}
		_, err := tx.NewInsert().Model(&thing{ID: "2", Name: "b", MadeAt: stamp}).Exec(ctx)
		return err
	})
	if err != nil || runs != 2 || count(t, d, "1 = 1") != 2 {
		t.Errorf("after %d runs: %v", runs, err)
	}
}

func TestTransactionThatDiedBeforeItsCommitIsRepeated(t *testing.T) {
	if !dbtest.MySQL() {
		t.Skip("SQLite has no connection to lose; set " + dbtest.Env)
	}
	d := dbtest.New(t, schema())
	runs := 0
	err := d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		runs++
		if _, err := tx.NewInsert().Model(&thing{ID: "1", Name: "a", MadeAt: stamp}).Exec(ctx); err != nil || runs > 1 {
			return err
		}
		return kill(t, ctx, d, tx)
	})
	if err != nil || runs != 2 || count(t, d, "1 = 1") != 1 {
		t.Errorf("after %d runs: %v", runs, err)
	}
}

func TestDeadlockIsRepeated(t *testing.T) {
	if !dbtest.MySQL() {
		t.Skip("SQLite has one writer at a time; set " + dbtest.Env)
	}
	d := dbtest.New(t, schema())
	insert(t, d, &thing{ID: "1", Name: "a"})
	insert(t, d, &thing{ID: "2", Name: "b"})
	met := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	ended := make(chan error, 2)
	runs := [2]int{}
	for i := range 2 {
		order := []string{"1", "2"}
		if i == 1 {
			order = []string{"2", "1"}
		}
		go func() {
			ended <- d.Tx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
				runs[i]++
				for n, id := range order {
					if n == 1 && runs[i] == 1 { // both have their first row
						close(met[i])
						<-met[1-i]
					}
					if _, err := tx.NewUpdate().Table("things").Set("count = count + 1").Where("id = ?", id).Exec(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		}()
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if runs[0]+runs[1] < 3 {
		t.Error("there was no deadlock")
	}
	if n := count(t, d, "count = 2"); n != 2 {
		t.Errorf("%d of 2 rows are right", n)
	}
}
