package neutron

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

const (
	maxFixedIPs     = 9
	maxAddressPairs = 10
	maxDHCPOpts     = 20
	maxPortGroups   = 50
)

// newMAC makes a MAC in the range that OpenStack's ports are known by.
func newMAC() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", b[0], b[1], b[2])
}

// parseMAC returns a unicast MAC in its usual form.
func parseMAC(attr, mac string) (string, error) {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 || hw[0]&1 == 1 || slices.Max(hw) == 0 {
		return "", badRequest(codeBadRequest, "Invalid input for %s. Reason: '%s' is not a valid MAC address.", attr, mac)
	}
	return hw.String(), nil
}

// checkPort refuses what an agent could not put into a packet filter or a
// DHCP server's files.
func checkPort(p *Port) error {
	if err := checkPairs(p); err != nil {
		return err
	}
	if err := checkDHCPOpts(p.ExtraDHCPOpts); err != nil {
		return err
	}
	if err := checkDNSName("dns_name", p.DNSName, 63); err != nil {
		return err
	}
	if err := checkDNSName("dns_domain", strings.TrimSuffix(p.DNSDomain, "."), 253); err != nil {
		return err
	}
	for name, v := range map[string]string{"device_id": p.DeviceID, "device_owner": p.DeviceOwner, "binding:host_id": p.Host} {
		if hasControl(v) {
			return badRequest(codeBadRequest, "Invalid input for %s. Reason: it holds a control character.", name)
		}
	}
	if !p.PortSecurityEnabled && len(p.SecurityGroups) > 0 {
		return conflict("PortSecurityPortHasSecurityGroup",
			"Port has security group associated. Cannot disable port security or IP address until security group is removed.")
	}
	if !p.PortSecurityEnabled && len(p.AllowedAddressPairs) > 0 {
		return conflict("AddressPairAndPortSecurityRequired",
			"Port Security must be enabled in order to have allowed address pairs on a port.")
	}
	return nil
}

func checkPairs(p *Port) error {
	if len(p.AllowedAddressPairs) > maxAddressPairs {
		return badRequest("AllowedAddressPairExhausted", "The number of allowed address pair exceeds the maximum %d.", maxAddressPairs)
	}
	seen := map[AddressPair]bool{}
	for i, pair := range p.AllowedAddressPairs {
		prefix, err := netip.ParsePrefix(pair.IP)
		if err != nil {
			a, aerr := netip.ParseAddr(pair.IP)
			if aerr != nil || a.Zone() != "" {
				return badRequest(codeBadRequest, "Invalid input for allowed_address_pairs. Reason: '%s' is not a valid IP address.", pair.IP)
			}
			pair.IP = a.String()
		} else {
			pair.IP = prefix.Masked().String()
		}
		if pair.MAC == "" {
			pair.MAC = p.MAC
		}
		if pair.MAC, err = parseMAC("allowed_address_pairs", pair.MAC); err != nil {
			return err
		}
		if seen[pair] {
			return badRequest("DuplicateAddressPairInRequest", "Request contains duplicate address pair: mac_address %s ip_address %s.", pair.MAC, pair.IP)
		}
		seen[pair] = true
		p.AllowedAddressPairs[i] = pair
	}
	return nil
}

// checkDHCPOpts refuses option names and values that could end a line of the
// DHCP server's file and begin another (CVE-2021-40085).
func checkDHCPOpts(opts []DHCPOption) error {
	if len(opts) > maxDHCPOpts {
		return badRequest(codeBadRequest, "Invalid input for extra_dhcp_opts. Reason: more than %d options.", maxDHCPOpts)
	}
	for i, o := range opts {
		if o.IPVersion == 0 {
			opts[i].IPVersion = 4
		} else if o.IPVersion != 4 && o.IPVersion != 6 {
			return badRequest(codeBadRequest, "Invalid input for extra_dhcp_opts. Reason: '%d' is not a valid ip_version.", o.IPVersion)
		}
		okName := o.Name != "" && len(o.Name) <= 64 && strings.Trim(strings.ToLower(o.Name), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
		if !okName {
			return badRequest(codeBadRequest, "Invalid input for extra_dhcp_opts. Reason: '%s' is not a valid option name.", o.Name)
		}
		if o.Value != nil && (len(*o.Value) > 255 || hasControl(*o.Value)) {
			return badRequest(codeBadRequest, "Invalid input for extra_dhcp_opts. Reason: the value of '%s' is not valid.", o.Name)
		}
	}
	return nil
}

// mergeDHCPOpts applies an update: an option with a value is set, one without
// is removed, others stay.
func mergeDHCPOpts(have, want []DHCPOption) []DHCPOption {
	out := slices.Clone(have)
	for _, w := range want {
		if w.IPVersion == 0 {
			w.IPVersion = 4
		}
		out = slices.DeleteFunc(out, func(o DHCPOption) bool { return o.Name == w.Name && o.IPVersion == w.IPVersion })
		if w.Value != nil {
			out = append(out, w)
		}
	}
	return out
}

func checkDNSName(attr, name string, limit int) error {
	if name == "" {
		return nil
	}
	for l := range strings.SplitSeq(name, ".") {
		bad := l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz0123456789-") != ""
		if bad || len(name) > limit {
			return badRequest(codeBadRequest, "Invalid input for %s. Reason: '%s' not a valid PQDN or FQDN.", attr, name)
		}
	}
	return nil
}
