package bus

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel/propagation"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// RabbitConfig says how to reach a RabbitMQ cluster.
type RabbitConfig struct {
	// URLs are the members, amqp:// or amqps://; any of them serves. They hold
	// passwords and are never logged.
	URLs []string
	TLS  *tls.Config // for amqps; nil verifies with the system's roots
	Log  *slog.Logger
	// Options tune the connection; the zero value is right for production.
	Options Options
}

func (c RabbitConfig) options() Options {
	o := c.Options
	if c.Log != nil {
		o.Log = c.Log
	}
	return o.withDefaults()
}

// Rabbit is the bus over RabbitMQ. Queues of topics and hosts are durable
// quorum queues; a publish returns when the broker has confirmed that it is
// stored, and is repeated at another member until the context ends; a message
// is acknowledged after its handler is done. File order: rabbit.go (sending),
// rabbit_link.go (connections), rabbit_publish.go, rabbit_server.go.
type Rabbit struct {
	opts  Options
	log   *slog.Logger
	count counters

	out *link // publishes and takes replies
	in  *link // serves: a broker that holds back publishers must not hold back acks
	pub *publisher

	mu      sync.Mutex // guards what follows
	pending map[string]chan outcome
	reply   replyQueue
	servers map[*rabbitServer]struct{}
	closed  bool

	ctx    context.Context //nolint:containedctx // the life of the connection: ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// replyQueue is where this connection's replies arrive now. It is a queue of
// ours and not the broker's direct reply-to: up to RabbitMQ 3.10 a reply to a
// caller whose member is down ends the replying server's connection
// (case_clause in rabbit_channel:deliver_reply).
type replyQueue struct {
	name    string
	changed chan struct{} // closed when the queue is another
	// unanswered counts the calls that expired since the last answer; renew
	// makes another queue.
	unanswered int
	renew      func()
}

// DialRabbit connects to any member; it tries until ctx ends, ten seconds if
// ctx has no deadline.
func DialRabbit(ctx context.Context, cfg RabbitConfig) (*Rabbit, error) {
	if len(cfg.URLs) == 0 {
		return nil, errors.New("bus: no RabbitMQ member is given")
	}
	for i, member := range cfg.URLs {
		if _, err := amqp.ParseURI(member); err != nil {
			// The error would repeat the URL, and with it the password.
			return nil, fmt.Errorf("bus: URL %d of RabbitMQ is not amqp://user:password@host:port/", i+1)
		}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
	}
	o := cfg.options()
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &Rabbit{
		opts: o, log: o.Log, pending: map[string]chan outcome{}, servers: map[*rabbitServer]struct{}{},
		reply: replyQueue{changed: make(chan struct{})}, ctx: own, cancel: cancel,
	}
	b.out = newLink(own, cfg, "publish")
	b.in = newLink(own, cfg, "serve")
	b.pub = newPublisher(b.out, &b.count)
	b.wg.Go(b.out.run)
	b.wg.Go(b.in.run)
	b.wg.Go(b.takeReplies)
	if _, err := b.replyTo(ctx); err != nil {
		_ = b.Close()
		return nil, fault.Wrap(fault.Unavailable, b.out.lastError(), "no RabbitMQ member of %d answers", len(cfg.URLs))
	}
	return b, nil
}

// replyTo waits for the reply queue and returns its state.
func (b *Rabbit) replyTo(ctx context.Context) (replyQueue, error) {
	for {
		b.mu.Lock()
		r := b.reply
		b.mu.Unlock()
		if r.name != "" {
			return r, nil
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			return r, ctx.Err()
		case <-b.ctx.Done():
			return r, errClosed
		}
	}
}

// Call implements Bus. When the reply queue is lost with its broker the call
// is sent again under the same id: a server that has the answer gives it again.
func (b *Rabbit) Call(ctx context.Context, to Target, method string, args, reply any) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	in, err := outgoing(ctx, ids.UUID(), method, args, kindCall)
	if err != nil {
		return err
	}
	answer := make(chan outcome, 1)
	if err := b.expect(in.ID, answer); err != nil {
		return err
	}
	defer b.forget(in.ID)
	b.count.calls.Add(1)
	for {
		queue, err := b.replyTo(ctx)
		if err != nil {
			return b.callError(ctx, err, to, method)
		}
		deadline, _ := ctx.Deadline()
		in.timeout = time.Until(deadline)
		for range copies(ctx) {
			if err := b.pub.toQueue(ctx, to.String(), toPublishing(in, queue.name)); err != nil {
				return b.callError(ctx, err, to, method)
			}
		}
		select {
		case out := <-answer:
			if out.fault != nil {
				return out.fault
			}
			return decode(out.body, reply)
		case <-queue.changed: // again, with the new address
			b.count.resent.Add(1)
		case <-ctx.Done():
			b.unanswered(queue.name)
			return b.count.expired(ctx, to, method)
		case <-b.ctx.Done():
			return errClosed
		}
	}
}

