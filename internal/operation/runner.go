package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/sync/semaphore"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// An owner is host + ownerSep + a nonce of its process. afterSep is the next
// character, the end of the range of a host's owners.
const (
	ownerSep = "#"
	afterSep = "$"
)

const (
	signalWake   = "wake"
	signalCancel = "cancel"
)

const (
	defaultDeadline = 10 * time.Minute
	defaultTimeout  = time.Minute
	pollEvery       = time.Second
	claimLimit      = 64
	pruneEvery      = time.Minute
	pruneLimit      = 2000 // at a time: others want to write too
	releaseWithin   = 5 * time.Second
)

// Config is what a Runner works with.
type Config struct {
	DB    *db.DB
	Clock clock.Clock
	Log   *slog.Logger
	Kinds []Kind
	// Host identifies the process across restarts ("control-1/nova-conductor").
	// Whoever starts it makes sure that there is only one at a time: a new
	// Runner takes over at once what a former one of the same Host has left.
	// Empty means that nothing is taken over before its lease has run out.
	Host string
	// Workers is how many steps run at the same time; zero means 16.
	Workers int
	// Lease is how long a silent owner keeps its operations; zero means 10 s.
	// The clocks of the machines may differ by a quarter of it.
	Lease time.Duration
	// Keep is how long finished operations are kept; zero means a week.
	Keep time.Duration
	// Context, if not nil, puts into ctx what steps expect there (request id,
	// trace, identity).
	Context func(ctx context.Context, op *Op) context.Context
	// Observe, if not nil, is told of every step that ended, after its record.
	Observe func(ctx context.Context, op *Op, e Entry)
}

// A Runner starts operations and executes them until its Run ends. It is safe
// for concurrent use.
type Runner struct {
	cfg   Config
	kinds map[string]*Kind
	names []string
	owner string
	work  *semaphore.Weighted

	mu       sync.Mutex // guards all below
	running  bool
	base     context.Context //nolint:containedctx // of Run, for the tasks that Launch and Wake begin
	tasks    map[string]*task
	expected map[string]time.Time // claimed by Start, not yet handed to Launch
	waiting  map[string]bool      // resources with an operation that was found blocked
	ended    map[string][]chan struct{}
	renewed  time.Time // when the leases were last prolonged
	wg       sync.WaitGroup
}

