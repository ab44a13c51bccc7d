package nova

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/operation"
)

// Moments of a boot step at which a test or a drill may act.
const (
	BeforeEffect = "before-effect"
	AfterEffect  = "after-effect"
	AfterRecord  = "after-record"
)

const stepCode = "nova.boot."

// BootPoint passes the fault point of a boot's step at a moment. Its error
// names the step.
func BootPoint(ctx context.Context, n int, moment string) error {
	return atStep(n, failpoint.At(ctx, stepCode+strconv.Itoa(n)+"."+moment))
}

// recordedSteps passes the fault points after the record of several steps.
func recordedSteps(ctx context.Context, from, to int) error {
	for n := from; n <= to; n++ {
		if err := BootPoint(ctx, n, AfterRecord); err != nil {
			return err
		}
	}
	return nil
}

// stepNames are the steps whose effect is on this side.
var stepNames = map[int]string{8: "ask for a host", 9: "take the request", 10: "pick and claim a host", 11: "return the host",
	12: "cast the build", 13: "take the build", 22: "bind ports", 25: "attach volumes", 28: "start the server"}

// atStep marks an error with the step it happened in, unless it is marked
// already; the mark is the fault's code, which crosses the bus.
func atStep(n int, err error) error {
	if err == nil {
		return nil
	}
	f := fault.As(err)
	if f == nil {
		f = fault.Wrap(fault.Internal, err, "internal error")
	}
	if strings.HasPrefix(f.Code, stepCode) {
		return err
	}
	marked := *f
	marked.Code = stepCode + strconv.Itoa(n)
	return &marked
}

// stepOf is the step that an error is marked with, 0 for none.
func stepOf(err error) int {
	f := fault.As(err)
	if f == nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimPrefix(f.Code, stepCode)) // 0 for another code
	return n
}

// stepFailed ends a boot whose own part failed for good: the server is ERROR at
// once, and fault and trace name the step. What may pass is left to the
// operation, which tries again.
func (s *Service) stepFailed(ctx context.Context, op *operation.Op, srv *Server, err error) error {
	n := stepOf(err)
	switch kind := fault.KindOf(err); {
	case n == 0, errors.Is(err, failpoint.ErrDropped), kind == fault.Unavailable, kind == fault.Timeout, ctx.Err() != nil:
		return err
	}
	s.log.WarnContext(ctx, "boot step failed", "server_id", srv.ID, "step", n, "error", err)
	f := &Fault{Code: 500, Message: stepText(n, fault.As(err).Text), Created: s.clock.Now()}
	if err := s.bootError(ctx, op, srv, f, []rpc.Step{failedStep(n, f, f.Created)}, eventOf(kindBoot), srv.Host); err != nil {
		return err
	}
	return fault.New(fault.Internal, "%s", f.Message)
}

func stepText(n int, why string) string { return fmt.Sprintf("step %d (%s): %s", n, stepNames[n], why) }

func failedStep(n int, f *Fault, now time.Time) rpc.Step {
	return rpc.Step{N: n, Name: stepNames[n], Actor: "nova-conductor", Peer: "nova-compute", Protocol: rpc.ProtoAMQP, Start: now,
		Outcome: rpc.OutcomeError, Detail: f.Message}
}

// lateStep is the step that a boot was in when its deadline passed.
func lateStep(op *operation.Op, srv *Server) int {
	if op.Step == "schedule" || srv.Host == "" {
		return 10
	}
	switch srv.TaskState {
	case TaskNetworking:
		return 22
	case TaskBlockDeviceMapping:
		return 25
	case TaskSpawning:
		return 28
	}
	return 13
}
