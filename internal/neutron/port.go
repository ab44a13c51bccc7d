package neutron

import (
	"context"
	"strings"

	"github.com/uptrace/bun"
)

// The owners of ports that Neutron makes for itself.
const (
	ownerDHCP       = "network:dhcp"
	ownerRouter     = "network:router_interface"
	ownerGateway    = "network:router_gateway"
	ownerFloatingIP = "network:floatingip"

	ownerComputePrefix = "compute:"
	ownerNetworkPrefix = "network:"
)

// The states of a port.
const (
	statusActive = "ACTIVE"
	statusDown   = "DOWN"
	statusError  = "ERROR"
)

// The outcomes of binding a port to a host.
const (
	vifUnbound = "unbound"
	vifBridge  = "bridge"
	vifFailed  = "binding_failed"
)

func isRouterPort(owner string) bool {
	return owner == ownerRouter || owner == ownerGateway || owner == ownerFloatingIP
}

// IsNetworkOwner tells that a device_owner belongs to Neutron itself: ports
// with one are not filtered, so that only administrators may set it.
func IsNetworkOwner(owner string) bool { return strings.HasPrefix(owner, ownerNetworkPrefix) }

// A FixedIP is an address of a port.
type FixedIP struct {
	SubnetID string `json:"subnet_id"`
	IP       string `json:"ip_address"`
}

// An AddressPair is an address, or a block of them, that a port may use besides
// its own.
type AddressPair struct {
	IP  string `json:"ip_address"`
	MAC string `json:"mac_address"`
}

// A DHCPOption is an option that DHCP hands to one port.
type DHCPOption struct {
	Name      string  `json:"opt_name"`
	Value     *string `json:"opt_value"` // nil removes the option on update
	IPVersion int     `json:"ip_version"`
}

// A Port is a plug of a network: an address, a MAC, and the device behind it.
type Port struct {
	bun.BaseModel `bun:"table:ports"`
	Standard

	NetworkID             string         `bun:"network_id"`
	Name                  string         `bun:"name"`
	MAC                   string         `bun:"mac_address"`
	AdminStateUp          bool           `bun:"admin_state_up"`
	Status                string         `bun:"status"`
	DeviceID              string         `bun:"device_id"`
	DeviceOwner           string         `bun:"device_owner"`
	PortSecurityEnabled   bool           `bun:"port_security_enabled"`
	PropagateUplinkStatus bool           `bun:"propagate_uplink_status"`
	Trusted               *bool          `bun:"trusted"`
	DNSName               string         `bun:"dns_name"`
	DNSDomain             string         `bun:"dns_domain"`
	Host                  string         `bun:"binding_host"`
	VIFType               string         `bun:"vif_type"`
	VNICType              string         `bun:"vnic_type"`
	VIFDetails            map[string]any `bun:"vif_details"`
	Profile               map[string]any `bun:"binding_profile"`
	FixedIPs              []FixedIP      `bun:"fixed_ips"`
	SecurityGroups        Lines          `bun:"security_groups"`
	AllowedAddressPairs   []AddressPair  `bun:"allowed_address_pairs"`
	ExtraDHCPOpts         []DHCPOption   `bun:"extra_dhcp_opts"`
}

// A PortSpec is a port to be made. Nil lists are those that were not given.
type PortSpec struct {
	Port
	WantIPs        *[]FixedIP // an empty subnet or address is for Neutron to choose
	WantGroups     *[]string
	PortSecurityOn *bool // nil: as the network says

	defaultGroup string // of the port's project
}

// A PortPatch holds the attributes of a port to change; nil leaves one.
type PortPatch struct {
	Name, Description, DeviceID, DeviceOwner, MAC, DNSName, DNSDomain *string
	AdminStateUp, PortSecurityOn                                      *bool
	Trusted                                                           **bool
	FixedIPs                                                          *[]FixedIP
	SecurityGroups                                                    *[]string
	AllowedAddressPairs                                               *[]AddressPair
	ExtraDHCPOpts                                                     *[]DHCPOption
	Host, VNICType                                                    *string
	Profile                                                           *map[string]any
	Revision                                                          *int64
}

// Port returns a port that the caller may see.
func (s *Service) Port(ctx context.Context, c Caller, id string) (*Port, error) {
	return s.port(ctx, s.db, c, id)
}

// Ports lists the ports that the caller may see.
func (s *Service) Ports(ctx context.Context, c Caller, q Query) ([]*Port, error) {
	return s.ports(ctx, s.db, c, q)
}

// bind decides how the port is plugged on its host.
func (s *Service) bind(ctx context.Context, tx bun.Tx, p *Port, net *Network) error {
	p.Status = statusDown
	if p.Host == "" {
		p.VIFType, p.VIFDetails = vifUnbound, map[string]any{}
		if s.cfg.NoAgents && isRouterPort(p.DeviceOwner) {
			p.Status = statusActive // no router has a host here
		}
		return nil
	}
	reach, err := s.hostReaches(ctx, tx, p.Host, net)
	if err != nil {
		return err
	}
	if !reach {
		p.VIFType, p.VIFDetails = vifFailed, map[string]any{}
		return nil
	}
	p.VIFType = vifBridge
	p.VIFDetails = map[string]any{
		"port_filter":  true,
		"connectivity": "l2",
		"bridge_name":  "brq" + net.ID[:11],
	}
	if s.cfg.NoAgents {
		p.Status = statusActive
	}
	return nil
}

// DNSAssignment is a name of a port and the address it stands for.
type DNSAssignment struct {
	Hostname string `json:"hostname"`
	IP       string `json:"ip_address"`
	FQDN     string `json:"fqdn"`
}

// DNSAssignments are the names of a port's addresses: its own name, or one
// made from the address.
func (s *Service) DNSAssignments(p *Port) []DNSAssignment {
	domain := s.cfg.DNSDomain
	if p.DNSDomain != "" {
		domain = p.DNSDomain
	}
	if domain != "" && !strings.HasSuffix(domain, ".") {
		domain += "."
	}
	out := make([]DNSAssignment, 0, len(p.FixedIPs))
	for _, f := range p.FixedIPs {
		host := p.DNSName
		if host == "" {
			host = "host-" + strings.NewReplacer(".", "-", ":", "-").Replace(f.IP)
		}
		out = append(out, DNSAssignment{Hostname: host, IP: f.IP, FQDN: host + "." + domain})
	}
	return out
}
