package rpc

import "strings"

// The kinds of state a host may ask for; see SyncHostArgs.Kinds.
const (
	KindL2   = "l2"   // Networks, Ports, SecurityGroups, Peers of ports bound to the host
	KindL3   = "l3"   // Routers hosted here, and Networks they touch
	KindDHCP = "dhcp" // DHCP networks hosted here, and their Networks
)

// The segment types of NetworkState.Type, as in provider:network_type.
const (
	TypeLocal = "local"
	TypeFlat  = "flat"
	TypeVLAN  = "vlan"
	TypeVXLAN = "vxlan"
)

// A HostState is what one host has to look like.
type HostState struct {
	// Revision grows with every change that can show in a HostState. An agent
	// hands it back so that an unchanged answer can stay empty.
	Revision int64 `json:"revision"`
	// Unchanged: nothing happened since SyncHostArgs.Since; the rest is empty.
	Unchanged bool `json:"unchanged,omitempty"`
	// Full: the lists hold everything there is for the asked kinds, and what is
	// not listed is gone. Otherwise they answer SyncHostArgs.Only: an id that
	// was asked for and is not listed is gone from this host.
	Full bool `json:"full"`

	Networks       []NetworkState       `json:"networks,omitempty"`
	Ports          []PortState          `json:"ports,omitempty"`
	SecurityGroups []SecurityGroupState `json:"security_groups,omitempty"`
	Peers          []NetworkPeers       `json:"peers,omitempty"`
	Routers        []RouterState        `json:"routers,omitempty"`
	DHCP           []DHCPNetworkState   `json:"dhcp,omitempty"`
}

// A NetworkState is a network with its one segment and its subnets. The server
// sends it for every network that a port, router or DHCP server of the host
// touches.
type NetworkState struct {
	ID              string        `json:"id"`
	ProjectID       string        `json:"project_id,omitempty"`
	Type            string        `json:"type"`                       // TypeVXLAN, TypeFlat, ...
	PhysicalNetwork string        `json:"physical_network,omitempty"` // flat and vlan
	SegmentationID  int           `json:"segmentation_id,omitempty"`  // VNI or VLAN tag
	MTU             int           `json:"mtu"`
	AdminUp         bool          `json:"admin_up"`
	External        bool          `json:"external,omitempty"`
	DNSDomain       string        `json:"dns_domain,omitempty"`
	Subnets         []SubnetState `json:"subnets,omitempty"`
}

// A SubnetState is what DHCP and routers need to know of a subnet.
type SubnetState struct {
	ID          string   `json:"id"`
	CIDR        string   `json:"cidr"`
	IPVersion   int      `json:"ip_version"`
	GatewayIP   string   `json:"gateway_ip,omitempty"`
	EnableDHCP  bool     `json:"enable_dhcp"`
	RAMode      string   `json:"ipv6_ra_mode,omitempty"`      // slaac, dhcpv6-stateless, dhcpv6-stateful
	AddressMode string   `json:"ipv6_address_mode,omitempty"` // the same words
	DNS         []string `json:"dns_nameservers,omitempty"`
	HostRoutes  []Route  `json:"host_routes,omitempty"`
	// Isolated: no router has the subnet's gateway address, so DHCP has to
	// offer the route to the metadata address.
	Isolated bool `json:"isolated,omitempty"`
}

// A Route is an extra route of a subnet or router.
type Route struct {
	Destination string `json:"destination"` // CIDR
	NextHop     string `json:"nexthop"`
}

// A FixedIP is an address of a port. PrefixLen and Gateway come from the
// subnet, so that nobody has to look it up to configure a device.
type FixedIP struct {
	SubnetID  string `json:"subnet_id"`
	IP        string `json:"ip_address"`
	PrefixLen int    `json:"prefix_len"`
	Gateway   string `json:"gateway_ip,omitempty"`
}

// An AddressPair is an address (or CIDR) a port may use besides its own. An
// empty MAC means the port's.
type AddressPair struct {
	IP  string `json:"ip_address"`
	MAC string `json:"mac_address,omitempty"`
}

// A PortState is a port bound to the host: of a server, a router or DHCP.
type PortState struct {
	ID             string        `json:"id"`
	NetworkID      string        `json:"network_id"`
	ProjectID      string        `json:"project_id,omitempty"`
	DeviceID       string        `json:"device_id,omitempty"`
	DeviceOwner    string        `json:"device_owner,omitempty"`
	Host           string        `json:"host"`
	MAC            string        `json:"mac_address"`
	FixedIPs       []FixedIP     `json:"fixed_ips,omitempty"`
	AddressPairs   []AddressPair `json:"allowed_address_pairs,omitempty"`
	SecurityGroups []string      `json:"security_groups,omitempty"` // ids, listed in HostState.SecurityGroups
	PortSecurity   bool          `json:"port_security_enabled"`
	AdminUp        bool          `json:"admin_up"`
	MTU            int           `json:"mtu"`
	Status         string        `json:"status"` // what the server believes: ACTIVE, DOWN, BUILD
	Revision       int64         `json:"revision"`
}

