package bus

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/hastack/hastack/internal/fault"
)

// confirmTimeout is how long a publisher waits for the broker before it tries
// again: longer than queues need to elect a leader, shorter than a frozen
// broker would cost otherwise.
const confirmTimeout = 2500 * time.Millisecond

// A publisher sends with confirms on one channel, made again when it breaks.
type publisher struct {
	link  *link
	count *counters

	mu sync.Mutex // guards ch
	ch *confirmChannel
}

func newPublisher(l *link, c *counters) *publisher { return &publisher{link: l, count: c} }

// A confirmChannel is a channel in confirm mode with what is known of it.
type confirmChannel struct {
	*amqp.Channel
	mu    sync.Mutex      // guards known
	known map[string]bool // queues and exchanges declared since it was opened

	asked chan returnQuestion // answered by noteReturns
	ended chan struct{}       // closed with the channel
}

// A returnQuestion asks whether the broker returned a message.
type returnQuestion struct {
	id     string
	answer chan bool
}

var errReturned = errors.New("bus: no queue took the message")

// toQueue stores m in a durable queue, which it declares if need be.
func (p *publisher) toQueue(ctx context.Context, queue string, m amqp.Publishing) error {
	return p.publish(ctx, "", queue, true, m, func(ch *amqp.Channel) error { return declareQueue(ch, queue) })
}

func (p *publisher) toFanout(ctx context.Context, exchange string, m amqp.Publishing) error {
	return p.publish(ctx, exchange, "", false, m, func(ch *amqp.Channel) error { return declareFanout(ch, exchange) })
}

// toReply answers a caller. Its queue is its own to declare; one that is gone
// has no caller any more.
func (p *publisher) toReply(ctx context.Context, queue string, m amqp.Publishing) error {
	err := p.publish(ctx, "", queue, true, m, nil)
	if errors.Is(err, errReturned) {
		return nil
	}
	return err
}

// publish repeats try until the broker confirms or ctx ends.
func (p *publisher) publish(ctx context.Context, exchange, key string, mandatory bool, m amqp.Publishing,
	declare func(*amqp.Channel) error) error {
	var last error
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := p.try(ctx, exchange, key, mandatory, m, declare)
		if err == nil || (declare == nil && errors.Is(err, errReturned)) {
			return err
		}
		if errors.Is(err, errClosed) {
			return err
		}
		if last = err; ctx.Err() != nil || !sleep(ctx, jitter(pause)) {
			if errors.Is(ctx.Err(), context.Canceled) {
				return context.Cause(ctx)
			}
			return fault.Wrap(fault.Unavailable, last, "message %s to %s: the bus did not take it in time", m.Type, exchange+key)
		}
		p.count.resent.Add(1)
	}
}

// try publishes once and waits for the confirm.
func (p *publisher) try(ctx context.Context, exchange, key string, mandatory bool, m amqp.Publishing,
	declare func(*amqp.Channel) error) error {
	ch, err := p.channel(ctx)
	if err != nil {
		return err
	}
	if declare != nil {
		if err := p.declare(ctx, ch, exchange+"/"+key, declare); err != nil {
			return err
		}
	}
	confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, mandatory, false, m)
	if err != nil {
		p.drop(ch)
		return err
	}
	wait, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	acked, err := confirm.WaitContext(wait)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			// The channel serves others. If the whole broker is silent, the next
			// try goes to another member.
			p.link.suspect()
		}
		return err
	case !acked: // during a leader election, or the channel has closed
		return errors.New("bus: the broker refused the message")
	case mandatory && ch.returned(m.MessageId):
		ch.know(exchange+"/"+key, false)
		return errReturned
	}
	return nil
}

// channel returns the open channel or makes one.
func (p *publisher) channel(ctx context.Context) (*confirmChannel, error) {
	p.mu.Lock()
	ch := p.ch
	p.mu.Unlock()
	if ch != nil && !ch.IsClosed() {
		return ch, nil
	}
	raw, err := p.link.channel(ctx)
	if err != nil {
		return nil, err
	}
	if err := raw.Confirm(false); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ch != nil && !p.ch.IsClosed() { // another was faster
		go func() { _ = raw.Close() }()
		return p.ch, nil
	}
	p.ch = &confirmChannel{
		Channel: raw, known: map[string]bool{}, asked: make(chan returnQuestion), ended: make(chan struct{}),
	}
	go p.ch.noteReturns(raw.NotifyReturn(make(chan amqp.Return)))
	return p.ch, nil
}

// noteReturns remembers the messages that no queue took. The broker sends a
// return before the confirm of the same message, and the library hands it over
// (unbuffered) before it settles the confirm. So whoever asks after a confirm
// asks after the return was received here, and gets the right answer.
func (c *confirmChannel) noteReturns(returns <-chan amqp.Return) {
	defer close(c.ended)
	noted := map[string]bool{}
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				return
			}
			if len(noted) > 10_000 { // of publishers who did not wait
				clear(noted)
			}
			noted[r.MessageId] = true
		case q := <-c.asked:
			q.answer <- noted[q.id]
			delete(noted, q.id)
		}
	}
}

// returned tells whether the confirmed message came back. A channel that has
// ended since cannot tell; then it is sent again, which is harmless.
func (c *confirmChannel) returned(id string) bool {
	q := returnQuestion{id, make(chan bool, 1)}
	select {
	case c.asked <- q:
		return <-q.answer
	case <-c.ended:
		return true
	}
}

func (c *confirmChannel) know(what string, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[what] = known
}

// drop gives up a channel that failed.
func (p *publisher) drop(ch *confirmChannel) {
	p.mu.Lock()
	if p.ch == ch {
		p.ch = nil
	}
	p.mu.Unlock()
	go func() { _ = ch.Close() }()
}

// declare makes sure of a queue or exchange, once a channel, on a channel of
// its own: a refused declaration closes the channel it was made on.
func (p *publisher) declare(ctx context.Context, on *confirmChannel, what string, f func(*amqp.Channel) error) error {
	on.mu.Lock()
	known := on.known[what]
	on.mu.Unlock()
	if known {
		return nil
	}
	done := make(chan error, 1)
	go func() { // the library's declare has no deadline
		ch, err := p.link.channel(ctx)
		if err == nil {
			err = f(ch)
			_ = ch.Close()
		}
		done <- err
	}()
	wait, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	select {
	case err := <-done:
		if err == nil {
			on.know(what, true)
		}
		return err
	case <-wait.Done():
		if ctx.Err() == nil {
			p.link.suspect()
		}
		return wait.Err()
	}
}

func declareQueue(ch *amqp.Channel, name string) error {
	_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	return err
}

func declareFanout(ch *amqp.Channel, name string) error {
	return ch.ExchangeDeclare(name, amqp.ExchangeFanout, true, false, false, false, nil)
}

// faultBody is a reply that is a fault.
func faultBody(f *fault.Error) []byte {
	body, err := json.Marshal(f)
	if err != nil { // it is three plain fields
		return []byte(`{}`)
	}
	return body
}
