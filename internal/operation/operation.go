// Package operation runs work that changes more than one row or machine, so
// that any process may die between any two lines of it.
//
// An operation is a row in the service's own database: what is to be done, the
// step it is at, a journal of the steps done, an owner with a lease, a
// deadline. It is started inside the caller's transaction, durable before the
// 202 leaves. A Runner executes the steps in order and records each after its
// effect. If the owner dies, its successor (the same host restarted, at once;
// another process, when the lease has run out) calls the unrecorded step again,
// so every Do and Undo is idempotent: it meets its own leftovers. If a step
// fails for good or the deadline passes, the steps are undone in reverse, the
// failed one included, and the operation ends as failed with the reason.
//
// Operations on one resource run one after the other, in the order they were
// started; a unique key holds that, whatever process runs them.
//
// Commits: one for Start (the caller's own), one a step, none for waiting,
// retrying or claiming what this process started itself. The record of the last
// step also ends the operation. A step can put its own rows into the record's
// transaction (Op.OnRecord), and a cheap repeatable step can leave its record to
// the next one (Step.Merge).
//
// Read Kind and Step here, then runner.go (who runs what) and execute.go (how
// one operation runs); operation_store.go has the SQL.
package operation

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
)

// Migrations makes the table; give it to db.Migrate next to the service's own.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// States of an operation. Running and Undoing are worked on; the others are
// the end.
const (
	Running = "running"
	Undoing = "undoing"
	Done    = "done"
	Failed  = "failed"
)

// A Kind is a sort of operation: its steps and limits. Names of kinds and steps
// are stored, so they do not change while such operations may be unfinished.
type Kind struct {
	Name  string
	Steps []Step
	// Deadline is how long an operation may take, waiting included; then it is
	// undone. Zero means ten minutes.
	Deadline time.Duration
	// Forward marks work that has no way back (a deletion): an error of any
	// sort is retried until the deadline, nothing is undone.
	Forward bool
	// Done and Failed, if not nil, run in the transaction that ends the
	// operation: set the server ACTIVE, or ERROR with op.Error as the reason.
	// They may run again if the transaction is repeated.
	Done, Failed func(ctx context.Context, tx bun.Tx, op *Op) error
}

// A Step has one effect, outside of this table.
type Step struct {
	Name string
	// Do makes the effect, or finds it made. It may return Wait. An error of
	// kind Unavailable or Timeout, a lost database and a passed Timeout are
	// tried again with growing pauses; any other fails the operation.
	Do func(ctx context.Context, op *Op) error
	// Undo takes the effect back, or what there is of it; nil if there is
	// nothing to take back.
	Undo func(ctx context.Context, op *Op) error
	// Timeout bounds one call of Do or Undo. Zero means one minute.
	Timeout time.Duration
	// Merge leaves the record to the next step's: no commit of its own. For
	// steps that may be repeated for nothing, such as one that only asks.
	Merge bool
}

// An Op is one operation. In a step its fields are read only, except through
// the methods; only the goroutine of the step may use it.
type Op struct {
	bun.BaseModel `bun:"table:operations,alias:o"`

	ID             string `bun:"id,pk"`
	Kind           string
	ResourceID     string
	ProjectID      string
	RequestID      string
	IdempotencyKey *string
	State          string
	Step           string // the one to do or to undo next; the last one at the end
	Args           json.RawMessage
	Journal        *Journal
	Error          string     // why it failed, for the owner of the resource
	ErrorKind      fault.Kind // of Error
	Version        int64
	Owner          string // process that works on it, "" if none
	LeaseUntil     *time.Time
	Slot           *string // the resource, from its first step to its end
	Signal         string  `bun:"signal_name"`
	Deadline       time.Time
	CreatedAt      time.Time
	UpdatedAt      time.Time

	onRecord   []func(ctx context.Context, tx bun.Tx) error
	checkpoint func(ctx context.Context) error
}

// A Journal is what an operation remembers.
type Journal struct {
	Data  map[string]json.RawMessage `json:"data,omitempty"`
	Steps []Entry                    `json:"steps,omitempty"`
}

// An Entry is one step that ended. Undone steps have their own entries.
type Entry struct {
	Step     string    `json:"step"`
	Start    time.Time `json:"start"`
	Micros   int64     `json:"us"`       // from the first attempt to the end
	Attempts int       `json:"attempts"` // calls in the process that finished it
	Outcome  string    `json:"outcome"`  // done, failed, undone, undo failed
	Error    string    `json:"error,omitempty"`
}

// Outcomes of an Entry.
const (
	OutcomeDone       = "done"
	OutcomeFailed     = "failed"
	OutcomeUndone     = "undone"
	OutcomeUndoFailed = "undo failed"
)

// Finished tells whether nothing more will be done.
func (o *Op) Finished() bool { return o.State == Done || o.State == Failed }

// Err is nil for an operation that did not fail, else its reason as a fault.
func (o *Op) Err() error {
	if o.State != Failed {
		return nil
	}
	return fault.New(o.ErrorKind, "%s", o.Error)
}

// DecodeArgs reads what Start was given.
func (o *Op) DecodeArgs(v any) error {
	if err := json.Unmarshal(o.Args, v); err != nil {
		return fmt.Errorf("arguments of operation %s: %w", o.ID, err)
	}
	return nil
}

// Save keeps v under key for later steps and for undo; it becomes durable with
// the record of the step. v must not be something JSON cannot express.
func (o *Op) Save(key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("operation %s: save %s: %w", o.ID, key, err)
	}
	if o.Journal.Data == nil {
		o.Journal.Data = map[string]json.RawMessage{}
	}
	o.Journal.Data[key] = b
	return nil
}

// Load reads into v what was saved under key; false if nothing was.
func (o *Op) Load(key string, v any) (bool, error) {
	b, ok := o.Journal.Data[key]
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("operation %s: load %s: %w", o.ID, key, err)
	}
	return true, nil
}

// OnRecord has f run in the transaction that records this step, in the order of
// the calls. If f returns an error the step has failed, its effect made. Calls
// from an attempt that ended in an error or a Wait are dropped. f may run more
// than once, as in db.Tx.
func (o *Op) OnRecord(f func(ctx context.Context, tx bun.Tx) error) {
	o.onRecord = append(o.onRecord, f)
}

// Checkpoint makes what was saved so far, and what OnRecord collected, durable
// in the middle of a step: a name chosen before it is used. One commit.
func (o *Op) Checkpoint(ctx context.Context) error { return o.checkpoint(ctx) }

// Wait is returned (not wrapped) by a Do that has to wait for something that
// happens elsewhere: Do is called again after d or after Runner.Wake, whichever
// comes first. It keeps no worker busy and costs no commit. A d of zero or less
// means until the deadline.
func Wait(d time.Duration) error { return &waitError{d} }

type waitError struct{ d time.Duration }

func (w *waitError) Error() string { return "operation waits" }

// ErrExists is returned by Start, with the operation, if there is one with the
// same idempotency key.
var ErrExists = errors.New("operation exists already")

// errLost means that another process owns the operation now.
var errLost = errors.New("operation was taken over")
