package bus

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// maxPending bounds what one queue of the memory engine holds for servers that
// do not come.
const maxPending = 100_000

// Memory is the bus of one process. It holds messages only as long as the
// process lives; what must survive is a row in a database.
type Memory struct {
	opts  Options
	count counters

	mu     sync.Mutex // guards all below and every memQueue and memServer
	queues map[string]*memQueue
	closed bool
}

type memQueue struct {
	name    string // empty for a server's own queue
	pending []*memItem
	servers []*memServer
	turn    int // the server to try first
}

type memItem struct {
	in    *inbound
	reply chan outcome // nil unless a call
	gone  bool         // the caller has left
}

type memServer struct {
	*runner
	queues  []*memQueue
	running int
}

// NewMemory makes a bus with the default options.
func NewMemory(log *slog.Logger) *Memory { return NewMemoryWith(Options{Log: log}) }

// NewMemoryWith makes a bus with the given options.
func NewMemoryWith(o Options) *Memory {
	return &Memory{opts: o.withDefaults(), queues: map[string]*memQueue{}}
}

// queue needs mu.
func (b *Memory) queue(name string) *memQueue {
	q := b.queues[name]
	if q == nil {
		q = &memQueue{name: name}
		b.queues[name] = q
	}
	return q
}

var errClosed = fault.New(fault.Unavailable, "the bus is closed")

// Call implements Bus.
func (b *Memory) Call(ctx context.Context, to Target, method string, args, reply any) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	in, err := outgoing(ctx, ids.UUID(), method, args, kindCall)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	in.timeout = time.Until(deadline)
	item := &memItem{in: in, reply: make(chan outcome, 1)}
	if err := b.put(ctx, to.String(), item); err != nil {
		return err
	}
	b.count.calls.Add(1)
	grace := time.NewTimer(b.opts.Grace)
	defer grace.Stop()
	for {
		select {
		case out := <-item.reply:
			if out.fault != nil {
				return out.fault
			}
			return decode(out.body, reply)
		case <-grace.C:
			if b.abandon(to.String(), item, true) {
				return fault.New(fault.Unavailable, "call %s to %s: no server listens", method, to)
			}
		case <-ctx.Done():
			b.abandon(to.String(), item, false)
			return b.count.expired(ctx, to, method)
		}
	}
}

// expired is the error of a call that got no reply.
func (c *counters) expired(ctx context.Context, to Target, method string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Cause(ctx)
	}
	c.timeouts.Add(1)
	return fault.Wrap(fault.Timeout, ctx.Err(), "call %s to %s: no reply in time", method, to)
}

// abandon takes a call off its queue. With onlyIdle it does so only if the
// queue has no server. It tells whether it did.
func (b *Memory) abandon(name string, item *memItem, onlyIdle bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queue(name)
	if onlyIdle && len(q.servers) > 0 {
		return false
	}
	for i, p := range q.pending {
		if p == item {
			item.gone = true
			q.pending = append(q.pending[:i:i], q.pending[i+1:]...)
			b.forgetIfEmpty(name, q)
			return true
		}
	}
	return false
}

// forgetIfEmpty needs mu. Calls to hosts that never were must not leave queues.
func (b *Memory) forgetIfEmpty(name string, q *memQueue) {
	if len(q.pending) == 0 && len(q.servers) == 0 {
		delete(b.queues, name)
	}
}

// Cast implements Bus.
func (b *Memory) Cast(ctx context.Context, to Target, method string, args any) error {
	in, err := outgoing(ctx, ids.UUID(), method, args, kindCast)
	if err != nil {
		return err
	}
	if err := b.put(ctx, to.String(), &memItem{in: in}); err != nil {
		return err
	}
	b.count.casts.Add(1)
	return nil
}

// Fanout implements Bus.
func (b *Memory) Fanout(ctx context.Context, topic, method string, args any) error {
	id := ids.UUID()
	first, err := outgoing(ctx, id, method, args, kindFanout)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}
	b.count.fanouts.Add(1)
	for _, s := range b.queue(topic).servers {
		in := *first
		s.queues[0].pending = append(s.queues[0].pending, &memItem{in: &in})
		b.dispatch(s.queues[0])
	}
	b.forgetIfEmpty(topic, b.queue(topic))
	return nil
}

