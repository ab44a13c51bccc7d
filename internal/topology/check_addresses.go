package topology

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// checkAddresses looks for two owners of one address: servers, switches, VIPs,
// gateways, the floating range, and .1, which is the operator's.
func (c *checker) checkAddresses() {
	owner := map[netip.Addr]string{}
	take := func(place string, a netip.Addr, who string) {
		if !a.IsValid() {
			return
		}
		if first, ok := owner[a]; ok {
			if strings.HasPrefix(first, who+" (") {
				return // its networks overlap, which was told
			}
			c.at(place, "%s has the address %s of %s: give one of them another", who, a, first)
			return
		}
		owner[a] = fmt.Sprintf("%s (line %d)", who, c.line(place))
	}
	for i, s := range c.t.Servers {
		if s.Host == 0 || slices.IndexFunc(c.t.Servers, func(o *Server) bool { return o.Host == s.Host }) != i {
			continue // a host number that is there twice was told
		}
		for _, n := range s.Networks() {
			take(index("servers", i, "host"), s.Address(n), "server "+s.Name)
		}
		take(index("servers", i, "host"), s.BMC(), "the management controller of "+s.Name)
	}
	for i, s := range c.t.Switches {
		if n := c.t.Networks[OutOfBand]; n != nil && s.Host != 0 {
			take(index("switches", i, "host"), hostAddress(n.CIDR, s.Host), "switch "+s.Name)
		}
	}
	for i, v := range c.t.VIPs {
		take(index("vips", i, "address"), v.Address, "VIP "+v.Name)
	}
	for _, name := range c.t.NetworkNames() {
		take("networks."+name+".gateway", c.t.Networks[name].Gateway, "the gateway of "+name)
	}
	c.checkReserved(owner)
}

func (c *checker) checkReserved(owner map[netip.Addr]string) {
	for i, v := range c.t.VIPs {
		if n := c.t.Networks[v.Network]; n != nil && v.Address.IsValid() && v.Address == hostAddress(n.CIDR, 1) {
			c.at(index("vips", i, "address"), "VIP %s has %s, which is the operator's: choose another address", v.Name, v.Address)
		}
	}
	n := c.t.Networks[External]
	if n == nil || n.Floating == "" {
		return
	}
	first, last, err := ParseRange(n.Floating)
	if err != nil {
		return
	}
	in := func(a netip.Addr) bool { return !a.Less(first) && !last.Less(a) }
	if one := hostAddress(n.CIDR, 1); one.IsValid() && in(one) {
		c.at("networks.external.floating", "floating range %s holds %s, which is the operator's: begin after it", n.Floating, one)
	}
	var taken []netip.Addr
	for a := range owner {
		if in(a) {
			taken = append(taken, a)
		}
	}
	slices.SortFunc(taken, netip.Addr.Compare)
	for _, a := range taken {
		c.at("networks.external.floating", "floating range %s holds %s of %s: choose a range that is free", n.Floating, a, owner[a])
	}
}

func (c *checker) checkVIPs() {
	home := map[string][]string{"api": {Management}, "public": {External}, "object": {Management, External}}
	names := map[string]string{}
	for i, v := range c.t.VIPs {
		c.unique(names, v.Name, index("vips", i, "name"), "VIP")
		if want := home[v.Name]; want != nil && v.Network != "" && !slices.Contains(want, v.Network) {
			c.at(index("vips", i, "network"), "VIP %s is in network %s: it belongs into %s", v.Name, v.Network, want[0])
		}
		n := c.t.Networks[v.Network]
		if n == nil && v.Network != "" && slices.Contains([]string{Management, External}, v.Network) {
			c.at(index("vips", i, "network"), "VIP %s is in network %s, which is not described: add it under networks", v.Name, v.Network)
		}
		if n != nil && n.CIDR.IsValid() && v.Address.IsValid() && !usable(n.CIDR, v.Address) {
			c.at(index("vips", i, "address"), "VIP %s has %s, which is not in %s (%s): choose an address of that network", v.Name, v.Address, v.Network, n.CIDR)
		}
		c.checkPrefer(i, v)
	}
	for _, name := range []string{"api", "public"} {
		if c.t.VIP(name) == nil {
			c.at("vips", "there is no VIP %s: clients reach the APIs by it, add \"{name: %s, network: %s, address: ...}\"", name, name, home[name][0])
		}
	}
	if len(c.t.With(RoleObjectProxy)) > 0 && c.t.VIP("object") == nil {
		c.warn("vips", "there are object-proxy servers and no VIP object: add one in management")
	}
}

// usable tells whether a host in p may have the address: neither the network's
// own nor its broadcast.
func usable(p netip.Prefix, a netip.Addr) bool {
	return p.Contains(a) && a != p.Masked().Addr() && p.Contains(a.Next())
}

func (c *checker) checkPrefer(i int, v *VIP) {
	if v.Prefer == "" {
		return
	}
	var balancers []string
	for _, s := range c.t.With(RoleLoadBalancer) {
		balancers = append(balancers, s.Name)
	}
	switch s := c.t.Server(v.Prefer); {
	case s == nil:
		c.at(index("vips", i, "prefer"), "VIP %s prefers %q, which is no server: %s", v.Name, v.Prefer, nearest(v.Prefer, balancers))
	case !s.Has(RoleLoadBalancer):
		c.at(index("vips", i, "prefer"), "VIP %s prefers %s, which is no load balancer: %s", v.Name, v.Prefer, nearest(v.Prefer, balancers))
	}
}
