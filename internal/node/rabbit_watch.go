package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/hastack/hastack/internal/clock"
)

const rabbitUnit = "rabbitmq-server.service"

// rabbitWatch ends a broker that runs and does not serve, so that systemd
// starts it again.
//
// A member that has paused in a minority starts its applications again when it
// hears the others, inside the same virtual machine. When members were lost and
// found in quick succession, that start may wait for ever for Erlang's name
// server (rabbit_node_monitor:global_sync). A start of the whole process does
// not.
//
// A member that is cut off once more while it recovers may serve alone and never
// try to reach the others again (rabbitmq-server issue 2175).
type rabbitWatch struct {
	clock   clock.Clock
	log     *slog.Logger
	members []string
	// running are the members that the broker saw a moment ago, itself among
	// them; none when it did not answer.
	running func() []string
	state   func() *State
	kill    func(ctx context.Context) error

	idle time.Time // since when it ought to serve and does not; zero when it does
}

// The patience of the watch.
const (
	// rabbitIdle is how long a broker may not serve whose server reaches a
	// majority.
	rabbitIdle = 45 * time.Second
	// rabbitStart is how long one may take to start: after a power cut of all it
	// waits for others.
	rabbitStart = 3 * time.Minute
)

// run watches until ctx ends.
func (w *rabbitWatch) run(ctx context.Context) error {
	return stepEvery(ctx, w.clock, w.log, 2*time.Second, "watch the broker", w.step)
}

func (w *rabbitWatch) step(ctx context.Context) error {
	now := w.clock.Now()
	seen := w.running()
	if w.majority(len(seen)) || !w.should(now, len(seen) > 0) {
		w.idle = time.Time{}
		return nil
	}
	if w.idle.IsZero() {
		w.idle = now
	}
	if now.Sub(w.idle) < rabbitIdle {
		return nil
	}
	w.idle = time.Time{}
	w.log.WarnContext(ctx, "the broker runs but does not serve, and is started again", "sees", seen, "for", rabbitIdle.String())
	if err := w.kill(ctx); err != nil {
		return fmt.Errorf("end %s: %w", rabbitUnit, err)
	}
	return nil
}

// majority tells whether so many members, this one among them, may serve.
func (w *rabbitWatch) majority(members int) bool { return 2*members > len(w.members) }

// should tells whether the broker answers or has had the time to start, and its
// server hears and is heard by enough others to serve.
func (w *rabbitWatch) should(now time.Time, answers bool) bool {
	s := w.state()
	runs := slices.ContainsFunc(s.Units, func(u Unit) bool {
		return u.Name == rabbitUnit && u.Active == "active" && (answers || now.Sub(u.Since) > rabbitStart)
	})
	reached := 1
	for _, p := range s.Peers {
		if p.Hears && p.Heard && slices.Contains(w.members, p.Name) {
			reached++
		}
	}
	return runs && w.majority(reached)
}

// killRabbit ends the broker as it is: what hangs does not listen to a request.
func killRabbit(ctx context.Context) error {
	return withSystemd(ctx, func(c *dbus.Conn) error {
		return c.KillUnitWithTarget(ctx, rabbitUnit, dbus.All, int32(syscall.SIGKILL))
	})
}
