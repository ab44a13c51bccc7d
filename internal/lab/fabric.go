package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/topology"
)

// buildFabric makes the switches: in one namespace, a bridge for each network
// on each switch (this kernel may have no VLANs), and the cables between them.
func (l *Lab) buildFabric() error {
	ns := l.nsName(fabricName)
	if err := ensureNS(ns); err != nil {
		return err
	}
	off := map[string]string{"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1",
		"bridge/bridge-nf-call-iptables": "0", "bridge/bridge-nf-call-ip6tables": "0", "bridge/bridge-nf-call-arptables": "0"}
	if err := setSysctls(ns, off); err != nil {
		return err
	}
	return withLinks(ns, func(h *netlink.Handle) error {
		for _, name := range l.topology.NetworkNames() {
			for _, sw := range l.topology.Networks[name].Switches {
				if _, err := ensureBridge(h, bridge(l.topology, sw, name), sw+" "+name, nil); err != nil {
					return err
				}
			}
		}
		for _, u := range uplinks(l.topology) {
			if err := l.plugUplink(h, u); err != nil {
				return err
			}
		}
		return nil
	})
}

func ensureBridge(h *netlink.Handle, name, alias string, mac net.HardwareAddr) (netlink.Link, error) {
	link, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		snooping := false // no querier here: groups would go silent
		b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: mac}, MulticastSnooping: &snooping}
		if err := h.LinkAdd(b); err != nil {
			return nil, fmt.Errorf("make bridge %s: %w", name, err)
		}
		link, err = h.LinkByName(name)
	}
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", name, err)
	}
	return link, errors.Join(h.LinkSetAlias(link, alias), h.LinkSetUp(link))
}

func (l *Lab) plugUplink(h *netlink.Handle, u uplink) error {
	peer := u.port + "p"
	if _, err := h.LinkByName(u.port); errors.As(err, &netlink.LinkNotFoundError{}) {
		if err := h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: u.port}, PeerName: peer}); err != nil {
			return fmt.Errorf("join switches %s: %w", u.name(), err)
		}
	}
	return errors.Join(
		enslave(h, u.port, bridge(l.topology, u.a, u.network), u.name()+" "+u.network),
		enslave(h, peer, bridge(l.topology, u.b, u.network), u.name()+" "+u.network))
}

func enslave(h *netlink.Handle, port, master, alias string) error {
	p, err := h.LinkByName(port)
	if err != nil {
		return fmt.Errorf("%s: %w", port, err)
	}
	m, err := h.LinkByName(master)
	if err != nil {
		return fmt.Errorf("%s: %w", master, err)
	}
	if err := errors.Join(h.LinkSetMaster(p, m), h.LinkSetAlias(p, alias)); err != nil {
		return fmt.Errorf("plug %s into %s: %w", port, master, err)
	}
	return nil
}

