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
type rabbitWatch struct {
	clock   clock.Clock
	log     *slog.Logger
	members []string
	// answers tells whether the broker answered a moment ago.
	answers func() bool
	state   func() *State
	kill    func(ctx context.Context) error

	silent time.Time // since when it ought to answer and does not; zero when it does
}

// The patience of the watch.
const (
	// rabbitSilence is how long a broker may be silent that hears a majority.
	rabbitSilence = 45 * time.Second
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
	if w.answers() || !w.should(now) {
		w.silent = time.Time{}
		return nil
	}
	if w.silent.IsZero() {
		w.silent = now
	}
	if now.Sub(w.silent) < rabbitSilence {
		return nil
	}
	w.silent = time.Time{}
	w.log.WarnContext(ctx, "the broker runs but does not serve, and is started again", "silent", rabbitSilence)
	if err := w.kill(ctx); err != nil {
		return fmt.Errorf("end %s: %w", rabbitUnit, err)
	}
	return nil
}

// should tells whether the broker has had the time to start, and hears and is
// heard by enough others to serve.
func (w *rabbitWatch) should(now time.Time) bool {
	s := w.state()
	runs := slices.ContainsFunc(s.Units, func(u Unit) bool {
		return u.Name == rabbitUnit && u.Active == "active" && now.Sub(u.Since) > rabbitStart
	})
	reached := 1
	for _, p := range s.Peers {
		if p.Hears && p.Heard && slices.Contains(w.members, p.Name) {
			reached++
		}
	}
	return runs && 2*reached > len(w.members)
}

// killRabbit ends the broker as it is: what hangs does not listen to a request.
func killRabbit(ctx context.Context) error {
	return withSystemd(ctx, func(c *dbus.Conn) error {
		return c.KillUnitWithTarget(ctx, rabbitUnit, dbus.All, int32(syscall.SIGKILL))
	})
}
