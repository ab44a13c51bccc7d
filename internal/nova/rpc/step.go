package rpc

import "time"

// The protocols a step of a boot uses, as `hastack trace` shows them.
const (
	ProtoHTTP   = "HTTP"
	ProtoAMQP   = "AMQP"
	ProtoSQL    = "SQL"
	ProtoNative = "native"
)

// Outcomes of a step.
const (
	OutcomeOK      = "ok"
	OutcomeError   = "error"
	OutcomeSkipped = "skipped"
)

// A Step is one of the 28 steps of a boot, or a step of another operation,
// after it ended. Reporting the same N of one operation again replaces it.
type Step struct {
	N        int           `json:"n"`
	Name     string        `json:"name"`
	Actor    string        `json:"actor"` // who did it: nova-compute@host
	Peer     string        `json:"peer"`  // with whom: glance-api
	Protocol string        `json:"protocol"`
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration"`
	Outcome  string        `json:"outcome"`
	Detail   string        `json:"detail,omitempty"` // "cache hit", "no volume", why it went wrong
}

// A Fault is why an operation ended badly. Message is fit for the server's
// owner; Details are for admins only.
type Fault struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Details string `json:"details,omitempty"`
}

// A Result is how an operation left its server.
type Result struct {
	// VMState is the new vm_state; empty leaves the one that the operation's
	// kind implies, or the old one when Fault is set.
	VMState    string `json:"vm_state,omitempty"`
	PowerState int    `json:"power_state"`
	// Networks replaces the cached interfaces; nil leaves them.
	Networks []VIF `json:"networks"`
	// Deleted says that nothing of the server is left on the host.
	Deleted bool   `json:"deleted,omitempty"`
	Fault   *Fault `json:"fault,omitempty"` // nil: the operation did what it should
}
