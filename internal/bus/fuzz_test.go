package bus

import (
	"context"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/hastack/hastack/internal/fault"
)

// FuzzDelivery feeds a server whatever somebody may put into its queue: it
// must answer, never panic, and never run for longer than its bounds.
func FuzzDelivery(f *testing.F) {
	f.Add("id", "echo", "call", "req-1", "timeout", int64(1000), []byte(`{"a":1}`))
	f.Add("", "", "cast", "", "x-delivery-count", int64(-1), []byte(``))
	f.Add("id", "echo", "\x00", "\n", "traceparent", int64(1<<62), []byte(`{"a":{"a":[`))
	f.Add("id", "none", "fanout", "", "hastack-timeout-ms", int64(-1<<63), []byte(`null`))
	m := NewMux()
	On(m, "echo", func(_ context.Context, in struct {
		A int `json:"a"`
	}) (any, error) {
		return in, nil
	})
	f.Fuzz(func(t *testing.T, id, method, kind, request, header string, n int64, body []byte) {
		d := &amqp.Delivery{MessageId: id, Type: method, Body: body, Headers: amqp.Table{
			headKind: kind, headRequest: request, headTimeout: n, header: n, "traceparent": header,
		}}
		in := fromDelivery(d)
		if in.ID == "" || len(in.Args) == 0 || in.attempt < 1 || in.timeout <= 0 || in.timeout > maxTimeoutMS*1_000_000 {
			t.Fatalf("inbound = %+v", in)
		}
		r := newRunner(t.Context(), Options{}.withDefaults(), &counters{}, "t", "h", m.Handle)
		defer r.cancel()
		out := r.run(in)
		if out.err != nil || out.fault == nil && out.body == nil {
			t.Fatalf("outcome = %+v", out)
		}
		if out.fault != nil && out.fault.Kind != fault.BadRequest && out.fault.Kind != fault.NotImplemented && out.fault.Kind != fault.Timeout {
			t.Fatalf("fault = %v", out.fault)
		}
	})
}
