package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// replyExpiry is how long the broker keeps the replies of a connection that is
// away.
const replyExpiry = int64(60_000) // ms

// listenTimeout is how long a server waits for the broker to set it up.
const listenTimeout = 5 * time.Second

// A rabbitServer consumes for one Serve.
type rabbitServer struct {
	*runner
	bus         *Rabbit
	topic, host string
	places      chan struct{} // one token a running handler

	quit    context.Context //nolint:containedctx // the life of the server: ends when no new message shall be taken
	stopNow context.CancelFunc
	loop    sync.WaitGroup
	once    sync.Once
}

// Serve implements Bus. It returns when the server listens; after that it
// comes back by itself whenever the broker does.
func (b *Rabbit) Serve(ctx context.Context, topic, host string, h Handler) (func(), error) {
	s := &rabbitServer{
		runner: newRunner(ctx, b.opts, &b.count, topic, host, h),
		bus:    b, topic: topic, host: host, places: make(chan struct{}, b.opts.Concurrency),
	}
	s.quit, s.stopNow = context.WithCancel(b.ctx)
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, errClosed
	}
	b.servers[s] = struct{}{}
	b.mu.Unlock()
	ready := make(chan struct{})
	s.loop.Go(func() { s.consume(sync.OnceFunc(func() { close(ready) })) })
	select {
	case <-ready:
	case <-ctx.Done():
		s.stop()
		return nil, ctx.Err()
	case <-time.After(DefaultTimeout):
		s.stop()
		return nil, fault.New(fault.Unavailable, "serve %s: the broker does not answer", topic)
	}
	unhook := context.AfterFunc(ctx, s.stop)
	return func() { unhook(); s.stop() }, nil
}

func (s *rabbitServer) stop() {
	s.once.Do(func() {
		s.stopNow()
		s.loop.Wait()
		s.bus.mu.Lock()
		delete(s.bus.servers, s)
		s.bus.mu.Unlock()
	})
}

// consume keeps the server listening until it is stopped.
func (s *rabbitServer) consume(ready func()) {
	for pause := 50 * time.Millisecond; s.quit.Err() == nil; pause = min(2*pause, 2*time.Second) {
		ch, deliveries, err := s.listen()
		if err != nil {
			if s.quit.Err() == nil {
				s.log.Warn("cannot listen, will try again", "error", err)
			}
			sleep(s.quit, jitter(pause))
			continue
		}
		ready()
		pause = 50 * time.Millisecond
		s.take(ch, deliveries)
	}
}

// listen declares the queues and starts to consume them on one channel.
func (s *rabbitServer) listen() (*amqp.Channel, []<-chan amqp.Delivery, error) {
	ch, err := s.bus.in.channel(s.quit)
	if err != nil {
		return nil, nil, err
	}
	type subscribed struct {
		deliveries []<-chan amqp.Delivery
		err        error
	}
	done := make(chan subscribed, 1)
	go func() {
		d, err := s.subscribe(ch)
		done <- subscribed{d, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			_ = ch.Close()
		}
		return ch, r.deliveries, r.err
	case <-time.After(listenTimeout):
		// A queue without a leader leaves a consumer without an answer for a
		// minute. Ask again, and another member if that does not help.
		s.bus.in.suspect()
	case <-s.quit.Done():
	}
	go func() {
		<-done
		_ = ch.Close() // what was delivered goes to others
	}()
	return nil, nil, fmt.Errorf("listen to %s: the broker does not answer", s.topic)
}

