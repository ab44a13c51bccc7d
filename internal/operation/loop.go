package operation

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/hastack/hastack/internal/clock"
)

// Run executes operations until ctx ends; then it stops at the next step
// boundary what can be stopped, waits, and gives back what is unfinished. A
// Runner runs once.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.running || r.base != nil {
		r.mu.Unlock()
		return errors.New("operation: a runner runs once")
	}
	base, cancel := context.WithCancel(ctx)
	defer cancel()
	r.running, r.base = true, base
	r.mu.Unlock()

	stop := make(chan struct{})
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		r.renewLoop(base, stop)
	}()
	r.pollLoop(base)

	r.mu.Lock()
	r.running = false
	r.mu.Unlock()
	r.wg.Wait()
	close(stop)
	<-renewing
	end, cancelEnd := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancelEnd()
	if err := release(end, r.cfg.DB, r.owner); err != nil {
		r.cfg.Log.WarnContext(end, "give operations back", "error", err.Error())
	}
	return nil
}

// pollLoop finds what was not handed over: the work of dead processes, what
// other processes started for us, turns that came.
func (r *Runner) pollLoop(ctx context.Context) {
	taken, pruned := r.cfg.Host == "", r.cfg.Clock.Now()
	for ctx.Err() == nil {
		if !taken {
			n, err := takeOver(ctx, r.cfg.DB, r.cfg.Host, r.owner)
			if taken = err == nil; n > 0 {
				r.cfg.Log.InfoContext(ctx, "operations of a former process are taken over", "count", n)
			}
		}
		if err := r.poll(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.WarnContext(ctx, "look for operations", "error", err.Error())
		}
		if now := r.cfg.Clock.Now(); now.Sub(pruned) > pruneEvery {
			pruned = now
			if _, err := Prune(ctx, r.cfg.DB, now.Add(-r.cfg.Keep), pruneLimit); err != nil && ctx.Err() == nil {
				r.cfg.Log.WarnContext(ctx, "prune operations", "error", err.Error())
			}
		}
		select {
		case <-ctx.Done():
		case <-r.cfg.Clock.After(pollEvery*3/4 + rand.N(pollEvery/2)):
		}
	}
}

// poll is one look at the table.
func (r *Runner) poll(ctx context.Context) error {
	now := r.cfg.Clock.Now()
	var late []string
	r.mu.Lock()
	for id, since := range r.expected {
		if now.Sub(since) >= pollEvery/2 {
			late = append(late, id)
			delete(r.expected, id)
		}
	}
	busy := len(r.tasks)
	r.mu.Unlock()
	for _, id := range late {
		if err := r.fetch(ctx, id, false); err != nil {
			return err
		}
	}
	if busy > 0 {
		if err := r.hear(ctx); err != nil {
			return err
		}
	}
	if busy >= 4*r.cfg.Workers {
		return nil // others may have time for more
	}
	due, err := dueOps(ctx, r.cfg.DB, r.names, now, claimLimit)
	if err != nil {
		return err
	}
	tried := map[string]bool{}
	for _, o := range due {
		if o.ResourceID != "" {
			if tried[o.ResourceID] {
				continue // only the oldest of a resource can have its turn
			}
			tried[o.ResourceID] = true
		}
		if o.Slot == nil && o.ResourceID != "" {
			first, err := firstOf(ctx, r.cfg.DB, o.ResourceID)
			if err != nil {
				return err
			}
			if first == nil || first.ID != o.ID {
				continue
			}
		}
		if _, err := r.claim(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// hear obeys the signals that other processes left.
func (r *Runner) hear(ctx context.Context) error {
	rows, err := takeSignals(ctx, r.cfg.DB, r.owner)
	if err != nil {
		return err
	}
	for _, row := range rows {
		r.mu.Lock()
		t := r.tasks[row.ID]
		r.mu.Unlock()
		switch {
		case t == nil:
		case row.Signal == signalCancel:
			t.stop(errCancelled)
		default:
			t.wakeUp()
		}
	}
	return nil
}

// renewLoop prolongs the leases of all tasks with one statement, and stops them
// when that has not worked for so long that others may take over.
func (r *Runner) renewLoop(ctx context.Context, stop <-chan struct{}) {
	tick := r.cfg.Clock.NewTicker(r.cfg.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C():
		}
		r.mu.Lock()
		idle := len(r.tasks) == 0
		r.mu.Unlock()
		if idle {
			continue
		}
		// Tasks that end after ctx need their leases still.
		if err := r.renew(context.WithoutCancel(ctx), r.cfg.Clock); err != nil {
			r.cfg.Log.WarnContext(ctx, "prolong the leases of operations", "error", err.Error())
		}
	}
}

func (r *Runner) renew(ctx context.Context, c clock.Clock) error {
	now := c.Now()
	// Long enough to wait behind every writer of a machine with too much to do:
	// a lease that is given up early only makes more work.
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/2)
	defer cancel()
	err := renewLeases(ctx, r.cfg.DB, r.owner, now.Add(r.cfg.Lease))
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.renewed = now
		return nil
	}
	if c.Now().Sub(r.renewed) >= r.cfg.Lease*3/4 {
		for _, t := range r.tasks {
			t.cancel(errLost)
		}
	}
	return err
}
