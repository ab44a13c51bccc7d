package node

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

func TestQueuesWithoutALeaderAreRevived(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	up := []string{"a", "b"}
	found := []rabbitFinding{{"leaderless", "nova"}}
	var did []string
	h := &rabbitHealer{
		clock: c, log: slog.New(slog.DiscardHandler), members: []string{"a", "b", "c"},
		running: func() []string { return up },
		act:     func(_ context.Context, a string) error { did = append(did, a); return nil },
		found:   func() ([]rabbitFinding, error) { return found, nil },
	}
	steps := func(d time.Duration) {
		for range int(d / (2 * time.Second)) {
			if err := h.step(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.Advance(2 * time.Second)
		}
	}
	steps(time.Minute)
	if len(did) != 0 {
		t.Fatalf("%v while a member is away", did)
	}
	up = []string{"a", "b", "c"}
	steps(50 * time.Second)
	if want := []string{"check", "elect", "check", "check", "delete"}; !slices.Equal(did, want) {
		t.Fatalf("did %v, want %v", did, want)
	}
	found, did = nil, nil
	steps(10 * time.Minute)
	if n := len(did); n < 2 || n > 8 {
		t.Errorf("%d looks in ten minutes: they are to become rare", n)
	}
	if slices.Contains(did, "elect") || slices.Contains(did, "delete") {
		t.Error("a healthy cluster was touched")
	}
	// A queue that lacks a member only is never deleted.
	found, did = []rabbitFinding{{"short", "nova"}}, nil
	steps(10 * time.Minute)
	if !slices.Contains(did, "elect") || slices.Contains(did, "delete") {
		t.Errorf("did %v", did)
	}
}

func TestMemberThatDoesNotAgreeIsStartedAgain(t *testing.T) {
	for _, x := range []struct {
		name  string
		found []rabbitFinding
		steps int
		want  []string
	}{
		{"differs about the queues: at the second look, and while it does nothing is known about leaders",
			[]rabbitFinding{{"leaderless", "nova"}, {"split", "rabbit@b"}}, 30, []string{"check", "check", "mend", "check", "check"}},
		{"serves apart: at once", []rabbitFinding{{"partitioned", "rabbit@b"}}, 15, []string{"check", "mend", "check"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			var did []string
			found := x.found
			h := &rabbitHealer{
				clock: c, log: slog.New(slog.DiscardHandler), members: []string{"a", "b"}, running: func() []string { return []string{"a", "b"} },
				act: func(_ context.Context, a string) error {
					if did = append(did, a); a == "mend" {
						found = nil
					}
					return nil
				},
				found: func() ([]rabbitFinding, error) { return found, nil },
			}
			for range x.steps {
				if err := h.step(t.Context()); err != nil {
					t.Fatal(err)
				}
				c.Advance(2 * time.Second)
			}
			if !slices.Equal(did, x.want) {
				t.Errorf("did %v, want %v", did, x.want)
			}
		})
	}
}

func TestBrokerFiguresFromItsMetrics(t *testing.T) {
	const metrics = `# TYPE rabbitmq_queues gauge
rabbitmq_queues 7
rabbitmq_queue_messages 12
rabbitmq_consumers 9
rabbitmq_alarms_memory_used_watermark 1
rabbitmq_alarms_free_disk_space_watermark 0
erlang_vm_dist_node_state{peer="rabbit@b"} 3
erlang_vm_dist_node_state{peer="rabbit@c"} 1
`
	r := newRabbit(&RabbitConfig{Members: []string{"a", "b", "c"}}, "a", Deps{Clock: clock.System}, nil)
	var got Rabbit
	if err := r.read(strings.NewReader(metrics), &got); err != nil {
		t.Fatal(err)
	}
	if got.Queues != 7 || got.Messages != 12 || got.Consumers != 9 || !slices.Equal(got.Alarms, []string{"memory"}) ||
		!slices.Equal(got.Running, []string{"a", "b"}) || !slices.Equal(got.Partitions, []string{"c"}) {
		t.Errorf("%+v", got)
	}
}

// While the broker is asked, nobody may take its members for gone: a look at
// the queues would be put off by every question.
func TestMembersAreKnownWhileTheBrokerIsAsked(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan bool)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		if !<-answer {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	r := newRabbit(&RabbitConfig{Members: []string{"a"}, Metrics: srv.URL}, "a", Deps{Clock: clock.System}, nil)
	collect := func(good bool) (during, after []string) {
		done := make(chan error, 1)
		go func() { _, err := r.Collect(t.Context()); done <- err }()
		<-asked
		during = r.recent()
		answer <- good
		if err := <-done; (err == nil) != good {
			t.Errorf("collect: %v", err)
		}
		return during, r.recent()
	}
	if during, after := collect(true); during != nil || len(after) != 1 {
		t.Errorf("first: %v while it was asked, %v after it", during, after)
	}
	if during, after := collect(false); len(during) != 1 || after != nil {
		t.Errorf("a broker that fails: %v while it was asked, %v after it", during, after)
	}
}
