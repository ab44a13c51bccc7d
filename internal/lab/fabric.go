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
	defer handle.Close()
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

// A device carries a network on a server over one or more legs.
type device struct {
	name, network string
	legs          []string
}

// bridged tells whether the device is a bridge over its legs: the stand-in for
// a bond, and always where Neutron plugs routers in.
func (d device) bridged() bool { return len(d.legs) > 1 || d.network == topology.External }

func devices(links []topology.Link) []device {
	var out []device
	for _, l := range links {
		if i := slices.IndexFunc(out, func(d device) bool { return d.name == l.Device }); i >= 0 {
			out[i].legs = append(out[i].legs, l.Leg)
			continue
		}
		out = append(out, device{name: l.Device, network: l.Network, legs: []string{l.Leg}})
	}
	return out
}

// raise brings a device up with its address.
func (l *Lab) raise(h *netlink.Handle, server string, d device, bonding bool) error {
	legs, err := linksByName(h, d.legs)
	if err != nil {
		return err
	}
	var dev netlink.Link
	mac := deviceMAC(l.name, server, d.name)
	switch {
	case bonding && len(legs) > 1:
		dev, err = l.raiseBond(h, d, legs, mac)
	case d.bridged() && !(len(legs) == 1 && d.legs[0] == d.name):
		dev, err = l.raiseStandIn(h, d, legs, mac)
	default:
		dev = legs[0]
		err = h.LinkSetUp(dev)
	}
	if err != nil {
		return err
	}
	address := l.address(server, d.network)
	if !address.IsValid() {
		return nil
	}
	a := &netlink.Addr{IPNet: &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), address.Addr().BitLen())}}
	if err := h.AddrReplace(dev, a); err != nil {
		return fmt.Errorf("address %s: %w", address, err)
	}
	return nil
}

// raiseStandIn makes a bridge with exactly one leg in it: active-backup without
// the kernel's bonding. The fabric process changes the leg.
func (l *Lab) raiseStandIn(h *netlink.Handle, d device, legs []netlink.Link, mac net.HardwareAddr) (netlink.Link, error) {
	dev, err := ensureBridge(h, d.name, d.network, mac)
	if err != nil {
		return nil, err
	}
	active := false
	for _, leg := range legs {
		// A leg that is not in the bridge must not answer for the server's
		// addresses: it would do so with its own MAC address.
		if err := errors.Join(h.LinkSetARPOff(leg), h.LinkSetUp(leg)); err != nil {
			return nil, err
		}
		active = active || leg.Attrs().MasterIndex == dev.Attrs().Index
	}
	if active {
		return dev, nil
	}
	return dev, h.LinkSetMaster(legs[0], dev)
}

// raiseBond makes an active-backup bond; for the external network a bridge of
// the device's name is laid over it, so that Neutron finds the same name.
func (l *Lab) raiseBond(h *netlink.Handle, d device, legs []netlink.Link, mac net.HardwareAddr) (netlink.Link, error) {
	name := d.name
	if d.network == topology.External {
		name += "u"
	}
	bond, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		b := netlink.NewLinkBond(netlink.LinkAttrs{Name: name, HardwareAddr: mac})
		b.Mode, b.Miimon = netlink.BOND_MODE_ACTIVE_BACKUP, 50
		if err := h.LinkAdd(b); err != nil {
			return nil, err
		}
		bond, err = h.LinkByName(name)
	}
	if err != nil {
		return nil, err
	}
	for _, leg := range legs {
		if leg.Attrs().MasterIndex == bond.Attrs().Index {
			continue
		}
		if err := errors.Join(h.LinkSetDown(leg), h.LinkSetMaster(leg, bond), h.LinkSetUp(leg)); err != nil {
			return nil, err
		}
	}
	if err := h.LinkSetUp(bond); err != nil || name == d.name {
		return bond, err
	}
	dev, err := ensureBridge(h, d.name, d.network, mac)
	if err != nil {
		return nil, err
	}
	return dev, h.LinkSetMaster(bond, dev)
}

func linksByName(h *netlink.Handle, names []string) ([]netlink.Link, error) {
	var out []netlink.Link
	for _, n := range names {
		link, err := h.LinkByName(n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		out = append(out, link)
	}
	return out, nil
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

// unplug takes a server off the switches at once: both ends of its cables go.
// It goes by what the ports are labelled, so that it works for a server that
// the topology does not have any more.
func (l *Lab) unplug(server string) error {
	if !nsAlive(l.nsName(fabricName)) {
		return nil
	}
	return withLinks(l.nsName(fabricName), func(h *netlink.Handle) error {
		all, err := h.LinkList()
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(x netlink.Link) bool { return !strings.HasPrefix(x.Attrs().Alias, server+"/") })
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