// unanswered is told of a call that expired. When nothing at all came back since
// the one before, the queue of replies itself is suspected: after a partition
// members may differ about where it is, and replies get lost on the way.
func (b *Rabbit) unanswered(queue string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if queue != b.reply.name {
		return
	}
	if b.reply.unanswered++; b.reply.unanswered >= 2 {
		b.reply.renew()
	}
}

func (b *Rabbit) callError(ctx context.Context, err error, to Target, method string) error {
	if ctx.Err() != nil {
		return b.count.expired(ctx, to, method)
	}
	return err
}

func (b *Rabbit) expect(id string, answer chan outcome) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}
	b.pending[id] = answer
	return nil
}

func (b *Rabbit) forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pending, id)
}

// Cast implements Bus.
func (b *Rabbit) Cast(ctx context.Context, to Target, method string, args any) error {
	return b.send(ctx, kindCast, method, args, &b.count.casts, func(ctx context.Context, m amqp.Publishing) error {
		return b.pub.toQueue(ctx, to.String(), m)
	})
}

// Fanout implements Bus.
func (b *Rabbit) Fanout(ctx context.Context, topic, method string, args any) error {
	return b.send(ctx, kindFanout, method, args, &b.count.fanouts, func(ctx context.Context, m amqp.Publishing) error {
		return b.pub.toFanout(ctx, fanoutName(topic), m)
	})
}

func (b *Rabbit) send(ctx context.Context, k kind, method string, args any, count interface{ Add(int64) int64 },
	publish func(context.Context, amqp.Publishing) error) error {
	if b.ctx.Err() != nil {
		return errClosed
	}
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	in, err := outgoing(ctx, ids.UUID(), method, args, k)
	if err != nil {
		return err
	}
	for range copies(ctx) {
		if err := publish(ctx, toPublishing(in, "")); err != nil {
			return err
		}
	}
	count.Add(1)
	return nil
}

// Stats implements Bus.
func (b *Rabbit) Stats() Stats { return b.count.stats() }

// Close implements Bus.
func (b *Rabbit) Close() error {
	b.mu.Lock()
	b.closed = true
	servers := b.servers
	b.servers = map[*rabbitServer]struct{}{}
	b.mu.Unlock()
	var wg sync.WaitGroup
	for s := range servers {
		wg.Go(s.stop)
	}
	wg.Wait()
	b.cancel()
	b.wg.Wait()
	return nil
}

func fanoutName(topic string) string { return topic + ".fanout" }

// Header names of what travels beside the body, which is the bare JSON.
const (
	headKind    = "hastack-kind"
	headRequest = "hastack-request-id"
	headTimeout = "hastack-timeout-ms"
	headFault   = "hastack-fault"
)

// maxTimeoutMS bounds what a message may claim, a day.
const maxTimeoutMS = 24 * 60 * 60 * 1000

func toPublishing(in *inbound, replyTo string) amqp.Publishing {
	m := amqp.Publishing{
		ContentType: "application/json", DeliveryMode: amqp.Persistent, MessageId: in.ID, Type: in.Method, Body: in.Args,
		Headers: amqp.Table{headKind: string(in.kind), headRequest: in.RequestID},
	}
	for k, v := range in.trace {
		m.Headers[k] = v
	}
	if in.kind == kindCall {
		ms := max(in.timeout.Milliseconds(), 1)
		m.ReplyTo, m.CorrelationId = replyTo, in.ID
		m.Headers[headTimeout] = ms
		// The broker drops a call whose caller has given up.
		m.Expiration = strconv.FormatInt(ms, 10)
	}
	return m
}

func fromDelivery(d *amqp.Delivery) *inbound {
	in := &inbound{
		Message: Message{ID: d.MessageId, Method: d.Type, Args: json.RawMessage(d.Body), Redelivered: d.Redelivered},
		trace:   propagation.MapCarrier{}, attempt: 1, timeout: DefaultTimeout, kind: kindCast,
	}
	if in.ID == "" { // not ours; all of them must not look like copies of one
		in.ID = ids.UUID()
	}
	if len(in.Args) == 0 {
		in.Args = json.RawMessage("null")
	}
	for k, v := range d.Headers {
		switch v := v.(type) {
		case string:
			switch k {
			case headKind:
				in.kind = kind(v)
			case headRequest:
				in.RequestID = v
			default:
				in.trace[k] = v
			}
		case int64:
			switch k {
			case headTimeout:
				in.timeout = time.Duration(min(max(v, 1), maxTimeoutMS)) * time.Millisecond
			case "x-delivery-count": // of quorum queues: earlier deliveries
				in.attempt = int(min(max(v, 0), 1<<20)) + 1
			}
		}
	}
	if in.attempt > 1 {
		in.Redelivered = true
	}
	return in
}
