package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// parsePrefix reads an address or a CIDR. The result is masked, so that what
// was sloppily written cannot confuse the packet filter (security case 51).
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("bad address %q", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("bad prefix %q", s)
	}
	return p.Masked(), nil
}

// parseMAC reads a unicast Ethernet address in its usual form.
func parseMAC(s string) (net.HardwareAddr, error) {
	m, err := net.ParseMAC(s)
	if err != nil || len(m) != 6 || m[0]&1 != 0 {
		return nil, fmt.Errorf("bad mac address %q", s)
	}
	return m, nil
}

// linkLocal is the address a guest makes of its MAC (EUI-64).
func linkLocal(m net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{
		0xfe, 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5],
	})
}

// disjoint sorts prefixes and drops those that others contain: nft refuses
// overlapping elements of an interval set.
func disjoint(in []netip.Prefix) []netip.Prefix {
	slices.SortFunc(in, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var out []netip.Prefix
	for _, p := range in {
		if n := len(out); n > 0 && out[n-1].Bits() <= p.Bits() && out[n-1].Contains(p.Addr()) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// split parts prefixes by family.
func split(in []netip.Prefix) (v4, v6 []netip.Prefix) {
	for _, p := range in {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return v4, v6
}

// elements prints prefixes for nft after making them disjoint.
func elements(in []netip.Prefix) []string { return printed(disjoint(in)) }

// printed prints prefixes for nft; whole addresses without a mask.
func printed(in []netip.Prefix) []string {
	out := make([]string, 0, len(in))
	for _, p := range in {
		if p.IsSingleIP() {
			out = append(out, p.Addr().String())
		} else {
			out = append(out, p.String())
		}
	}
	return out
}
