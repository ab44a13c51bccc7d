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
	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
)

func cast(t *testing.T, b bus.Bus, to bus.Target, method string, args any) {
	t.Helper()
	if err := b.Cast(within(t, 10*time.Second), to, method, args); err != nil {
		t.Fatal(err)
	}
}

func castOnce(t *testing.T, b bus.Bus) {
	tp, m := topic(t), bus.NewMux()
	got := make(chan pair, 10)
	bus.On(m, "note", func(_ context.Context, in pair) (any, error) { got <- in; return nil, nil })
	serve(t, b, tp, "h1", m.Handle)
	serve(t, b, tp, "h2", m.Handle)
	cast(t, b, bus.Target{Topic: tp}, "note", pair{7, "seven"})
	select {
	case in := <-got:
		if in != (pair{7, "seven"}) {
			t.Fatalf("got %+v", in)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("not delivered")
	}
	select {
	case in := <-got:
		t.Fatalf("a second server got it too: %+v", in)
	case <-time.After(200 * time.Millisecond):
	}
}

func castWaits(t *testing.T, b bus.Bus) {
	tp := topic(t)
	cast(t, b, bus.Target{Topic: tp}, "early", nil)
	cast(t, b, bus.Target{Topic: tp, Host: "h1"}, "earlier", nil)
	var n atomic.Int64
	serve(t, b, tp, "h1", func(context.Context, *bus.Message) (any, error) { n.Add(1); return nil, nil })
	eventually(t, "both waiting casts delivered", func() bool { return n.Load() == 2 })
}

func castRetried(t *testing.T, b bus.Bus) {
	tp := topic(t)
	var mu sync.Mutex
	var attempts []bool
	serve(t, b, tp, "", func(_ context.Context, m *bus.Message) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		attempts = append(attempts, m.Redelivered)
		switch len(attempts) {
		case 1:
			return nil, errors.New("database is away")
		case 2:
			panic("and now this")
		}
		return nil, nil
	})
	cast(t, b, bus.Target{Topic: tp}, "x", nil)
	eventually(t, "third attempt", func() bool { mu.Lock(); defer mu.Unlock(); return len(attempts) >= 3 })
	time.Sleep(200 * time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(attempts) != "[false true true]" {
		t.Fatalf("redelivered flags = %v", attempts)
	}
}

func castFault(t *testing.T, b bus.Bus) {
	tp := topic(t)
	var n atomic.Int64
	serve(t, b, tp, "", func(context.Context, *bus.Message) (any, error) {
		n.Add(1)
		return nil, fault.New(fault.NotFound, "server is gone")
	})
	cast(t, b, bus.Target{Topic: tp}, "x", nil)
	eventually(t, "delivery", func() bool { return n.Load() > 0 })
	time.Sleep(300 * time.Millisecond)
	if n.Load() != 1 {
		t.Fatalf("ran %d times", n.Load())
	}
}

func castDropped(t *testing.T, b bus.Bus) {
	tp := topic(t)
	var n atomic.Int64
	serve(t, b, tp, "", func(_ context.Context, m *bus.Message) (any, error) {
		if m.Method == "ok" {
			return nil, nil
		}
		n.Add(1)
		return nil, errors.New("never works")
	})
	cast(t, b, bus.Target{Topic: tp}, "poison", nil)
	eventually(t, "drop", func() bool { return b.Stats().Dropped == 1 })
	time.Sleep(200 * time.Millisecond)
	if n.Load() != int64(options.Attempts) {
		t.Errorf("ran %d times, want %d", n.Load(), options.Attempts)
	}
	if err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "ok", nil, nil); err != nil {
		t.Errorf("the server does not serve any more: %v", err)
	}
}

