package vipguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

const (
	reachEvery = 200 * time.Millisecond
	// reachPatience is how long a member may be silent. A backup takes over
	// after three adverts (0.6 s); an isolated server gives up soon after.
	reachPatience = 700 * time.Millisecond
	icmpProtocol  = 1
)

// reach remembers when each member was last heard of.
type reach struct {
	patience time.Duration

	mu   sync.Mutex // guards heard and last
	last time.Time
	// heard has every member; at first all count as heard of just now.
	heard map[netip.Addr]time.Time
}

func newReach(members []netip.Addr, now time.Time) *reach {
	r := &reach{patience: reachPatience, last: now, heard: map[netip.Addr]time.Time{}}
	for _, m := range members {
		r.heard[m] = now
	}
	return r
}

// answered notes a reply.
func (r *reach) answered(m netip.Addr, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.heard[m]; ok {
		r.heard[m] = now
	}
}

// count is how many members are in reach, this server with them, of how many.
// The time in which this process itself did not run is nobody's silence.
func (r *reach) count(now time.Time) (reached, all int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lost := now.Sub(r.last) - 2*reachEvery; lost > 0 || now.Before(r.last) {
		for m := range r.heard {
			r.heard[m] = now
		}
	}
	r.last = now
	reached = 1
	for _, t := range r.heard {
		if now.Sub(t) <= r.patience {
			reached++
		}
	}
	return reached, len(r.heard) + 1
}

// watchMajority pings the members. A server that reaches no majority must
// expect that the others have taken its addresses, and clients with them.
func (g *Guard) watchMajority(ctx context.Context) error {
	if len(g.cfg.Members) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	conn, err := icmp.ListenPacket("ip4:icmp", g.cfg.Address.String())
	if err != nil {
		return fmt.Errorf("ping from %s: %w", g.cfg.Address, err)
	}
	r := newReach(g.cfg.Members, g.clock.Now())
	id := os.Getpid() & 0xffff
	done := make(chan error, 1)
	go func() { done <- g.receivePongs(conn, r, id) }()
	defer func() { conn.Close(); <-done }()
	v := verdict{guard: g, file: MajorityFile}
	tick := g.clock.NewTicker(reachEvery)
	defer tick.Stop()
	for seq := 0; ; seq++ {
		g.ping(conn, id, seq)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-done:
			done <- nil
			return err
		case <-tick.C():
		}
		n, all := r.count(g.clock.Now())
		if err := v.set(ctx, 2*n > all, "no majority in reach", "reached", n, "of", all); err != nil {
			return err
		}
	}
}

func (g *Guard) ping(conn *icmp.PacketConn, id, seq int) {
	b, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: seq & 0xffff, Data: []byte("hastack")}}).Marshal(nil)
	if err != nil {
		return // a constant message: it can always be written
	}
	for _, m := range g.cfg.Members {
		// A network that is down is what the silence will tell.
		_, _ = conn.WriteTo(b, &net.IPAddr{IP: m.AsSlice()})
	}
}

func (g *Guard) receivePongs(conn *icmp.PacketConn, r *reach, id int) error {
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
				r.answered(a.Unmap(), g.clock.Now())
			}
		}
	}
}
