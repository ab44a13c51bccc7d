package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// peers sends a small datagram, a beat, to every other server once a period
// and listens for theirs. A beat says whether its sender hears the receiver,
// so a network that carries one direction only is seen on both sides, and it
// gives back the time of the receiver's last beat, which makes a round trip.
//
// Beats are not signed: somebody on the management network can make a dead
// server look alive here. They are for people and alarms; nothing decides on
// them.
type peers struct {
	listen netip.AddrPort
	period time.Duration
	clock  clock.Clock
	log    *slog.Logger
	list   []*peer
	byAddr map[netip.AddrPort]*peer
	begun  time.Time

	mu sync.Mutex // guards what peers hold
}

type peer struct {
	name    string
	address netip.AddrPort
	at      time.Time // of the last beat from there
	sent    uint64    // the time in it
	heard   bool      // it says that it hears us
	rtt     time.Duration

	since since // used by the collector only
}

// beatMagic begins every beat; the number is the version.
const beatMagic = "hsb1"

// beatSize is the magic, three times of 8 bytes and one claim.
const beatSize = 4 + 3*8 + 1

// missed is how many periods may pass without a beat, plus a half.
const missed = 3

func newPeers(cfg *Config, deps Deps) *peers {
	p := &peers{listen: cfg.Listen, period: cfg.beat(), clock: deps.Clock, log: deps.Log,
		byAddr: map[netip.AddrPort]*peer{}, begun: deps.Clock.Now()}
	for _, c := range cfg.Peers {
		x := &peer{name: c.Name, address: c.Address, since: since{}}
		p.list = append(p.list, x)
		p.byAddr[c.Address] = x
	}
	return p
}

func (*peers) Name() string         { return "peers" }
func (*peers) Every() time.Duration { return time.Second }

// silence is when a peer that was not heard counts as not heard.
func (p *peers) silence() time.Duration { return missed*p.period + p.period/2 }

// Collect tells what the beats say.
func (p *peers) Collect(ctx context.Context) (Facts, error) {
	now := p.clock.Now()
	p.mu.Lock()
	out := make([]Peer, 0, len(p.list))
	for _, x := range p.list {
		if x.at.IsZero() && now.Sub(p.begun) < p.silence() {
			continue // just started: nothing is known yet
		}
		v := Peer{Name: x.name, Hears: p.hears(x, now)}
		v.Heard = v.Hears && x.heard
		if v.Heard {
			v.RTT = x.rtt
		}
		out = append(out, v)
	}
	p.mu.Unlock()
	for i := range out {
		v := &out[i]
		said := strconv.FormatBool(v.Hears) + strconv.FormatBool(v.Heard)
		var changed bool
		v.Since, changed = p.peer(v.Name).since.of("", said, now)
		if changed {
			p.log.WarnContext(ctx, "peer changed", "peer", v.Name, "hears", v.Hears, "heard", v.Heard)
		}
	}
	return func(s *State) { s.Peers = out }, nil
}

func (p *peers) peer(name string) *peer {
	for _, x := range p.list {
		if x.name == name {
			return x
		}
	}
	return nil
}

// hears is called with mu held.
func (p *peers) hears(x *peer, now time.Time) bool {
	return !x.at.IsZero() && now.Sub(x.at) < p.silence()
}

// run sends and receives until ctx ends.
func (p *peers) run(ctx context.Context) error {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(p.listen))
	if err != nil {
		return fmt.Errorf("listen for beats on %s: %w", p.listen, err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.receive(ctx, conn) })
	defer wg.Wait()
	defer func() { _ = conn.Close() }()
	t := p.clock.NewTicker(p.period)
	defer t.Stop()
	buf := make([]byte, 0, beatSize)
	for {
		for _, x := range p.list {
			// A route that is gone or a full queue shows as silence.
			_, _ = conn.WriteToUDPAddrPort(p.beat(buf[:0], x), x.address)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
	}
}

// beat writes the datagram for a peer.
func (p *peers) beat(b []byte, x *peer) []byte {
	now := p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	b = append(b, beatMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(now.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, x.sent)
	b = binary.BigEndian.AppendUint64(b, uint64(now.Sub(x.at)))
	if p.hears(x, now) {
		return append(b, 1)
	}
	return append(b, 0)
}

func (p *peers) receive(ctx context.Context, conn *net.UDPConn) {
	buf := make([]byte, 64)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// "Connection refused": that peer's agent does not run.
			if ctx.Err() != nil {
				return
			}
			continue
		}
		p.take(buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
	}
}

// take believes a beat if it comes from a peer's address.
func (p *peers) take(b []byte, from netip.AddrPort) {
	x := p.byAddr[from]
	if x == nil || len(b) != beatSize || string(b[:4]) != beatMagic {
		return
	}
	now := p.clock.Now()
	sent, echo := binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint64(b[12:])
	held := time.Duration(binary.BigEndian.Uint64(b[20:]))
	p.mu.Lock()
	defer p.mu.Unlock()
	x.at, x.sent, x.heard = now, sent, b[28] == 1
	if echo == 0 {
		return
	}
	// Clocks that were set meanwhile make nonsense of it; the next beat is right.
	rtt := now.Sub(time.Unix(0, int64(echo))) - held
	if rtt >= 0 && rtt < p.silence() {
		x.rtt = max(rtt, time.Microsecond)
	}
}