func castShared(t *testing.T, b bus.Bus) {
	tp := topic(t)
	var n [2]atomic.Int64
	for i := range n {
		serve(t, b, tp, fmt.Sprint("h", i), func(context.Context, *bus.Message) (any, error) {
			n[i].Add(1)
			time.Sleep(5 * time.Millisecond)
			return nil, nil
		})
	}
	for range 40 {
		cast(t, b, bus.Target{Topic: tp}, "x", nil)
	}
	eventually(t, "all 40 handled", func() bool { return n[0].Load()+n[1].Load() == 40 })
	if n[0].Load() == 0 || n[1].Load() == 0 {
		t.Errorf("one server did it all: %d and %d", n[0].Load(), n[1].Load())
	}
}

func fanoutAll(t *testing.T, b bus.Bus) {
	tp := topic(t)
	var n [3]atomic.Int64
	for i := range n {
		serve(t, b, tp, fmt.Sprint("h", i), func(_ context.Context, m *bus.Message) (any, error) {
			n[i].Add(1)
			return nil, errors.New("fanouts are not tried again")
		})
	}
	eventually(t, "every server told", func() bool {
		return b.Fanout(within(t, 10*time.Second), tp, "refresh", pair{}) == nil
	})
	eventually(t, "every server told", func() bool {
		return n[0].Load() == 1 && n[1].Load() == 1 && n[2].Load() == 1
	})
	if err := b.Fanout(within(t, 10*time.Second), topic(t), "nobody listens", nil); err != nil {
		t.Errorf("fanout to nobody: %v", err)
	}
}

func stopDrains(t *testing.T, b bus.Bus) {
	tp := topic(t)
	started := make(chan struct{})
	stop := serve(t, b, tp, "", func(context.Context, *bus.Message) (any, error) {
		close(started)
		time.Sleep(300 * time.Millisecond)
		return "done", nil
	})
	result := make(chan error, 1)
	go func() {
		var out string
		err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "x", nil, &out)
		if err == nil && out != "done" {
			err = fmt.Errorf("reply %q", out)
		}
		result <- err
	}()
	<-started
	stop()
	select {
	case err := <-result:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("the caller got no reply of the handler that was running")
	}
}

func stopDetaches(t *testing.T, b bus.Bus) {
	tp := topic(t)
	var first, second atomic.Int64
	stop := serve(t, b, tp, "a", func(context.Context, *bus.Message) (any, error) { first.Add(1); return nil, nil })
	serve(t, b, tp, "b", func(context.Context, *bus.Message) (any, error) { second.Add(1); return nil, nil })
	stop()
	stop() // twice is harmless
	for range 10 {
		if err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "x", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if first.Load() != 0 || second.Load() != 10 {
		t.Fatalf("stopped server got %d, the other %d", first.Load(), second.Load())
	}
}

func contextStops(t *testing.T, b bus.Bus) {
	tp := topic(t)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := b.Serve(ctx, tp, "a", func(context.Context, *bus.Message) (any, error) { return "a", nil }); err != nil {
		t.Fatal(err)
	}
	cancel()
	eventually(t, "server gone", func() bool {
		return b.Call(within(t, 300*time.Millisecond), bus.Target{Topic: tp}, "x", nil, nil) != nil
	})
}

func closedRefuses(t *testing.T, b bus.Bus) {
	tp := topic(t)
	serve(t, b, tp, "", func(context.Context, *bus.Message) (any, error) { return nil, nil })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"call":   b.Call(within(t, time.Second), bus.Target{Topic: tp}, "x", nil, nil),
		"cast":   b.Cast(within(t, time.Second), bus.Target{Topic: tp}, "x", nil),
		"fanout": b.Fanout(within(t, time.Second), tp, "x", nil),
	} {
		if err == nil {
			t.Errorf("%s on a closed bus succeeded", what)
		}
	}
	if err := b.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func manyCalls(t *testing.T, b bus.Bus) {
	tp, m := topic(t), bus.NewMux()
	bus.On(m, "echo", func(_ context.Context, in pair) (pair, error) { return in, nil })
	serve(t, b, tp, "h1", m.Handle)
	serve(t, b, tp, "h2", m.Handle)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			var out pair
			err := b.Call(within(t, 30*time.Second), bus.Target{Topic: tp}, "echo", pair{A: i}, &out)
			if err != nil || out.A != i {
				t.Errorf("call %d: %+v, %v", i, out, err)
			}
		})
	}
	wg.Wait()
}

