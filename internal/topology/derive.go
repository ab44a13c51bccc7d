package topology

import (
	"fmt"
	"net/netip"
	"slices"
)

// networkOrder is the order in which networks are told.
var networkOrder = [...]string{OutOfBand, Management, External, Tunnel, BlockStorage, ObjectStorage, ObjectReplication}

// networksOf says which networks a role takes part in, beside management.
func networksOf(role string) []string {
	switch role {
	case RoleNetwork:
		return []string{External, Tunnel}
	case RoleCompute:
		return []string{Tunnel, BlockStorage}
	case RoleBlockStorage:
		return []string{BlockStorage}
	case RoleObjectProxy:
		return []string{ObjectStorage}
	case RoleObjectStorage:
		return []string{ObjectStorage, ObjectReplication}
	case RoleLoadBalancer:
		return []string{External}
	case RoleAdmin:
		return []string{OutOfBand, External}
	}
	return nil
}

// Has tells whether the server has the role.
func (s *Server) Has(role string) bool { return slices.Contains(s.Roles, role) }

// Networks are the names of the networks that the server is on, in order.
func (s *Server) Networks() []string {
	on := []string{Management}
	for _, r := range s.Roles {
		on = append(on, networksOf(r)...)
	}
	var out []string
	for _, n := range networkOrder {
		if slices.Contains(on, n) && s.topology.Networks[n] != nil {
			out = append(out, n)
		}
	}
	return out
}

// Address is the server's address in a network; the zero Addr if it has none.
func (s *Server) Address(network string) netip.Addr {
	n := s.topology.Networks[network]
	if n == nil || !slices.Contains(s.Networks(), network) {
		return netip.Addr{}
	}
	return hostAddress(n.CIDR, s.Host)
}

// BMC is the address of the server's management controller in the out-of-band
// network; the zero Addr if there is no such network, or if the server itself
// is on it and has that address.
func (s *Server) BMC() netip.Addr {
	n := s.topology.Networks[OutOfBand]
	if n == nil || slices.Contains(s.Networks(), OutOfBand) {
		return netip.Addr{}
	}
	return hostAddress(n.CIDR, s.Host)
}

// Management is the server's address for everything between the parts.
func (s *Server) Management() netip.Addr { return s.Address(Management) }

// FQDN is the server's full name.
func (s *Server) FQDN() string { return s.Name + "." + s.topology.Domain }

func hostAddress(p netip.Prefix, host int) netip.Addr {
	if !p.IsValid() || !p.Addr().Is4() {
		return netip.Addr{}
	}
	b := p.Masked().Addr().As4()
	b[3] = byte(host)
	return netip.AddrFrom4(b)
}

// Link is one cable: a leg of a server's device to a switch.
type Link struct {
	Server  string
	Network string
	Device  string // bond0
	Leg     string // interface name of the leg on the server: bond0l1
	Switch  string
}

// Name is what an operator calls the cable: "node01/bond0l1".
func (l Link) Name() string { return l.Server + "/" + l.Leg }

// Links are the server's cables. A network on two switches has a leg to each;
// on one switch the device is the leg.
func (s *Server) Links() []Link {
	var out []Link
	for _, name := range s.Networks() {
		n := s.topology.Networks[name]
		for i, sw := range n.Switches {
			leg := n.Device
			if len(n.Switches) > 1 {
				leg = fmt.Sprintf("%sl%d", n.Device, i+1)
			}
			out = append(out, Link{Server: s.Name, Network: name, Device: n.Device, Leg: leg, Switch: sw})
		}
	}
	return out
}

// With are the servers that have the role, in the file's order.
func (t *Topology) With(role string) []*Server {
	var out []*Server
	for _, s := range t.Servers {
		if s.Has(role) {
			out = append(out, s)
		}
	}
	return out
}

// Server is the server with that name, nil if there is none.
func (t *Topology) Server(name string) *Server {
	for _, s := range t.Servers {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// VIP is the virtual address with that name, nil if there is none.
func (t *Topology) VIP(name string) *VIP {
	for _, v := range t.VIPs {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// NetworkNames are the cluster's networks in order.
func (t *Topology) NetworkNames() []string {
	var out []string
	for _, n := range networkOrder {
		if t.Networks[n] != nil {
			out = append(out, n)
		}
	}
	return out
}

// Monitors are the servers that watch the cluster and keep its logs: those
// with the role admin, and the control servers, so that none is the only one.
func (t *Topology) Monitors() []*Server {
	var out []*Server
	for _, s := range t.Servers {
		if s.Has(RoleAdmin) || s.Has(RoleControl) {
			out = append(out, s)
		}
	}
	return out
}