func (s *rabbitServer) subscribe(ch *amqp.Channel) ([]<-chan amqp.Delivery, error) {
	queues := []string{s.topic}
	if s.host != "" {
		queues = append(queues, Target{s.topic, s.host}.String())
	}
	for _, q := range queues {
		if err := declareQueue(ch, q); err != nil {
			return nil, err
		}
	}
	own, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return nil, err
	}
	if err := declareFanout(ch, fanoutName(s.topic)); err != nil {
		return nil, err
	}
	if err := ch.QueueBind(own.Name, "", fanoutName(s.topic), false, nil); err != nil {
		return nil, err
	}
	// Not more than can run: the rest is for the other servers.
	if err := ch.Qos(s.opts.Concurrency, 0, false); err != nil {
		return nil, err
	}
	var all []<-chan amqp.Delivery
	for i, q := range append(queues, own.Name) {
		d, err := ch.Consume(q, consumerTag(i), false, false, false, false, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// take hands out deliveries until the channel breaks or the server stops. On a
// stop it lets handlers end and acknowledge before the channel goes.
func (s *rabbitServer) take(ch *amqp.Channel, deliveries []<-chan amqp.Delivery) {
	broken := make(chan struct{})
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	go func() {
		if err := <-closed; err != nil {
			s.log.Warn("channel to the broker lost", "error", err)
		}
		close(broken)
	}()
	var pumps sync.WaitGroup
	for _, d := range deliveries {
		pumps.Go(func() { s.pump(d) })
	}
	select {
	case <-broken:
		pumps.Wait() // their delivery channels are closed
		return
	case <-s.quit.Done():
	}
	for i := range deliveries {
		_ = ch.Cancel(consumerTag(i), false) // closes its deliveries once they are read
	}
	pumps.Wait()
	s.drain()
	_ = ch.Close() // what was not acknowledged goes to others
}

// consumerTag names the i-th consumer of a channel.
func consumerTag(i int) string { return strconv.Itoa(i) }

func (s *rabbitServer) pump(deliveries <-chan amqp.Delivery) {
	for d := range deliveries {
		if s.quit.Err() != nil { // prefetched, for another server now
			_ = d.Nack(false, true)
			continue
		}
		s.wg.Add(1)
		go s.deliver(&d)
	}
}

func (s *rabbitServer) deliver(d *amqp.Delivery) {
	defer s.wg.Done()
	select {
	case s.places <- struct{}{}:
	case <-s.quit.Done():
		_ = d.Nack(false, true)
		return
	}
	in := fromDelivery(d)
	out := s.run(in)
	<-s.places
	if out.err != nil {
		pause, again := s.again(in, out.err)
		if again {
			sleep(s.quit, pause) // unacknowledged: it is not lost if we die now
			_ = d.Nack(false, true)
			return
		}
	}
	if in.kind == kindCall && d.ReplyTo != "" {
		s.reply(in, d, out)
	}
	// An ack that fails means a broken channel: the message comes again and
	// the window recognises it.
	_ = d.Ack(false)
}

func (s *rabbitServer) reply(in *inbound, d *amqp.Delivery, out outcome) {
	if s.replyLost() {
		return
	}
	m := amqp.Publishing{
		ContentType: "application/json", MessageId: ids.UUID(), CorrelationId: d.CorrelationId, Body: out.body,
		Type: in.Method, Headers: amqp.Table{},
	}
	if out.fault != nil {
		m.Body, m.Headers[headFault] = faultBody(out.fault), true
	}
	ctx, cancel := context.WithTimeout(s.ctx, max(in.timeout, time.Second))
	defer cancel()
	if err := s.bus.pub.toReply(ctx, d.ReplyTo, m); err != nil {
		s.log.Warn("reply lost", "method", in.Method, "message_id", in.ID, "error", err)
		return
	}
	s.count.replies.Add(1)
}

// takeReplies keeps the reply queue of this connection and hands replies out.
func (b *Rabbit) takeReplies() {
	name := "reply." + ids.Hex()
	for pause := 50 * time.Millisecond; b.ctx.Err() == nil; pause = min(2*pause, 2*time.Second) {
		ch, replies, err := b.listenReplies(name)
		if err != nil {
			name = "reply." + ids.Hex()
			sleep(b.ctx, jitter(pause))
			continue
		}
		pause = 50 * time.Millisecond
		b.setReply(name, func() { go func() { _ = ch.Close() }() })
		for d := range replies {
			b.answer(&d)
		}
		b.setReply("", nil)
		_ = ch.Close()
		// The old queue may have its home on a member that is gone, and asking
		// for it there takes as long as the others need to give that member up.
		// What is still answered there was asked again by then.
		name = "reply." + ids.Hex()
	}
}

func (b *Rabbit) listenReplies(name string) (*amqp.Channel, <-chan amqp.Delivery, error) {
	ch, err := b.out.channel(b.ctx)
	if err != nil {
		return nil, nil, err
	}
	_, err = ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-expires": replyExpiry})
	if err == nil {
		var replies <-chan amqp.Delivery
		if replies, err = ch.Consume(name, "", true, false, false, false, nil); err == nil {
			return ch, replies, nil
		}
	}
	_ = ch.Close()
	return nil, nil, err
}

func (b *Rabbit) setReply(name string, renew func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.reply.changed)
	b.reply = replyQueue{name: name, changed: make(chan struct{}), renew: renew}
}

func (b *Rabbit) answer(d *amqp.Delivery) {
	out := outcome{body: d.Body}
	if is, _ := d.Headers[headFault].(bool); is {
		out = outcome{fault: &fault.Error{}}
		if err := json.Unmarshal(d.Body, out.fault); err != nil {
			out.fault = fault.Wrap(fault.Internal, err, "unreadable answer to %s", d.Type)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reply.unanswered = 0
	if answer, ok := b.pending[d.CorrelationId]; ok {
		select {
		case answer <- out:
		default: // a second answer to a call that ran twice
		}
	}
}
