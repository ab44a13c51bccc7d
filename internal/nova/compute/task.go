package compute

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// A task is one operation's talk with the conductor. Steps are gathered and
// told in as few calls as possible.
type task struct {
	a      *Agent
	op     rpc.ServerOp
	method string
	spec   *rpc.ServerSpec
	vif    *rpc.VIF // what an attach made, for the caller that waits

	mu    sync.Mutex // guards steps: image and network go side by side
	steps []rpc.Step
}

// info asks the conductor for the server and moves it to taskState.
func (t *task) info(ctx context.Context, taskState string) error {
	steps := t.take()
	spec, err := t.a.conductor.ServerInfo(ctx, rpc.ServerInfoArgs{ServerID: t.op.ServerID, OpID: t.op.OpID,
		Host: t.a.cfg.Host, TaskState: taskState, Steps: steps})
	if err != nil {
		if notCurrent(err) {
			return fmt.Errorf("%w: %w", errNotCurrent, err)
		}
		return fmt.Errorf("%w: %w", errRetry, err)
	}
	t.spec = spec
	return t.recorded(ctx, steps)
}

// tell reports the steps so far, and checks that the operation is current.
func (t *task) tell(ctx context.Context, taskState string) error {
	steps := t.take()
	err := t.a.conductor.Report(ctx, rpc.ReportArgs{OpID: t.op.OpID, ServerID: t.op.ServerID, Host: t.a.cfg.Host, TaskState: taskState, Steps: steps})
	if err != nil {
		if notCurrent(err) {
			return fmt.Errorf("%w: %w", errNotCurrent, err)
		}
		return fmt.Errorf("%w: %w", errRetry, err)
	}
	return t.recorded(ctx, steps)
}

// take empties the list of unreported steps.
func (t *task) take() []rpc.Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.steps
	t.steps = nil
	slices.SortFunc(out, func(a, b rpc.Step) int { return a.N - b.N })
	return out
}

// recorded passes the fault points that come after a step is in the database.
func (t *task) recorded(ctx context.Context, steps []rpc.Step) error {
	for _, s := range steps {
		if err := failpoint.At(ctx, t.point(s, "after-record")); err != nil {
			return err
		}
	}
	return nil
}

// point names a fault point: nova.boot.N.WHEN for the steps of a boot, else by
// the operation and the step's name.
func (t *task) point(s rpc.Step, when string) string {
	if s.N > 0 {
		return "nova.boot." + strconv.Itoa(s.N) + "." + when
	}
	return "nova." + t.method + "." + s.Name + "." + when
}

func (a *Agent) actor() string { return "nova-compute@" + a.cfg.Host }

// step does one step of the agent's own, with fault points around it, and notes
// it. A numbered step is one of the 28 of a boot; steps of other operations
// have number 0 and are not told to the conductor.
func (t *task) step(ctx context.Context, s rpc.Step, f func() (detail string, err error)) error {
	if s.Actor == "" {
		s.Actor = t.a.actor()
	}
	s.Start = t.a.clock.Now()
	err := failpoint.At(ctx, t.point(s, "before-effect"))
	if err == nil {
		s.Detail, err = f()
	}
	if err == nil {
		err = failpoint.At(ctx, t.point(s, "after-effect"))
	}
	s.Duration = t.a.clock.Now().Sub(s.Start)
	s.Outcome = rpc.OutcomeOK
	if err != nil {
		s.Outcome, s.Detail = rpc.OutcomeError, ownerText(err)
	}
	if s.N > 0 {
		t.note(s)
	} else if err == nil {
		err = failpoint.At(ctx, t.point(s, "after-record"))
	}
	return err
}

// ownerText is the part of an error that the server's owner may read.
func ownerText(err error) string {
	if f := fault.As(err); f != nil && f.Kind != fault.Internal {
		return f.Text
	}
	return "internal error"
}

// note adds a finished step.
func (t *task) note(s rpc.Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = append(t.steps, s)
}
