package metadata

import (
	"fmt"
	"net/netip"

	"github.com/hastack/hastack/internal/nova/rpc"
)

// networkDocument is network_data.json, as cloud-init reads it.
type networkDocument struct {
	Links    []networkLink    `json:"links"`
	Networks []networkAddress `json:"networks"`
	Services []networkService `json:"services"`
}

type networkLink struct {
	ID   string `json:"id"`
	VIF  string `json:"vif_id"`
	Type string `json:"type"`
	MTU  int    `json:"mtu,omitempty"`
	MAC  string `json:"ethernet_mac_address"`
}

type networkAddress struct {
	ID        string           `json:"id"`
	Type      string           `json:"type"`
	Link      string           `json:"link"`
	NetworkID string           `json:"network_id"`
	IP        string           `json:"ip_address,omitempty"`
	Netmask   string           `json:"netmask,omitempty"`
	Routes    []networkRoute   `json:"routes,omitempty"`
	Services  []networkService `json:"services,omitempty"`
}

type networkRoute struct {
	Network string `json:"network"`
	Netmask string `json:"netmask"`
	Gateway string `json:"gateway"`
}

type networkService struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

func networkData(vifs []rpc.VIF) networkDocument {
	doc := networkDocument{Links: []networkLink{}, Networks: []networkAddress{}, Services: []networkService{}}
	seen := map[string]bool{}
	for _, v := range vifs {
		doc.Links = append(doc.Links, networkLink{ID: v.Tap, VIF: v.PortID, Type: linkType(v), MTU: v.MTU, MAC: v.MAC})
		for _, sub := range v.Subnets {
			doc.Networks = append(doc.Networks, addresses(v, sub, len(doc.Networks))...)
			for _, ns := range sub.DNS {
				if !seen[ns] {
					seen[ns] = true
					doc.Services = append(doc.Services, networkService{Type: "dns", Address: ns})
				}
			}
		}
	}
	return doc
}

// linkType is "phy" for what a guest sees as an ordinary card.
func linkType(v rpc.VIF) string {
	switch v.Type {
	case "bridge", "ovs", "tap":
		return v.Type
	}
	return "phy"
}

func addresses(v rpc.VIF, sub rpc.Subnet, n int) []networkAddress {
	kind := fmt.Sprintf("ipv%d", sub.Version)
	if sub.DHCP && sub.Version == 4 {
		return []networkAddress{{ID: fmt.Sprintf("network%d", n), Type: "ipv4_dhcp", Link: v.Tap, NetworkID: v.NetworkID}}
	}
	if sub.Version == 6 && sub.Mode != "" {
		kinds := map[string]string{"slaac": "ipv6_slaac", "dhcpv6-stateful": "ipv6_dhcpv6-stateful", "dhcpv6-stateless": "ipv6_dhcpv6-stateless"}
		return []networkAddress{{ID: fmt.Sprintf("network%d", n), Type: kinds[sub.Mode], Link: v.Tap, NetworkID: v.NetworkID}}
	}
	prefix, err := netip.ParsePrefix(sub.CIDR)
	if err != nil {
		return nil // Neutron holds only subnets that parse
	}
	var out []networkAddress
	for i, a := range sub.Addrs {
		one := networkAddress{ID: fmt.Sprintf("network%d", n+i), Type: kind, Link: v.Tap, NetworkID: v.NetworkID,
			IP: a.IP, Netmask: netmask(prefix)}
		if sub.Gateway != "" {
			zero := "0.0.0.0"
			if sub.Version == 6 {
				zero = "::"
			}
			one.Routes = append(one.Routes, networkRoute{Network: zero, Netmask: zero, Gateway: sub.Gateway})
		}
		for _, r := range sub.Routes {
			if p, err := netip.ParsePrefix(r.Destination); err == nil {
				one.Routes = append(one.Routes, networkRoute{Network: p.Addr().String(), Netmask: netmask(p), Gateway: r.NextHop})
			}
		}
		for _, ns := range sub.DNS {
			one.Services = append(one.Services, networkService{Type: "dns", Address: ns})
		}
		out = append(out, one)
	}
	return out
}

// netmask writes a prefix's length as an address.
func netmask(p netip.Prefix) string {
	n := 4
	if p.Addr().Is6() {
		n = 16
	}
	b := make([]byte, n)
	for i := range p.Bits() {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a.String()
}
