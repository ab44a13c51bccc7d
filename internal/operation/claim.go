package operation

import (
	"context"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/db"
)

// Wake makes an operation that waits go on at once, and one that nobody has
// claimed yet start. It comes from the part that learnt the news (a port is up)
// and may come at any time, twice or for nothing: a wake during a step is
// remembered. If another process owns the operation, that one hears of it
// within a second.
func (r *Runner) Wake(id string) {
	r.mu.Lock()
	t, ok := r.tasks[id]
	if ok || !r.running {
		r.mu.Unlock()
		if ok {
			t.wakeUp()
		}
		return
	}
	ctx := r.base
	r.wg.Add(1)
	r.mu.Unlock()
	go func() {
		defer r.wg.Done()
		if err := r.fetch(ctx, id, true); err != nil && ctx.Err() == nil {
			r.cfg.Log.WarnContext(ctx, "wake operation", "operation_id", id, "error", err.Error())
		}
	}()
}

// fetch claims one operation by its id and runs it. If another process has it,
// and tell is set, that one gets a signal.
func (r *Runner) fetch(ctx context.Context, id string, tell bool) error {
	o, err := findOp(ctx, r.cfg.DB, id)
	if db.IsNoRows(err) {
		return nil // pruned, or its transaction was rolled back
	}
	if err != nil || o.Finished() {
		return err
	}
	if o.Slot == nil && o.ResourceID != "" {
		first, err := firstOf(ctx, r.cfg.DB, o.ResourceID)
		if err != nil {
			return err
		}
		if first != nil && first.ID != o.ID {
			return nil // its turn comes
		}
	}
	ok, err := r.claim(ctx, o)
	if err != nil || ok || !tell {
		return err
	}
	_, err = signalOp(ctx, r.cfg.DB, id, signalWake)
	return err
}

// claim takes o if it can be had, and launches it.
func (r *Runner) claim(ctx context.Context, o *Op) (bool, error) {
	k := r.kinds[o.Kind]
	if k == nil || !slices.ContainsFunc(k.Steps, func(s Step) bool { return s.Name == o.Step }) {
		return false, nil // of a newer version, which will have to do it
	}
	now := r.cfg.Clock.Now()
	if o.Owner == r.owner && o.LeaseUntil != nil && now.Before(o.LeaseUntil.Add(-r.cfg.Lease/4)) {
		r.launch(o) // Start has claimed it
		return true, nil
	}
	ok, err := claimOp(ctx, r.cfg.DB, o, r.owner, now, now.Add(r.cfg.Lease))
	if err != nil {
		return false, err
	}
	if !ok {
		r.blocked(o)
		return false, nil
	}
	r.launch(o)
	return true, nil
}

// blocked remembers that somebody waits for a resource.
func (r *Runner) blocked(o *Op) {
	if o.ResourceID == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[o.ResourceID] = true
}

// launch gives o, which this process owns, its goroutine; a second launch of
// the same operation is a wake.
func (r *Runner) launch(o *Op) {
	if o.Journal == nil {
		o.Journal = &Journal{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.expected, o.ID)
	if !r.running {
		r.expected[o.ID] = time.Time{} // Run finds it
		return
	}
	if t, ok := r.tasks[o.ID]; ok {
		t.wakeUp()
		return
	}
	own := *o // the caller may still read his
	t := newTask(r, &own)
	r.tasks[o.ID] = t
	ctx, cancel := context.WithCancelCause(r.base)
	t.cancel = cancel
	if len(r.tasks) == 1 {
		r.renewed = r.cfg.Clock.Now() // every lease we hold is younger than this
	}
	r.wg.Go(func() {
		defer cancel(nil)
		t.run(ctx)
		r.forget(t)
	})
}

// forget ends a task's books: waiters hear of it, whoever waited for the
// resource gets it, and what is not finished goes back to the table.
func (r *Runner) forget(t *task) {
	r.mu.Lock()
	delete(r.tasks, t.op.ID)
	resource, next := t.op.ResourceID, false
	if t.op.Finished() {
		for _, c := range r.ended[t.op.ID] {
			close(c)
		}
		delete(r.ended, t.op.ID)
		next = r.waiting[resource]
		delete(r.waiting, resource)
	}
	ctx := r.base
	r.mu.Unlock()
	if ctx.Err() != nil {
		return // Run gives all back
	}
	if !t.op.Finished() {
		if err := releaseOne(ctx, r.cfg.DB, t.op.ID, r.owner); err != nil {
			r.cfg.Log.WarnContext(ctx, "give an operation back", "operation_id", t.op.ID, "error", err.Error())
		}
	}
	if !next {
		return
	}
	o, err := firstOf(ctx, r.cfg.DB, resource)
	if err == nil && o != nil {
		_, err = r.claim(ctx, o)
	}
	if err != nil && ctx.Err() == nil {
		r.cfg.Log.WarnContext(ctx, "next operation of a resource", "resource_id", resource, "error", err.Error())
	}
}
