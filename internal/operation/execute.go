package operation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
)

const (
	retryFirst = 100 * time.Millisecond
	retryLast  = 10 * time.Second
	// undoAttempts is how often an Undo may fail for a reason that does not
	// look passing; then the rest is undone and the auditor has the leftovers.
	undoAttempts = 8
)

// A task is one operation in the hands of this process.
type task struct {
	r      *Runner
	kind   *Kind
	op     *Op
	at     int // index of op.Step
	cancel context.CancelCauseFunc

	mu        sync.Mutex // guards the next two
	woken     chan struct{}
	cancelled error
	abort     context.CancelCauseFunc // of the Do that runs; nil if none
}

func newTask(r *Runner, o *Op) *task {
	t := &task{r: r, kind: r.kinds[o.Kind], op: o, woken: make(chan struct{}, 1)}
	for i, s := range t.kind.Steps {
		if s.Name == o.Step {
			t.at = i
		}
	}
	if o.Signal == signalCancel && !t.kind.Forward {
		t.cancelled = errCancelled
	}
	o.checkpoint = t.checkpoint
	return t
}

// wakeUp ends a wait, the current or the next one.
func (t *task) wakeUp() {
	select {
	case t.woken <- struct{}{}:
	default:
	}
}

// stop makes the operation fail with err as soon as it can.
func (t *task) stop(err error) {
	if t.kind.Forward {
		return // has no way back
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancelled = err
	if t.abort != nil {
		t.abort(err)
	}
	t.wakeUp()
}

func (t *task) stopped() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cancelled
}

// run works until the operation has ended, ctx has, or another owns it.
func (t *task) run(ctx context.Context) {
	if t.r.cfg.Context != nil {
		ctx = t.r.cfg.Context(ctx, t.op)
	}
	for ctx.Err() == nil && !t.op.Finished() {
		var err error
		if t.op.State == Running {
			err = t.forward(ctx)
		} else {
			err = t.backward(ctx)
		}
		if err != nil {
			if ctx.Err() == nil {
				t.r.cfg.Log.WarnContext(ctx, "operation is let go", "operation_id", t.op.ID, "error", err.Error())
			}
			return
		}
	}
}

// forward does the current step and records it, or turns to undoing.
func (t *task) forward(ctx context.Context) error {
	step := &t.kind.Steps[t.at]
	e := Entry{Step: step.Name, Start: t.r.cfg.Clock.Now()}
	err := t.attempts(ctx, step, &e)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // of the process, not the step: its successor does it again
	}
	if err != nil {
		return t.fail(ctx, &e, err)
	}
	if ctx.Err() != nil { // the effect was made while the process is told to end
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
		defer cancel()
		ctx = late
	}
	e.Outcome = OutcomeDone
	last := t.at == len(t.kind.Steps)-1
	if step.Merge && !last {
		t.note(&e)
		t.at++
		t.op.Step = t.kind.Steps[t.at].Name
		t.observe(ctx, e)
		return nil
	}
	err = t.record(ctx, func(o *Op) func(context.Context, bun.Tx) error {
		appendEntry(o, t.ended(e))
		if !last {
			o.Step = t.kind.Steps[t.at+1].Name
			return nil
		}
		o.State = Done
		return t.hook(t.kind.Done, o)
	})
	if broken, ok := errors.AsType[*recordError](err); ok {
		return t.fail(ctx, &e, broken.error)
	}
	if err != nil {
		return err
	}
	if !last {
		t.at++
	}
	t.observe(ctx, e)
	if err := t.recorded(ctx, step); err != nil && !last {
		return t.fail(ctx, &Entry{Step: t.op.Step, Start: t.r.cfg.Clock.Now(), Attempts: 1}, err)
	}
	return nil
}

