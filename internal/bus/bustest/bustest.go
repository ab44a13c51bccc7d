// Package bustest is the contract of bus.Bus as tests; every engine runs it.
package bustest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/telemetry"
)

// options are what the suite expects the engine to be opened with, so that
// retries and limits can be seen in a test's time.
var options = bus.Options{
	Concurrency: 4, Attempts: 3, Backoff: 20 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
	Grace: 100 * time.Millisecond, Drain: 2 * time.Second,
}

// Run holds an engine to the contract. open makes a new connection with the
// given options; all connections of one test reach the same broker.
func Run(t *testing.T, open func(t *testing.T, o bus.Options) bus.Bus) {
	for name, test := range map[string]func(*testing.T, bus.Bus){
		"CallAnswersWithTheResult":            callAnswers,
		"CallCarriesFaultsIntact":             callFaults,
		"CallHidesWhatIsNotAFault":            callHides,
		"CallSurvivesAPanic":                  callPanics,
		"CallEndsByItsDeadline":               callDeadline,
		"CallToNobodyFailsByItsDeadline":      callNobody,
		"CallCarriesRequestIDAndDeadline":     callContext,
		"CallReachesTheNamedHost":             callHost,
		"CallsRunUpToTheLimitAtOnce":          callLimit,
		"CallWithBadArgumentsIsRefused":       callBadArguments,
		"CastRunsOnce":                        castOnce,
		"CastWaitsForAServer":                 castWaits,
		"CastIsTriedAgainAfterAnError":        castRetried,
		"CastIsNotTriedAgainAfterAFault":      castFault,
		"CastIsDroppedAfterTheLastAttempt":    castDropped,
		"CastsAreSharedBetweenServers":        castShared,
		"FanoutReachesEveryServer":            fanoutAll,
		"StopLetsHandlersFinish":              stopDrains,
		"StoppedServerGetsNothing":            stopDetaches,
		"ContextOfServeStopsTheServer":        contextStops,
		"ClosedBusRefuses":                    closedRefuses,
		"ManyCallsAtOnceGetTheirOwnAnswers":   manyCalls,
		"HandlersMayCallEachOther":            nestedCalls,
		"StatsCountMessages":                  statsCount,
		"LargeMessagesArriveWhole":            largeMessages,
		"CopiesOfAMessageRunOnce":             copiesRunOnce,
		"CallWithALostReplyTimesOut":          lostReply,
		"CallCancelledByItsCallerReturnsSoon": callCancelled,
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, options)
			t.Cleanup(func() { _ = b.Close() })
			test(t, b)
		})
	}
}

type pair struct {
	A int    `json:"a"`
	B string `json:"b"`
}

func topic(t *testing.T) string {
	t.Helper()
	return "t-" + ids.Hex()[:12]
}

func serve(t *testing.T, b bus.Bus, topic, host string, h bus.Handler) func() {
	t.Helper()
	stop, err := b.Serve(t.Context(), topic, host, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return stop
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until ok or ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never happened: %s", what)
}

func callAnswers(t *testing.T, b bus.Bus) {
	tp, m := topic(t), bus.NewMux()
	bus.On(m, "grow", func(_ context.Context, in pair) (pair, error) { return pair{in.A + 1, in.B + "!"}, nil })
	bus.On(m, "quiet", func(context.Context, pair) (any, error) { return nil, nil })
	serve(t, b, tp, "h1", m.Handle)
	var out pair
	if err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "grow", pair{1, "x"}, &out); err != nil {
		t.Fatal(err)
	}
	if out != (pair{2, "x!"}) {
		t.Fatalf("reply = %+v", out)
	}
	if err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "quiet", nil, nil); err != nil {
		t.Fatalf("call without arguments and reply: %v", err)
	}
}

func callFaults(t *testing.T, b bus.Bus) {
	tp := topic(t)
	serve(t, b, tp, "", func(context.Context, *bus.Message) (any, error) {
		return nil, fmt.Errorf("around: %w", fault.New(fault.Conflict, "port %s is in use", "p1").WithCode("PortInUse"))
	})
	err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "x", nil, nil)
	f := fault.As(err)
	if f == nil || f.Kind != fault.Conflict || f.Text != "port p1 is in use" || f.Code != "PortInUse" {
		t.Fatalf("fault = %#v (%v)", f, err)
	}
}

func callHides(t *testing.T, b bus.Bus) {
	tp := topic(t)
	serve(t, b, tp, "", func(context.Context, *bus.Message) (any, error) {
		return nil, errors.New("password=hunter2")
	})
	err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "leak", nil, nil)
	if !fault.Is(err, fault.Internal) || fault.As(err) == nil {
		t.Fatalf("error = %v, want an Internal fault", err)
	}
	if got := err.Error(); got != "leak failed" {
		t.Fatalf("text = %q", got)
	}
}

