package bus

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A link is one connection to any member, made again whenever it breaks.
type link struct {
	ctx  context.Context //nolint:containedctx // the life of the connection
	cfg  RabbitConfig
	name string
	log  *slog.Logger

	mu      sync.Mutex // guards what follows
	conn    *amqp.Connection
	socket  *socket       // under the newest connection
	doubts  int           // since it was made, of a broker that does talk
	err     error         // of the last attempt
	changed chan struct{} // closed when conn is another
}

func newLink(ctx context.Context, cfg RabbitConfig, name string) *link {
	return &link{ctx: ctx, cfg: cfg, name: name, log: cfg.options().Log.With("link", name), changed: make(chan struct{})}
}

// run keeps the link up until its context ends.
func (l *link) run() {
	member := rand.IntN(len(l.cfg.URLs))
	for pause := 50 * time.Millisecond; l.ctx.Err() == nil; member++ {
		conn, err := l.dial(l.cfg.URLs[member%len(l.cfg.URLs)])
		if err != nil {
			l.set(nil, err)
			sleep(l.ctx, jitter(pause))
			pause = min(2*pause, 2*time.Second)
			continue
		}
		pause = 50 * time.Millisecond
		gone := conn.NotifyClose(make(chan *amqp.Error, 1))
		l.set(conn, nil)
		select {
		case err := <-gone:
			l.log.Warn("connection to the broker lost", "error", err)
			if err != nil {
				l.set(nil, err)
			} else {
				l.set(nil, amqp.ErrClosed)
			}
			// All of a cloud's processes lose a dead member at once.
			sleep(l.ctx, jitter(200*time.Millisecond))
		case <-l.ctx.Done():
			l.set(nil, l.ctx.Err())
			l.end(conn)
		}
	}
}

func (l *link) dial(member string) (*amqp.Connection, error) {
	conn, err := amqp.DialConfig(member, amqp.Config{
		Heartbeat: heartbeat, TLSClientConfig: l.cfg.TLS, Dial: l.socketTo,
		Properties: amqp.Table{"connection_name": "hastack " + l.name},
	})
	if err != nil {
		host := "?"
		if u, perr := url.Parse(member); perr == nil {
			host = u.Host // never the user and the password
		}
		return nil, fmt.Errorf("connect to %s: %w", host, err)
	}
	return conn, nil
}

func (l *link) socketTo(network, addr string) (net.Conn, error) {
	c, err := dialSocket(l.ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.socket, l.doubts = c, 0
	return c, nil
}

// talkative is the silence up to which a broker counts as alive.
const talkative = 2 * time.Second

// manyDoubts is how often a broker that talks may leave something undone
// before another member is tried: the fault can be one queue's, and breaking
// the connection would hit all that use it.
const manyDoubts = 3

// suspect is told that the broker did not do something in time. It breaks the
// connection, so that another member is tried, unless the broker still talks.
func (l *link) suspect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket == nil {
		return
	}
	if l.doubts++; l.socket.silent() < talkative && l.doubts < manyDoubts {
		return
	}
	_ = l.socket.Close() // a polite close would wait for the member that does not answer
}

// cut breaks the connection.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket != nil {
		_ = l.socket.Close()
	}
}

// end closes politely, but not for long.
func (l *link) end(conn *amqp.Connection) {
	done := make(chan struct{})
	go func() { _ = conn.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Second):
		l.cut()
		<-done
	}
}

func (l *link) set(conn *amqp.Connection, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.err = conn, err
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) lastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// connection waits for the link to be up.
func (l *link) connection(ctx context.Context) (*amqp.Connection, error) {
	for {
		l.mu.Lock()
		conn, changed := l.conn, l.changed
		l.mu.Unlock()
		if conn != nil && !conn.IsClosed() {
			return conn, nil
		}
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond): // closed, and run has not seen it yet
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.ctx.Done():
			return nil, errClosed
		}
	}
}

// channel opens a channel once the link is up.
func (l *link) channel(ctx context.Context) (*amqp.Channel, error) {
	conn, err := l.connection(ctx)
	if err != nil {
		return nil, err
	}
	type opened struct {
		ch  *amqp.Channel
		err error
	}
	result := make(chan opened, 1)
	go func() { // the library's open has no deadline
		ch, err := conn.Channel()
		result <- opened{ch, err}
	}()
	select {
	case o := <-result:
		return o.ch, o.err
	case <-ctx.Done():
		go func() {
			if o := <-result; o.err == nil {
				_ = o.ch.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// sleep waits for d or the end of ctx, and tells whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
