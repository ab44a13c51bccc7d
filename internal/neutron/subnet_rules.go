package neutron

import (
	"net/netip"
	"slices"
)

// The IPv6 modes, for router advertisements and for addresses.
const (
	modeSLAAC     = "slaac"
	modeStateless = "dhcpv6-stateless"
	modeStateful  = "dhcpv6-stateful"
)

const (
	maxNameservers = 5
	maxHostRoutes  = 20
)

// completeSubnet fills in what the creator left open and checks the whole.
func completeSubnet(spec *SubnetSpec) error {
	n := &spec.Subnet
	cidr, err := netip.ParsePrefix(n.CIDR)
	if err != nil || cidr.Addr().Zone() != "" {
		return badRequest(codeBadRequest, "Invalid input for cidr. Reason: '%s' is not a valid IP subnet.", n.CIDR)
	}
	n.CIDR = cidr.Masked().String()
	if !spec.GatewaySet {
		first, _ := usableRange(cidr)
		gw := first.String()
		n.GatewayIP = &gw
		if cidr.Bits() == cidr.Addr().BitLen() {
			n.GatewayIP = nil
		}
	}
	if !spec.PoolsSet {
		n.AllocationPools = defaultPools(cidr, n.Gateway())
	}
	if n.IPVersion == 6 {
		if err := checkIPv6Modes(n); err != nil {
			return err
		}
	}
	return checkSubnet(n)
}

func checkIPv6Modes(n *Subnet) error {
	modes := []string{modeSLAAC, modeStateless, modeStateful}
	for _, m := range []*string{n.RAMode, n.AddressMode} {
		if m != nil && !slices.Contains(modes, *m) {
			return badRequest(codeBadRequest, "Invalid input for ipv6_address_mode. Reason: '%s' is not in %v.", *m, modes)
		}
	}
	if (n.RAMode != nil || n.AddressMode != nil) && !n.EnableDHCP {
		return badRequest(codeBadRequest, "Bad subnet request: ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False.")
	}
	if n.RAMode != nil && n.AddressMode != nil && *n.RAMode != *n.AddressMode {
		return invalid("ipv6_ra_mode set to '%s' with ipv6_address_mode set to '%s' is not valid. If both attributes are set, they must be the same value",
			*n.RAMode, *n.AddressMode)
	}
	if n.autoAddressed() && n.Prefix().Bits() != 64 {
		return invalid("Invalid CIDR %s for IPv6 address mode. OpenStack uses the EUI-64 address format, which requires the prefix to be /64", n.CIDR)
	}
	return nil
}

// checkSubnet refuses a subnet whose parts do not fit each other. Everything
// that ends in an agent's configuration is checked here, so that one bad
// subnet cannot keep an agent from serving the others.
func checkSubnet(n *Subnet) error {
	cidr := n.Prefix()
	if (n.IPVersion == 4) != cidr.Addr().Is4() {
		return invalid("ip_version %d does not match the cidr %s", n.IPVersion, n.CIDR)
	}
	if n.IPVersion == 4 && (n.RAMode != nil || n.AddressMode != nil) {
		return invalid("ipv6_ra_mode and ipv6_address_mode are only for IPv6 subnets")
	}
	if cidr.Bits() == 0 || cidr.Addr().IsMulticast() || cidr.Addr().IsLoopback() ||
		cidr.Addr().Is4() && cidr.Addr().IsUnspecified() {
		return badRequest(codeInvalid, "Invalid input for operation: %s is not a subnet that hosts can have.", n.CIDR)
	}
	if n.IPVersion == 6 && cidr.Addr().IsLinkLocalUnicast() {
		return invalid("link local subnet %s is not supported", n.CIDR)
	}
	if n.EnableDHCP && cidr.Bits() > 30 && n.IPVersion == 4 {
		return invalid("Unable to enable DHCP on a subnet of /31 or /32: %s", n.CIDR)
	}
	if err := checkGateway(n, cidr); err != nil {
		return err
	}
	if err := checkPools(cidr, n.Gateway(), n.AllocationPools); err != nil {
		return err
	}
	return checkSubnetExtras(n)
}

func checkGateway(n *Subnet, cidr netip.Prefix) error {
	if n.GatewayIP == nil {
		return nil
	}
	gw, err := netip.ParseAddr(*n.GatewayIP)
	if err != nil || gw.Zone() != "" || gw.BitLen() != cidr.Addr().BitLen() {
		return badRequest(codeBadRequest, "Invalid input for gateway_ip. Reason: '%s' is not a valid IP address.", *n.GatewayIP)
	}
	if !usable(cidr, gw) && !(gw.Is6() && gw.IsLinkLocalUnicast()) {
		return invalid("Gateway is not valid on subnet: %s is no host of %s", gw, n.CIDR)
	}
	canonical := gw.String()
	n.GatewayIP = &canonical
	return nil
}

func checkSubnetExtras(n *Subnet) error {
	if len(n.DNSNameservers) > maxNameservers {
		return badRequest("DNSNameServersExhausted", "Unable to complete operation for %s. The number of DNS nameservers exceeds the limit %d.", n.ID, maxNameservers)
	}
	for i, d := range n.DNSNameservers {
		a, err := netip.ParseAddr(d)
		if err != nil || a.Zone() != "" || a.IsUnspecified() {
			return badRequest(codeBadRequest, "Invalid input for dns_nameservers. Reason: '%s' is not a valid nameserver.", d)
		}
		if slices.Contains(n.DNSNameservers[:i], d) {
			return badRequest(codeBadRequest, "Invalid input for dns_nameservers. Reason: Duplicate nameserver '%s'.", d)
		}
	}
	if err := checkRoutes("host_routes", n.HostRoutes, maxHostRoutes); err != nil {
		return err
	}
	for _, r := range n.HostRoutes {
		if dst, _ := netip.ParsePrefix(r.Destination); dst.Addr().Is4() != (n.IPVersion == 4) {
			return badRequest(codeBadRequest, "Invalid input for host_routes. Reason: %s is not of the subnet's IP version.", r.Destination)
		}
	}
	for _, t := range n.ServiceTypes {
		if len(t) > 255 || hasControl(t) || t == "" {
			return badRequest("InvalidSubnetServiceType", "Subnet service type %q is not valid", t)
		}
	}
	return nil
}

// checkRoutes refuses routes that are no routes, or that are given twice.
func checkRoutes(attr string, routes []HostRoute, limit int) error {
	if len(routes) > limit {
		return badRequest("HostRoutesExhausted", "Unable to complete operation. The number of %s exceeds the limit %d.", attr, limit)
	}
	seen := map[HostRoute]bool{}
	for i, r := range routes {
		dst, err := netip.ParsePrefix(r.Destination)
		if err != nil || dst.Addr().Zone() != "" {
			return badRequest(codeBadRequest, "Invalid input for %s. Reason: '%s' is not a valid IP subnet.", attr, r.Destination)
		}
		hop, err := netip.ParseAddr(r.NextHop)
		if err != nil || hop.Zone() != "" || hop.IsUnspecified() || hop.BitLen() != dst.Addr().BitLen() {
			return badRequest(codeBadRequest, "Invalid input for %s. Reason: '%s' is not a valid IP address.", attr, r.NextHop)
		}
		routes[i] = HostRoute{Destination: dst.Masked().String(), NextHop: hop.String()}
		if seen[routes[i]] {
			return badRequest(codeBadRequest, "Invalid input for %s. Reason: Duplicate hostroute '%s'.", attr, r.Destination)
		}
		seen[routes[i]] = true
	}
	return nil
}
