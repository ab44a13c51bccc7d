package dataplanetest

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Inside runs f on a thread in a named namespace: sockets it opens stay there.
func Inside(t *testing.T, ns string, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		file, err := os.Open("/run/netns/" + ns)
		if err == nil {
			err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
			_ = file.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("inside %s: %v", ns, err)
	}
}

// A Wire is a raw socket on a guest's device: what a guest can send that owns
// its whole kernel.
type Wire struct {
	t     *testing.T
	fd    int
	index int
}

// NewWire opens a raw socket on a guest's eth0.
func NewWire(t *testing.T, g *Guest) *Wire {
	t.Helper()
	w := &Wire{t: t}
	Inside(t, g.NS, func() error {
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		w.index = dev.Index
		all := uint16(unix.ETH_P_ALL)
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(all<<8|all>>8))
		if err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8, Ifindex: dev.Index})
	})
	t.Cleanup(func() { _ = unix.Close(w.fd) })
	return w
}

// Send puts a frame on the wire.
func (w *Wire) Send(frame []byte) {
	w.t.Helper()
	if err := unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.index}); err != nil {
		w.t.Fatalf("send frame: %v", err)
	}
}

// Receives tells whether a frame that matches arrives within limit.
func (w *Wire) Receives(limit time.Duration, match func(frame []byte) bool) bool {
	w.t.Helper()
	buf := make([]byte, 65536)
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		n, from, err := unix.Recvfrom(w.fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			time.Sleep(2 * time.Millisecond)
			continue
		}
		if err != nil {
			w.t.Fatalf("receive frame: %v", err)
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if match(buf[:n]) {
			return true
		}
	}
	return false
}

// Drain forgets what has arrived.
func (w *Wire) Drain() { w.Receives(20*time.Millisecond, func([]byte) bool { return false }) }