func callPanics(t *testing.T, b bus.Bus) {
	tp := topic(t)
	serve(t, b, tp, "", func(_ context.Context, m *bus.Message) (any, error) {
		if m.Method == "boom" {
			panic("boom")
		}
		return "fine", nil
	})
	if err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "boom", nil, nil); fault.As(err) == nil {
		t.Fatalf("error = %v, want a fault", err)
	}
	var out string
	if err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "ok", nil, &out); err != nil || out != "fine" {
		t.Fatalf("after the panic: %q, %v", out, err)
	}
}

func callDeadline(t *testing.T, b bus.Bus) {
	tp := topic(t)
	serve(t, b, tp, "", func(ctx context.Context, _ *bus.Message) (any, error) {
		<-ctx.Done() // the deadline travels, so this ends too
		return nil, ctx.Err()
	})
	err := b.Call(within(t, 300*time.Millisecond), bus.Target{Topic: tp, Host: ""}, "hang", nil, nil)
	if !fault.Is(err, fault.Timeout) {
		t.Fatalf("error = %v, want a Timeout", err)
	}
}

func callNobody(t *testing.T, b bus.Bus) {
	to := bus.Target{Topic: topic(t), Host: "nobody"}
	err := b.Call(within(t, 700*time.Millisecond), to, "x", nil, nil)
	if !fault.Is(err, fault.Timeout) && !fault.Is(err, fault.Unavailable) {
		t.Fatalf("error = %v, want Timeout or Unavailable", err)
	}
	if text := fault.As(err).Text; !strings.Contains(text, to.String()) || !strings.Contains(text, "x") {
		t.Fatalf("text %q does not name target and method", text)
	}
}

func callContext(t *testing.T, b bus.Bus) {
	tp := topic(t)
	type seen struct {
		ID    string
		MsgID string
		Left  time.Duration
	}
	serve(t, b, tp, "", func(ctx context.Context, m *bus.Message) (any, error) {
		d, _ := ctx.Deadline()
		return seen{telemetry.RequestID(ctx), m.RequestID, time.Until(d)}, nil
	})
	ctx := telemetry.WithRequestID(within(t, 20*time.Second), "req-1")
	var out seen
	if err := b.Call(ctx, bus.Target{Topic: tp}, "x", nil, &out); err != nil {
		t.Fatal(err)
	}
	if out.ID != "req-1" || out.MsgID != "req-1" {
		t.Errorf("request id = %+v", out)
	}
	if out.Left <= 5*time.Second || out.Left > 20*time.Second {
		t.Errorf("deadline left = %s, want a little under 20s", out.Left)
	}
}

func callHost(t *testing.T, b bus.Bus) {
	tp := topic(t)
	for _, h := range []string{"h1", "h2"} {
		serve(t, b, tp, h, func(context.Context, *bus.Message) (any, error) { return h, nil })
	}
	for range 5 {
		for _, h := range []string{"h1", "h2"} {
			var out string
			if err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp, Host: h}, "who", nil, &out); err != nil || out != h {
				t.Fatalf("asked %s, got %q, %v", h, out, err)
			}
		}
	}
}

func callLimit(t *testing.T, b bus.Bus) {
	tp := topic(t)
	var now, most atomic.Int64
	serve(t, b, tp, "h", func(context.Context, *bus.Message) (any, error) {
		n := now.Add(1)
		for {
			old := most.Load()
			if n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		time.Sleep(50 * time.Millisecond)
		now.Add(-1)
		return nil, nil
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := b.Call(within(t, 20*time.Second), bus.Target{Topic: tp}, "x", nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := most.Load(); got != int64(options.Concurrency) {
		t.Errorf("%d handlers at once, want %d", got, options.Concurrency)
	}
}

func callBadArguments(t *testing.T, b bus.Bus) {
	tp, m := topic(t), bus.NewMux()
	bus.On(m, "grow", func(_ context.Context, in pair) (pair, error) { return in, nil })
	serve(t, b, tp, "", m.Handle)
	err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "grow", []int{1}, nil)
	if !fault.Is(err, fault.BadRequest) {
		t.Errorf("bad arguments: %v", err)
	}
	err = b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "shrink", nil, nil)
	if !fault.Is(err, fault.NotImplemented) {
		t.Errorf("unknown method: %v", err)
	}
}

func callCancelled(t *testing.T, b bus.Bus) {
	tp := topic(t)
	serve(t, b, tp, "", func(ctx context.Context, _ *bus.Message) (any, error) {
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		return nil, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := b.Call(ctx, bus.Target{Topic: tp}, "x", nil, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("error = %v, want context.Canceled", err)
	}
}
