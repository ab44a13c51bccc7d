package dataplane

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// The bits of the packet mark that carry the connection's state from the ip
// layer, which has conntrack, to the bridge layer, which knows the ports
// (doc of firewall.go). Other bits are left to whoever uses them.
const (
	markEstablished = 0x00100000
	markInvalid     = 0x00200000
	markKeep        = 0xffffffff &^ (markEstablished | markInvalid)
)

var clearMark = fmt.Sprintf("meta mark set meta mark & 0x%08x", markKeep)

// A sender is one MAC a port may send from, with its addresses.
type sender struct {
	mac    net.HardwareAddr
	v4, v6 []netip.Prefix
}

// A portFilter is a port's part of the firewall, checked and parsed.
type portFilter struct {
	port     *rpc.PortState
	tap      string
	cid      string // port id as a chain name
	senders  []sender
	open     bool // no port security, or Neutron's own
	closed   bool // administratively down: nothing passes
	stateful bool
	groups   []string
}

// parsePort checks everything of a port that ends in a rule. An error
// quarantines the port: it is closed and nobody else is affected.
func parsePort(p *rpc.PortState, groups map[string]*groupFilter) (*portFilter, error) {
	cid, err := chainID(p.ID)
	if err != nil {
		return nil, err
	}
	f := &portFilter{
		port: p, cid: cid, tap: TapName(p.ID),
		open: !p.PortSecurity || p.Trusted(), closed: !p.AdminUp,
	}
	if f.open || f.closed {
		return f, nil
	}
	if err := f.parseSenders(); err != nil {
		return nil, err
	}
	f.stateful = len(p.SecurityGroups) == 0
	for _, id := range p.SecurityGroups {
		g := groups[id]
		if g == nil {
			continue // not told yet: allows nothing
		}
		f.groups = append(f.groups, id)
		f.stateful = f.stateful || g.stateful
	}
	slices.Sort(f.groups)
	return f, nil
}

func (f *portFilter) parseSenders() error {
	own, err := parseMAC(f.port.MAC)
	if err != nil {
		return err
	}
	at := func(mac net.HardwareAddr) *sender {
		for i := range f.senders {
			if f.senders[i].mac.String() == mac.String() {
				return &f.senders[i]
			}
		}
		ll := linkLocal(mac)
		f.senders = append(f.senders, sender{mac: mac, v6: []netip.Prefix{netip.PrefixFrom(ll, 128)}})
		return &f.senders[len(f.senders)-1]
	}
	at(own)
	add := func(ip string, mac net.HardwareAddr) error {
		p, err := parsePrefix(ip)
		if err != nil {
			return err
		}
		s := at(mac)
		if p.Addr().Is4() {
			s.v4 = append(s.v4, p)
		} else {
			s.v6 = append(s.v6, p)
		}
		return nil
	}
	for _, ip := range f.port.FixedIPs {
		if err := add(ip.IP, own); err != nil {
			return err
		}
	}
	for _, pair := range f.port.AddressPairs {
		mac := own
		if pair.MAC != "" {
			if mac, err = parseMAC(pair.MAC); err != nil {
				return err
			}
		}
		if err := add(pair.IP, mac); err != nil {
			return err
		}
	}
	return nil
}

// addresses lists what the port may be known by, without link-local ones.
func (f *portFilter) addresses() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range f.senders {
		out = append(out, s.v4...)
		out = append(out, s.v6...)
	}
	return out
}

// render writes the port's chains and map elements into t.
func (f *portFilter) render(t *nftTable) {
	switch {
	case f.closed:
		f.verdicts(t, "jump closed", "jump closed", "jump closed")
	case f.open:
		f.verdicts(t, "jump trusted", "", "")
	default:
		t.chains["s_"+f.cid] = f.spoofRules()
		t.chains["o_"+f.cid] = f.egressRules()
		t.chains["i_"+f.cid] = f.ingressRules()
		f.verdicts(t, "jump s_"+f.cid, "jump o_"+f.cid, "jump i_"+f.cid)
	}
}

