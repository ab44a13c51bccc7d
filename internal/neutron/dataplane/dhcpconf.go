package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

const (
	leaseTime     = "86400s"
	defaultDomain = "openstacklocal"
)

// A dnsmasqConfig is what a network's dnsmasq is started with and reads.
type dnsmasqConfig struct {
	ranges  []string
	domain  string
	hosts   string            // dhcp-hostsfile
	names   string            // addn-hosts
	options string            // dhcp-optsfile
	owners  map[string]string // address → MAC it is reserved for
}

// args are dnsmasq's arguments besides those every one of ours has.
func (c *dnsmasqConfig) args(f dhcpFiles, device string) []string {
	args := []string{
		"--no-hosts", "--no-resolv", "--bind-dynamic", "--interface=" + device, "--except-interface=lo",
		"--dhcp-hostsfile=" + f.path("host"), "--addn-hosts=" + f.path("addn_hosts"),
		"--dhcp-optsfile=" + f.path("opts"), "--dhcp-leasefile=" + f.path("leases"),
		"--domain=" + c.domain, "--local=/" + c.domain + "/", "--expand-hosts",
		"--no-ping", "--dhcp-authoritative", "--quiet-dhcp", "--quiet-dhcp6", "--quiet-ra",
		"--log-facility=" + f.path("log"), "--dhcp-lease-max=16777216",
	}
	for _, r := range c.ranges {
		args = append(args, "--dhcp-range="+r)
	}
	return args
}

// dhcpConfig renders a network for dnsmasq. Everything that came from a user
// is parsed and printed again, never pasted (security cases 53, 54); what does
// not parse is left out and reported.
func dhcpConfig(n *rpc.NetworkState, d *rpc.DHCPNetworkState) (*dnsmasqConfig, error) {
	c := &dnsmasqConfig{domain: defaultDomain, owners: map[string]string{}}
	if dom := strings.Trim(n.DNSDomain, "."); isDomain(dom) {
		c.domain = dom
	}
	var errs []error
	var opts strings.Builder
	subnets := map[string]netip.Prefix{}
	for i := range n.Subnets {
		s := &n.Subnets[i]
		p, err := c.subnet(&opts, n, d.Port, s)
		if err != nil {
			errs = append(errs, fmt.Errorf("subnet %s: %w", s.ID, err))
		}
		if p.IsValid() {
			subnets[s.ID] = p
		}
	}
	var hosts, names strings.Builder
	for i := range d.Hosts {
		if err := c.host(&hosts, &names, &opts, &d.Hosts[i], subnets); err != nil {
			errs = append(errs, fmt.Errorf("port %s: %w", d.Hosts[i].PortID, err))
		}
	}
	c.hosts, c.names, c.options = hosts.String(), names.String(), opts.String()
	return c, errors.Join(errs...)
}

// subnet adds a subnet's range and options; an invalid prefix without error
// means that the subnet has no DHCP.
func (c *dnsmasqConfig) subnet(opts *strings.Builder, n *rpc.NetworkState, port *rpc.PortState, s *rpc.SubnetState) (netip.Prefix, error) {
	if !s.EnableDHCP {
		return netip.Prefix{}, nil
	}
	tagID, err := chainID(s.ID)
	if err != nil {
		return netip.Prefix{}, err
	}
	p, err := parsePrefix(s.CIDR)
	if err != nil {
		return netip.Prefix{}, err
	}
	tag := "subnet-" + tagID
	if p.Addr().Is6() {
		switch s.AddressMode {
		case "dhcpv6-stateful":
			c.ranges = append(c.ranges, fmt.Sprintf("set:%s,%s,static,%d,%s", tag, p.Addr(), p.Bits(), leaseTime))
			c.dns6(opts, tag, s)
			return p, nil
		case "dhcpv6-stateless":
			c.ranges = append(c.ranges, fmt.Sprintf("set:%s,%s,static,%d,%s", tag, p.Addr(), p.Bits(), leaseTime))
			c.dns6(opts, tag, s)
			return netip.Prefix{}, nil // options only, no addresses
		}
		return netip.Prefix{}, nil // SLAAC
	}
	c.ranges = append(c.ranges, fmt.Sprintf("set:%s,%s,static,%s,%s", tag, p.Addr(), maskOf(p), leaseTime))
	if n.MTU > 0 {
		fmt.Fprintf(opts, "tag:%s,option:mtu,%d\n", tag, n.MTU)
	}
	return p, c.options4(opts, tag, p, port, s)
}

