package topology

import (
	"fmt"
	"slices"
	"strings"
)

// check holds the rules that join several values. Single values were checked
// while they were read.
func (r *reader) check(t *Topology) {
	c := &checker{reader: r, t: t}
	c.checkSwitches()
	c.checkNetworks()
	c.checkSeparation()
	c.checkServers()
	c.checkHardware()
	c.checkAddresses()
	c.checkRoles()
	c.checkVIPs()
}

// checker holds a topology while it is checked.
type checker struct {
	*reader
	t *Topology
}

func index(list string, i int, field string) string {
	p := fmt.Sprintf("%s[%d]", list, i)
	if field != "" {
		p += "." + field
	}
	return p
}

// unique reports the second of two equal names.
func (c *checker) unique(seen map[string]string, name, place, what string) {
	if name == "" {
		return
	}
	if first, ok := seen[name]; ok {
		c.at(place, "%s %s is on line %d already: give each its own name", what, name, c.line(first))
		return
	}
	seen[name] = place
}

func (c *checker) checkSwitches() {
	names := map[string]string{}
	for i, s := range c.t.Switches {
		at := index("switches", i, "name")
		c.unique(names, s.Name, at, "switch")
		if s.Peer == "" {
			continue
		}
		at = index("switches", i, "peer")
		switch peer := c.findSwitch(s.Peer); {
		case s.Peer == s.Name:
			c.at(at, "switch %s is its own peer: name the other switch of the pair", s.Name)
		case peer == nil:
			c.at(at, "switch %s has the peer %q, which is no switch: %s", s.Name, s.Peer, nearest(s.Peer, c.switchNames()))
		case peer.Peer != s.Name:
			c.at(at, "switch %s has the peer %s, whose own peer is %q: a pair names each other, give %s \"peer: %s\"",
				s.Name, s.Peer, peer.Peer, s.Peer, s.Name)
		}
		if s.Host != 0 && c.t.Networks[OutOfBand] == nil {
			c.at(index("switches", i, "host"), "switch %s has a host number but there is no out-of-band network: add the network or remove the number", s.Name)
		}
	}
}

func (c *checker) findSwitch(name string) *Switch {
	i := slices.IndexFunc(c.t.Switches, func(s *Switch) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return c.t.Switches[i]
}

func (c *checker) switchNames() []string {
	var out []string
	for _, s := range c.t.Switches {
		out = append(out, s.Name)
	}
	return out
}

func (c *checker) checkServers() {
	names := map[string]string{}
	for i, s := range c.t.Switches {
		names[s.Name] = index("switches", i, "name")
	}
	hosts := map[int]int{}
	for i, s := range c.t.Servers {
		c.unique(names, s.Name, index("servers", i, "name"), "server")
		if first, ok := hosts[s.Host]; ok && s.Host != 0 {
			c.at(index("servers", i, "host"), "server %s has the host number %d of %s (line %d): give each server its own",
				s.Name, s.Host, c.t.Servers[first].Name, c.line(index("servers", first, "host")))
		} else {
			hosts[s.Host] = i
		}
		for j, role := range s.Roles {
			if slices.Contains(s.Roles[:j], role) {
				c.at(fmt.Sprintf("servers[%d].roles[%d]", i, j), "server %s has the role %s twice: remove one", s.Name, role)
			}
		}
		if len(s.Roles) == 0 && c.lines[index("servers", i, "roles")] != 0 {
			c.at(index("servers", i, "roles"), "server %s has no role: give it one of %s", s.Name, strings.Join(Roles(), ", "))
		}
		if s.Hardware != "" && c.t.Hardware[s.Hardware] == nil {
			c.at(index("servers", i, "hardware"), "server %s has the hardware %q, which is not described: %s",
				s.Name, s.Hardware, nearest(s.Hardware, sortedNames(c.t.Hardware)))
		}
	}
}

func sortedNames[V any](m map[string]V) []string {
	var out []string
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (c *checker) checkHardware() {
	for _, name := range sortedNames(c.t.Hardware) {
		for i, d := range c.t.Hardware[name].Disks {
			at := fmt.Sprintf("hardware.%s.disks[%d]", name, i)
			if d.RAID == "raid1" && (d.Count < 2 || d.Count%2 != 0) {
				c.at(at, "hardware %s: RAID-1 of %d disks: it takes pairs", name, d.Count)
			}
			if d.RAID == "raid6" && d.Count < 4 {
				c.at(at, "hardware %s: RAID-6 of %d disks: it takes at least four, or use raid1", name, d.Count)
			}
		}
	}
	used := map[string]bool{}
	for _, s := range c.t.Servers {
		used[s.Hardware] = true
	}
	for _, name := range sortedNames(c.t.Hardware) {
		if !used[name] {
			c.warn("hardware."+name, "no server is of the hardware %s: remove it or name it on a server", name)
		}
	}
}

// checkRoles holds who may live together and how many there must be.
func (c *checker) checkRoles() {
	c.colocated(RoleCompute, "a loss takes both, and guests compete with the control plane")
	c.colocated(RoleLoadBalancer, "what clients reach from outside is then on the control plane")
	n := len(c.t.With(RoleControl))
	if n < 3 || n%2 == 0 {
		c.at("servers", "%d servers have the role control: make it 3, 5 or another odd number from 3 on, so that a majority outlives the loss of one", n)
	}
	c.enough(RoleLoadBalancer, 1, 2, "the VIPs have nowhere to go when it is lost")
	c.enough(RoleNetwork, 0, 2, "routers and DHCP have nowhere to go when it is lost")
	c.enough(RoleCompute, 0, 2, "servers have nowhere to go when it is lost")
	if c.t.VIPManager == Pacemaker && len(c.t.With(RoleLoadBalancer)) < 3 {
		c.warn("vip_manager", "pacemaker with %d load balancers has no majority when one is lost: give it three, or use keepalived", len(c.t.With(RoleLoadBalancer)))
	}
	if len(c.t.With(RoleObjectProxy)) > 0 && len(c.t.With(RoleObjectStorage)) == 0 {
		c.warn("servers", "there are object-proxy servers and no object-storage server: add at least three")
	}
	if n := len(c.t.With(RoleObjectStorage)); n > 0 && n < 3 {
		c.warn("servers", "%d object-storage servers cannot hold three replicas apart: make it three or more", n)
	}
}

// colocated tells of the servers that have control and other.
func (c *checker) colocated(other, why string) {
	var both []string
	first := ""
	for i, s := range c.t.Servers {
		switch at := index("servers", i, "roles"); {
		case !s.Has(RoleControl) || !s.Has(other):
		case c.t.AllowColocation:
			if first == "" {
				first = at
			}
			both = append(both, s.Name)
		default:
			c.at(at, "server %s has control and %s: put them on different servers, or say \"allow_colocation: true\"", s.Name, other)
		}
	}
	if len(both) > 0 {
		c.warn(first, "control and %s are together on %s: %s; give them servers of their own when there are enough", other, strings.Join(both, ", "), why)
	}
}

func (c *checker) enough(role string, least, good int, why string) {
	switch n := len(c.t.With(role)); {
	case n < least:
		c.at("servers", "no server has the role %s: give it to at least %d", role, good)
	case n < good && n == 0:
		c.warn("servers", "no server has the role %s: the cloud is not whole without it", role)
	case n < good:
		c.warn("servers", "only one server has the role %s: %s; give it to %d", role, why, good)
	}
}
