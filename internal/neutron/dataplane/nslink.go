package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A nsDevice is a port of Neutron itself: a veth with one end in a namespace
// and the other, named like a server's tap, on the host for the L2 part to
// plug and filter like any other.
type nsDevice struct {
	name   string // in the namespace
	portID string
	mac    string
	mtu    int
}

// ensureDevice makes the veth if either end is missing or has another MAC.
func (h *Host) ensureDevice(ns *namespace, d nsDevice) (netlink.Link, error) {
	mac, err := parseMAC(d.mac)
	if err != nil {
		return nil, err
	}
	tap := TapName(d.portID)
	inner, err := ns.nl.LinkByName(d.name)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	outer, err := h.nl.LinkByName(tap)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	if inner != nil && outer != nil && inner.Attrs().HardwareAddr.String() == mac.String() {
		return inner, h.tuneDevice(ns, inner, outer, d)
	}
	if outer != nil {
		if outer.Type() != "veth" {
			return nil, fmt.Errorf("device %s exists and is no veth", tap)
		}
		if err := h.nl.LinkDel(outer); err != nil && !isGone(err) {
			return nil, err
		}
	}
	if inner, err := ns.nl.LinkByName(d.name); err == nil {
		if err := ns.nl.LinkDel(inner); err != nil && !isGone(err) {
			return nil, err
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = tap
	if d.mtu > 0 {
		attrs.MTU = d.mtu
	}
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: d.name, PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(int(ns.fd))}
	if err := h.nl.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("add %s: %w", tap, err)
	}
	if outer, err = h.nl.LinkByName(tap); err != nil {
		return nil, err
	}
	if inner, err = ns.nl.LinkByName(d.name); err != nil {
		return nil, err
	}
	return inner, h.tuneDevice(ns, inner, outer, d)
}

func (h *Host) tuneDevice(ns *namespace, inner, outer netlink.Link, d nsDevice) error {
	own := owner{tag: h.tag, kind: ownerPort, id: d.portID}
	if outer.Attrs().Alias != own.String() {
		if err := h.nl.LinkSetAlias(outer, own.String()); err != nil {
			return err
		}
	}
	if d.mtu > 0 && inner.Attrs().MTU != d.mtu {
		if err := ns.nl.LinkSetMTU(inner, d.mtu); err != nil {
			return fmt.Errorf("mtu %d of %s: %w", d.mtu, d.name, err)
		}
	}
	if err := h.ensureLink(outer, d.mtu, 0); err != nil {
		return err
	}
	if inner.Attrs().Flags&unix.IFF_UP == 0 {
		return ns.nl.LinkSetUp(inner)
	}
	return nil
}

// removeDevices deletes the namespace's devices with one of the prefixes that
// are not wanted.
func removeDevices(ns *namespace, wanted map[string]bool, prefixes ...string) error {
	list, err := ns.nl.LinkList()
	if err != nil {
		return err
	}
	for _, l := range list {
		name := l.Attrs().Name
		if wanted[name] {
			continue
		}
		for _, p := range prefixes {
			if strings.HasPrefix(name, p) {
				if err := ns.nl.LinkDel(l); err != nil && !isGone(err) {
					return fmt.Errorf("delete %s: %w", name, err)
				}
				break
			}
		}
	}
	return nil
}

// syncAddrs gives the device exactly these addresses besides its link-local
// one, and returns those that are new.
func syncAddrs(ns *namespace, link netlink.Link, want []netip.Prefix) (added []netip.Prefix, err error) {
	list, err := ns.nl.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	have := map[netip.Prefix]netlink.Addr{}
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok || ip.Unmap().IsLinkLocalUnicast() && ip.Unmap().Is6() {
			continue
		}
		bits, _ := a.Mask.Size()
		have[netip.PrefixFrom(ip.Unmap(), bits)] = a
	}
	wanted := map[netip.Prefix]bool{}
	for _, p := range want {
		wanted[p] = true
		if _, ok := have[p]; ok {
			continue
		}
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD // the server gave it to nobody else
		}
		if err := ns.nl.AddrAdd(link, a); err != nil && !errors.Is(err, unix.EEXIST) {
			return added, fmt.Errorf("address %s on %s: %w", p, link.Attrs().Name, err)
		}
		have[p] = *a
		added = append(added, p)
	}
	for p, a := range have {
		if !wanted[p] {
			if err := ns.nl.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return added, fmt.Errorf("address %s off %s: %w", p, link.Attrs().Name, err)
			}
		}
	}
	return added, nil
}

// A nsRoute is one route of a namespace.
type nsRoute struct {
	dst  netip.Prefix
	via  netip.Addr
	link int // 0: the kernel finds the device
}

// syncRoutes makes the namespace's routes of our protocol exactly these.
// Routes that cannot be set (a next hop nobody can reach) are reported and do
// not hold up the others.
func syncRoutes(ns *namespace, want []nsRoute) error {
	filter := &netlink.Route{Protocol: routeProtocol, Table: unix.RT_TABLE_MAIN}
	list, err := ns.nl.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	type key struct {
		dst netip.Prefix
		via netip.Addr
	}
	have := map[key]netlink.Route{}
	for _, r := range list {
		via, _ := netip.AddrFromSlice(r.Gw)
		have[key{routeDst(&r), via.Unmap()}] = r
	}
	wanted := map[key]bool{}
	var errs []error
	for _, w := range want {
		k := key{w.dst, w.via}
		wanted[k] = true
		if _, ok := have[k]; ok {
			continue
		}
		r := &netlink.Route{Dst: ipNet(w.dst), Gw: w.via.AsSlice(), LinkIndex: w.link, Protocol: routeProtocol}
		if w.link != 0 {
			r.Flags = int(netlink.FLAG_ONLINK)
		}
		if err := ns.nl.RouteReplace(r); err != nil {
			errs = append(errs, fmt.Errorf("route %s via %s: %w", w.dst, w.via, err))
		}
	}
	for k, r := range have {
		if !wanted[k] {
			if err := ns.nl.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				errs = append(errs, fmt.Errorf("delete route %s: %w", k.dst, err))
			}
		}
	}
	return errors.Join(errs...)
}

func routeDst(r *netlink.Route) netip.Prefix {
	if r.Dst == nil {
		if r.Family == unix.AF_INET6 {
			return netip.MustParsePrefix("::/0")
		}
		return netip.MustParsePrefix("0.0.0.0/0")
	}
	ip, _ := netip.AddrFromSlice(r.Dst.IP)
	bits, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits)
}
