package compute

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// consoleLimit is the most that one console output answers.
const consoleLimit = 100 << 10

// ConsoleOutput implements rpc.Compute.
func (a *Agent) ConsoleOutput(ctx context.Context, in rpc.ConsoleOutputArgs) (*rpc.ConsoleOutputReply, error) {
	b, err := a.driver.Console(ctx, in.ServerID, consoleLimit)
	if err != nil {
		return nil, err
	}
	if in.Lines > 0 {
		b = lastLines(b, in.Lines)
	}
	return &rpc.ConsoleOutputReply{Output: strings.ToValidUTF8(string(b), "\uFFFD")}, nil
}

func lastLines(b []byte, n int) []byte {
	end := len(bytes.TrimRight(b, "\n"))
	at := end
	for ; n > 0; n-- {
		if at = bytes.LastIndexByte(b[:at], '\n'); at < 0 {
			return b
		}
	}
	return b[at+1:]
}

// Diagnostics implements rpc.Compute.
func (a *Agent) Diagnostics(ctx context.Context, in rpc.ServerArgs) (*rpc.Diagnostics, error) {
	return a.driver.Diagnostics(ctx, in.ServerID)
}

// VNCConsole implements rpc.Compute.
func (a *Agent) VNCConsole(ctx context.Context, in rpc.ServerArgs) (*rpc.VNCReply, error) {
	info, err := a.driver.Info(ctx, in.ServerID)
	if err != nil {
		return nil, err
	}
	if info.PowerState != rpc.PowerRunning && info.PowerState != rpc.PowerPaused {
		return nil, fault.New(fault.Conflict, "server %s does not run", in.ServerID)
	}
	id := in.ServerID
	return a.relay.ticket(func(ctx context.Context) (io.ReadWriteCloser, error) { return a.driver.VNC(ctx, id) }), nil
}

const (
	ticketTTL     = 20 * time.Second
	ticketGreet   = "HASTACK-VNC "
	relayDeadline = 10 * time.Second
)

// A relay carries the bytes of screens between novncproxy and the hypervisor.
// A connection must begin with a ticket, which opens one server once; between
// servers it is encrypted and both sides show certificates. QEMU itself listens
// nowhere: its screen is opened over its monitor.
type relay struct {
	listener net.Listener
	clock    clock.Clock
	log      *slog.Logger
	wait     sync.WaitGroup
	stop     context.CancelFunc

	mu      sync.Mutex // guards what follows
	tickets map[string]ticket
	conns   map[net.Conn]bool
}

type ticket struct {
	open  func(context.Context) (io.ReadWriteCloser, error)
	until time.Time
}

func listenRelay(ctx context.Context, addr string, secure *tls.Config, clk clock.Clock, log *slog.Logger) (*relay, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &relay{listener: l, clock: clk, log: log, stop: stop, tickets: map[string]ticket{}, conns: map[net.Conn]bool{}}
	r.wait.Add(1)
	go r.serve(ctx)
	return r, nil
}

func (r *relay) close() {
	r.stop()
	_ = r.listener.Close()
	r.mu.Lock()
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.wait.Wait()
}

// ticket makes a way in that open answers, good once and for a short time.
func (r *relay) ticket(open func(context.Context) (io.ReadWriteCloser, error)) *rpc.VNCReply {
	id, now := ids.Secret(32), r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, t := range r.tickets {
		if now.After(t.until) {
			delete(r.tickets, k)
		}
	}
	r.tickets[id] = ticket{open: open, until: now.Add(ticketTTL)}
	return &rpc.VNCReply{Address: r.listener.Addr().String(), Ticket: id}
}

func (r *relay) serve(ctx context.Context) {
	defer r.wait.Done()
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.conns[c] = true
		r.mu.Unlock()
		r.wait.Go(func() {
			if err := r.carry(ctx, c); err != nil && !errors.Is(err, net.ErrClosed) {
				r.log.DebugContext(ctx, "screen connection", slog.Any("error", err))
			}
			_ = c.Close()
			r.mu.Lock()
			delete(r.conns, c)
			r.mu.Unlock()
		})
	}
}

func (r *relay) carry(ctx context.Context, c net.Conn) error {
	_ = c.SetReadDeadline(clock.System.Now().Add(relayDeadline)) // sockets know machine time only
	in := bufio.NewReaderSize(c, 4096)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	id, ok := strings.CutPrefix(strings.TrimSpace(string(line)), ticketGreet)
	r.mu.Lock()
	t, known := r.tickets[id]
	delete(r.tickets, id)
	r.mu.Unlock()
	if !ok || !known || r.clock.Now().After(t.until) {
		return errors.New("ticket refused")
	}
	_ = c.SetReadDeadline(time.Time{})
	screen, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer screen.Close()
	// The side that ends first ends the other, and only its error is told.
	var g errgroup.Group
	one := func(to io.Writer, from io.Reader) func() error {
		return func() error {
			_, err := io.Copy(to, from)
			return errors.Join(err, screen.Close(), c.Close())
		}
	}
	g.Go(one(screen, in))
	g.Go(one(c, screen))
	return g.Wait()
}
