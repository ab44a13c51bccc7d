package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// MetadataPort is where the metadata proxy listens inside router namespaces.
const MetadataPort = 9697

// A RouterResult tells what became of a router. FloatingIPs has every wanted
// floating IP: nil means in force.
type RouterResult struct {
	FloatingIPs map[string]error
}

// A routerPlan is a router, checked and parsed.
type routerPlan struct {
	r        *rpc.RouterState
	devices  []routerDevice
	gateway  string       // device of the external gateway, "" for none
	gwAddr   netip.Addr   // IPv4 address to hide behind
	gwVia    []netip.Addr // default routes
	snat     bool
	floating []floatingPlan
	routes   []rpc.Route
	result   RouterResult
}

type routerDevice struct {
	nsDevice
	addrs []netip.Prefix
	port  *rpc.RouterPort
}

type floatingPlan struct {
	id           string
	addr, inside netip.Addr
}

// parseRouter checks everything of a router; single bad floating IPs are left
// out and reported.
func parseRouter(r *rpc.RouterState) (*routerPlan, error) {
	if _, err := chainID(r.ID); err != nil {
		return nil, err
	}
	p := &routerPlan{r: r, routes: r.Routes, result: RouterResult{FloatingIPs: map[string]error{}}}
	for i := range r.Interfaces {
		if _, err := p.device(&r.Interfaces[i], prefixRouter); err != nil {
			return nil, err
		}
	}
	if g := r.Gateway; g != nil {
		d, err := p.device(&g.RouterPort, prefixGateway)
		if err != nil {
			return nil, err
		}
		p.gateway, p.snat = d.name, g.EnableSNAT
		for _, a := range d.addrs {
			if a.Addr().Is4() && !p.gwAddr.IsValid() {
				p.gwAddr = a.Addr()
			}
		}
		for _, ip := range g.FixedIPs {
			if via, err := netip.ParseAddr(ip.Gateway); err == nil {
				p.gwVia = append(p.gwVia, via)
			}
		}
	}
	p.parseFloating()
	return p, nil
}

func (p *routerPlan) device(port *rpc.RouterPort, prefix string) (*routerDevice, error) {
	if _, err := chainID(port.PortID); err != nil {
		return nil, err
	}
	d := routerDevice{port: port, nsDevice: nsDevice{
		name: prefix + cut11(port.PortID), portID: port.PortID, mac: port.MAC, mtu: port.MTU,
	}}
	for _, ip := range port.FixedIPs {
		a, err := netip.ParseAddr(ip.IP)
		if err != nil || a.Zone() != "" || ip.PrefixLen < 0 || ip.PrefixLen > a.BitLen() {
			return nil, fmt.Errorf("bad address %s/%d of router port %s", ip.IP, ip.PrefixLen, port.PortID)
		}
		d.addrs = append(d.addrs, netip.PrefixFrom(a, ip.PrefixLen))
	}
	p.devices = append(p.devices, d)
	return &p.devices[len(p.devices)-1], nil
}

func (p *routerPlan) parseFloating() {
	seen := map[netip.Addr]bool{}
	for _, f := range p.r.FloatingIPs {
		addr, err1 := netip.ParseAddr(f.IP)
		inside, err2 := netip.ParseAddr(f.FixedIP)
		switch {
		case err1 != nil || err2 != nil || !addr.Is4() || !inside.Is4():
			p.result.FloatingIPs[f.ID] = fmt.Errorf("bad floating ip %q to %q", f.IP, f.FixedIP)
		case p.gateway == "":
			p.result.FloatingIPs[f.ID] = errors.New("router has no gateway")
		case seen[addr]:
			p.result.FloatingIPs[f.ID] = fmt.Errorf("floating ip %s is there twice", addr)
		default:
			seen[addr] = true
			p.result.FloatingIPs[f.ID] = nil
			p.floating = append(p.floating, floatingPlan{id: f.ID, addr: addr, inside: inside})
		}
	}
	slices.SortFunc(p.floating, func(a, b floatingPlan) int { return a.addr.Compare(b.addr) })
	last := len(p.devices) - 1
	for _, f := range p.floating {
		p.devices[last].addrs = append(p.devices[last].addrs, netip.PrefixFrom(f.addr, 32))
	}
}