// recorded passes the fault points behind a record: those of the steps that
// left their record to this one, then step's own.
func (t *task) recorded(ctx context.Context, step *Step) error {
	i := slices.IndexFunc(t.kind.Steps, func(s Step) bool { return s.Name == step.Name })
	first := i
	for first > 0 && t.kind.Steps[first-1].Merge {
		first--
	}
	for ; first <= i; first++ {
		if err := failpoint.At(ctx, t.point(&t.kind.Steps[first], ".after-record")); err != nil {
			return err
		}
	}
	return nil
}

func (t *task) point(step *Step, where string) string {
	return t.kind.Name + "." + step.Name + where
}

// attempts calls Do until it succeeds or fails for good, waiting where it says.
func (t *task) attempts(ctx context.Context, step *Step, e *Entry) error {
	pause, merged := retryFirst, len(t.op.onRecord)
	for {
		if err := t.overdue(); err != nil {
			return err
		}
		e.Attempts++
		err := t.call(ctx, step, step.Do, "", t.op.Deadline)
		if err == nil || ctx.Err() != nil {
			return err
		}
		t.op.onRecord = t.op.onRecord[:min(merged, len(t.op.onRecord))] // less after a checkpoint
		delay := pause/2 + rand.N(pause)
		if w, ok := errors.AsType[*waitError](err); ok {
			e.Attempts-- // a wait is no failure
			delay, pause = w.d, retryFirst
			if delay <= 0 {
				delay = t.op.Deadline.Sub(t.r.cfg.Clock.Now())
			}
		} else {
			if stopped := t.stopped(); stopped != nil {
				return stopped
			}
			if !passing(err) && !t.kind.Forward {
				return err
			}
			pause = min(2*pause, retryLast)
			t.r.cfg.Log.InfoContext(ctx, "operation step is tried again", "operation_id", t.op.ID,
				"kind", t.kind.Name, "step", step.Name, "attempt", e.Attempts, "error", err.Error())
			e.Error = err.Error()
		}
		if err := t.sleep(ctx, delay, t.op.Deadline); err != nil {
			return err
		}
	}
}

// overdue is the error of an operation that may not go on.
func (t *task) overdue() error {
	if err := t.stopped(); err != nil {
		return err
	}
	if !t.r.cfg.Clock.Now().Before(t.op.Deadline) {
		return fault.New(fault.Timeout, "step %s was not done before the deadline", t.op.Step)
	}
	return nil
}

