package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// A groupFilter is a security group, checked and parsed.
type groupFilter struct {
	id, cid  string
	stateful bool
	rules    []groupRule
	v4, v6   []netip.Prefix // members
}

// A groupRule is one allow rule.
type groupRule struct {
	ingress  bool
	v6       bool
	proto    int // -1 any
	min, max int // -1 any; ICMP type and code
	remote   netip.Prefix
	group    string // remote group id
}

// protocols are the names the API takes, by number.
var protocols = map[string]int{
	"hopopt": 0, "ip": 0, "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "egp": 8, "udp": 17, "dccp": 33, "ipv6-encap": 41,
	"ipv6-route": 43, "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58,
	"icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ospf": 89, "pgm": 113, "vrrp": 112,
	"sctp": 132, "udplite": 136,
}

const (
	protoICMP   = 1
	protoICMPv6 = 58
)

// parseGroup reads a group. Rules that make no sense are left out, one by
// one, and returned as errors: a rule only allows, so leaving it out is the
// safe side, and the group's other rules stay in force (security case 51).
func parseGroup(g *rpc.SecurityGroupState) (*groupFilter, []error) {
	cid, err := chainID(g.ID)
	if err != nil {
		return nil, []error{err}
	}
	f := &groupFilter{id: g.ID, cid: cid, stateful: g.Stateful}
	var bad []error
	for i := range g.Rules {
		r, err := parseRule(&g.Rules[i])
		if err != nil {
			bad = append(bad, fmt.Errorf("security group rule %s: %w", g.Rules[i].ID, err))
			continue
		}
		f.rules = append(f.rules, r)
	}
	var members []netip.Prefix
	for _, m := range g.Members {
		p, err := parsePrefix(m)
		if err != nil {
			bad = append(bad, fmt.Errorf("security group %s member: %w", g.ID, err))
			continue
		}
		members = append(members, p)
	}
	f.v4, f.v6 = split(members)
	f.v4, f.v6 = disjoint(f.v4), disjoint(f.v6)
	return f, bad
}

func parseRule(r *rpc.SecurityGroupRule) (groupRule, error) {
	out := groupRule{proto: -1, min: -1, max: -1, group: r.RemoteGroupID}
	switch r.Direction {
	case "ingress":
		out.ingress = true
	case "egress":
	default:
		return out, fmt.Errorf("direction %q", r.Direction)
	}
	switch r.EtherType {
	case "IPv4":
	case "IPv6":
		out.v6 = true
	default:
		return out, fmt.Errorf("ethertype %q", r.EtherType)
	}
	if r.RemoteIP != "" {
		p, err := parsePrefix(r.RemoteIP)
		if err != nil {
			return out, err
		}
		if p.Addr().Is4() == out.v6 {
			return out, fmt.Errorf("remote prefix %s of a rule for %s", p, r.EtherType)
		}
		out.remote = p
	}
	if r.RemoteGroupID != "" {
		if _, err := chainID(r.RemoteGroupID); err != nil {
			return out, err
		}
	}
	return out, out.parseProtocol(r)
}

func (g *groupRule) parseProtocol(r *rpc.SecurityGroupRule) error {
	if r.Protocol != "" && r.Protocol != "any" {
		n, ok := protocols[strings.ToLower(r.Protocol)]
		if !ok {
			var err error
			if n, err = strconv.Atoi(r.Protocol); err != nil || n < 0 || n > 255 {
				return fmt.Errorf("protocol %q", r.Protocol)
			}
		}
		if n > 0 { // 0 is Neutron's other word for any
			g.proto = n
		}
	}
	if g.v6 && g.proto == protoICMP {
		g.proto = protoICMPv6
	}
	if r.PortMin != nil {
		g.min = *r.PortMin
	}
	if r.PortMax != nil {
		g.max = *r.PortMax
	}
	switch {
	case g.min < 0 && g.max < 0:
		return nil
	case g.proto == protoICMP || g.proto == protoICMPv6:
		if g.min < 0 || g.min > 255 || g.max > 255 {
			return fmt.Errorf("icmp type %d code %d", g.min, g.max)
		}
	case !hasPorts(g.proto):
		return fmt.Errorf("ports without a protocol that has them")
	default:
		if g.min < 0 {
			g.min = 0
		}
		if g.max < 0 || g.max > 65535 || g.min > g.max {
			return fmt.Errorf("ports %d to %d", g.min, g.max)
		}
	}
	return nil
}

