package compute

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
)

var (
	// errNotCurrent: the conductor says that the operation is over or another's.
	errNotCurrent = errors.New("operation is no longer current")
	// errSuperseded: the server is being deleted.
	errSuperseded = errors.New("operation gave way to a deletion")
	// errRetry: the conductor could not be told; the message has to come again.
	errRetry = errors.New("conductor did not answer")
	// errStopping: the agent ends; the next one takes the operation up.
	errStopping = errors.New("agent is stopping")
)

// running is an operation in this process.
type running struct {
	op     rpc.ServerOp
	method string
	cancel context.CancelCauseFunc
	done   chan struct{} // closed after err is set
	err    error
	vif    *rpc.VIF // what an attach answers
}

// A work does an operation. Its error becomes the fault of the server.
type work func(ctx context.Context, t *task) (rpc.Result, error)

// do runs an operation once, however often its message comes: a second message
// waits for the first one's end. It returns nil once the conductor knows the
// outcome (or has moved on), and an error when the message must come again.
func (a *Agent) do(ctx context.Context, op rpc.ServerOp, method string, f work) error {
	_, err := a.doAnd(ctx, op, method, f)
	return err
}

func (a *Agent) doAnd(ctx context.Context, op rpc.ServerOp, method string, f work) (*running, error) {
	if op.OpID == "" || op.ServerID == "" {
		return nil, fault.New(fault.BadRequest, "%s: operation or server is not named", method)
	}
	a.mu.Lock()
	if r := a.ops[op.OpID]; r != nil {
		a.mu.Unlock()
		select {
		case <-r.done:
			return r, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	// The caller's deadline is not the work's: a caller that gave up does not
	// leave a server half-made.
	wctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	r := &running{op: op, method: method, cancel: cancel, done: make(chan struct{})}
	a.ops[op.OpID] = r
	if method == rpc.MethodDelete {
		for _, other := range a.ops {
			if other != r && other.op.ServerID == op.ServerID && other.method != rpc.MethodDelete {
				other.cancel(errSuperseded)
			}
		}
	}
	a.mu.Unlock()
	go func() {
		select {
		case <-a.stopped:
			cancel(errStopping)
		case <-r.done:
		}
	}()
	err := a.run(wctx, r, f)
	a.mu.Lock()
	delete(a.ops, op.OpID)
	r.err = err
	a.mu.Unlock()
	close(r.done)
	cancel(nil)
	return r, err
}

// run does the work with the server to itself, and finishes it.
func (a *Agent) run(ctx context.Context, r *running, f work) error {
	defer a.locks.Lock(r.op.ServerID)()
	t := &task{a: a, op: r.op, method: r.method}
	var res rpc.Result
	err := context.Cause(ctx)
	if err == nil {
		res, err = f(ctx, t)
		r.vif = t.vif
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errStopping):
		return cause
	case errors.Is(cause, errSuperseded), errors.Is(cause, errNotCurrent), errors.Is(err, errNotCurrent):
		a.log.InfoContext(ctx, "operation dropped", slog.String("server_id", r.op.ServerID), slog.String("op_id", r.op.OpID),
			slog.String("method", r.method), slog.Any("error", errors.Join(cause, err)))
		a.sweep(context.WithoutCancel(ctx), r.op.ServerID)
		return nil
	case errors.Is(err, errRetry), errors.Is(err, failpoint.ErrDropped):
		return err
	}
	if err != nil {
		a.log.ErrorContext(ctx, "operation did not succeed", slog.String("server_id", r.op.ServerID), slog.String("op_id", r.op.OpID),
			slog.String("method", r.method), slog.Any("error", err))
		res.Fault = faultOf(r, err)
		res.PowerState = a.powerState(ctx, r.op.ServerID)
	}
	return a.finish(ctx, t, res)
}

// powerState is what the server does now, no state if that cannot be told.
func (a *Agent) powerState(ctx context.Context, id string) int {
	in, err := a.driver.Info(context.WithoutCancel(ctx), id)
	if err != nil {
		return rpc.PowerNoState
	}
	return in.PowerState
}

// faultOf makes of an error what the server's owner may read. Only faults are
// written for callers; anything else stays in Details, which admins see.
func faultOf(r *running, err error) *rpc.Fault {
	if f := fault.As(err); f != nil && f.Kind != fault.Internal {
		return &rpc.Fault{Code: f.Kind.Status(), Message: f.Text, Details: err.Error()}
	}
	what := map[string]string{rpc.MethodBuild: "Build of instance %s aborted.", rpc.MethodRebuild: "Rebuild of instance %s aborted."}[r.method]
	if what == "" {
		what = "The hypervisor could not do what was asked of instance %s."
	}
	return &rpc.Fault{Code: http.StatusInternalServerError, Message: fmt.Sprintf(what, r.op.ServerID), Details: err.Error()}
}

// finishTries is how often the conductor is told before the message is given
// back to the bus, which brings it again.
const finishTries = 8

func (a *Agent) finish(ctx context.Context, t *task, res rpc.Result) error {
	steps := t.take()
	in := rpc.FinishArgs{OpID: t.op.OpID, ServerID: t.op.ServerID, Host: a.cfg.Host, Steps: steps, Result: res}
	pause := 100 * time.Millisecond
	var err error
	for range finishTries {
		err = a.conductor.Finish(ctx, in)
		if notCurrent(err) {
			a.sweep(context.WithoutCancel(ctx), t.op.ServerID)
		}
		if err == nil || notCurrent(err) {
			return t.recorded(ctx, steps)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.clock.After(pause):
		}
		pause = min(2*pause, 5*time.Second)
	}
	return fmt.Errorf("finish operation %s: %w", t.op.OpID, err)
}

// notCurrent tells whether the conductor refused because it has moved on.
func notCurrent(err error) bool {
	return fault.Is(err, fault.NotFound) || fault.Is(err, fault.Conflict) || fault.Is(err, fault.Gone)
}

// renew tells the conductor which operations are still worked on and drops
// those that it has given to another.
func (a *Agent) renew(ctx context.Context) {
	a.mu.Lock()
	ids := make([]string, 0, len(a.ops))
	for id := range a.ops {
		ids = append(ids, id)
	}
	a.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	reply, err := a.conductor.Progress(ctx, rpc.ProgressArgs{Host: a.cfg.Host, OpIDs: ids})
	if err != nil {
		a.log.WarnContext(ctx, "leases not renewed", slog.Any("error", err))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range reply.Lost {
		if r := a.ops[id]; r != nil {
			r.cancel(errNotCurrent)
		}
	}
}

// busy lists the servers with an operation in this process.
func (a *Agent) busy() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, r := range a.ops {
		out = append(out, r.op.ServerID)
	}
	return out
}