// sleep waits for d, at most until the deadline, or for a wake.
func (t *task) sleep(ctx context.Context, d time.Duration, deadline time.Time) error {
	if left := deadline.Sub(t.r.cfg.Clock.Now()); left < d {
		d = max(left, 0)
	}
	select {
	case <-t.woken:
	case <-t.r.cfg.Clock.After(d):
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// call runs one Do or Undo with its deadline on one of the workers.
func (t *task) call(ctx context.Context, step *Step, f func(context.Context, *Op) error, undo string, until time.Time) (err error) {
	if err := t.r.work.Acquire(ctx, 1); err != nil {
		return err
	}
	defer t.r.work.Release(1)
	limit := step.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	if left := until.Sub(t.r.cfg.Clock.Now()); left < limit {
		limit = left
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fault.New(fault.Timeout, "step %s took longer than %v", step.Name, limit))
	defer cancel()
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	if undo == "" {
		t.mu.Lock()
		t.abort = abort
		t.mu.Unlock()
		defer func() {
			t.mu.Lock()
			t.abort = nil
			t.mu.Unlock()
		}()
	}
	defer func() {
		if p := recover(); p != nil {
			t.r.cfg.Log.ErrorContext(ctx, "panic in an operation's step", "operation_id", t.op.ID,
				"kind", t.kind.Name, "step", step.Name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("step %s panicked: %v", step.Name, p)
		}
		if cause := context.Cause(ctx); err != nil && cause != nil && errors.Is(err, ctx.Err()) {
			err = cause // says which limit it was
		}
	}()
	if err := failpoint.At(ctx, t.point(step, undo+".before-effect")); err != nil {
		return err
	}
	if err := f(ctx, t.op); err != nil {
		return err
	}
	return failpoint.At(ctx, t.point(step, undo+".after-effect"))
}

// passing tells whether an error may be gone the next time.
func passing(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Timeout:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, failpoint.ErrDropped) || db.IsUnavailable(err)
}

// fail records the reason and turns around: the current step is undone first.
func (t *task) fail(ctx context.Context, e *Entry, cause error) error {
	t.op.onRecord = nil
	e.Outcome, e.Error = OutcomeFailed, cause.Error()
	t.r.cfg.Log.WarnContext(ctx, "operation failed", "operation_id", t.op.ID, "kind", t.kind.Name,
		"resource_id", t.op.ResourceID, "step", e.Step, "error", cause.Error())
	start := t.at
	if t.kind.Forward {
		start = -1
	}
	for start >= 0 && t.kind.Steps[start].Undo == nil {
		start--
	}
	err := t.record(ctx, func(o *Op) func(context.Context, bun.Tx) error {
		appendEntry(o, t.ended(*e))
		o.Error, o.ErrorKind = reason(cause)
		o.State = Undoing
		if start >= 0 {
			o.Step = t.kind.Steps[start].Name
			return nil
		}
		o.State = Failed
		return t.hook(t.kind.Failed, o)
	})
	if err != nil {
		return unwrapRecord(err)
	}
	if start >= 0 {
		t.at = start
	}
	t.observe(ctx, *e)
	return nil
}

// reason is what the owner of the resource may read.
func reason(err error) (string, fault.Kind) {
	if f := fault.As(err); f != nil {
		return f.Text, f.Kind
	}
	return "an internal error, see the log", fault.Internal
}

// backward undoes the current step and records it.
func (t *task) backward(ctx context.Context) error {
	step := &t.kind.Steps[t.at]
	e := Entry{Step: step.Name, Start: t.r.cfg.Clock.Now(), Outcome: OutcomeUndone}
	if step.Undo != nil { // a resumed one of another version
		if err := t.undoAttempts(ctx, step, &e); err != nil {
			return err
		}
	}
	next := t.at - 1
	for next >= 0 && t.kind.Steps[next].Undo == nil {
		next--
	}
	err := t.record(ctx, func(o *Op) func(context.Context, bun.Tx) error {
		appendEntry(o, t.ended(e))
		if next >= 0 {
			o.Step = t.kind.Steps[next].Name
			return nil
		}
		o.State = Failed
		return t.hook(t.kind.Failed, o)
	})
	if err != nil {
		return unwrapRecord(err)
	}
	t.at = max(next, 0)
	t.observe(ctx, e)
	_ = failpoint.At(ctx, t.point(step, ".undo.after-record"))
	return nil
}

// undoAttempts calls Undo until it succeeds; a reason that does not pass is
// accepted in the end, and stays in the journal.
func (t *task) undoAttempts(ctx context.Context, step *Step, e *Entry) error {
	pause, hard := retryFirst, 0
	for {
		e.Attempts++
		err := t.call(ctx, step, step.Undo, ".undo", t.r.cfg.Clock.Now().Add(time.Hour))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			return nil
		}
		t.op.onRecord = nil
		delay := pause/2 + rand.N(pause)
		if w, ok := errors.AsType[*waitError](err); ok {
			delay = max(w.d, retryFirst)
		} else {
			if !passing(err) {
				hard++
			}
			e.Error = err.Error()
			t.r.cfg.Log.WarnContext(ctx, "undo of an operation's step", "operation_id", t.op.ID, "kind", t.kind.Name,
				"step", step.Name, "attempt", e.Attempts, "error", err.Error())
			if hard >= undoAttempts {
				e.Outcome = OutcomeUndoFailed
				return nil
			}
			pause = min(2*pause, retryLast)
		}
		if err := t.sleep(ctx, delay, t.r.cfg.Clock.Now().Add(time.Hour)); err != nil {
			return err
		}
	}
}
