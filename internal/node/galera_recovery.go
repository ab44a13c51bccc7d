package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// galeraRecovery brings a database cluster back that lost its quorum, without
// a human, and never at the price of a transaction or of two clusters.
//
// After a power cut the members find each other by what they wrote down about
// their last view, and this does nothing. When that does not work (one was
// wiped, they went one after another, their last views differ) it needs every
// configured member to tell its position, and none to serve. The member with
// the most transactions then begins the cluster anew, but only after every
// other one has stopped its database, has forgotten its last view, and says
// that it will keep still for a while: none of them can form a cluster of its
// own at the same moment. As long as a member is missing, nothing is done and
// Waits says so: it may be the one that knows more, or may be serving where it
// cannot be seen.
//
// It also takes a member out whose disk is full, before its writes fail, and
// restarts one that fell out of a cluster that goes on, or that refuses
// statements for the sake of a copy that nobody takes.
type galeraRecovery struct {
	name    string
	members []string
	clock   clock.Clock
	log     *slog.Logger
	host    galeraHost
	// own looks at the member here, ask at another's agent.
	own func(ctx context.Context) (Galera, error)
	ask func(ctx context.Context, member string) (*Galera, error)

	// The next are the loop's own.
	agreed   string    // whom the positions choose, with the positions
	since    time.Time // agreed is so
	outSince time.Time // this member is out of a cluster that goes on
	founded  time.Time // this member was last told to begin

	mu    sync.Mutex // guards what is told
	held  string
	until time.Time // held ends
	kept  string    // position when held began
	waits string
}

// The pace of recovery.
const (
	recoveryTick = time.Second
	// recoverySettle is how long the same choice must stand: longer than the
	// members need to find each other by themselves.
	recoverySettle = 8 * time.Second
	// recoveryHold is how long a member keeps still; who begins needs to see
	// that at least recoveryMargin of it are left.
	recoveryHold   = 45 * time.Second
	recoveryMargin = 15 * time.Second
	// recoveryOut is how long a member may be out of a cluster that goes on
	// before its database is restarted.
	recoveryOut = 15 * time.Second
)

// heldFull is why a database is stopped whose disk is full.
const heldFull = "disk-full"

// run looks once a tick until ctx ends.
func (r *galeraRecovery) run(ctx context.Context) error {
	if why := r.host.held(); why != "" && why != heldFull {
		r.release(ctx) // of the agent before this one
	}
	return stepEvery(ctx, r.clock, r.log, recoveryTick, "recovery of the database", r.step)
}

// told is what the state shows of recovery.
func (r *galeraRecovery) told() (held string, seconds int, waits string) {
	if r == nil {
		return "", 0, ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held != "" {
		seconds = max(0, int(r.until.Sub(r.clock.Now()).Seconds()))
	}
	return r.held, seconds, r.waits
}

// mine puts the position of a database that this agent keeps still into what
// is told of it.
func (r *galeraRecovery) mine(g *Galera) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == "" || r.held == heldFull {
		return false
	}
	if g.Position == "" {
		g.Position = r.kept
	}
	return true
}

func (r *galeraRecovery) wait(ctx context.Context, format string, args ...any) {
	text := ""
	if format != "" {
		text = fmt.Sprintf(format, args...)
	}
	r.mu.Lock()
	was := r.waits
	r.waits = text
	r.mu.Unlock()
	if text != "" && text != was {
		r.log.WarnContext(ctx, "the database waits", "for", text)
	}
}

// step looks at the cluster once and does the one thing that is due.
func (r *galeraRecovery) step(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	own, err := r.own(ctx)
	if own.Primary && own.Ready {
		r.agreed, r.outSince = "", time.Time{}
		r.wait(ctx, "")
		return r.spare(ctx, own)
	}
	_ = err // the position tells what there is
	others, missing := r.askOthers(ctx)
	for name, g := range others {
		if g.Primary {
			return r.rejoin(ctx, own, others, name)
		}
	}
	r.outSince = time.Time{}
	if r.keepsStill() {
		return r.endHold(ctx)
	}
	if len(missing) > 0 {
		r.agreed = ""
		r.wait(ctx, "no member serves, and nobody knows what %s holds: start it, or decide with hastack recover database --from SERVER", strings.Join(missing, " and "))
		return nil
	}
	own.Position, err = r.host.position(ctx, own)
	if err != nil || own.Position == "" {
		r.agreed = ""
		return err
	}
	others[r.name] = &own
	chosen, err := choose(others, r.members)
	if err != nil {
		r.agreed = ""
		r.wait(ctx, "%v", err)
		return nil
	}
	return r.follow(ctx, chosen, others)
}

