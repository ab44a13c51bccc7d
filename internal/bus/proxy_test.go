package bus_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// A proxy stands between a bus and its broker and can cut the wire.
type proxy struct {
	url    string
	target string
	ln     net.Listener
	mu     sync.Mutex
	conns  []net.Conn
}

func newProxy(t *testing.T, broker string) *proxy {
	t.Helper()
	u, err := url.Parse(broker)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: u.Host, ln: ln}
	u.Host = ln.Addr().String()
	p.url = u.String()
	go p.run()
	t.Cleanup(p.close)
	return p
}

func (p *proxy) run() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = c.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, c, s)
		p.mu.Unlock()
		for _, way := range [][2]net.Conn{{c, s}, {s, c}} {
			go func() {
				_, _ = io.Copy(way[0], way[1])
				_ = way[0].Close()
				_ = way[1].Close()
			}()
		}
	}
}

// cut breaks all connections; new ones are accepted.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// close breaks all connections and refuses new ones.
func (p *proxy) close() {
	_ = p.ln.Close()
	p.cut()
}
