package drill

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// groupReach is the group of probes of the data plane: they tell what servers'
// users saw, and are no part of the API's windows.
const groupReach = "floating IP"

// reachProbes ping a server's floating IP and open connections to it.
func reachProbes(address string, port int) []*probe {
	var seq atomic.Uint32
	return []*probe{
		{name: "ping " + address, group: groupReach, every: 100 * time.Millisecond, timeout: time.Second, lanes: 16,
			try: func(ctx context.Context, _, _ int) error { return ping(ctx, address, int(seq.Add(1)&0xffff)) }},
		{name: fmt.Sprintf("tcp %s:%d", address, port), group: groupReach, every: 500 * time.Millisecond, timeout: time.Second, lanes: 4,
			try: func(ctx context.Context, _, _ int) error {
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(address, fmt.Sprint(port)))
				if err != nil {
					return err
				}
				return c.Close()
			}},
	}
}

// ping sends one echo request and waits for its reply until ctx ends.
func ping(ctx context.Context, address string, seq int) error {
	c, err := icmp.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return errors.Join(fmt.Errorf("ping needs root: %w", err), errNoRepeat)
	}
	defer func() { _ = c.Close() }()
	id := os.Getpid() & 0xffff
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: seq, Data: []byte("hastack drill")}}
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	to := &net.IPAddr{IP: net.ParseIP(address)}
	if _, err := c.WriteTo(b, to); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetReadDeadline(deadline); err != nil {
			return err
		}
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		// A raw socket hears everything: only our own answer counts.
		reply, err := icmp.ParseMessage(1, buf[:n])
		if err != nil || reply.Type != ipv4.ICMPTypeEchoReply || from.String() != to.String() {
			continue
		}
		if e, ok := reply.Body.(*icmp.Echo); ok && e.ID == id && e.Seq == seq {
			return nil
		}
	}
}

// findFloating is the address of a floating IP whose server is reached now, ""
// if there is none.
func findFloating(ctx context.Context, c *cloud) string {
	var out struct {
		FloatingIPs []struct {
			Address string  `json:"floating_ip_address"`
			Port    *string `json:"port_id"`
			Status  string
		} `json:"floatingips"`
	}
	if _, err := read(c.do(ctx, http.MethodGet, "/network/v2.0/floatingips", nil, &out)); err != nil {
		return ""
	}
	for i, f := range out.FloatingIPs {
		if f.Port == nil {
			continue
		}
		try, cancel := context.WithTimeout(ctx, time.Second)
		err := ping(try, f.Address, 60000+i)
		cancel()
		if err == nil {
			return f.Address
		}
	}
	return ""
}
