// Package bus carries messages between the parts of one service: calls that
// wait for a reply, casts that are delivered at least once, and fanouts to
// every server of a topic.
//
// Two engines keep one contract, held by the suite in bustest: Memory for the
// all-in-one process and Rabbit for a cluster. Read [Bus] first, then mux.go
// for how handlers are registered, server.go for what both engines do with a
// delivered message.
//
// The bus does not keep order, and a message may arrive twice: handlers are
// idempotent and decide by the state they find in the database.
package bus

import (
	"context"
	"encoding/json"
	"time"
)

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = 60 * time.Second

// A Target is who gets a message: the servers of a topic, one of which takes
// it, or with Host the one server of that name.
type Target struct {
	Topic string
	Host  string
}

// String is the target's queue name: "topic" or "topic.host".
func (t Target) String() string {
	if t.Host == "" {
		return t.Topic
	}
	return t.Topic + "." + t.Host
}

// A Message is what a handler gets.
type Message struct {
	// ID is the same in every copy of the message.
	ID     string
	Method string
	// Args is the JSON the sender encoded, never nil; "null" if it gave nothing.
	Args      json.RawMessage
	RequestID string
	// Redelivered says that an earlier delivery may have run, wholly or in part.
	Redelivered bool
}

// A Handler does what a message asks. Its result is encoded as the reply of a
// call and dropped for casts. A *fault.Error reaches the caller as it is; any
// other error becomes an Internal fault for a call and a redelivery for a cast.
type Handler func(ctx context.Context, m *Message) (any, error)

// Bus is one process's connection to the others. It is safe for concurrent use.
type Bus interface {
	// Call sends args and waits for the answer, which it decodes into reply
	// (nil drops it). It ends with ctx's deadline, or DefaultTimeout, as
	// fault.Timeout; fault.Unavailable means that nobody took the message.
	// A call may run twice when a connection breaks.
	Call(ctx context.Context, to Target, method string, args, reply any) error
	// Cast returns once the message is stored; one server of the target gets
	// it, again if that server dies before it is done. A target without a
	// server keeps it until one comes.
	Cast(ctx context.Context, to Target, method string, args any) error
	// Fanout tells every server of the topic that listens now. It is best effort.
	Fanout(ctx context.Context, topic, method string, args any) error
	// Serve hands the messages for the topic, for the host (if not empty) and
	// the topic's fanouts to h until stop is called or ctx ends. stop lets
	// running handlers finish for a while, then cancels their context.
	Serve(ctx context.Context, topic, host string, h Handler) (stop func(), err error)
	// Stats counts this connection's messages since it was opened.
	Stats() Stats
	// Close stops all servers and fails what waits.
	Close() error
}

// Stats counts messages of one connection.
type Stats struct {
	Calls, Casts, Fanouts int64 // sent
	Replies               int64 // sent by this connection's servers
	Delivered             int64 // given to handlers
	Duplicates            int64 // recognised and not run again
	Retried               int64 // casts put back after an error
	Dropped               int64 // casts given up after the last attempt
	Timeouts              int64 // calls that got no reply in time
	Resent                int64 // publishes repeated because the first was not confirmed
}

// Messages is how many messages this connection put on the wire.
func (s Stats) Messages() int64 { return s.Calls + s.Casts + s.Fanouts + s.Replies }
