package node

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

func TestBrokerThatRunsAndDoesNotServeIsStartedAgain(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := clock.NewFake(start)
	sees, killed := []string{"a", "b"}, 0
	state := &State{
		Units: []Unit{{Name: rabbitUnit, Active: "active", Since: start}},
		Peers: []Peer{{Name: "b", Hears: true, Heard: true}, {Name: "c"}, {Name: "other", Hears: true, Heard: true}},
	}
	w := &rabbitWatch{clock: c, log: slog.New(slog.DiscardHandler), members: []string{"a", "b", "c"},
		running: func() []string { return sees }, state: func() *State { return state },
		kill: func(context.Context) error { killed++; return nil }}
	steps := func(d time.Duration) int {
		killed = 0
		for range int(d / (2 * time.Second)) {
			if err := w.step(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.Advance(2 * time.Second)
		}
		return killed
	}
	if n := steps(10 * time.Minute); n != 0 {
		t.Fatalf("a broker that serves was killed %d times", n)
	}
	sees = nil
	if n := steps(40 * time.Second); n != 0 {
		t.Fatal("killed too early")
	}
	if n := steps(10 * time.Second); n != 1 {
		t.Fatalf("killed %d times, want 1", n)
	}
	state.Units[0].Since = c.Now()
	if n := steps(2 * time.Minute); n != 0 {
		t.Error("killed while it started")
	}
	if n := steps(3 * time.Minute); n == 0 {
		t.Error("a start that never ends was let be")
	}
	state.Peers[0].Heard = false
	if n := steps(5 * time.Minute); n != 0 {
		t.Error("killed in a minority, where it may not serve")
	}
	state.Peers[0].Heard, state.Units[0].Active = true, "activating"
	if n := steps(5 * time.Minute); n != 0 {
		t.Error("killed while systemd starts it")
	}
	sees, state.Units[0] = []string{"a"}, Unit{Name: rabbitUnit, Active: "active", Since: c.Now()}
	if n := steps(40 * time.Second); n != 0 {
		t.Error("cut off for a moment, and killed")
	}
	if n := steps(10 * time.Second); n != 1 {
		t.Errorf("cut off from members that its server reaches, and killed %d times, want 1", n)
	}
	state.Peers[0].Hears = false
	if n := steps(5 * time.Minute); n != 0 {
		t.Error("killed as it sees nobody, in a minority")
	}
}
