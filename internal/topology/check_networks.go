package topology

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func (c *checker) checkNetworks() {
	nets := c.t.Networks
	if nets[Management] == nil {
		c.at("networks", "there is no network management: every server needs it, add \"management: {cidr: 10.3.0.0/24, device: bond0, switches: [...]}\"")
	}
	vlans := map[int]string{}
	for _, name := range c.t.NetworkNames() {
		n, at := nets[name], "networks."+name
		c.checkCIDR(at+".cidr", n.CIDR)
		if first, ok := vlans[n.VLAN]; ok && n.VLAN != 0 {
			c.at(at+".vlan", "network %s has the VLAN %d of %s: give each its own", name, n.VLAN, first)
		}
		vlans[n.VLAN] = name
		c.checkNetworkSwitches(name, n)
		if n.Device == "lo" || slices.ContainsFunc([]string{"tap", "brq", "vxlan-", "qg-", "qr-", "ha-"}, func(p string) bool { return strings.HasPrefix(n.Device, p) }) {
			c.at(at+".device", "network %s has the device %s, a name that the data plane gives: choose another, bond0", name, n.Device)
		}
		if n.Gateway.IsValid() && n.CIDR.IsValid() && !usable(n.CIDR, n.Gateway) {
			c.at(at+".gateway", "gateway %s is not an address of %s %s: choose one inside", n.Gateway, name, n.CIDR)
		}
		if n.Floating != "" {
			c.checkFloating(name, n)
		}
		if !slices.ContainsFunc(c.t.Servers, func(s *Server) bool { return slices.Contains(s.Networks(), name) }) && name != OutOfBand {
			c.warn(at, "no server is on network %s: no role that takes part in it is given", name)
		}
	}
	c.checkExternal()
}

func (c *checker) checkCIDR(at string, p netip.Prefix) {
	a := p.Addr()
	switch {
	case !p.IsValid():
	case !a.Is4():
		c.at(at, "%s is IPv6: servers' addresses derive from an IPv4 network, write it as 10.3.0.0/24", p)
	case p.Bits() > 24 || p.Bits() < 8:
		c.at(at, "%s has %d bits: host numbers are a last octet, so take /24, or a larger network down to /8", p, p.Bits())
	case p != p.Masked():
		c.at(at, "%s has host bits: write %s", p, p.Masked())
	case a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.As4()[0] == 0 || a.As4()[0] >= 240:
		c.at(at, "%s is no network for servers: choose one such as 10.3.0.0/24", p)
	}
}

func (c *checker) checkNetworkSwitches(name string, n *Network) {
	at := "networks." + name + ".switches"
	for i, sw := range n.Switches {
		here := fmt.Sprintf("%s[%d]", at, i)
		if c.findSwitch(sw) == nil {
			c.at(here, "network %s is on switch %q, which is not described: %s", name, sw, nearest(sw, c.switchNames()))
		}
		if slices.Contains(n.Switches[:i], sw) {
			c.at(here, "network %s is on switch %s twice: name the other switch of the pair", name, sw)
		}
	}
	switch len(n.Switches) {
	case 0:
		if c.lines[at] != 0 {
			c.at(at, "network %s is on no switch: name one or a pair", name)
		}
	case 1:
		if name != OutOfBand {
			c.warn(at, "network %s is on one switch: its loss cuts the network, name a pair", name)
		}
	case 2:
		if a := c.findSwitch(n.Switches[0]); a != nil && a.Peer != n.Switches[1] && n.Switches[0] != n.Switches[1] {
			c.warn(at, "network %s is on %s and %s, which are not a pair: say so with \"peer\", or a bond over them can lose the other half",
				name, n.Switches[0], n.Switches[1])
		}
	default:
		c.at(at, "network %s is on %d switches: a bond has two legs, name one switch or a pair", name, len(n.Switches))
	}
}