// Loose tells that the port may use more addresses than its fixed ones:
// allowed address pairs, or a server without port security.
func (p *PortState) Loose() bool {
	return len(p.AddressPairs) > 0 || !p.PortSecurity && strings.HasPrefix(p.DeviceOwner, "compute:")
}

// Trusted tells that the port belongs to Neutron itself (a router, DHCP) and
// is not filtered. Only the server can set such an owner (security case 50).
func (p *PortState) Trusted() bool {
	switch p.DeviceOwner {
	case "network:dhcp", "network:router_interface", "network:router_gateway",
		"network:floatingip", "network:router_interface_distributed",
		"network:router_centralized_snat", "network:ha_router_replicated_interface":
		return true
	}
	return false
}

// A SecurityGroupState is a group that a port of the host uses, or that a rule
// of such a group names as its remote group (then only Members matter).
type SecurityGroupState struct {
	ID       string              `json:"id"`
	Stateful bool                `json:"stateful"`
	Rules    []SecurityGroupRule `json:"rules,omitempty"`
	// Members are the addresses of all ports in the group, on every host, with
	// their allowed address pairs. The server fills it when some rule of a
	// listed group names this group as its remote group.
	Members []string `json:"members,omitempty"`
}

// A SecurityGroupRule is one allow rule. PortMin and PortMax are ports, or
// ICMP type and code; nil means any.
type SecurityGroupRule struct {
	ID            string `json:"id"`
	Direction     string `json:"direction"` // ingress, egress
	EtherType     string `json:"ethertype"` // IPv4, IPv6
	Protocol      string `json:"protocol,omitempty"`
	PortMin       *int   `json:"port_range_min,omitempty"`
	PortMax       *int   `json:"port_range_max,omitempty"`
	RemoteIP      string `json:"remote_ip_prefix,omitempty"`
	RemoteGroupID string `json:"remote_group_id,omitempty"`
}

// NetworkPeers is the whole forwarding table of one network towards other
// hosts (l2 population).
type NetworkPeers struct {
	NetworkID string `json:"network_id"`
	Peers     []Peer `json:"peers,omitempty"`
}

// A Peer is a port of the network on another host.
type Peer struct {
	PortID   string   `json:"port_id"`
	MAC      string   `json:"mac_address"`
	IPs      []string `json:"ips,omitempty"`
	Host     string   `json:"host"`
	TunnelIP string   `json:"tunnel_ip"`
	// Loose says that the port may use more addresses than IPs (allowed address
	// pairs, or no port security): ARP for its network is flooded.
	Loose bool `json:"loose,omitempty"`
}

// A RouterState is a router hosted here.
type RouterState struct {
	ID          string             `json:"id"`
	ProjectID   string             `json:"project_id,omitempty"`
	AdminUp     bool               `json:"admin_up"`
	Gateway     *RouterGateway     `json:"gateway,omitempty"`
	Interfaces  []RouterPort       `json:"interfaces,omitempty"`
	Routes      []Route            `json:"routes,omitempty"`
	FloatingIPs []RouterFloatingIP `json:"floating_ips,omitempty"`
	Revision    int64              `json:"revision"`
}

// A RouterPort is a router's port on a tenant network. Its port is also in
// HostState.Ports when the host asked for KindL2.
type RouterPort struct {
	PortID    string        `json:"port_id"`
	NetworkID string        `json:"network_id"`
	MAC       string        `json:"mac_address"`
	MTU       int           `json:"mtu"`
	FixedIPs  []FixedIP     `json:"fixed_ips,omitempty"`
	Subnets   []SubnetState `json:"subnets,omitempty"` // those of FixedIPs
}

// A RouterGateway is the external gateway of a router.
type RouterGateway struct {
	RouterPort
	EnableSNAT bool `json:"enable_snat"`
}

// A RouterFloatingIP is a floating IP associated through the router.
type RouterFloatingIP struct {
	ID      string `json:"id"`
	IP      string `json:"floating_ip_address"`
	FixedIP string `json:"fixed_ip_address"`
	PortID  string `json:"port_id"`
	Status  string `json:"status"` // what the server believes
}

// A DHCPNetworkState is a network whose DHCP server runs here. NetworkID is
// listed in HostState.Networks with its subnets.
type DHCPNetworkState struct {
	NetworkID string `json:"network_id"`
	// Port is the DHCP port (device_owner network:dhcp) that the server made
	// for this host; nil while it does not exist.
	Port  *PortState `json:"port,omitempty"`
	Hosts []DHCPHost `json:"hosts,omitempty"`
}

// A DHCPHost is one port's reservation.
type DHCPHost struct {
	PortID   string       `json:"port_id"`
	MAC      string       `json:"mac_address"`
	Hostname string       `json:"hostname,omitempty"` // empty: host-<address with dashes>
	FixedIPs []FixedIP    `json:"fixed_ips,omitempty"`
	Options  []DHCPOption `json:"extra_dhcp_opts,omitempty"`
}

// A DHCPOption is one of a port's extra_dhcp_opts.
type DHCPOption struct {
	Name      string `json:"opt_name"`
	Value     string `json:"opt_value"`
	IPVersion int    `json:"ip_version"`
}
