package drill

import (
	"context"
	"time"
)

// The suites, in the order in which they are told.
const (
	SuiteSmoke     = "smoke"
	SuiteProcess   = "process"
	SuitePartition = "partition"
	SuiteState     = "storage-of-state"
	SuitePower     = "power"
	SuiteBoot      = "boot"
	SuiteUpgrade   = "upgrade"
)

// Suites are the names of all suites, in order.
func Suites() []string {
	return []string{SuiteSmoke, SuiteProcess, SuitePartition, SuiteState, SuitePower, SuiteBoot, SuiteUpgrade}
}

// A Fault is something that is broken on purpose and mended again.
type Fault struct {
	Name  string // "node02 off", "node01: kill -9 mariadbd"
	Suite string
	// Kind is what the goals and the summary group by: "server off",
	// "process kill", "vip holder off", …
	Kind string
	// Targets are the servers that are hit: what they say of themselves does
	// not count as somebody noticing.
	Targets []string
	// Lab tells that only a lab can do it.
	Lab bool
	// Prepare is called before the round begins: it chooses the server that is
	// hit and makes what the fault needs. nil if there is nothing to do.
	Prepare func(ctx context.Context) error
	// Inject makes the fault and returns once it is made. It is never called
	// twice without Heal between.
	Inject func(ctx context.Context) error
	// Heal mends it; it is called even when Inject failed half-way, and may be
	// repeated. nil when what is hit mends itself.
	Heal func(ctx context.Context) error
	// Restore undoes Prepare after the round; may be repeated, nil if nothing is
	// to undo.
	Restore func(ctx context.Context) error
	// Once tells that more than one round makes no sense.
	Once bool
	// NeedsBoots tells that the fault is nothing without the boot loop, which
	// begins with it then: the first boot walks into it.
	NeedsBoots bool
	// Hold is how long the fault lasts at least.
	Hold time.Duration
	// Settle bounds the time from Heal until everything is healthy again.
	Settle time.Duration
	// Alarms are names of alarms of which one has to be raised; empty if the
	// fault is too short or too small for any.
	Alarms []string
	// Blackout tells that nothing is expected to serve while the fault lasts,
	// so that the window counts from Heal.
	Blackout bool
	// Check is a check of the fault's own, after everything was healthy again.
	Check func(ctx context.Context) error
	// Note is said in the report: what is bare, what the kernel cannot do.
	Note string
}