func (f *portFilter) verdicts(t *nftTable, spoof, out, in string) {
	for name, verdict := range map[string]string{mapSpoof: spoof, mapOut: out, mapIn: in} {
		if verdict != "" {
			t.vmaps[name][f.tap] = verdict
		}
	}
}

// spoofRules let through only frames that claim to be from the port itself:
// Ethernet, ARP, IPv4, IPv6, neighbour advertisements and duplicate address
// detection. Everything else, VLAN tagged frames too, is dropped before the
// bridge can learn from it.
func (f *portFilter) spoofRules() []string {
	rules := []string{clearMark}
	for _, s := range f.senders {
		from := "ether saddr " + s.mac.String() + " "
		arp4 := append([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/32")}, s.v4...) // probes of RFC 5227
		rules = append(rules,
			from+"arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp saddr ether "+s.mac.String()+
				" arp saddr ip { "+strings.Join(elements(arp4), ", ")+" } accept")
		if len(s.v4) > 0 {
			rules = append(rules, from+"ip saddr { "+strings.Join(elements(s.v4), ", ")+" } accept")
		}
		rules = append(rules, from+"ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept")
		// The target of an advertisement, and of a probe for duplicates, is the
		// 128 bits after the ICMPv6 header; nft of Debian 12 has no name for it.
		for _, p := range disjoint(slices.Clone(s.v6)) {
			if p.Bits() == 0 {
				rules = append(rules, from+"icmpv6 type 136 accept", from+"ip6 saddr :: icmpv6 type 135 accept")
				continue
			}
			target := ndTarget(p)
			rules = append(rules,
				from+"icmpv6 type 136 "+target+" ip6 saddr { "+strings.Join(elements(slices.Clone(s.v6)), ", ")+" } accept",
				from+"ip6 saddr :: icmpv6 type 135 "+target+" accept")
		}
		rules = append(rules,
			from+"icmpv6 type 136 drop",
			from+"ip6 saddr :: icmpv6 type { 131, 143 } accept",
			from+"ip6 saddr { "+strings.Join(elements(slices.Clone(s.v6)), ", ")+" } accept")
	}
	return append(rules, "drop")
}

// ndTarget matches the target address field against a prefix.
func ndTarget(p netip.Prefix) string {
	raw := p.Addr().As16()
	bits := p.Bits() / 8 * 8
	if bits == 0 {
		bits = 8
	}
	// Prefixes inside a byte are widened to it here; the source address, which
	// is compared exactly, still has to match.
	return fmt.Sprintf("@th,64,%d 0x%s", bits, hex.EncodeToString(raw[:bits/8]))
}

// egressRules decide what the port may send. Order matters: what a guest may
// never be (a DHCP server, a router) comes before its groups and before the
// state of its connections.
func (f *portFilter) egressRules() []string {
	rules := []string{
		"ether type arp accept",
		"udp sport 67 udp dport 68 drop",
		"udp sport 547 udp dport 546 drop",
		"icmpv6 type { 134, 137 } drop",
		"ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept",
		"udp sport 68 udp dport 67 accept",
		"udp sport 546 udp dport 547 accept",
		"icmpv6 type { 130, 131, 132, 133, 135, 136, 143 } accept",
	}
	return f.groupRules(rules, "ge_")
}

func (f *portFilter) ingressRules() []string {
	rules := []string{
		"ether type arp accept",
		"udp sport 67 udp dport 68 accept",
		"udp sport 547 udp dport 546 accept",
		"icmpv6 type { 130, 131, 132, 134, 135, 136, 143 } accept",
	}
	return f.groupRules(rules, "gi_")
}

func (f *portFilter) groupRules(rules []string, prefix string) []string {
	if f.stateful {
		rules = append(rules,
			fmt.Sprintf("meta mark & 0x%08x == 0x%08x accept", markEstablished, markEstablished),
			fmt.Sprintf("meta mark & 0x%08x == 0x%08x drop", markInvalid, markInvalid))
	}
	for _, id := range f.groups {
		cid, err := chainID(id)
		if err != nil {
			continue // a group with such an id was not parsed either
		}
		rules = append(rules, "jump "+prefix+cid)
	}
	return append(rules, "drop")
}