func hasPorts(proto int) bool {
	switch proto {
	case 6, 17, 33, 132, 136:
		return true
	}
	return false
}

// render writes the group's chains, and the sets of the members that some
// rule asks for.
func (f *groupFilter) render(t *nftTable, groups map[string]*groupFilter) {
	in, out := []string{}, []string{}
	for _, r := range f.rules {
		if r.ingress {
			in = append(in, r.render(t, groups))
		} else {
			out = append(out, r.render(t, groups))
		}
	}
	t.chains["gi_"+f.cid], t.chains["ge_"+f.cid] = in, out
}

func (g *groupRule) render(t *nftTable, groups map[string]*groupFilter) string {
	var m []string
	family, side := "ip", "daddr"
	if g.v6 {
		family = "ip6"
	}
	if g.ingress {
		side = "saddr"
	}
	m = append(m, "ether type "+family)
	if g.remote.IsValid() && g.remote.Bits() > 0 {
		m = append(m, family+" "+side+" "+g.remote.String())
	}
	if g.group != "" {
		m = append(m, family+" "+side+" @"+memberSet(t, groups[g.group], g.group, g.v6))
	}
	switch {
	case g.proto < 0:
	case g.proto == protoICMP && g.min >= 0, g.proto == protoICMPv6 && g.min >= 0:
		word := "icmp"
		if g.proto == protoICMPv6 {
			word = "icmpv6"
		}
		m = append(m, fmt.Sprintf("%s type %d", word, g.min))
		if g.max >= 0 {
			m = append(m, fmt.Sprintf("%s code %d", word, g.max))
		}
	case g.min >= 0:
		m = append(m, fmt.Sprintf("meta l4proto %d th dport %d-%d", g.proto, g.min, g.max))
	default:
		m = append(m, fmt.Sprintf("meta l4proto %d", g.proto))
	}
	return strings.Join(m, " ") + " accept"
}

// memberSet names the set of a remote group's addresses and makes it if this
// is the first rule that asks. An unknown group is an empty set. A group with
// whole prefixes among its members has a set of another kind and name.
func memberSet(t *nftTable, g *groupFilter, id string, v6 bool) string {
	cid, _ := chainID(id) // checked by parseRule
	var members []netip.Prefix
	name, typ := "m4_"+cid, "ipv4_addr"
	if v6 {
		name, typ = "m6_"+cid, "ipv6_addr"
	}
	if g != nil {
		members = g.v4
		if v6 {
			members = g.v6
		}
	}
	interval := slices.ContainsFunc(members, func(p netip.Prefix) bool { return !p.IsSingleIP() })
	if interval {
		name += "_wide"
	}
	if _, ok := t.sets[name]; !ok {
		t.sets[name] = nftSet{typ: typ, interval: interval, elems: printed(members)}
	}
	return name
}

// allows tells whether the rule lets a new connection through: from or to
// remote, with the protocol and destination port (or ICMP type and code).
func (g *groupRule) allows(groups map[string]*groupFilter, ingress bool, remote netip.Addr, proto, dport, icmpType, icmpCode int) bool {
	if g.ingress != ingress || g.v6 != remote.Is6() {
		return false
	}
	if g.remote.IsValid() && !g.remote.Contains(remote) {
		return false
	}
	if g.group != "" && !groups[g.group].has(remote) {
		return false
	}
	if g.proto < 0 {
		return true
	}
	if g.proto != proto {
		return false
	}
	if g.min < 0 {
		return true
	}
	if proto == protoICMP || proto == protoICMPv6 {
		return g.min == icmpType && (g.max < 0 || g.max == icmpCode)
	}
	return dport >= g.min && dport <= g.max
}

func (f *groupFilter) has(a netip.Addr) bool {
	if f == nil {
		return false
	}
	members := f.v4
	if a.Is6() {
		members = f.v6
	}
	for _, p := range members {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