func nestedCalls(t *testing.T, b bus.Bus) {
	outer, inner := topic(t), topic(t)
	serve(t, b, inner, "", func(context.Context, *bus.Message) (any, error) { return 41, nil })
	serve(t, b, outer, "", func(ctx context.Context, _ *bus.Message) (any, error) {
		var n int
		err := b.Call(ctx, bus.Target{Topic: inner}, "x", nil, &n)
		return n + 1, err
	})
	var n int
	if err := b.Call(within(t, 10*time.Second), bus.Target{Topic: outer}, "x", nil, &n); err != nil || n != 42 {
		t.Fatalf("%d, %v", n, err)
	}
}

func statsCount(t *testing.T, b bus.Bus) {
	tp := topic(t)
	serve(t, b, tp, "", func(context.Context, *bus.Message) (any, error) { return nil, nil })
	before := b.Stats()
	if err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "x", nil, nil); err != nil {
		t.Fatal(err)
	}
	cast(t, b, bus.Target{Topic: tp}, "x", nil)
	if err := b.Fanout(within(t, 10*time.Second), tp, "x", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three deliveries", func() bool { return b.Stats().Delivered-before.Delivered == 3 })
	s := b.Stats()
	if s.Calls-before.Calls != 1 || s.Casts-before.Casts != 1 || s.Fanouts-before.Fanouts != 1 || s.Replies-before.Replies != 1 {
		t.Errorf("stats = %+v, before %+v", s, before)
	}
	if s.Messages()-before.Messages() != 4 {
		t.Errorf("messages = %d", s.Messages()-before.Messages())
	}
}

func largeMessages(t *testing.T, b bus.Bus) {
	tp, m := topic(t), bus.NewMux()
	bus.On(m, "echo", func(_ context.Context, in pair) (pair, error) { return in, nil })
	serve(t, b, tp, "", m.Handle)
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	var out pair
	if err := b.Call(within(t, 20*time.Second), bus.Target{Topic: tp}, "echo", pair{B: big}, &out); err != nil {
		t.Fatal(err)
	}
	if out.B != big {
		t.Fatalf("%d bytes came back", len(out.B))
	}
}

func copiesRunOnce(t *testing.T, b bus.Bus) {
	tp := topic(t)
	var n atomic.Int64
	serve(t, b, tp, "h", func(context.Context, *bus.Message) (any, error) {
		time.Sleep(20 * time.Millisecond)
		return n.Add(1), nil
	})
	arm(t, "bus.send.duplicate=error")
	before := b.Stats().Duplicates
	cast(t, b, bus.Target{Topic: tp, Host: "h"}, "x", nil)
	eventually(t, "the copy recognised", func() bool { return b.Stats().Duplicates-before == 1 })
	var out int64
	if err := b.Call(within(t, 10*time.Second), bus.Target{Topic: tp}, "x", nil, &out); err != nil || out != 2 {
		t.Errorf("call: %d, %v", out, err)
	}
	eventually(t, "the copy of the call recognised", func() bool { return b.Stats().Duplicates-before == 2 })
	if n.Load() != 2 {
		t.Errorf("two messages ran %d times", n.Load())
	}
}

func lostReply(t *testing.T, b bus.Bus) {
	tp := topic(t)
	var n atomic.Int64
	serve(t, b, tp, "", func(context.Context, *bus.Message) (any, error) { n.Add(1); return nil, nil })
	arm(t, "bus.reply.before-send=drop#1")
	if err := b.Call(within(t, 500*time.Millisecond), bus.Target{Topic: tp}, "x", nil, nil); !fault.Is(err, fault.Timeout) {
		t.Errorf("error = %v, want a Timeout", err)
	}
	if n.Load() != 1 {
		t.Errorf("the effect happened %d times", n.Load())
	}
}

func arm(t *testing.T, spec string) {
	t.Helper()
	if err := failpoint.Arm(spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { failpoint.Disarm() })
}