func (b *Memory) put(ctx context.Context, name string, item *memItem) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}
	q := b.queue(name)
	if len(q.pending) >= maxPending {
		return fault.New(fault.Unavailable, "bus: queue %s is full", name)
	}
	for range copies(ctx) {
		q.pending = append(q.pending, item)
	}
	b.dispatch(q)
	return nil
}

// answer gives the caller its reply; a second one, of a copy, is dropped.
func (i *memItem) answer(out outcome) {
	select {
	case i.reply <- out:
	default:
	}
}

// dispatch gives pending messages to servers with a free place. It needs mu.
func (b *Memory) dispatch(q *memQueue) {
	for len(q.pending) > 0 {
		s := q.free()
		if s == nil {
			return
		}
		item := q.pending[0]
		q.pending[0] = nil
		q.pending = q.pending[1:]
		s.running++
		s.wg.Add(1)
		go b.deliver(s, q, item)
	}
}

// free is the next server in turn that may take a message. It needs mu.
func (q *memQueue) free() *memServer {
	for i := range q.servers {
		s := q.servers[(q.turn+i)%len(q.servers)]
		if s.running < s.opts.Concurrency {
			q.turn = (q.turn + i + 1) % len(q.servers)
			return s
		}
	}
	return nil
}

func (b *Memory) deliver(s *memServer, q *memQueue, item *memItem) {
	defer s.wg.Done()
	out := s.run(item.in)
	if item.reply != nil && !s.replyLost() {
		b.count.replies.Add(1)
		item.answer(out)
	}
	b.mu.Lock()
	s.running--
	for _, q := range s.queues { // the place is free for any of them
		b.dispatch(q)
	}
	b.mu.Unlock()
	if out.err != nil {
		b.retry(s, q.name, item, out.err)
	}
}

// retry puts a failed cast back after its pause, for any server of the queue.
func (b *Memory) retry(s *memServer, name string, item *memItem, err error) {
	pause, ok := s.again(item.in, err)
	if !ok {
		return
	}
	time.AfterFunc(pause, func() {
		next := *item.in
		next.attempt++
		next.Redelivered = true
		if err := b.put(s.ctx, name, &memItem{in: &next}); err != nil {
			s.log.ErrorContext(s.ctx, "message dropped", "method", next.Method, "message_id", next.ID, "error", err)
		}
	})
}

// Serve implements Bus.
func (b *Memory) Serve(ctx context.Context, topic, host string, h Handler) (func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	s := &memServer{runner: newRunner(ctx, b.opts, &b.count, topic, host, h)}
	// The first queue is the server's own, for fanouts; nobody else knows it.
	s.queues = []*memQueue{{}, b.queue(topic)}
	if host != "" {
		s.queues = append(s.queues, b.queue(Target{topic, host}.String()))
	}
	for _, q := range s.queues {
		q.servers = append(q.servers, s)
		b.dispatch(q)
	}
	stop := sync.OnceFunc(func() { b.remove(s) })
	unhook := context.AfterFunc(ctx, stop)
	return func() { unhook(); stop() }, nil
}

// remove takes the server off its queues, then waits for its handlers.
func (b *Memory) remove(s *memServer) {
	b.detach(s)
	s.drain()
}

func (b *Memory) detach(s *memServer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range s.queues {
		for i, other := range q.servers {
			if other == s {
				q.servers = append(q.servers[:i:i], q.servers[i+1:]...)
				break
			}
		}
		b.forgetIfEmpty(q.name, q)
	}
}

// Stats implements Bus.
func (b *Memory) Stats() Stats { return b.count.stats() }

// Close implements Bus.
func (b *Memory) Close() error {
	b.mu.Lock()
	b.closed = true
	servers := map[*memServer]bool{}
	for _, q := range b.queues {
		for _, s := range q.servers {
			servers[s] = true
		}
		for _, item := range q.pending {
			if item.reply != nil {
				item.answer(outcome{fault: errClosed})
			}
		}
		q.pending = nil
	}
	b.mu.Unlock()
	var wg sync.WaitGroup
	for s := range servers {
		wg.Go(func() { b.remove(s) })
	}
	wg.Wait()
	return nil
}
