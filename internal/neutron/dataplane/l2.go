package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// An L2State is everything the host's bridges have to look like, by id.
type L2State struct {
	Networks map[string]*rpc.NetworkState
	Ports    map[string]*rpc.PortState
	Groups   map[string]*rpc.SecurityGroupState
	Peers    map[string][]rpc.Peer // by network
}

// An L2Result tells what became of it.
type L2Result struct {
	Up      []string         // ports whose device is plugged and filtered
	Missing []string         // ports without a device, or administratively down
	Bad     map[string]error // quarantined ids: ports, networks, groups
}

// ReconcileL2 makes bridges, plugs taps, tunnels and packet filters agree with
// st, which is complete: bridges and ports of ours that it does not name are
// taken away. A port is filtered before it is plugged and unplugged before its
// filter goes. One bad object never keeps others from theirs.
func (h *Host) ReconcileL2(st *L2State) (*L2Result, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	links, err := h.links()
	if err != nil {
		return nil, err
	}
	res := &L2Result{Bad: map[string]error{}}
	l := &l2run{h: h, st: st, links: links, res: res, bridgeOf: map[string]string{}, zones: map[string]uint16{}}
	l.bridges()
	l.unplug()
	now, before, bad, err := h.applyFirewall(l.plan())
	maps.Copy(res.Bad, bad)
	if err != nil {
		return res, fmt.Errorf("packet filter: %w", err)
	}
	l.plug(now)
	l.tunnels()
	l.removeBridges()
	if err := h.flushRefused(now, before); err != nil {
		h.log.Warn("cannot cut refused connections", "error", err)
	}
	slices.Sort(res.Up)
	slices.Sort(res.Missing)
	return res, nil
}

// An l2run is one pass of ReconcileL2.
type l2run struct {
	h        *Host
	st       *L2State
	links    map[string]netlink.Link
	res      *L2Result
	bridgeOf map[string]string // network id → bridge
	zones    map[string]uint16 // bridge → conntrack zone
}