// ReconcileRouter makes a router's namespace, devices, addresses, routes and
// translations. What is already right is not touched.
func (h *Host) ReconcileRouter(r *rpc.RouterState) (*RouterResult, error) {
	plan, err := parseRouter(r)
	if err != nil {
		return nil, err
	}
	ns, err := h.ensureNamespace(RouterNamespace(r.ID), owner{tag: h.tag, kind: ownerRouter, id: r.ID})
	if err != nil {
		return nil, err
	}
	defer ns.close()
	if err := ns.do(forwardingNamespace); err != nil {
		return nil, err
	}
	// Translations come before the devices that could pass anything without.
	before, err := h.applyNAT(ns, plan)
	if err != nil {
		return nil, err
	}
	added, gwIndex, err := h.routerDevices(ns, plan)
	if err != nil {
		return nil, err
	}
	routeErr := syncRoutes(ns, plan.nsRoutes(gwIndex))
	if err := ns.do(func() error { return forgetMoved(before, plan.floating) }); err != nil {
		h.log.Warn("cannot cut connections of moved floating ips", "router_id", r.ID, "error", err)
	}
	for dev, addrs := range added {
		h.announce(ns, dev, addrs)
	}
	return &plan.result, errors.Join(routeErr, h.advertise(ns, plan))
}

// forwardingNamespace sets up a router's namespace. It is done every time: the
// process that made the namespace may have died before.
func forwardingNamespace() error {
	if err := quietNamespace(); err != nil {
		return err
	}
	errs := []error{sysctl("ipv4/ip_forward", "1")}
	for _, kv := range [][2]string{
		{"ipv6/conf/all/forwarding", "1"}, {"ipv6/conf/default/forwarding", "1"},
		{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"},
		// Each address answers ARP on its own device only.
		{"ipv4/conf/all/arp_ignore", "1"}, {"ipv4/conf/all/arp_announce", "2"},
		// A router that takes over meets connections in the middle.
		{"netfilter/nf_conntrack_tcp_be_liberal", "1"},
	} {
		if _, err := os.Stat("/proc/sys/net/" + kv[0]); err == nil {
			errs = append(errs, sysctl(kv[0], kv[1]))
		}
	}
	return errors.Join(errs...)
}

// routerDevices makes the devices with their addresses, and returns the new
// IPv4 addresses by device, and the index of the gateway's device.
func (h *Host) routerDevices(ns *namespace, plan *routerPlan) (map[string][]netip.Addr, int, error) {
	wanted := map[string]bool{}
	for i := range plan.devices {
		wanted[plan.devices[i].name] = true
	}
	if err := removeDevices(ns, wanted, prefixRouter, prefixGateway); err != nil {
		return nil, 0, err
	}
	added := map[string][]netip.Addr{}
	gateway := 0
	for i := range plan.devices {
		d := &plan.devices[i]
		link, err := h.ensureDevice(ns, d.nsDevice)
		if err != nil {
			return nil, 0, fmt.Errorf("device of router port %s: %w", d.portID, err)
		}
		fresh, err := syncAddrs(ns, link, d.addrs)
		if err != nil {
			return nil, 0, err
		}
		for _, p := range fresh {
			if p.Addr().Is4() {
				added[d.name] = append(added[d.name], p.Addr())
			}
		}
		if d.name == plan.gateway {
			gateway = link.Attrs().Index
		}
	}
	return added, gateway, nil
}

// nsRoutes are the default routes out of the gateway and the extra routes.
func (p *routerPlan) nsRoutes(gateway int) []nsRoute {
	var out []nsRoute
	for _, via := range p.gwVia {
		dst := netip.MustParsePrefix("0.0.0.0/0")
		if via.Is6() {
			dst = netip.MustParsePrefix("::/0")
		}
		out = append(out, nsRoute{dst: dst, via: via, link: gateway})
	}
	for _, r := range p.routes {
		dst, err := parsePrefix(r.Destination)
		via, err2 := netip.ParseAddr(r.NextHop)
		if err == nil && err2 == nil {
			out = append(out, nsRoute{dst: dst, via: via})
		}
	}
	return out
}

// RemoveRouter takes a router away with everything of it.
func (h *Host) RemoveRouter(routerID string) error {
	if _, err := chainID(routerID); err != nil {
		return err
	}
	h.forgetNAT(routerID)
	ns, err := h.openOwned(RouterNamespace(routerID))
	if err != nil {
		return err
	}
	if ns != nil {
		h.stopAdvertising(ns, routerID)
		err = errors.Join(removeDevices(ns, nil, prefixRouter, prefixGateway), h.deleteNamespace(ns.name))
		ns.close()
	}
	return errors.Join(err, os.RemoveAll(h.dir("router", routerID)))
}
