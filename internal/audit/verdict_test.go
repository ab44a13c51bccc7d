package audit

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db/dbtest"
)

func TestOnlyWhatTwoWalksSawCounts(t *testing.T) {
	disk := Finding{Kind: "disk", ID: "d", Host: "h", Text: "no owner"}
	port := Finding{Kind: "port", ID: "p", Text: "no server"}
	moved := disk
	moved.Host = "i"
	for name, c := range map[string]struct {
		before *seen
		now    seen
		want   Verdict
	}{
		"first":      {nil, seen{found: []Finding{disk}}, Verdict{Findings: []Finding{}, Unseen: []string{}}},
		"passed":     {&seen{found: []Finding{disk}}, seen{}, Verdict{Findings: []Finding{}, Unseen: []string{}}},
		"stays":      {&seen{found: []Finding{port, disk}}, seen{found: []Finding{disk}}, Verdict{Findings: []Finding{disk}, Unseen: []string{}}},
		"elsewhere":  {&seen{found: []Finding{disk}}, seen{found: []Finding{moved}}, Verdict{Findings: []Finding{}, Unseen: []string{}}},
		"silent":     {&seen{unseen: []string{"a", "b"}}, seen{unseen: []string{"b", "c"}}, Verdict{Findings: []Finding{}, Unseen: []string{"b"}}},
		"all is new": {&seen{}, seen{found: []Finding{disk}, unseen: []string{"a"}}, Verdict{Findings: []Finding{}, Unseen: []string{}}},
	} {
		if diff := cmp.Diff(&c.want, c.now.since(c.before)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestOneAuditorWalksAndAllTell runs two auditors on one database, then takes
// the leader away.
func TestOneAuditorWalksAndAllTell(t *testing.T) {
	d, clk := dbtest.New(t, Schema()...), clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	finding := Finding{Kind: "disk", ID: "d", Text: "no owner"}
	walks := make(chan string, 100)
	auditor := func(host string) (*Timer, context.CancelFunc, chan error) {
		tm := &Timer{DB: d, Clock: clk, Log: slog.New(slog.DiscardHandler), Host: host,
			Walk: func(context.Context) ([]Finding, []string, error) { walks <- host; return []Finding{finding}, nil, nil }}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tm.Run(ctx) }()
		return tm, stop, done
	}
	a, stopA, doneA := auditor("a")
	if who := <-walks; who != "a" {
		t.Fatalf("%s walks", who)
	}
	b, stopB, doneB := auditor("b")
	defer stopB()
	// The first walk confirms nothing.
	if v, err := b.Last(t.Context()); err != nil || v != nil {
		t.Fatalf("a verdict after one walk: %+v, %v", v, err)
	}
	step(t, clk, func() bool { v, err := b.Last(t.Context()); return err == nil && v != nil })
	v, err := b.Last(t.Context())
	if err != nil || v.Leader != "a" || len(v.Findings) != 1 {
		t.Fatalf("b tells %+v, %v", v, err)
	}
	if same, err := a.Last(t.Context()); err != nil || !cmp.Equal(same, v) {
		t.Errorf("a tells %+v, %v", same, err)
	}
	stopA()
	if err := <-doneA; err != nil {
		t.Error(err)
	}
	step(t, clk, func() bool { v, err := b.Last(t.Context()); return err == nil && v.Leader == "b" })
	stopB()
	if err := <-doneB; err != nil {
		t.Error(err)
	}
}

// step lets time pass until something is so.
func step(t *testing.T, clk *clock.Fake, until func() bool) {
	t.Helper()
	for range 2000 {
		if until() {
			return
		}
		clk.Advance(500 * time.Millisecond)
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it did not happen")
}
