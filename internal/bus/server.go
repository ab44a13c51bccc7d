package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/propagation"

	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/telemetry"
)

type kind string

const (
	kindCall   kind = "call"
	kindCast   kind = "cast"
	kindFanout kind = "fanout"
)

// An inbound is a delivered message with what travels beside it.
type inbound struct {
	Message
	kind    kind
	timeout time.Duration // of a call: what its caller had left when it was sent
	trace   propagation.MapCarrier
	attempt int // 1 for the first delivery
}

// An outcome is what a handler made of a message.
type outcome struct {
	body  json.RawMessage
	fault *fault.Error
	// err is set when a cast has to be tried again.
	err error
}

// A runner runs one server's handler, the same way in every engine.
type runner struct {
	opts    Options
	log     *slog.Logger
	count   *counters
	handler Handler
	seen    *window

	ctx    context.Context //nolint:containedctx // the life of the handlers; outlives the context given to Serve
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newRunner(ctx context.Context, o Options, c *counters, topic, host string, h Handler) *runner {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &runner{
		opts: o, log: o.Log.With("topic", topic, "host", host), count: c, handler: h,
		seen: newWindow(o.Window), ctx: base, cancel: cancel,
	}
}

// run handles one delivery, unless it is a copy of one that this server has
// done or is doing: then it waits for that one and returns its outcome.
func (r *runner) run(in *inbound) outcome {
	e, first := r.seen.begin(in.ID)
	if !first {
		r.count.duplicates.Add(1)
		<-e.done
		return e.out
	}
	out := r.invoke(in)
	r.seen.finish(in.ID, e, out)
	return out
}

func (r *runner) invoke(in *inbound) outcome {
	ctx := propagation.TraceContext{}.Extract(r.ctx, in.trace)
	ctx = telemetry.WithRequestID(ctx, in.RequestID)
	if in.kind == kindCall {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, in.timeout)
		defer cancel()
	}
	r.count.delivered.Add(1)
	result, err := r.call(ctx, &in.Message)
	if ferr := failpoint.At(ctx, "bus."+string(in.kind)+".after-effect"); ferr != nil {
		err = ferr
	}
	if err == nil {
		body, encErr := encode(result)
		if encErr == nil {
			return outcome{body: body}
		}
		err = fmt.Errorf("encode the reply: %w", encErr)
	}
	if f := fault.As(err); f != nil {
		if in.kind != kindCall {
			r.log.WarnContext(ctx, "message refused", "method", in.Method, "message_id", in.ID, "error", err)
		}
		return outcome{fault: f}
	}
	if in.kind == kindCast {
		return outcome{err: err}
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return outcome{fault: fault.Wrap(fault.Timeout, err, "%s: not done in time", in.Method)}
	}
	// The cause stays in this log: a caller may show a fault's text to a client.
	r.log.ErrorContext(ctx, "message failed", "method", in.Method, "message_id", in.ID, "error", err)
	return outcome{fault: fault.New(fault.Internal, "%s failed", in.Method)}
}

// call is the handler with its panics turned into errors: one bad message must
// not take the other servers of this process with it.
func (r *runner) call(ctx context.Context, m *Message) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.log.ErrorContext(ctx, "handler panicked", "method", m.Method, "message_id", m.ID,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			result, err = nil, fmt.Errorf("%s panicked: %v", m.Method, p)
		}
	}()
	return r.handler(ctx, m)
}

// replyLost is the fault point of a reply that never arrives.
func (r *runner) replyLost() bool { return failpoint.At(r.ctx, "bus.reply.before-send") != nil }

// copies is how often to send a message: once, but for the fault point that
// makes duplicates.
func copies(ctx context.Context) int {
	if failpoint.At(ctx, "bus.send.duplicate") != nil {
		return 2
	}
	return 1
}

// again tells whether a failed cast gets another try, and after what pause.
func (r *runner) again(in *inbound, err error) (time.Duration, bool) {
	attrs := []any{"method", in.Method, "message_id", in.ID, "attempt", in.attempt, "error", err}
	if in.attempt >= r.opts.Attempts {
		r.count.dropped.Add(1)
		r.log.ErrorContext(r.ctx, "message dropped after its last attempt", attrs...)
		return 0, false
	}
	r.count.retried.Add(1)
	r.log.WarnContext(r.ctx, "message will be tried again", attrs...)
	return r.opts.backoff(in.attempt), true
}

// drain waits for running handlers, and after the grace cancels them.
func (r *runner) drain() {
	done := make(chan struct{})
	go func() { r.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(r.opts.Drain):
		r.cancel()
		select {
		case <-done:
		case <-time.After(r.opts.Drain):
			r.log.Warn("handlers do not end, left behind")
		}
	}
	r.cancel()
}

// outgoing gives a message what travels beside it.
func outgoing(ctx context.Context, id, method string, args any, k kind) (*inbound, error) {
	raw, err := encode(args)
	if err != nil {
		return nil, fmt.Errorf("encode the arguments of %s: %w", method, err)
	}
	in := &inbound{
		Message: Message{ID: id, Method: method, Args: raw, RequestID: telemetry.RequestID(ctx)},
		kind:    k, trace: propagation.MapCarrier{}, attempt: 1,
	}
	propagation.TraceContext{}.Inject(ctx, in.trace)
	return in, nil
}
