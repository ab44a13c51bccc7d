package drill

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/topology"
)

// vipEvery is how often the holders of the VIPs are looked at.
const vipEvery = 20 * time.Millisecond

// holders tells which servers have an address now. Only a lab can tell often
// enough, from the servers' own network namespaces.
type holders func(vip *topology.VIP) []string

// A vipWatch follows who holds each VIP for one round.
type vipWatch struct {
	clock clock.Clock
	zero  time.Time
	vips  []*topology.VIP
	look  holders
	mu    sync.Mutex // guards seen
	seen  map[string][]holding
	stop  context.CancelFunc
	done  chan struct{}
}

// holding is who held a VIP from a moment on.
type holding struct {
	at  time.Duration
	who []string
}

func watchVIPs(ctx context.Context, c clock.Clock, zero time.Time, vips []*topology.VIP, look holders) *vipWatch {
	ctx, cancel := context.WithCancel(ctx)
	w := &vipWatch{clock: c, zero: zero, vips: vips, look: look, seen: map[string][]holding{}, stop: cancel, done: make(chan struct{})}
	go w.loop(ctx)
	return w
}

func (w *vipWatch) loop(ctx context.Context) {
	defer close(w.done)
	if w.look == nil {
		return
	}
	for {
		for _, v := range w.vips {
			who := w.look(v)
			w.mu.Lock()
			if h := w.seen[v.Name]; len(h) == 0 || !slices.Equal(h[len(h)-1].who, who) {
				w.seen[v.Name] = append(h, holding{w.clock.Now().Sub(w.zero), who})
			}
			w.mu.Unlock()
		}
		if sleep(ctx, w.clock, vipEvery) != nil {
			return
		}
	}
}

// end stops watching and tells of each VIP what happened after the fault.
func (w *vipWatch) end(fault time.Duration) []VIPMove {
	w.stop()
	<-w.done
	var out []VIPMove
	end := w.clock.Now().Sub(w.zero)
	for _, v := range w.vips {
		if list := w.seen[v.Name]; len(list) > 0 {
			out = append(out, moveOf(v.Name, list, fault, end))
		}
	}
	return out
}

// moveOf reads the history of one VIP.
func moveOf(name string, list []holding, fault, end time.Duration) VIPMove {
	m := VIPMove{Name: name, After: strings.Join(list[len(list)-1].who, "+")}
	for i, h := range list {
		until := end
		if i+1 < len(list) {
			until = list[i+1].at
		}
		if h.at <= fault {
			m.Before = strings.Join(h.who, "+")
		} else if m.MovedMS == 0 && len(h.who) > 0 && strings.Join(h.who, "+") != m.Before {
			m.MovedMS = ms(h.at - fault)
		}
		switch {
		case len(h.who) > 1:
			m.MaxOverlapMS = max(m.MaxOverlapMS, ms(until-h.at))
		case len(h.who) == 0 && until > fault:
			m.MaxGapMS = max(m.MaxGapMS, ms(until-max(h.at, fault)))
		}
	}
	return m
}

// labHolders looks into the network namespaces of the load balancers. A
// namespace is opened anew when the server has another one (it was off).
type labHolders struct {
	lab     Lab
	servers []*topology.Server
	open    map[string]*namespace
}

type namespace struct {
	inode  uint64
	handle *netlink.Handle
}

func newLabHolders(l Lab, t *topology.Topology) *labHolders {
	return &labHolders{lab: l, servers: t.With(topology.RoleLoadBalancer), open: map[string]*namespace{}}
}

func (l *labHolders) holders(vip *topology.VIP) []string {
	var who []string
	for _, s := range l.servers {
		if n := l.namespace(s.Name); n != nil && has(n.handle, vip.Address.String()) {
			who = append(who, s.Name)
		}
	}
	return who
}

func (l *labHolders) namespace(server string) *namespace {
	path := l.lab.NetNS(server)
	inode := inodeOf(path)
	n := l.open[server]
	if n != nil && n.inode == inode {
		return n
	}
	if n != nil {
		n.handle.Close()
		delete(l.open, server)
	}
	if inode == 0 {
		return nil
	}
	fd, err := netns.GetFromPath(path)
	if err != nil {
		return nil
	}
	defer func() { _ = fd.Close() }()
	handle, err := netlink.NewHandleAt(fd)
	if err != nil {
		return nil
	}
	l.open[server] = &namespace{inode, handle}
	return l.open[server]
}

// close ends the use of the namespaces, so that they can go.
func (l *labHolders) close() {
	for _, n := range l.open {
		n.handle.Close()
	}
	l.open = map[string]*namespace{}
}

func inodeOf(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return st.Ino
}

func has(h *netlink.Handle, address string) bool {
	list, err := h.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(a netlink.Addr) bool { return a.IP.String() == address })
}
