package dataplane

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// vxlanPort is the one IANA gave to VXLAN.
const vxlanPort = 4789

// tunnelled tells whether the network needs a tunnel device here.
func (l *l2run) tunnelled(n *rpc.NetworkState) bool {
	return n != nil && n.Type == rpc.TypeVXLAN && l.h.cfg.TunnelIP.IsValid() &&
		n.SegmentationID > 0 && n.SegmentationID < 1<<24
}

// tunnels makes a VXLAN device for every segment in use, with forwarding and
// ARP entries from the server instead of flooding and learning.
func (l *l2run) tunnels() {
	wanted, loose := map[string]bool{}, l.looseNetworks()
	for id, bridge := range l.bridgeOf {
		n := l.st.Networks[id]
		if !l.tunnelled(n) {
			continue
		}
		wanted[VXLANName(n.SegmentationID)] = true
		if err := l.tunnel(n, bridge, loose); err != nil {
			l.res.Bad[id] = fmt.Errorf("tunnel of network %s: %w", id, err)
		}
	}
	for name, link := range l.links {
		if o, ok := l.h.owns(link); ok && o.kind == ownerNetwork && link.Type() == "vxlan" && !wanted[name] {
			if err := l.h.nl.LinkDel(link); err != nil && !isGone(err) {
				l.h.log.Warn("cannot delete device", "device", name, "error", err)
			}
		}
	}
}

// looseNetworks are those with a port, here or elsewhere, that may use
// addresses which nobody knows. A tunnel device that answers ARP by its table
// passes none of it on, not even replies: in these networks it is flooded.
func (l *l2run) looseNetworks() map[string]bool {
	loose := map[string]bool{}
	for id, peers := range l.st.Peers {
		loose[id] = slices.ContainsFunc(peers, func(p rpc.Peer) bool { return p.Loose })
	}
	for _, p := range l.st.Ports {
		if p.Loose() {
			loose[p.NetworkID] = true
		}
	}
	return loose
}

func (l *l2run) tunnel(n *rpc.NetworkState, bridge string, loose map[string]bool) error {
	name := VXLANName(n.SegmentationID)
	own := owner{tag: l.h.tag, kind: ownerNetwork, id: n.ID}
	link := l.links[name]
	answer := !loose[n.ID]
	if v, ok := link.(*netlink.Vxlan); ok && (v.Proxy != answer || !v.SrcAddr.Equal(l.h.cfg.TunnelIP.AsSlice())) {
		// Neither can be changed on a device that is there.
		if err := l.h.nl.LinkDel(link); err != nil {
			return err
		}
		link = nil
	}
	if link == nil {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = name, bridgeMAC(own)
		v := &netlink.Vxlan{
			LinkAttrs: attrs, VxlanId: n.SegmentationID, SrcAddr: l.h.cfg.TunnelIP.AsSlice(),
			Port: vxlanPort, Learning: false, Proxy: answer,
		}
		if err := l.h.nl.LinkAdd(v); err != nil {
			return fmt.Errorf("add %s: %w", name, err)
		}
		var err error
		if link, err = l.h.nl.LinkByName(name); err != nil {
			return err
		}
	}
	if err := l.h.adopt(link, own); err != nil {
		return err
	}
	_ = sysctl("ipv6/conf/"+name+"/disable_ipv6", "1")
	if err := l.h.ensureLink(link, n.MTU, l.links[bridge].Attrs().Index); err != nil {
		return err
	}
	return l.h.syncPeers(link.Attrs().Index, l.st.Peers[n.ID])
}

// A neighKey is one entry of a forwarding or neighbour table.
type neighKey struct {
	family int
	flags  int
	mac    string
	ip     string
}

// syncPeers makes the device's tables those of peers: where to send a MAC,
// where to send broadcasts, and how to answer ARP.
func (h *Host) syncPeers(index int, peers []rpc.Peer) error {
	want := map[neighKey]bool{}
	for _, p := range peers {
		mac, err := parseMAC(p.MAC)
		if err != nil {
			continue
		}
		vtep, err := netip.ParseAddr(p.TunnelIP)
		if err != nil || vtep == h.cfg.TunnelIP {
			continue
		}
		want[neighKey{unix.AF_BRIDGE, netlink.NTF_SELF, "00:00:00:00:00:00", vtep.String()}] = true
		want[neighKey{unix.AF_BRIDGE, netlink.NTF_SELF, mac.String(), vtep.String()}] = true
		want[neighKey{unix.AF_BRIDGE, netlink.NTF_MASTER, mac.String(), ""}] = true
		for _, s := range p.IPs {
			ip, err := netip.ParseAddr(s)
			if err != nil {
				continue
			}
			family := unix.AF_INET
			if ip.Is6() {
				family = unix.AF_INET6
			}
			want[neighKey{family, 0, mac.String(), ip.String()}] = true
		}
	}
	have, err := h.neighbours(index)
	if err != nil {
		return err
	}
	var errs []error
	for k := range have {
		if !want[k] {
			if err := h.nl.NeighDel(k.neigh(index)); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("delete entry %s %s: %w", k.mac, k.ip, err))
			}
		}
	}
	for k := range want {
		if have[k] {
			continue
		}
		add := h.nl.NeighSet
		if k.mac == "00:00:00:00:00:00" {
			add = h.nl.NeighAppend
		}
		if err := add(k.neigh(index)); err != nil {
			errs = append(errs, fmt.Errorf("add entry %s %s: %w", k.mac, k.ip, err))
		}
	}
	return errors.Join(errs...)
}

// neighbours lists the entries that syncPeers may have made.
func (h *Host) neighbours(index int) (map[neighKey]bool, error) {
	have := map[neighKey]bool{}
	for _, family := range []int{unix.AF_BRIDGE, unix.AF_INET, unix.AF_INET6} {
		list, err := h.nl.NeighList(index, family)
		if err != nil {
			return nil, fmt.Errorf("list entries: %w", err)
		}
		for _, n := range list {
			k := neighKey{family: family, mac: n.HardwareAddr.String()}
			switch {
			case family != unix.AF_BRIDGE:
				if n.State&netlink.NUD_PERMANENT == 0 {
					continue
				}
			case n.Flags&netlink.NTF_SELF != 0:
				k.flags = netlink.NTF_SELF
			case n.State&netlink.NUD_NOARP != 0:
				k.flags = netlink.NTF_MASTER // static, not learned, not the device's own
			default:
				continue
			}
			if n.IP != nil && k.flags != netlink.NTF_MASTER {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					k.ip = ip.Unmap().String()
				}
			}
			have[k] = true
		}
	}
	return have, nil
}

func (k neighKey) neigh(index int) *netlink.Neigh {
	mac, _ := net.ParseMAC(k.mac)
	n := &netlink.Neigh{LinkIndex: index, Family: k.family, Flags: k.flags, HardwareAddr: mac, State: netlink.NUD_PERMANENT}
	if k.flags == netlink.NTF_MASTER {
		n.State = netlink.NUD_NOARP
	}
	if k.ip != "" {
		n.IP = net.ParseIP(k.ip)
		if v4 := n.IP.To4(); v4 != nil {
			n.IP = v4
		}
	}
	return n
}