// wire makes a server's network: its namespace, its legs to the switches, its
// devices and their addresses. The legs stay unplugged until applyLinks.
func (l *Lab) wire(s *state, server string) error {
	ns := l.nsName(server)
	if err := ensureNS(ns); err != nil {
		return err
	}
	handle, err := netns.GetFromPath(nsPath(ns))
	if err != nil {
		return err
	}
	defer func() { _ = handle.Close() }()
	err = withLinks(l.nsName(fabricName), func(h *netlink.Handle) error {
		for _, p := range portsOf(l.topology, server) {
			if err := l.plug(h, p, handle); err != nil {
				return fmt.Errorf("link %s: %w", p.link.Name(), err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	legs := map[string]string{}
	for _, link := range linksOf(l.topology, server) {
		legs["ipv6/conf/"+link.Leg+"/disable_ipv6"] = "1"
	}
	if err := setSysctls(ns, legs); err != nil {
		return err
	}
	return withLinks(ns, func(h *netlink.Handle) error {
		for _, d := range devices(linksOf(l.topology, server)) {
			if err := l.raise(h, server, d, s.Bonding); err != nil {
				return fmt.Errorf("device %s: %w", d.name, err)
			}
		}
		return nil
	})
}

func (l *Lab) plug(h *netlink.Handle, p port, server netns.NsHandle) error {
	if _, err := h.LinkByName(p.name); errors.As(err, &netlink.LinkNotFoundError{}) {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: p.name, Index: p.index}, PeerName: p.link.Leg,
			PeerNamespace: netlink.NsFd(server)}
		if err := h.LinkAdd(v); err != nil {
			return err
		}
	}
	return enslave(h, p.name, bridge(l.topology, p.link.Switch, p.link.Network), p.link.Name())
}

// address is what a server has in a network; the operator has .1, or the
// external network's gateway.
func (l *Lab) address(server, network string) netip.Prefix {
	n := l.topology.Networks[network]
	if server != Operator {
		return netip.PrefixFrom(l.topology.Server(server).Address(network), n.CIDR.Bits())
	}
	if network == topology.External && n.Gateway.IsValid() {
		return netip.PrefixFrom(n.Gateway, n.CIDR.Bits())
	}
	return netip.PrefixFrom(n.CIDR.Masked().Addr().Next(), n.CIDR.Bits())
}

// wireOperator makes the operator's seat. It forwards, so that it can stand for
// the Internet, and has no way out of the machine.
func (l *Lab) wireOperator(s *state) error {
	if err := l.wire(s, Operator); err != nil {
		return err
	}
	return setSysctls(l.nsName(Operator), map[string]string{"ipv4/ip_forward": "1",
		"bridge/bridge-nf-call-iptables": "0", "bridge/bridge-nf-call-ip6tables": "0"})
}

// unplug takes servers off the switches at once: both ends of their cables go.
// It goes by what the ports are labelled, so that it works for a server that
// the topology does not have any more.
func (l *Lab) unplug(servers ...string) error {
	if !nsAlive(l.nsName(fabricName)) {
		return nil
	}
	return withLinks(l.nsName(fabricName), func(h *netlink.Handle) error {
		all, err := h.LinkList()
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(x netlink.Link) bool {
			server, _, labelled := strings.Cut(x.Attrs().Alias, "/")
			return !labelled || !slices.Contains(servers, server)
		})
		for _, link := range all { // down first: that is quick, and all legs go within a millisecond
			if err := h.LinkSetDown(link); err != nil && !errors.Is(err, unix.ENODEV) {
				return err
			}
		}
		for _, link := range all {
			if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
				return err
			}
		}
		return nil
	})
}

// setCut plugs or unplugs what target names.
func (l *Lab) setCut(ctx context.Context, target string, cut bool) error {
	if err := l.checkTarget(target); err != nil {
		return err
	}
	return l.change(ctx, func(s *state) error {
		s.Cuts = with(s.Cuts, target, cut)
		return l.applyLinks(s)
	})
}

func (l *Lab) checkTarget(target string) error {
	if slices.Contains(l.Servers(), target) || slices.Contains(l.Switches(), target) || slices.Contains(l.Uplinks(), target) || target == Operator {
		return nil
	}
	server, part, _ := strings.Cut(target, "/")
	for _, link := range linksOf(l.topology, server) {
		if part == link.Leg || part == link.Network {
			return nil
		}
	}
	return fmt.Errorf("%s is nothing to cut in lab %s: give a link (node/leg), a server's network (node/network), a server, a switch, or two switches (a--b); `hastack lab show` lists them", target, l.name)
}

// isCut tells whether some cut covers the link.
func isCut(cuts []string, link topology.Link) bool {
	return slices.ContainsFunc(cuts, func(c string) bool {
		return c == link.Name() || c == link.Server || c == link.Switch || c == link.Server+"/"+link.Network
	})
}

// applyLinks makes every switch port as the cuts say.
func (l *Lab) applyLinks(s *state) error {
	return withLinks(l.nsName(fabricName), func(h *netlink.Handle) error {
		for _, p := range ports(l.topology) {
			if err := setUp(h, p.name, !isCut(s.Cuts, p.link)); err != nil {
				return err
			}
		}
		for _, u := range uplinks(l.topology) {
			cut := slices.Contains(s.Cuts, u.name()) || slices.Contains(s.Cuts, u.a) || slices.Contains(s.Cuts, u.b)
			if err := errors.Join(setUp(h, u.port, !cut), setUp(h, u.port+"p", !cut)); err != nil {
				return err
			}
		}
		return nil
	})
}

// setUp brings a port up or down; a server that is off has none.
func setUp(h *netlink.Handle, name string, up bool) error {
	link, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return err
	}
	if up {
		return h.LinkSetUp(link)
	}
	return h.LinkSetDown(link)
}
