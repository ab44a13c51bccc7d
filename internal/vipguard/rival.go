package vipguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	vrrpProtocol = "ip4:112"
	// rivalPatience is how long two servers may say that they hold an address
	// before this one's keepalived counts as hanging: one that works settles it
	// with its next advert, one that was stopped never does.
	rivalPatience = 800 * time.Millisecond
	// rivalPause ends a row of adverts.
	rivalPause     = 600 * time.Millisecond
	keepalivedUnit = "keepalived.service"
	keepalivedPID  = "/run/keepalived.pid"
)

// An advert is what the guard needs of a VRRP packet.
type advert struct {
	id, priority int
}

// parseAdvert reads a VRRP packet of version 2 or 3.
func parseAdvert(b []byte) (advert, bool) {
	if len(b) < 8 || b[0]&0x0f != 1 || b[0]>>4 != 2 && b[0]>>4 != 3 {
		return advert{}, false
	}
	return advert{id: int(b[1]), priority: int(b[2])}, true
}

// row is a sequence of adverts for one address.
type row struct{ first, last time.Time }

// heard adds an advert and tells whether the row is long enough to act on.
func (r *row) heard(now time.Time) bool {
	if r.last.IsZero() || now.Sub(r.last) > rivalPause {
		r.first = now
	}
	r.last = now
	return now.Sub(r.first) >= rivalPatience
}

// watchRivals listens to the adverts of other load balancers. If one has held
// an address for a while that is here too, this server's keepalived hangs, or
// is not heard: it is killed, which clears its addresses, and starts as backup.
func (g *Guard) watchRivals(ctx context.Context) error {
	if len(g.cfg.VIPs) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	conn, err := net.ListenPacket(vrrpProtocol, g.cfg.Address.String())
	if err != nil {
		return fmt.Errorf("listen to adverts: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() { stop(); _ = conn.Close() }()
	rows := map[int]*row{}
	for _, v := range g.cfg.VIPs {
		rows[v.ID] = &row{}
	}
	b := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("receive adverts: %w", err)
		}
		a, ok := parseAdvert(b[:n])
		if !ok || rows[a.id] == nil || !g.isRival(from) {
			continue
		}
		r := rows[a.id]
		if a.priority == 0 {
			*r = row{} // it gives the address up
			continue
		}
		if !r.heard(g.clock.Now()) && !stopped(g.pidFile(keepalivedPID)) {
			continue
		}
		*r = row{}
		if err := g.yield(ctx, a.id, from); err != nil {
			return err
		}
	}
}

func (g *Guard) isRival(from net.Addr) bool {
	ip, ok := from.(*net.IPAddr)
	if !ok {
		return false
	}
	a, ok := netip.AddrFromSlice(ip.IP)
	return ok && slices.Contains(g.cfg.Rivals, a.Unmap())
}

// yield kills keepalived if the address is here.
func (g *Guard) yield(ctx context.Context, id int, rival net.Addr) error {
	i := slices.IndexFunc(g.cfg.VIPs, func(v VIP) bool { return v.ID == id })
	here, err := holds(g.cfg.VIPs[i].Address)
	if err != nil || !here {
		return err
	}
	g.log.WarnContext(ctx, "another server holds an address that is here too: killing keepalived",
		"vip", g.cfg.VIPs[i].Name, "rival", rival.String())
	if err := g.kill(ctx, keepalivedUnit); err != nil {
		g.log.ErrorContext(ctx, "end a keepalived that hangs", "error", err)
	}
	return nil
}

// holds tells whether an address is on this server.
func holds(a netip.Addr) (bool, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return false, fmt.Errorf("list addresses: %w", err)
	}
	return slices.ContainsFunc(list, func(x netlink.Addr) bool {
		ip, ok := netip.AddrFromSlice(x.IP)
		return ok && ip.Unmap() == a
	}), nil
}
