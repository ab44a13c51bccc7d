package neutron

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
)

// A Pool is a range of addresses of a subnet that may be given to ports, both
// ends included.
type Pool struct {
	Start netip.Addr `json:"start"`
	End   netip.Addr `json:"end"`
}

// Contains tells whether a lies in the pool.
func (p Pool) Contains(a netip.Addr) bool {
	return a.BitLen() == p.Start.BitLen() && a.Compare(p.Start) >= 0 && a.Compare(p.End) <= 0
}

// size is the number of addresses of the pool, cut at MaxInt64: pools of a /64
// are never enumerated, so the exact number is only of use to reports.
func (p Pool) size() uint64 {
	hi, lo := sub128(p.End, p.Start)
	if hi != 0 || lo >= math.MaxInt64 {
		return math.MaxInt64
	}
	return lo + 1
}

func sub128(a, b netip.Addr) (hi, lo uint64) {
	x, y := a.As16(), b.As16()
	lo, borrow := bits.Sub64(binary.BigEndian.Uint64(x[8:]), binary.BigEndian.Uint64(y[8:]), 0)
	hi, _ = bits.Sub64(binary.BigEndian.Uint64(x[:8]), binary.BigEndian.Uint64(y[:8]), borrow)
	return hi, lo
}

// addrAdd is a moved up by n addresses, in the family of a.
func addrAdd(a netip.Addr, n uint64) netip.Addr {
	b := a.As16()
	lo, carry := bits.Add64(binary.BigEndian.Uint64(b[8:]), n, 0)
	hi, _ := bits.Add64(binary.BigEndian.Uint64(b[:8]), 0, carry)
	binary.BigEndian.PutUint64(b[8:], lo)
	binary.BigEndian.PutUint64(b[:8], hi)
	out := netip.AddrFrom16(b)
	if a.Is4() {
		return out.Unmap()
	}
	return out
}

func poolsSize(pools []Pool) uint64 {
	var total uint64
	for _, p := range pools {
		total = min(total+p.size(), math.MaxInt64)
	}
	return total
}

// nthAddress is the address at offset n of the pools laid end to end.
func nthAddress(pools []Pool, n uint64) (netip.Addr, bool) {
	for _, p := range pools {
		if size := p.size(); n >= size {
			n -= size
			continue
		}
		return addrAdd(p.Start, n), true
	}
	return netip.Addr{}, false
}

// freeAddress is a free address of the pools, or false when all are taken.
// The search starts at a given offset and goes round, so that two allocators
// that start apart do not meet; it costs at most len(taken)+1 probes.
func freeAddress(pools []Pool, taken map[netip.Addr]bool, from uint64) (netip.Addr, bool) {
	total := poolsSize(pools)
	if total == 0 {
		return netip.Addr{}, false
	}
	for i := uint64(0); i < total && i <= uint64(len(taken)); i++ {
		a, ok := nthAddress(pools, (from%total+i)%total)
		if ok && !taken[a] {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// defaultPools are all addresses of a subnet but its network and broadcast
// addresses and the gateway.
func defaultPools(cidr netip.Prefix, gateway netip.Addr) []Pool {
	first, last := usableRange(cidr)
	if first.Compare(last) > 0 {
		return []Pool{}
	}
	whole := Pool{Start: first, End: last}
	if !gateway.IsValid() || !whole.Contains(gateway) {
		return []Pool{whole}
	}
	pools := []Pool{}
	if gateway != first {
		pools = append(pools, Pool{Start: first, End: gateway.Prev()})
	}
	if gateway != last {
		pools = append(pools, Pool{Start: gateway.Next(), End: last})
	}
	return pools
}

// usableRange is the first and the last address a host may have. An IPv4 /31
// and /32, and an IPv6 /127 and /128, have no network or broadcast address.
func usableRange(cidr netip.Prefix) (first, last netip.Addr) {
	cidr = cidr.Masked()
	first, last = cidr.Addr(), lastAddress(cidr)
	if host := cidr.Addr().BitLen() - cidr.Bits(); host <= 1 {
		return first, last
	}
	if cidr.Addr().Is4() {
		return first.Next(), last.Prev()
	}
	return first.Next(), last
}

func lastAddress(cidr netip.Prefix) netip.Addr {
	b := cidr.Masked().Addr().As16()
	host := cidr.Addr().BitLen() - cidr.Bits()
	for i := 15; host > 0; i-- {
		n := min(host, 8)
		b[i] |= byte(1<<n - 1)
		host -= n
	}
	out := netip.AddrFrom16(b)
	if cidr.Addr().Is4() {
		return out.Unmap()
	}
	return out
}

// usable tells whether a host of cidr may have address a.
func usable(cidr netip.Prefix, a netip.Addr) bool {
	first, last := usableRange(cidr)
	return cidr.Contains(a) && a.Compare(first) >= 0 && a.Compare(last) <= 0
}

// checkPools refuses pools outside the subnet, overlapping, turned round, or
// holding the gateway.
func checkPools(cidr netip.Prefix, gateway netip.Addr, pools []Pool) error {
	sorted := slices.Clone(pools)
	slices.SortFunc(sorted, func(a, b Pool) int { return a.Start.Compare(b.Start) })
	for i, p := range sorted {
		if p.Start.BitLen() != cidr.Addr().BitLen() || p.End.BitLen() != cidr.Addr().BitLen() || p.Start.Compare(p.End) > 0 {
			return badRequest("InvalidAllocationPool", "The allocation pool %s-%s is not valid.", p.Start, p.End)
		}
		if !usable(cidr, p.Start) || !usable(cidr, p.End) {
			return badRequest("OutOfBoundsAllocationPool",
				"The allocation pool %s-%s spans beyond the subnet cidr %s.", p.Start, p.End, cidr)
		}
		if i > 0 && sorted[i-1].End.Compare(p.Start) >= 0 {
			return conflict("OverlappingAllocationPools", "Found overlapping allocation pools: %s-%s %s-%s for subnet %s.",
				sorted[i-1].Start, sorted[i-1].End, p.Start, p.End, cidr)
		}
		if gateway.IsValid() && p.Contains(gateway) {
			return conflict("GatewayConflictWithAllocationPools",
				"Gateway ip %s conflicts with allocation pool %s-%s.", gateway, p.Start, p.End)
		}
	}
	return nil
}

// eui64 is the address a host with the given MAC makes for itself in prefix.
func eui64(prefix netip.Prefix, mac [6]byte) netip.Addr {
	b := prefix.Masked().Addr().As16()
	b[8], b[9], b[10], b[11] = mac[0]^2, mac[1], mac[2], 0xff
	b[12], b[13], b[14], b[15] = 0xfe, mac[3], mac[4], mac[5]
	return netip.AddrFrom16(b)
}
