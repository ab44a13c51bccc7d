package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/hastack/hastack/internal/clock"
)

// rabbitHealer revives quorum queues that have no leader although all members
// of the broker's cluster are up.
//
// RabbitMQ 3.10 writes down which quorum queues it has only every few minutes:
// when all members lose power soon after a queue was made, the queue comes
// back without anybody who leads it, and its users wait for ever. After a
// while with all members up such a queue is told to elect, and if that does not
// help it is deleted: those who use it make it again, and what was in it is
// done again from the rows of the operations that it belonged to.
//
// Members may also come out of a partition that ended before all had noticed
// it, or before the smaller part had paused: they hear each other again, but
// have different ideas of which queues there are, or each part takes the other
// for down. Then what is sent through one of them gets lost. The smaller part
// is started again and takes what the others have.
//
// Looking costs a second of processor time, so only the first member does it,
// every fifteen seconds in the minute after members came back and every five
// minutes otherwise.
type rabbitHealer struct {
	clock clock.Clock
	log   *slog.Logger
	// running are the members that the broker here sees.
	running func() []string
	members []string
	// act runs an action of the queues' unit to its end; found is what its last
	// run found.
	act   func(ctx context.Context, action string) error
	found func() ([]rabbitFinding, error)

	allSince time.Time // all members are up; zero when not
	looked   time.Time
	patience map[string]int // looks at which a queue had no leader
}

// A rabbitFinding is a queue without a leader or a member (leaderless, short),
// or a member that knows of other queues than the rest (split), or does not
// work with them (partitioned).
type rabbitFinding struct{ what, queue string }

// member tells whether it is about a member, not a queue.
func (f rabbitFinding) member() bool { return f.what == "split" || f.what == "partitioned" }

// The pace of healing.
const (
	healSettle = 10 * time.Second // all members up, before anything is looked at
	healFresh  = time.Minute      // of that, how long looks come often
	healOften  = 15 * time.Second
	healSeldom = 5 * time.Minute
	healAction = 45 * time.Second

	// A queue that is found without a leader is told to elect at every other
	// look, the first among them, and deleted at every healDelete-th.
	healElect  = 2
	healDelete = 3
	// A member that differs about the queues is started again at the second look
	// that finds it so.
	healMend = 2
)

// run looks until ctx ends.
func (h *rabbitHealer) run(ctx context.Context) error {
	return stepEvery(ctx, h.clock, h.log, 2*time.Second, "look at the queues", h.step)
}

func (h *rabbitHealer) step(ctx context.Context) error {
	now := h.clock.Now()
	up := h.running()
	for _, m := range h.members {
		if !slices.Contains(up, m) {
			h.allSince, h.patience = time.Time{}, nil
			return nil
		}
	}
	if h.allSince.IsZero() {
		h.allSince = now
	}
	every := healSeldom
	if now.Sub(h.allSince) < healFresh || len(h.patience) > 0 {
		every = healOften
	}
	if now.Sub(h.allSince) < healSettle || now.Sub(h.looked) < every {
		return nil
	}
	h.looked = now
	ctx, cancel := context.WithTimeout(ctx, healAction)
	defer cancel()
	if err := h.act(ctx, "check"); err != nil {
		return err
	}
	found, err := h.found()
	if err != nil {
		return err
	}
	return h.heal(ctx, found)
}

// heal does what is due after a look.
func (h *rabbitHealer) heal(ctx context.Context, found []rabbitFinding) error {
	was := h.patience
	h.patience = map[string]int{}
	action := ""
	var queues []string
	split := slices.ContainsFunc(found, rabbitFinding.member)
	for _, f := range found {
		n := was[f.queue] + 1
		h.patience[f.queue] = n
		switch {
		case f.what == "partitioned", f.what == "split" && n%healMend == 0:
			h.log.WarnContext(ctx, "a member that does not agree with the others is started again", "member", f.queue, "why", f.what)
			return h.act(ctx, "mend")
		case split:
			// All else waits until members agree about which queues there are.
		case f.what == "leaderless" && n%healDelete == 0:
			action = "delete"
			queues = append(queues, f.queue)
		case n%healElect == 1 && action == "":
			action = "elect"
			queues = append(queues, f.queue)
		}
	}
	if action == "" {
		return nil
	}
	h.log.WarnContext(ctx, "queues without a leader or a member are healed", "action", action, "queues", strings.Join(queues, " "))
	return h.act(ctx, action)
}

// rabbitAction runs the unit of an action.
func rabbitAction(ctx context.Context, action string) error {
	unit := "hastack-rabbitmq-queues@" + action + ".service"
	return withSystemd(ctx, func(c *dbus.Conn) error {
		done := make(chan string, 1)
		if _, err := c.StartUnitContext(ctx, unit, "replace", done); err != nil {
			return fmt.Errorf("start %s: %w", unit, err)
		}
		select {
		case r := <-done:
			if r != "done" {
				return fmt.Errorf("%s: %s; journalctl -u %s tells why", unit, r, unit)
			}
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", unit, ctx.Err())
		}
	})
}

// rabbitCheck is what the last look at the quorum queues on this server found;
// package deploy installs the unit that looks.
const rabbitCheck = "/run/hastack-rabbitmq/queues"

// rabbitFound reads the findings of the last look.
func rabbitFound() ([]rabbitFinding, error) {
	b, err := os.ReadFile(rabbitCheck)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []rabbitFinding
	for line := range strings.Lines(string(b)) {
		if what, queue, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			out = append(out, rabbitFinding{what, queue})
		}
	}
	return out, nil
}