// New checks the kinds. The Runner does nothing until Run, except Start.
func New(cfg Config) (*Runner, error) {
	if cfg.Workers == 0 {
		cfg.Workers = 16
	}
	if cfg.Lease == 0 {
		cfg.Lease = 10 * time.Second
	}
	if cfg.Keep == 0 {
		cfg.Keep = 7 * 24 * time.Hour
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if strings.Contains(cfg.Host, ownerSep) || len(cfg.Host) > 120 {
		return nil, fmt.Errorf("operation: host %q must be at most 120 characters without %q", cfg.Host, ownerSep)
	}
	r := &Runner{
		cfg: cfg, kinds: map[string]*Kind{},
		owner:    cfg.Host + ownerSep + ids.UUID(),
		work:     semaphore.NewWeighted(int64(cfg.Workers)),
		tasks:    map[string]*task{},
		expected: map[string]time.Time{},
		waiting:  map[string]bool{},
		ended:    map[string][]chan struct{}{},
	}
	for _, k := range cfg.Kinds {
		if err := r.addKind(k); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Runner) addKind(k Kind) error {
	if k.Name == "" || len(k.Steps) == 0 || r.kinds[k.Name] != nil {
		return fmt.Errorf("operation: kind %q must have a name of its own and a step", k.Name)
	}
	if k.Deadline == 0 {
		k.Deadline = defaultDeadline
	}
	seen := map[string]bool{}
	for _, s := range k.Steps {
		if s.Name == "" || len(s.Name) > 64 || s.Do == nil || seen[s.Name] {
			return fmt.Errorf("operation: step %q of %s must have a name of its own and a Do", s.Name, k.Name)
		}
		seen[s.Name] = true
	}
	r.kinds[k.Name] = &k
	r.names = append(r.names, k.Name)
	return nil
}

// A Spec says what to start.
type Spec struct {
	Kind       string
	ResourceID string // operations on one resource run in order; "" for none
	ProjectID  string
	RequestID  string
	// Key is the idempotency key, made unique by the caller (project and
	// client's key); "" for none.
	Key  string
	Args any // stored as JSON
	// Fresh says that the resource was made in this very transaction, so that
	// no other operation on it can exist: one statement less.
	Fresh bool
	// Deadline replaces the kind's if it is not zero.
	Deadline time.Duration
}

// Start adds an operation in the caller's transaction. When that has been
// committed the caller hands the operation to Launch, and it runs at once; should
// the process die in between, it is found. Start has no effect but its SQL. If
// the key is known it returns that operation and ErrExists.
func (r *Runner) Start(ctx context.Context, tx bun.IDB, spec Spec) (*Op, error) {
	k := r.kinds[spec.Kind]
	if k == nil {
		return nil, fmt.Errorf("operation: unknown kind %q", spec.Kind)
	}
	args, err := json.Marshal(spec.Args)
	if err != nil {
		return nil, fmt.Errorf("arguments of a %s operation: %w", spec.Kind, err)
	}
	deadline := spec.Deadline
	if deadline == 0 {
		deadline = k.Deadline
	}
	now := r.cfg.Clock.Now()
	o := &Op{
		ID: ids.UUID(), Kind: spec.Kind, ResourceID: spec.ResourceID, ProjectID: spec.ProjectID,
		RequestID: spec.RequestID, State: Running, Step: k.Steps[0].Name, Args: args, Journal: &Journal{},
		Version: 1, Deadline: now.Add(deadline), CreatedAt: now, UpdatedAt: now,
	}
	if spec.Key != "" {
		o.IdempotencyKey = &spec.Key
	}
	busy := false
	if spec.ResourceID != "" && !spec.Fresh {
		if busy, err = resourceBusy(ctx, tx, spec.ResourceID); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	running := r.running
	r.mu.Unlock()
	if !busy && running { // one that does not run leaves it to another
		slot, until := slotOf(o), now.Add(r.cfg.Lease)
		o.Slot, o.Owner, o.LeaseUntil = &slot, r.owner, &until
	}
	if err := insertOp(ctx, tx, o); err != nil {
		if errors.Is(err, ErrExists) {
			return o, err
		}
		return nil, fmt.Errorf("start a %s operation: %w", spec.Kind, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.Owner != "" {
		r.expected[o.ID] = now
	}
	return o, nil
}

// Launch runs an operation that Start returned, after the commit.
func (r *Runner) Launch(o *Op) {
	if o.Owner == r.owner && r.cfg.Clock.Now().Before(o.LeaseUntil.Add(-r.cfg.Lease/4)) {
		r.launch(o)
		return
	}
	if o.Owner == "" {
		r.blocked(o)
	}
	r.Wake(o.ID) // its predecessor may have ended meanwhile
}

// Await returns the operation when it has ended, whoever runs it.
func (r *Runner) Await(ctx context.Context, id string) (*Op, error) {
	for {
		c := make(chan struct{})
		r.mu.Lock()
		r.ended[id] = append(r.ended[id], c)
		r.mu.Unlock()
		o, err := Find(ctx, r.cfg.DB, id)
		if err != nil || o.Finished() {
			r.unwait(id, c)
			return o, err
		}
		select {
		case <-c:
		case <-r.cfg.Clock.After(pollEvery/2 + rand.N(pollEvery/2)): // another process may run it
			r.unwait(id, c)
		case <-ctx.Done():
			r.unwait(id, c)
			return o, ctx.Err()
		}
	}
}

func (r *Runner) unwait(id string, c chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.ended[id]
	for i := range list {
		if list[i] == c {
			list = slices.Delete(list, i, i+1)
			break
		}
	}
	if len(list) == 0 {
		delete(r.ended, id)
		return
	}
	r.ended[id] = list
}

// Cancel asks that an unfinished operation be undone, with reason as its error.
// It is obeyed between two calls of steps, or by the step whose context ends;
// an operation that is undone already, or past its last step, ends as it would.
func (r *Runner) Cancel(ctx context.Context, id string) error {
	known, err := signalOp(ctx, r.cfg.DB, id, signalCancel)
	if err != nil || !known {
		return err
	}
	r.mu.Lock()
	t := r.tasks[id]
	r.mu.Unlock()
	if t != nil {
		t.stop(errCancelled)
	}
	return nil
}

var errCancelled = fault.New(fault.Conflict, "the operation was cancelled")
