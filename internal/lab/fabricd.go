package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/clock"
)

// recheck is how often the fabric process looks at everything by itself, in
// case that the kernel dropped a message.
const recheck = 5 * time.Second

// announceAfter are the pauses between the announcements of a move.
var announceAfter = [...]time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond}

// RunFabric is the lab's one long-lived process on the machine: where the kernel
// has no bonding it moves each device to its other leg when the active one loses
// its carrier. It returns when ctx ends.
func RunFabric(ctx context.Context, stateDir, name string, log *slog.Logger) error {
	l, err := Open(stateDir, name)
	if err != nil {
		return err
	}
	changed, err := watchFile(ctx, l.stateFile())
	if err != nil {
		return err
	}
	f := &fabric{lab: l, log: log, seats: map[string]*seat{}, died: make(chan struct{}, 1)}
	defer f.close()
	tick := clock.System.NewTicker(recheck)
	defer tick.Stop()
	for {
		f.rescan()
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-f.died:
		case <-tick.C():
		}
	}
}

// fabric watches the namespaces of all servers and of the operator.
type fabric struct {
	lab   *Lab
	log   *slog.Logger
	seats map[string]*seat
	died  chan struct{} // a seat has ended by itself
}

// rescan drops the namespaces that are gone and takes up the new ones. A server
// has another namespace after each power-on.
func (f *fabric) rescan() {
	if l, err := Open(f.lab.stateDir, f.lab.name); err == nil {
		f.lab = l // servers may have come or gone
	}
	seen := map[string]bool{}
	for _, server := range append(f.lab.Servers(), Operator) {
		inode := nsInode(f.lab.nsName(server))
		s := f.seats[server]
		if s != nil && s.inode == inode && s.alive() {
			seen[server] = true
			s.poke()
			continue
		}
		if inode == 0 {
			continue
		}
		fresh, err := f.watch(server, inode)
		if err != nil {
			f.log.Warn("watch links", "server_name", server, "error", err)
			continue
		}
		if s != nil {
			s.close()
		}
		f.seats[server] = fresh
		seen[server] = true
	}
	for server, s := range f.seats {
		if !seen[server] {
			s.close()
			delete(f.seats, server)
		}
	}
}

func (f *fabric) close() {
	for _, s := range f.seats {
		s.close()
	}
}

