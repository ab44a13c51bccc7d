package audit

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/elect"
)

// A Verdict is what the auditors of a cluster last agreed on: one of them
// walks on a timer, all of them can tell.
type Verdict struct {
	At       time.Time `json:"at"` // the end of the walk
	Leader   string    `json:"leader"`
	Findings []Finding `json:"findings"` // seen in two walks, one after the other
	Unseen   []string  `json:"unseen"`   // that did not answer in two walks
}

// How often the leader walks: WalkEvery when there is nothing to look at
// again, LookAgain when a walk found something that must be seen twice, or
// that may be gone.
const (
	WalkEvery = 30 * time.Second
	LookAgain = 8 * time.Second
	walkLimit = time.Minute
	// lease is long: nothing is lost while nobody audits for a moment.
	lease = 30 * time.Second
)

// A Timer audits again and again while its process is the leader of all
// auditors. Read [Timer.Last] for the verdict, wherever it came from.
type Timer struct {
	DB    *db.DB // with the tables of Schema
	Clock clock.Clock
	Log   *slog.Logger
	Host  string
	// Walk looks once: findings, and the parts that did not answer.
	Walk func(ctx context.Context) ([]Finding, []string, error)
}

// Run is a candidate, and audits in its terms, until ctx ends.
func (t *Timer) Run(ctx context.Context) error {
	c, err := elect.New(elect.Config{DB: t.DB, Clock: t.Clock, Log: t.Log, Name: "auditor", Host: t.Host, Lease: lease})
	if err != nil {
		return err
	}
	return c.Run(ctx, t.lead)
}

// lead is one term. Its first walk has none before it, so it confirms nothing.
func (t *Timer) lead(ctx context.Context, term *elect.Term) error {
	var before *seen
	for {
		now, err := t.walk(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the term is over
		case err != nil:
			t.Log.WarnContext(ctx, "audit walk", "error", err)
			before = nil
		default:
			if before != nil || now.clean() {
				v := now.since(before)
				v.At, v.Leader = t.Clock.Now(), t.Host
				if err := t.save(ctx, term, v); err != nil {
					return fmt.Errorf("keep the audit's verdict: %w", err)
				}
				t.tell(ctx, v)
			}
			before = now
		}
		wait := WalkEvery + rand.N(WalkEvery/10)
		if before != nil && !before.clean() {
			wait = LookAgain
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.Clock.After(wait):
		}
	}
}

func (t *Timer) walk(ctx context.Context) (*seen, error) {
	ctx, cancel := context.WithTimeout(ctx, walkLimit)
	defer cancel()
	found, unseen, err := t.Walk(ctx)
	if err != nil {
		return nil, err
	}
	return &seen{found, unseen}, nil
}

// tell puts findings into the log: each is something to look after.
func (t *Timer) tell(ctx context.Context, v *Verdict) {
	for _, f := range v.Findings {
		t.Log.WarnContext(ctx, "audit finding", "kind", f.Kind, "id", f.ID, "host", f.Host, "text", f.Text)
	}
}

// seen is what one walk saw.
type seen struct {
	found  []Finding
	unseen []string
}

func (s *seen) clean() bool { return len(s.found)+len(s.unseen) == 0 }

// since keeps what the walk before saw too. What is being made or removed right
// now is in one walk and not in the next.
func (s *seen) since(before *seen) *Verdict {
	v := &Verdict{Findings: []Finding{}, Unseen: []string{}}
	if before == nil {
		return v
	}
	type key struct{ kind, id, host, text string }
	had := map[key]bool{}
	for _, f := range before.found {
		had[key{f.Kind, f.ID, f.Host, f.Text}] = true
	}
	for _, f := range s.found {
		if had[key{f.Kind, f.ID, f.Host, f.Text}] {
			v.Findings = append(v.Findings, f)
		}
	}
	silent := map[string]bool{}
	for _, p := range before.unseen {
		silent[p] = true
	}
	for _, p := range s.unseen {
		if silent[p] {
			v.Unseen = append(v.Unseen, p)
		}
	}
	return v
}