// options4 writes name servers, the router and classless routes. A client that
// takes option 121 ignores option 3, so the default route is in both.
func (c *dnsmasqConfig) options4(opts *strings.Builder, tag string, p netip.Prefix, port *rpc.PortState, s *rpc.SubnetState) error {
	var dns []string
	for _, text := range s.DNS {
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
			dns = append(dns, a.String())
		}
	}
	if len(dns) > 0 {
		fmt.Fprintf(opts, "tag:%s,option:dns-server,%s\n", tag, strings.Join(dns, ","))
	}
	gw, gwErr := netip.ParseAddr(s.GatewayIP)
	hasGateway := gwErr == nil && gw.Is4()
	var routes []string
	for _, r := range s.HostRoutes {
		dst, err := parsePrefix(r.Destination)
		via, err2 := netip.ParseAddr(r.NextHop)
		if err != nil || err2 != nil || !dst.Addr().Is4() || !via.Is4() {
			return fmt.Errorf("bad host route %q", r.Destination)
		}
		if dst.Bits() == 0 {
			hasGateway, gw = true, via
			continue
		}
		routes = append(routes, dst.String()+","+via.String())
	}
	if s.Isolated {
		for _, ip := range port.FixedIPs {
			if a, err := netip.ParseAddr(ip.IP); err == nil && p.Contains(a) {
				routes = append(routes, metadataIP.String()+","+a.String())
				break
			}
		}
	}
	if hasGateway {
		fmt.Fprintf(opts, "tag:%s,option:router,%s\n", tag, gw)
		if len(routes) > 0 {
			routes = append(routes, "0.0.0.0/0,"+gw.String())
		}
	} else {
		fmt.Fprintf(opts, "tag:%s,option:router\n", tag)
	}
	if len(routes) > 0 {
		fmt.Fprintf(opts, "tag:%s,option:classless-static-route,%s\n", tag, strings.Join(routes, ","))
		fmt.Fprintf(opts, "tag:%s,249,%s\n", tag, strings.Join(routes, ","))
	}
	return nil
}

func (c *dnsmasqConfig) dns6(opts *strings.Builder, tag string, s *rpc.SubnetState) {
	var dns []string
	for _, text := range s.DNS {
		if a, err := netip.ParseAddr(text); err == nil && a.Is6() && a.Zone() == "" {
			dns = append(dns, "["+a.String()+"]")
		}
	}
	if len(dns) > 0 {
		fmt.Fprintf(opts, "tag:%s,option6:dns-server,%s\n", tag, strings.Join(dns, ","))
	}
}

func (c *dnsmasqConfig) host(hosts, names, opts *strings.Builder, d *rpc.DHCPHost, subnets map[string]netip.Prefix) error {
	mac, err := parseMAC(d.MAC)
	if err != nil {
		return err
	}
	cid, err := chainID(d.PortID)
	if err != nil {
		return err
	}
	for _, ip := range d.FixedIPs {
		p, ok := subnets[ip.SubnetID]
		if !ok {
			continue
		}
		a, err := netip.ParseAddr(ip.IP)
		if err != nil || !p.Contains(a) || a.Zone() != "" {
			return fmt.Errorf("address %q is not in %s", ip.IP, p)
		}
		name := d.Hostname
		if !isLabel(name) {
			name = "host-" + strings.NewReplacer(".", "-", ":", "-").Replace(a.String())
		}
		printed := a.String()
		if a.Is6() {
			printed = "[" + printed + "]"
		}
		fmt.Fprintf(hosts, "%s,set:port-%s,%s,%s\n", mac, cid, printed, name)
		fmt.Fprintf(names, "%s %s.%s %s\n", a, name, c.domain, name)
		c.owners[a.String()] = mac.String()
	}
	var errs []error
	for _, o := range d.Options {
		line, err := optionLine("port-"+cid, o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		opts.WriteString(line)
	}
	return errors.Join(errs...)
}

// optionLine prints an extra DHCP option for dnsmasq, if nothing in it could
// mean more than one option (security case 53).
func optionLine(tag string, o rpc.DHCPOption) (string, error) {
	for _, r := range o.Name {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r >= 'A' && r <= 'Z') {
			return "", fmt.Errorf("bad dhcp option name %q", o.Name)
		}
	}
	for _, r := range o.Value {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || r == '\u2028' || r == '\u2029' {
			return "", fmt.Errorf("control character in dhcp option %q", o.Name)
		}
	}
	if o.Name == "" || len(o.Name) > 64 || len(o.Value) > 255 {
		return "", fmt.Errorf("bad dhcp option %q", o.Name)
	}
	word := "option:"
	if o.IPVersion == 6 {
		word = "option6:"
	}
	name := word + o.Name
	if strings.Trim(o.Name, "0123456789") == "" && o.IPVersion != 6 {
		name = o.Name
	}
	return "tag:" + tag + "," + name + "," + o.Value + "\n", nil
}

func maskOf(p netip.Prefix) string {
	var m [4]byte
	for i := range p.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(m).String()
}

// isLabel tells whether s may be one label of a host name.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-') {
			return false
		}
	}
	return true
}

func isDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return s != "" && len(s) < 254
}