func nsInode(name string) uint64 {
	fi, err := os.Stat(nsPath(name))
	if err != nil || !nsAlive(name) {
		return 0
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// A seat is a namespace whose legs are watched.
type seat struct {
	server string
	inode  uint64
	links  *netlink.Handle
	packet int // raw socket for announcements
	bonds  []device
	untold map[string]int // how often a device's move is still to be announced
	log    *slog.Logger

	stop  chan struct{}
	woken chan struct{}
	ended chan struct{}
}

func (f *fabric) watch(server string, inode uint64) (*seat, error) {
	s := &seat{server: server, inode: inode, log: f.log, packet: -1, untold: map[string]int{},
		stop: make(chan struct{}), woken: make(chan struct{}, 1), ended: make(chan struct{})}
	for _, d := range devices(linksOf(f.lab.topology, server)) {
		if len(d.legs) > 1 {
			s.bonds = append(s.bonds, d)
		}
	}
	ns, err := netns.GetFromPath(f.lab.NetNS(server))
	if err != nil {
		return nil, err
	}
	defer func() { _ = ns.Close() }()
	if s.links, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE); err != nil {
		return nil, err
	}
	err = inNS(f.lab.nsName(server), func() error {
		s.packet, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		s.links.Close()
		return nil, err
	}
	updates := make(chan netlink.LinkUpdate, 64)
	opts := netlink.LinkSubscribeOptions{Namespace: &ns, ReceiveBufferSize: 1 << 20, ErrorCallback: func(err error) {
		select {
		case <-s.stop: // the end was asked for
		default:
			s.log.Warn("link messages were lost", "server_name", server, "error", err)
		}
	}}
	if err := netlink.LinkSubscribeWithOptions(updates, s.stop, opts); err != nil {
		s.links.Close()
		return nil, errors.Join(err, unix.Close(s.packet))
	}
	go func() {
		s.run(updates)
		close(s.ended)
		select {
		case f.died <- struct{}{}:
		default:
		}
	}()
	return s, nil
}

// run looks at the devices whenever a link has changed or the seat is poked.
func (s *seat) run(updates <-chan netlink.LinkUpdate) {
	defer func() { _ = unix.Close(s.packet) }()
	defer s.links.Close()
	var again <-chan time.Time
	for {
		if s.check() {
			again = clock.System.After(announceAfter[0])
		}
		select {
		case _, ok := <-updates:
			if !ok {
				return
			}
		case <-s.woken:
		case <-again:
			again = s.announceAgain()
		}
	}
}

func (s *seat) poke() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (s *seat) alive() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

func (s *seat) close() {
	close(s.stop)
	select {
	case <-s.ended:
	case <-clock.System.After(time.Second):
	}
}

// check looks at every device and tells whether one was moved.
func (s *seat) check() bool {
	moved := false
	for _, d := range s.bonds {
		told := s.untold[d.name]
		if err := s.failover(d); err != nil && !errors.As(err, &netlink.LinkNotFoundError{}) {
			s.log.Warn("move a leg", "server_name", s.server, "device", d.name, "error", err)
		}
		moved = moved || s.untold[d.name] > told
	}
	return moved
}

// failover moves a device to another leg if its own has no carrier. It stays on
// a leg that works: coming back is a failover too, for nothing.
func (s *seat) failover(d device) error {
	dev, err := s.links.LinkByName(d.name)
	if err != nil {
		return err
	}
	if dev.Type() != "bridge" {
		return nil // the kernel bonds
	}
	legs, err := linksByName(s.links, d.legs)
	if err != nil {
		return err
	}
	if err := s.keep(d, slices.ContainsFunc(legs, carrier)); err != nil {
		return err
	}
	leave, join := elect(dev, legs)
	for _, leg := range leave {
		if err := s.links.LinkSetNoMaster(leg); err != nil {
			return err
		}
	}
	if join == nil {
		return nil
	}
	if err := s.links.LinkSetMaster(join, dev); err != nil {
		return err
	}
	s.log.Info("leg is active", "server_name", s.server, "device", d.name, "leg", join.Attrs().Name)
	s.untold[d.name] = len(announceAfter)
	return s.announce(dev, legs)
}

// elect says which legs have to leave a device and which one has to join it. Two
// legs in it are a loop through the switches: whoever puts a leg in has read the
// legs a moment before, and another may have put in the other one since.
func elect(dev netlink.Link, legs []netlink.Link) (leave []netlink.Link, join netlink.Link) {
	var in []netlink.Link
	for _, leg := range legs {
		switch {
		case leg.Attrs().MasterIndex == dev.Attrs().Index:
			in = append(in, leg)
		case carrier(leg) && join == nil:
			join = leg
		}
	}
	if i := slices.IndexFunc(in, carrier); i >= 0 {
		return slices.Delete(in, i, i+1), nil
	}
	if join == nil && len(in) > 0 {
		return in[1:], nil
	}
	return in, join
}

// announceAgain repeats what the switches may have missed: a bridge that had no
// carrier drops what is sent through it until the kernel has noticed that it has
// one again. It returns when to come back, or nil.
func (s *seat) announceAgain() <-chan time.Time {
	left := 0
	for _, d := range s.bonds {
		n := s.untold[d.name]
		if n == 0 {
			continue
		}
		s.untold[d.name] = n - 1
		left = max(left, n-1)
		dev, err := s.links.LinkByName(d.name)
		if err != nil {
			continue
		}
		if legs, err := linksByName(s.links, d.legs); err == nil {
			if err := s.announce(dev, legs); err != nil {
				s.log.Warn("announce", "server_name", s.server, "device", d.name, "error", err)
			}
		}
	}
	if left == 0 {
		return nil
	}
	return clock.System.After(announceAfter[len(announceAfter)-left])
}

// keep gives the device a carrier as long as one of its legs has one.
func (s *seat) keep(d device, plugged bool) error {
	k, err := s.links.LinkByName(d.keeper())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil // a lab that an older version made
	}
	if err != nil {
		return err
	}
	switch up := k.Attrs().RawFlags&unix.IFF_UP != 0; {
	case up && !plugged:
		return s.links.LinkSetDown(k)
	case !up && plugged:
		return s.links.LinkSetUp(k)
	}
	return nil
}

func carrier(leg netlink.Link) bool {
	return leg.Attrs().RawFlags&unix.IFF_UP != 0 && leg.Attrs().RawFlags&unix.IFF_LOWER_UP != 0
}

// watchFile tells when a file was replaced. The channel is buffered: one message
// stands for any number of changes.
func watchFile(ctx context.Context, path string) (<-chan struct{}, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w (raise fs.inotify.max_user_instances)", err)
	}
	file := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_MOVED_TO); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	changed := make(chan struct{}, 1)
	go func() {
		<-ctx.Done()
		_ = file.Close()
	}()
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := file.Read(buf); err != nil {
				return
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, nil
}
