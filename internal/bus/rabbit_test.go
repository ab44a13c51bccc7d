package bus_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/bus/bustest"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// rabbitURL is a real broker; the tests that need one skip without it.
func rabbitURL(t testing.TB) string {
	t.Helper()
	url := os.Getenv("HASTACK_TEST_RABBITMQ")
	if url == "" {
		t.Skip("HASTACK_TEST_RABBITMQ names no broker")
	}
	return url
}

func dial(t testing.TB, o bus.Options, urls ...string) *bus.Rabbit {
	t.Helper()
	b, err := bus.DialRabbit(t.Context(), bus.RabbitConfig{URLs: urls, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func deadline(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func newTopic() string { return "r-" + ids.Hex()[:12] }

func TestRabbitKeepsTheContract(t *testing.T) {
	url := rabbitURL(t)
	bustest.Run(t, func(t *testing.T, o bus.Options) bus.Bus { return dial(t, o, url) })
}

func TestRabbitCallsReachAnotherProcess(t *testing.T) {
	url, tp := rabbitURL(t), newTopic()
	server, client := dial(t, bus.Options{}, url), dial(t, bus.Options{}, url)
	if _, err := server.Serve(t.Context(), tp, "h", func(context.Context, *bus.Message) (any, error) { return "hi", nil }); err != nil {
		t.Fatal(err)
	}
	var out string
	if err := client.Call(deadline(t, 10*time.Second), bus.Target{Topic: tp}, "x", nil, &out); err != nil || out != "hi" {
		t.Fatalf("%q, %v", out, err)
	}
}

func TestRabbitDialTriesEveryMember(t *testing.T) {
	url := rabbitURL(t)
	b := dial(t, bus.Options{}, "amqp://a:b@127.0.0.1:1/", "amqp://a:b@127.0.0.1:2/", url)
	if err := b.Cast(deadline(t, 10*time.Second), bus.Target{Topic: newTopic()}, "x", nil); err != nil {
		t.Fatal(err)
	}
}

func TestRabbitDialErrorShowsNoPassword(t *testing.T) {
	ctx := deadline(t, 300*time.Millisecond)
	_, err := bus.DialRabbit(ctx, bus.RabbitConfig{URLs: []string{"amqp://user:hunter2@127.0.0.1:1/"}})
	if !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("error = %v", err)
	}
	_, err = bus.DialRabbit(ctx, bus.RabbitConfig{URLs: []string{"amqp://user:hunter2@[::bad/%zz"}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("error = %v", err)
	}
}

// Calls and casts go on while every connection is cut again and again.
func TestRabbitSurvivesCutConnections(t *testing.T) {
	tp := newTopic()
	p := newProxy(t, rabbitURL(t))
	server, client := dial(t, bus.Options{}, p.url), dial(t, bus.Options{}, p.url)
	var mu sync.Mutex
	casts := map[int]int{}
	m := bus.NewMux()
	bus.On(m, "note", func(_ context.Context, n int) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		casts[n]++
		return nil, nil
	})
	bus.On(m, "echo", func(_ context.Context, n int) (int, error) { return n, nil })
	if _, err := server.Serve(t.Context(), tp, "h", m.Handle); err != nil {
		t.Fatal(err)
	}
	const n = 60
	for i := range n {
		if i%15 == 7 {
			p.cut()
		}
		if err := client.Cast(deadline(t, 30*time.Second), bus.Target{Topic: tp}, "note", i); err != nil {
			t.Fatalf("cast %d: %v", i, err)
		}
		var out int
		if err := client.Call(deadline(t, 30*time.Second), bus.Target{Topic: tp}, "echo", i, &out); err != nil || out != i {
			t.Fatalf("call %d: %d, %v", i, out, err)
		}
	}
	for range 200 {
		mu.Lock()
		got := len(casts)
		mu.Unlock()
		if got == n {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%d of %d casts arrived", len(casts), n)
}

// A call that runs while the caller loses its connection still gets the answer
// of that one run.
func TestRabbitCallInFlightSurvivesACut(t *testing.T) {
	tp, url := newTopic(), rabbitURL(t)
	p := newProxy(t, url)
	server, client := dial(t, bus.Options{}, url), dial(t, bus.Options{}, p.url)
	var n atomic.Int64
	started := make(chan struct{}, 1)
	_, err := server.Serve(t.Context(), tp, "", func(context.Context, *bus.Message) (any, error) {
		started <- struct{}{}
		time.Sleep(500 * time.Millisecond)
		return n.Add(1), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-started; p.cut() }()
	var out int64
	if err := client.Call(deadline(t, 20*time.Second), bus.Target{Topic: tp}, "x", nil, &out); err != nil || out != 1 {
		t.Fatalf("%d, %v", out, err)
	}
	if n.Load() != 1 {
		t.Fatalf("it ran %d times", n.Load())
	}
}

// A handler that is running when its connection breaks is not run again by the
// same server: its message comes back and is recognised.
func TestRabbitRedeliveryToTheSameServerIsRecognised(t *testing.T) {
	tp, url := newTopic(), rabbitURL(t)
	p := newProxy(t, url)
	server, client := dial(t, bus.Options{}, p.url), dial(t, bus.Options{}, url)
	var n atomic.Int64
	_, err := server.Serve(t.Context(), tp, "h", func(context.Context, *bus.Message) (any, error) {
		if n.Add(1) == 1 {
			p.cut()
		}
		time.Sleep(700 * time.Millisecond)
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Cast(deadline(t, 10*time.Second), bus.Target{Topic: tp}, "x", nil); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if server.Stats().Duplicates > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if server.Stats().Duplicates == 0 || n.Load() != 1 {
		t.Fatalf("ran %d times, %d duplicates", n.Load(), server.Stats().Duplicates)
	}
}

// A cast whose server dies half way is done by another.
func TestRabbitCastOfADeadServerGoesToAnother(t *testing.T) {
	tp, url := newTopic(), rabbitURL(t)
	p := newProxy(t, url)
	dead, alive := dial(t, bus.Options{Drain: 10 * time.Millisecond}, p.url), dial(t, bus.Options{}, url)
	started := make(chan struct{})
	var once sync.Once
	_, err := dead.Serve(t.Context(), tp, "a", func(ctx context.Context, _ *bus.Message) (any, error) {
		once.Do(func() { close(started) })
		<-ctx.Done() // it never finishes
		return nil, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := alive.Cast(deadline(t, 10*time.Second), bus.Target{Topic: tp}, "x", nil); err != nil {
		t.Fatal(err)
	}
	<-started
	done := make(chan bool, 1)
	_, err = alive.Serve(t.Context(), tp, "b", func(_ context.Context, m *bus.Message) (any, error) {
		done <- m.Redelivered
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.close() // as a power cut: no goodbye, and no way back
	select {
	case again := <-done:
		if !again {
			t.Error("the second delivery is not marked as redelivered")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nobody took the message over")
	}
}

func TestRabbitFailsByItsDeadlineWhenTheBrokerIsAway(t *testing.T) {
	p := newProxy(t, rabbitURL(t))
	b := dial(t, bus.Options{}, p.url)
	p.close()
	for what, err := range map[string]error{
		"call": b.Call(deadline(t, 500*time.Millisecond), bus.Target{Topic: "x"}, "m", nil, nil),
		"cast": b.Cast(deadline(t, 500*time.Millisecond), bus.Target{Topic: "x"}, "m", nil),
	} {
		if !fault.Is(err, fault.Timeout) && !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func BenchmarkRabbitCall(b *testing.B) {
	url := rabbitURL(b)
	r, tp := dial(b, bus.Options{}, url), newTopic()
	if _, err := r.Serve(b.Context(), tp, "", func(context.Context, *bus.Message) (any, error) { return 1, nil }); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := r.Call(b.Context(), bus.Target{Topic: tp}, "x", "arg", nil); err != nil {
			b.Fatal(err)
		}
	}
}

// A queue that an operator deleted is made again by the next message to it.
func TestRabbitCastSurvivesADeletedQueue(t *testing.T) {
	url, to := rabbitURL(t), bus.Target{Topic: newTopic()}
	b := dial(t, bus.Options{}, url)
	if err := b.Cast(deadline(t, 10*time.Second), to, "first", nil); err != nil {
		t.Fatal(err)
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDelete(to.Topic, false, false, false); err != nil {
		t.Fatal(err)
	}
	if err := b.Cast(deadline(t, 10*time.Second), to, "second", nil); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 2)
	if _, err := b.Serve(t.Context(), to.Topic, "", func(_ context.Context, m *bus.Message) (any, error) {
		got <- m.Method
		return nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case method := <-got:
		if method != "second" {
			t.Errorf("got %s", method)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the second message is lost")
	}
}

// After a partition members may differ about where a queue is: what is sent to
// it through one of them is lost. Asking for another queue gets a caller out.
func TestRabbitCallerWhoseAnswersGetLostTakesAnotherReplyQueue(t *testing.T) {
	url, tp := rabbitURL(t), newTopic()
	b := dial(t, bus.Options{}, url)
	stop, err := b.Serve(t.Context(), tp, "", func(context.Context, *bus.Message) (any, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	stop() // the queue stays
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	calls, err := ch.Consume(tp, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	lost := map[string]bool{}
	for range 2 {
		if err := b.Call(deadline(t, time.Second), bus.Target{Topic: tp}, "x", nil, nil); err == nil {
			t.Fatal("answered by nobody")
		}
		lost[(<-calls).ReplyTo] = true
	}
	if len(lost) != 1 {
		t.Errorf("one lost answer may be the server's, but the queue of replies was changed: %v", lost)
	}
	go func() {
		for c := range calls {
			if !lost[c.ReplyTo] {
				_ = ch.PublishWithContext(t.Context(), "", c.ReplyTo, false, false, amqp.Publishing{CorrelationId: c.CorrelationId, Body: []byte(`"hi"`)})
			}
		}
	}()
	var out string
	if err := b.Call(deadline(t, 10*time.Second), bus.Target{Topic: tp}, "x", nil, &out); err != nil || out != "hi" {
		t.Errorf("%q, %v", out, err)
	}
}
