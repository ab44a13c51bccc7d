package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/hastack/hastack/internal/fault"
)

// A Mux is a server's table of methods. Register with [On] before Serve; it is
// read-only and safe for concurrent use after that.
type Mux struct {
	methods map[string]Handler
}

// NewMux makes an empty table.
func NewMux() *Mux { return &Mux{methods: map[string]Handler{}} }

// On registers f for a method. It panics if the method is already taken: two
// handlers of one name are a broken program.
func On[A, R any](m *Mux, method string, f func(ctx context.Context, args A) (R, error)) {
	if _, taken := m.methods[method]; taken {
		panic(fmt.Sprintf("bus: method %s registered twice", method))
	}
	m.methods[method] = func(ctx context.Context, msg *Message) (any, error) {
		var args A
		if err := json.Unmarshal(msg.Args, &args); err != nil {
			return nil, fault.New(fault.BadRequest, "%s: arguments: %s", method, err)
		}
		return f(ctx, args)
	}
}

// Handle is the Handler that dispatches by method. A method that this release
// does not know is fault.NotImplemented.
func (m *Mux) Handle(ctx context.Context, msg *Message) (any, error) {
	h, ok := m.methods[msg.Method]
	if !ok {
		return nil, fault.New(fault.NotImplemented, "method %q is not served here", msg.Method)
	}
	return h(ctx, msg)
}

// encode turns arguments or a result into JSON, once; nil is "null".
func encode(v any) (json.RawMessage, error) {
	switch v := v.(type) {
	case nil:
		return json.RawMessage("null"), nil
	case json.RawMessage:
		if len(v) == 0 {
			return json.RawMessage("null"), nil
		}
		return v, nil
	}
	return json.Marshal(v)
}

// decode reads a reply into v; nil drops it, and null leaves v as it is.
func decode(raw json.RawMessage, v any) error {
	if v == nil || len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil
	}
	return json.Unmarshal(raw, v)
}
