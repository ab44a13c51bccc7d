// Package reach tells how many servers of a cluster this one reaches over the
// management network, by pinging them several times a second.
//
// A server that reaches no majority must expect that the others have taken over
// what it does, without being able to tell it. The kernel answers pings, so
// that dead services are not mistaken for a cut. Start with [Watch].
package reach

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/hastack/hastack/internal/clock"
)

const (
	// Every is the time between two rounds.
	Every = 200 * time.Millisecond
	// Patience is how long a member may be silent and still counts as reached.
	Patience     = 700 * time.Millisecond
	icmpProtocol = 1
)

// table remembers when each member was last heard of.
type table struct {
	mu    sync.Mutex // guards last and heard
	last  time.Time
	heard map[netip.Addr]time.Time
}

// newTable counts every member as heard of just now.
func newTable(members []netip.Addr, now time.Time) *table {
	t := &table{last: now, heard: map[netip.Addr]time.Time{}}
	for _, m := range members {
		t.heard[m] = now
	}
	return t
}

// answered notes a reply.
func (t *table) answered(m netip.Addr, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.heard[m]; ok {
		t.heard[m] = now
	}
}

// count is how many members are in reach, this server with them, of how many.
// The time in which this process itself did not run is nobody's silence.
func (t *table) count(now time.Time) (reached, all int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := now.Sub(t.last)
	if lost := since - Every; since > 2*Every || since < 0 {
		for m, at := range t.heard {
			if at = at.Add(lost); at.After(now) {
				at = now // answered meanwhile
			}
			t.heard[m] = at
		}
	}
	t.last = now
	reached = 1
	for _, at := range t.heard {
		if now.Sub(at) <= Patience {
			reached++
		}
	}
	return reached, len(t.heard) + 1
}

// Watch pings the members from address and tells report after each round how
// many servers are in reach, this one with them, of how many. It ends with ctx,
// with the first error of report, or when it cannot ping (which needs root).
// Without members it only waits.
func Watch(ctx context.Context, c clock.Clock, address netip.Addr, members []netip.Addr, report func(reached, all int) error) error {
	if len(members) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	conn, err := icmp.ListenPacket("ip4:icmp", address.String())
	if err != nil {
		return fmt.Errorf("ping from %s: %w", address, err)
	}
	t, id := newTable(members, c.Now()), rand.IntN(1<<16)
	received := make(chan error, 1)
	go func() {
		defer close(received)
		received <- receive(conn, c, t, id)
	}()
	err = rounds(ctx, c, conn, t, id, members, received, report)
	_ = conn.Close()
	for range received { // until it has ended
	}
	return err
}

func rounds(ctx context.Context, c clock.Clock, conn *icmp.PacketConn, t *table, id int, members []netip.Addr, received <-chan error, report func(reached, all int) error) error {
	tick := c.NewTicker(Every)
	defer tick.Stop()
	for seq := 0; ; seq++ {
		ping(conn, id, seq, members)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-received:
			return err
		case <-tick.C():
		}
		if err := report(t.count(c.Now())); err != nil {
			return err
		}
	}
}

func ping(conn *icmp.PacketConn, id, seq int, members []netip.Addr) {
	b, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: seq & 0xffff, Data: []byte("hastack")}}).Marshal(nil)
	if err != nil {
		return // a constant message: it can always be written
	}
	for _, m := range members {
		// A network that is down is what the silence will tell.
		_, _ = conn.WriteTo(b, &net.IPAddr{IP: m.AsSlice()})
	}
}

func receive(conn *icmp.PacketConn, c clock.Clock, t *table, id int) error {
	b := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive pings: %w", err)
		}
		m, err := icmp.ParseMessage(icmpProtocol, b[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply {
			continue
		}
		if echo, ok := m.Body.(*icmp.Echo); !ok || echo.ID != id {
			continue
		}
		if ip, ok := from.(*net.IPAddr); ok {
			if a, ok := netip.AddrFromSlice(ip.IP); ok {
				t.answered(a.Unmap(), c.Now())
			}
		}
	}
}
