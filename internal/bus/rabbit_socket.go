package bus

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/clock"
)

// How soon a broker is left that does not answer.
const (
	// heartbeat is what is agreed with the broker: it sends every half of it.
	heartbeat = 2 * time.Second
	// quiet is how long nothing may come from a connected broker: three of its
	// heartbeats. It is what ends a connection to a frozen one.
	quiet = 3500 * time.Millisecond
	// unreceived is how long the machine at the other end may not confirm what
	// was sent: it ends a connection over a cut cable.
	unreceived = 2500 * time.Millisecond
	// A member that is away may cost connectTimeout, one that is frozen
	// handshakeTimeout.
	connectTimeout   = 1500 * time.Millisecond
	handshakeTimeout = 4 * time.Second
)

// A socket is a connection to a broker that knows when it last said something.
type socket struct {
	net.Conn
	heard atomic.Int64 // Unix nanoseconds
}

// dialSocket connects to addr; the handshake has to be done in time too.
func dialSocket(ctx context.Context, network, addr string) (*socket, error) {
	d := net.Dialer{
		Timeout:         connectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3},
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			if cerr := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unreceived.Milliseconds()))
			}); cerr != nil {
				return cerr
			}
			return err
		},
	}
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	s := &socket{Conn: c}
	s.heard.Store(clock.System.Now().UnixNano())
	if err := c.SetDeadline(clock.System.Now().Add(handshakeTimeout)); err != nil {
		_ = c.Close()
		return nil, err
	}
	return s, nil
}

// Read notes that the broker is there.
func (s *socket) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 {
		s.heard.Store(clock.System.Now().UnixNano())
	}
	return n, err
}

// SetReadDeadline is less patient than the library, which waits for three of
// our own heartbeats, twice as long.
func (s *socket) SetReadDeadline(t time.Time) error {
	if most := clock.System.Now().Add(quiet); t.After(most) {
		t = most
	}
	return s.Conn.SetReadDeadline(t)
}

// silent is how long nothing came.
func (s *socket) silent() time.Duration {
	return time.Duration(clock.System.Now().UnixNano() - s.heard.Load())
}