// askOthers asks all other agents at once. One whose position is not known is
// missing.
func (r *galeraRecovery) askOthers(ctx context.Context) (known map[string]*Galera, missing []string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	known = map[string]*Galera{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range r.members {
		if m == r.name {
			continue
		}
		wg.Go(func() {
			g, err := r.ask(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || g == nil || !g.Primary && g.Position == "" {
				missing = append(missing, m)
				return
			}
			known[m] = g
		})
	}
	wg.Wait()
	slices.Sort(missing)
	return known, missing
}

// choose is the member that begins the cluster: the one with the most
// transactions, of equals the first of members.
func choose(all map[string]*Galera, members []string) (string, error) {
	best, cluster, owner := "", "", ""
	bestAt := int64(-2)
	for _, m := range members {
		uuid, seqno, _ := strings.Cut(all[m].Position, ":")
		at, err := strconv.ParseInt(seqno, 10, 64)
		if err != nil {
			return "", fmt.Errorf("the position of the database on %s cannot be read: %q", m, all[m].Position)
		}
		if strings.HasPrefix(uuid, "00000000-") {
			continue
		}
		if cluster != "" && uuid != cluster {
			return "", fmt.Errorf("the databases on %s and %s have different histories: decide with hastack recover database --from SERVER", owner, m)
		}
		cluster, owner = uuid, m
		if at > bestAt {
			best, bestAt = m, at
		}
	}
	if best == "" {
		return "", fmt.Errorf("no member has a database: hastack deploy makes it, hastack restore brings it back")
	}
	return best, nil
}

// follow acts on a choice that has stood long enough.
func (r *galeraRecovery) follow(ctx context.Context, chosen string, all map[string]*Galera) error {
	parts := []string{chosen}
	for _, m := range r.members {
		parts = append(parts, all[m].Position)
	}
	key := strings.Join(parts, " ")
	now := r.clock.Now()
	if key != r.agreed {
		r.agreed, r.since = key, now
	}
	r.wait(ctx, "no member serves; %s has the most transactions and begins", chosen)
	if now.Sub(r.since) < recoverySettle {
		return nil
	}
	if chosen != r.name {
		return r.hold(ctx, chosen, all[r.name].Position)
	}
	for _, m := range r.members {
		if m != r.name && (all[m].Held != r.name || time.Duration(all[m].HeldSeconds)*time.Second < recoveryMargin) {
			return nil // in a moment
		}
	}
	if now.Sub(r.founded) < recoveryHold {
		return nil // it is at it
	}
	r.founded = now
	r.log.WarnContext(ctx, "this member begins the database cluster", "position", all[r.name].Position)
	if err := r.host.stop(ctx, true); err != nil {
		return err
	}
	if err := r.host.order(); err != nil {
		return fmt.Errorf("order the beginning of the cluster: %w", err)
	}
	return r.host.start(ctx)
}

// hold stops the database so that another can begin.
func (r *galeraRecovery) hold(ctx context.Context, chosen, position string) error {
	r.log.WarnContext(ctx, "the database keeps still for another to begin", "chosen", chosen, "position", position)
	stopped, err := r.host.stopped(ctx)
	if err != nil {
		return err
	}
	if !stopped {
		if err := r.host.setHeld(chosen); err != nil {
			return fmt.Errorf("note that the database is stopped: %w", err)
		}
		if err := r.host.stop(ctx, true); err != nil {
			r.release(ctx)
			return err
		}
	}
	if err := r.host.forget(); err != nil {
		r.release(ctx)
		return fmt.Errorf("forget the last view of the cluster: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held, r.kept, r.until = chosen, position, r.clock.Now().Add(recoveryHold)
	return nil
}

func (r *galeraRecovery) keepsStill() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held != "" && r.held != heldFull
}

// endHold gives up a hold that led to nothing.
func (r *galeraRecovery) endHold(ctx context.Context) error {
	r.mu.Lock()
	over := !r.clock.Now().Before(r.until)
	r.mu.Unlock()
	if over {
		r.release(ctx)
	}
	return nil
}

// release starts a database that this agent stopped.
func (r *galeraRecovery) release(ctx context.Context) {
	why := r.host.held()
	if why != "" {
		if err := r.host.start(ctx); err != nil {
			r.log.ErrorContext(ctx, "start the database again", "error", err)
			return
		}
		if err := r.host.setHeld(""); err != nil {
			r.log.ErrorContext(ctx, "note that the database runs again", "error", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held, r.kept, r.agreed = "", "", ""
}

// spare stops a member whose disk is full while others go on: a write that
// fails here would throw it out in the middle, or hold up all of them.
func (r *galeraRecovery) spare(ctx context.Context, own Galera) error {
	err := r.host.room()
	if err == nil || own.Size < 2 {
		return nil
	}
	others, _ := r.askOthers(ctx)
	for _, g := range others {
		if g.Primary && g.Ready {
			r.log.ErrorContext(ctx, "the database leaves the cluster", "error", err)
			if err := r.host.setHeld(heldFull); err != nil {
				r.log.WarnContext(ctx, "note that the database is stopped", "error", err)
			}
			return r.host.stop(ctx, false)
		}
	}
	return nil
}

// rejoin brings this member back into a cluster that serves elsewhere.
func (r *galeraRecovery) rejoin(ctx context.Context, own Galera, others map[string]*Galera, serving string) error {
	r.agreed = ""
	switch why := r.host.held(); {
	case why == heldFull && !r.host.roomy():
		r.wait(ctx, "the disk is full: %s must have %d MiB", galeraData, galeraSpace>>20)
		return nil
	case why != "" || r.keepsStill():
		r.wait(ctx, "")
		r.release(ctx)
		return nil
	}
	stopped, err := r.host.stopped(ctx)
	if err != nil {
		return err
	}
	// One that starts is on its way; one that answers and is not connected,
	// found itself different from the others, or hangs as a donor, is not.
	stuck := r.stuckDonor(own, others)
	if stopped || own.Cluster == "" || own.State != "Disconnected" && own.State != "Inconsistent" && !stuck {
		r.outSince = time.Time{}
		if stopped {
			r.wait(ctx, "somebody stopped the database: systemctl start mariadb")
		}
		return nil
	}
	now := r.clock.Now()
	if r.outSince.IsZero() {
		r.outSince = now
	}
	if now.Sub(r.outSince) < recoveryOut || r.host.room() != nil {
		return nil //nolint:nilerr // without room for a copy it stays out
	}
	r.outSince = time.Time{}
	r.log.WarnContext(ctx, "this member fell out of the database cluster and is restarted", "state", own.State, "serving", serving)
	// A donor is still a member: it takes its leave, so that nobody waits for it.
	if err := r.host.stop(ctx, !stuck); err != nil {
		return err
	}
	return r.host.start(ctx)
}
