package operation

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
)

// BenchmarkThreeSteps is the whole cost of an operation that does nothing:
// start, three durable records, the end, eight at a time.
func BenchmarkThreeSteps(b *testing.B) {
	d := dbtest.Open(b, db.Config{URL: dbtest.URL(b)}, Migrations)
	nothing := func(context.Context, *Op) error { return nil }
	r, err := New(Config{DB: d, Clock: clock.System, Kinds: []Kind{{Name: "k", Steps: []Step{
		{Name: "a", Do: nothing}, {Name: "b", Do: nothing}, {Name: "c", Do: nothing}}}}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx) }()
	for !r.isRunning() {
	}
	var n atomic.Int64
	before := d.Stats()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var o *Op
			err := d.Tx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
				o, err = r.Start(ctx, tx, Spec{Kind: "k", ResourceID: fmt.Sprint(n.Add(1)), Fresh: true})
				return err
			})
			if err != nil {
				b.Error(err)
				return
			}
			r.Launch(o)
			if _, err := r.Await(ctx, o.ID); err != nil {
				b.Error(err)
			}
		}
	})
	after := d.Stats()
	b.ReportMetric(float64(after.Commits-before.Commits)/float64(b.N), "commits/op")
	b.ReportMetric(float64(after.Statements-before.Statements)/float64(b.N), "statements/op")
	cancel()
	<-done
}