// bridges makes a bridge for every network that has a port here.
func (l *l2run) bridges() {
	used := map[string]bool{}
	for _, p := range l.st.Ports {
		used[p.NetworkID] = true
	}
	taken := map[uint16]bool{}
	for _, link := range l.links {
		if o, ok := l.h.owns(link); ok && o.kind == ownerNetwork {
			taken[o.zone] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(used)) {
		n := l.st.Networks[id]
		if n == nil {
			continue // its ports are reported as missing until it is told
		}
		if err := l.bridge(n, taken); err != nil {
			l.res.Bad[id] = err
		}
	}
}

func (l *l2run) bridge(n *rpc.NetworkState, taken map[uint16]bool) error {
	if n.Type == rpc.TypeFlat {
		name, ok := l.h.mapping(n.PhysicalNetwork)
		if !ok {
			return fmt.Errorf("network %s: no bridge for physical network %q on this host", n.ID, n.PhysicalNetwork)
		}
		if l.links[name] == nil {
			return fmt.Errorf("network %s: bridge %s is not there", n.ID, name)
		}
		l.bridgeOf[n.ID], l.zones[name] = name, 0
		return nil
	}
	if n.Type == rpc.TypeVLAN {
		return fmt.Errorf("network %s: vlan segments are not supported on this host", n.ID)
	}
	if _, err := chainID(n.ID); err != nil {
		return err
	}
	name := BridgeName(n.ID)
	own := owner{tag: l.h.tag, kind: ownerNetwork, id: n.ID, zone: freeZone(taken)}
	link := l.links[name]
	if link == nil {
		made, err := l.h.addBridge(name, own)
		if err != nil {
			return err
		}
		l.links[name], link = made, made
	} else if o, ok := l.h.owns(link); ok && o.id == n.ID {
		own = o
	} else if err := l.h.adopt(link, own); err != nil {
		return err
	}
	taken[own.zone], l.zones[name] = true, own.zone
	_ = sysctl("ipv6/conf/"+name+"/disable_ipv6", "1") // its maker may have died before
	l.bridgeOf[n.ID] = name
	return l.h.ensureLink(link, n.MTU, 0)
}

// freeZone is the lowest conntrack zone no bridge uses; 0 is the host's own.
func freeZone(taken map[uint16]bool) uint16 {
	zone := uint16(1)
	for taken[zone] && zone < 65535 {
		zone++
	}
	return zone
}

// plan collects what the firewall has to cover.
func (l *l2run) plan() *firewallPlan {
	p := &firewallPlan{groups: l.st.Groups, bridges: l.zones, portOn: map[string]string{}, tunnels: map[string]string{}}
	for _, id := range slices.Sorted(maps.Keys(l.st.Ports)) {
		port := l.st.Ports[id]
		if bridge := l.bridgeOf[port.NetworkID]; bridge != "" {
			p.ports = append(p.ports, port)
			p.portOn[id] = bridge
		}
	}
	for net, bridge := range l.bridgeOf {
		if n := l.st.Networks[net]; l.tunnelled(n) {
			p.tunnels[VXLANName(n.SegmentationID)] = bridge
		}
	}
	return p
}

// plug puts every port's device on its bridge, after its filter.
func (l *l2run) plug(now *ruleset) {
	for _, id := range slices.Sorted(maps.Keys(l.st.Ports)) {
		p := l.st.Ports[id]
		bridge, filtered := l.bridgeOf[p.NetworkID], now.ports[id] != nil
		tap := l.links[TapName(id)]
		if tap == nil || bridge == "" || !filtered {
			l.res.Missing = append(l.res.Missing, id)
			continue
		}
		mtu := p.MTU
		if n := l.st.Networks[p.NetworkID]; mtu == 0 && n != nil {
			mtu = n.MTU
		}
		if err := l.h.ensureLink(tap, mtu, l.links[bridge].Attrs().Index); err != nil {
			if isGone(err) {
				l.res.Missing = append(l.res.Missing, id)
			} else {
				l.res.Bad[id] = fmt.Errorf("plug %s: %w", TapName(id), err)
			}
			continue
		}
		switch {
		case l.res.Bad[id] != nil:
		case now.ports[id].closed: // plugged, so that it only has to be opened
			l.res.Missing = append(l.res.Missing, id)
		default:
			l.res.Up = append(l.res.Up, id)
		}
	}
}

// unplug takes devices off our bridges that no port of this host names, or
// that belong on another bridge.
func (l *l2run) unplug() {
	wanted := map[string]string{}
	for id, p := range l.st.Ports {
		wanted[TapName(id)] = l.bridgeOf[p.NetworkID]
	}
	byIndex := map[int]string{}
	for name, link := range l.links {
		byIndex[link.Attrs().Index] = name
	}
	for name, link := range l.links {
		master := byIndex[link.Attrs().MasterIndex]
		if master == "" || !isPortDevice(name) || !l.ourBridge(master) || wanted[name] == master {
			continue
		}
		if err := l.h.nl.LinkSetNoMaster(link); err != nil && !isGone(err) {
			l.h.log.Warn("cannot unplug", "device", name, "bridge", master, "error", err)
			continue
		}
		link.Attrs().MasterIndex = 0
	}
}

// isPortDevice tells our port devices by their name: tap and the start of an
// id with its dash, which nobody else's tap0 looks like.
func isPortDevice(name string) bool {
	rest, ok := strings.CutPrefix(name, prefixTap)
	return ok && len(rest) == 11 && rest[8] == '-'
}

func (l *l2run) ourBridge(name string) bool {
	o, ok := l.h.owns(l.links[name])
	if ok {
		return o.kind == ownerNetwork || o.kind == ownerExternal
	}
	_, used := l.zones[name]
	return used
}

// removeBridges deletes our bridges of networks without a port here.
func (l *l2run) removeBridges() {
	for name, link := range l.links {
		o, ok := l.h.owns(link)
		if !ok || o.kind != ownerNetwork || l.bridgeOf[o.id] != "" || l.res.Bad[o.id] != nil {
			continue
		}
		if err := l.h.nl.LinkDel(link); err != nil && !isGone(err) {
			l.h.log.Warn("cannot delete device", "device", name, "error", err)
		}
	}
}

// ensureLink gives a device its MTU, its bridge and brings it up; master 0
// leaves that alone.
func (h *Host) ensureLink(link netlink.Link, mtu, master int) error {
	a := link.Attrs()
	if mtu > 0 && a.MTU != mtu {
		if err := h.nl.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("mtu %d of %s: %w", mtu, a.Name, err)
		}
	}
	if master != 0 && a.MasterIndex != master {
		if err := h.nl.LinkSetMasterByIndex(link, master); err != nil {
			return fmt.Errorf("plug %s: %w", a.Name, err)
		}
	}
	if a.Flags&net.FlagUp == 0 {
		if err := h.nl.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring up %s: %w", a.Name, err)
		}
	}
	return nil
}

// isGone tells that a device vanished while we worked on it.
func isGone(err error) bool {
	return isNotFound(err) || errors.Is(err, unix.ENODEV)
}
