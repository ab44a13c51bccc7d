package db_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
)

// The cost of one statement and of one durable commit, on both engines:
//
//	go test -run='^$' -bench=. ./internal/db

func benchDB(b *testing.B) *db.DB {
	d := dbtest.Open(b, db.Config{URL: dbtest.URL(b)}, schema())
	err := d.Tx(b.Context(), func(ctx context.Context, tx bun.Tx) error {
		for i := range 1000 {
			id := fmt.Sprint(i)
			th := &thing{ID: id, Name: id, State: "s", MadeAt: stamp, Decoded: map[string]string{"k": "v"}}
			if _, err := tx.NewInsert().Model(th).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func BenchmarkSelectOne(b *testing.B) {
	d := benchDB(b)
	ctx := b.Context()
	i := 0
	for b.Loop() {
		i = (i + 1) % 1000
		th := new(thing)
		if err := d.NewSelect().Model(th).Where("id = ?", fmt.Sprint(i)).Scan(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSelect100(b *testing.B) {
	d := benchDB(b)
	ctx := b.Context()
	for b.Loop() {
		var list []*thing
		if err := d.NewSelect().Model(&list).Where("id > ?", "1").OrderExpr("id").Limit(100).Scan(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCommitOfOneUpdate(b *testing.B) {
	d := benchDB(b)
	ctx := b.Context()
	i := 0
	for b.Loop() {
		i = (i + 1) % 1000
		if err := update(ctx, d, i); err != nil {
			b.Fatal(err)
		}
	}
}

func update(ctx context.Context, q bun.IDB, i int) error {
	_, err := q.NewUpdate().Table("things").Set("count = count + 1").Where("id = ?", fmt.Sprint(i)).Exec(ctx)
	return err
}

func BenchmarkTxOfFourUpdates(b *testing.B) {
	d := benchDB(b)
	ctx := b.Context()
	i := 0
	for b.Loop() {
		i = (i + 1) % 990
		if err := fourUpdates(ctx, d, i); err != nil {
			b.Fatal(err)
		}
	}
}

func fourUpdates(ctx context.Context, d *db.DB, i int) error {
	return d.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for j := range 4 {
			if err := update(ctx, tx, i+j); err != nil {
				return err
			}
		}
		return nil
	})
}

func BenchmarkTxOfFourUpdatesByEight(b *testing.B) {
	d := benchDB(b)
	var n atomic.Int64
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := fourUpdates(b.Context(), d, int(n.Add(4)%990)); err != nil {
				b.Error(err)
			}
		}
	})
}
