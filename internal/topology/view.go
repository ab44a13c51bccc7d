package topology

import (
	"fmt"
	"slices"
)

// View is a topology with everything that derives from it written out: what
// drawings and scripts read.
type View struct {
	Name     string        `json:"name"`
	Domain   string        `json:"domain"`
	Region   string        `json:"region"`
	Racks    []string      `json:"racks"`
	Networks []NetworkView `json:"networks"`
	Switches []SwitchView  `json:"switches"`
	Servers  []ServerView  `json:"servers"`
	VIPs     []VIPView     `json:"vips"`
	Monitors []string      `json:"monitors"`
	Capacity []Capacity    `json:"capacity"`
	Warnings []Problem     `json:"warnings,omitempty"`
}

// NetworkView is a network as it is told.
type NetworkView struct {
	Name     string   `json:"name"`
	CIDR     string   `json:"cidr"`
	VLAN     int      `json:"vlan,omitempty"`
	Device   string   `json:"device"`
	Switches []string `json:"switches"`
	Gateway  string   `json:"gateway,omitempty"`
	Floating string   `json:"floating,omitempty"`
	Servers  int      `json:"servers"`
}

// SwitchView is a switch with what is plugged into it.
type SwitchView struct {
	Name    string     `json:"name"`
	Rack    string     `json:"rack,omitempty"`
	Model   string     `json:"model,omitempty"`
	Peer    string     `json:"peer,omitempty"`
	Address string     `json:"address,omitempty"` // in the out-of-band network
	Ports   []PortView `json:"ports"`
}

// PortView is a switch's port with its cable.
type PortView struct {
	Port    int    `json:"port"`
	Server  string `json:"server"`
	Leg     string `json:"leg"`
	Network string `json:"network"`
}

// ServerView is a server with its addresses by network.
type ServerView struct {
	Name      string            `json:"name"`
	FQDN      string            `json:"fqdn"`
	Host      int               `json:"host"`
	Rack      string            `json:"rack,omitempty"`
	Roles     []string          `json:"roles"`
	Hardware  string            `json:"hardware,omitempty"`
	Addresses map[string]string `json:"addresses"`
	BMC       string            `json:"bmc,omitempty"`
}

// VIPView is a virtual address with those that hold it, the preferred first.
type VIPView struct {
	Name    string   `json:"name"`
	Address string   `json:"address"`
	Network string   `json:"network"`
	Holders []string `json:"holders"`
}

// SwitchLinks are the cables in a switch, in the order of its ports: the first
// is in port 1. A server added at the end of the file changes no port.
func (t *Topology) SwitchLinks(name string) []Link {
	var out []Link
	for _, s := range t.Servers {
		for _, l := range s.Links() {
			if l.Switch == name {
				out = append(out, l)
			}
		}
	}
	return out
}

// Holders are the load balancers of a VIP, the preferred one first. A VIP that
// prefers none begins at another load balancer than the VIP before it.
func (t *Topology) Holders(v *VIP) []*Server {
	all := t.With(RoleLoadBalancer)
	first := slices.IndexFunc(all, func(s *Server) bool { return s.Name == v.Prefer })
	if first < 0 && len(all) > 0 {
		first = max(0, slices.Index(t.VIPs, v)) % len(all)
	}
	if first <= 0 {
		return all
	}
	return slices.Concat(all[first:], all[:first])
}

// Racks are the names of the racks in the file's order; "" holds what is in none.
func (t *Topology) Racks() []string {
	var out []string
	for _, s := range t.Switches {
		if !slices.Contains(out, s.Rack) {
			out = append(out, s.Rack)
		}
	}
	for _, s := range t.Servers {
		if !slices.Contains(out, s.Rack) {
			out = append(out, s.Rack)
		}
	}
	slices.Sort(out)
	return out
}

// View writes out everything that derives from the file.
func (t *Topology) View() View {
	v := View{Name: t.Name, Domain: t.Domain, Region: t.Region, Racks: t.Racks(), Capacity: t.Capacity(), Warnings: t.warnings}
	for _, name := range t.NetworkNames() {
		n := t.Networks[name]
		nv := NetworkView{Name: name, CIDR: n.CIDR.String(), VLAN: n.VLAN, Device: n.Device, Switches: n.Switches, Floating: n.Floating}
		if n.Gateway.IsValid() {
			nv.Gateway = n.Gateway.String()
		}
		for _, s := range t.Servers {
			if slices.Contains(s.Networks(), name) {
				nv.Servers++
			}
		}
		v.Networks = append(v.Networks, nv)
	}
	for _, s := range t.Switches {
		v.Switches = append(v.Switches, t.viewSwitch(s))
	}
	for _, s := range t.Servers {
		v.Servers = append(v.Servers, viewServer(s))
	}
	for _, x := range t.VIPs {
		v.VIPs = append(v.VIPs, VIPView{x.Name, x.Address.String(), x.Network, names(t.Holders(x))})
	}
	v.Monitors = names(t.Monitors())
	return v
}

func (t *Topology) viewSwitch(s *Switch) SwitchView {
	out := SwitchView{Name: s.Name, Rack: s.Rack, Model: s.Model, Peer: s.Peer}
	if n := t.Networks[OutOfBand]; n != nil && s.Host != 0 {
		out.Address = hostAddress(n.CIDR, s.Host).String()
	}
	for i, l := range t.SwitchLinks(s.Name) {
		out.Ports = append(out.Ports, PortView{i + 1, l.Server, l.Leg, l.Network})
	}
	return out
}

func viewServer(s *Server) ServerView {
	out := ServerView{Name: s.Name, FQDN: s.FQDN(), Host: s.Host, Rack: s.Rack, Roles: s.Roles, Hardware: s.Hardware,
		Addresses: map[string]string{}}
	for _, n := range s.Networks() {
		out.Addresses[n] = s.Address(n).String()
	}
	if bmc := s.BMC(); bmc.IsValid() {
		out.BMC = bmc.String()
	}
	return out
}

func names(servers []*Server) []string {
	out := make([]string, len(servers))
	for i, s := range servers {
		out[i] = s.Name
	}
	return out
}

// Summary is the cluster in one line.
func (t *Topology) Summary() string {
	return fmt.Sprintf("%s · %d servers · %d control · %d networks · %d switches · %d VIPs", t.Name, len(t.Servers),
		len(t.With(RoleControl)), len(t.Networks), len(t.Switches), len(t.VIPs))
}