// ParseRange reads "first-last". Both are IPv4 and in order.
func ParseRange(s string) (first, last netip.Addr, err error) {
	a, b, _ := strings.Cut(s, "-")
	first, err = netip.ParseAddr(strings.TrimSpace(a))
	if err == nil {
		last, err = netip.ParseAddr(strings.TrimSpace(b))
	}
	if err != nil || !first.Is4() || !last.Is4() || last.Less(first) {
		return first, last, fmt.Errorf("%q is no range of addresses: write the first and the last, 203.0.113.128-203.0.113.250", s)
	}
	return first, last, nil
}

func (c *checker) checkFloating(name string, n *Network) {
	at := "networks." + name + ".floating"
	first, last, err := ParseRange(n.Floating)
	switch {
	case name != External:
		c.at(at, "network %s has floating addresses: only external has, remove them", name)
	case err != nil:
		c.at(at, "%v", err)
	case n.CIDR.IsValid() && (!usable(n.CIDR, first) || !usable(n.CIDR, last)):
		c.at(at, "floating range %s is not inside %s: choose addresses of that network", n.Floating, n.CIDR)
	}
}

// checkExternal wants what routers need to reach the outside.
func (c *checker) checkExternal() {
	n := c.t.Networks[External]
	if n == nil || len(c.t.With(RoleNetwork)) == 0 {
		return
	}
	if !n.Gateway.IsValid() && c.lines["networks.external.gateway"] == 0 {
		c.at("networks.external", "network external has no gateway: routers need a way out, add \"gateway: %s\"", orExample(n.CIDR, 1))
	}
	if n.Floating == "" {
		c.at("networks.external", "network external has no floating range: floating IPs and routers need addresses, add \"floating: %s-%s\"",
			orExample(n.CIDR, 128), orExample(n.CIDR, 250))
	}
}

func orExample(p netip.Prefix, host int) netip.Addr {
	if a := hostAddress(p, host); a.IsValid() {
		return a
	}
	return netip.AddrFrom4([4]byte{203, 0, 113, byte(host)})
}

// checkSeparation keeps classes of traffic apart: no addresses in common, and
// no device that carries two of them on one server.
func (c *checker) checkSeparation() {
	names := c.t.NetworkNames()
	for i, a := range names {
		for _, b := range names[:i] {
			x, y := c.t.Networks[a].CIDR, c.t.Networks[b].CIDR
			if x.IsValid() && y.IsValid() && x.Overlaps(y) {
				c.at("networks."+a+".cidr", "network %s (%s) overlaps %s (%s, line %d): give each class of traffic its own addresses",
					a, x, b, y, c.line("networks."+b+".cidr"))
			}
		}
	}
	told := map[[2]string]bool{}
	for _, s := range c.t.Servers {
		device := map[string]string{}
		for _, name := range s.Networks() {
			d := c.t.Networks[name].Device
			other, taken := device[d]
			if taken && !told[[2]string{other, name}] {
				told[[2]string{other, name}] = true
				c.at("networks."+name+".device", "networks %s and %s share the device %s on server %s: give each class of traffic its own device",
					other, name, d, s.Name)
			}
			device[d] = name
		}
	}
	c.checkNeeds()
}

// checkNeeds wants the networks that the roles take part in.
func (c *checker) checkNeeds() {
	needs := map[string]string{RoleNetwork: External + " " + Tunnel, RoleCompute: Tunnel, RoleBlockStorage: BlockStorage,
		RoleObjectProxy: ObjectStorage, RoleObjectStorage: ObjectStorage + " " + ObjectReplication, RoleLoadBalancer: External}
	for i, s := range c.t.Servers {
		for _, role := range s.Roles {
			for n := range strings.FieldsSeq(needs[role]) {
				if c.t.Networks[n] == nil {
					c.at(index("servers", i, "roles"), "server %s has the role %s, which needs network %s: describe it under networks", s.Name, role, n)
				}
			}
		}
	}
	if c.t.Networks[BlockStorage] != nil && len(c.t.With(RoleBlockStorage)) == 0 && len(c.t.With(RoleCompute)) > 0 {
		c.warn("networks."+BlockStorage, "there is a network block-storage and no server with that role")
	}
}
