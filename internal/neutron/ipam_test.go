package neutron

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func genPrefix(t *rapid.T) netip.Prefix {
	if rapid.Bool().Draw(t, "six") {
		b := [16]byte{0xfd}
		for i := 1; i < 16; i++ {
			b[i] = rapid.Byte().Draw(t, "byte")
		}
		return netip.PrefixFrom(netip.AddrFrom16(b), rapid.IntRange(48, 128).Draw(t, "bits")).Masked()
	}
	var b [4]byte
	for i := range b {
		b[i] = rapid.Byte().Draw(t, "byte")
	}
	return netip.PrefixFrom(netip.AddrFrom4(b), rapid.IntRange(8, 32).Draw(t, "bits")).Masked()
}

// The pools of a subnet never hold an address that no host may have, nor the
// gateway, and are accepted by the check that is applied to given pools.
func TestDefaultPoolsHoldOnlyUsableAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cidr := genPrefix(t)
		first, last := usableRange(cidr)
		whole := Pool{first, last}
		gw, ok := nthAddress([]Pool{whole}, rapid.Uint64Range(0, whole.size()-1).Draw(t, "gw"))
		if !ok {
			t.Fatalf("no address at an offset inside %v", whole)
		}
		pools := defaultPools(cidr, gw)
		if err := checkPools(cidr, gw, pools); err != nil {
			t.Fatal(err)
		}
		if want := whole.size() - 1; whole.size() < 1<<62 && poolsSize(pools) != want {
			t.Fatalf("%s without %s: %d addresses, want %d", cidr, gw, poolsSize(pools), want)
		}
		for _, p := range pools {
			if p.Contains(gw) || !usable(cidr, p.Start) || !usable(cidr, p.End) {
				t.Fatalf("pool %v of %s with gateway %s", p, cidr, gw)
			}
		}
	})
}

// Taking addresses until none is left gives every address exactly once.
func TestFreeAddressGivesEachAddressOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := netip.MustParseAddr("10.0.0.0")
		var pools []Pool
		at := uint64(1)
		for range rapid.IntRange(1, 4).Draw(t, "pools") {
			at += rapid.Uint64Range(1, 5).Draw(t, "gap")
			n := rapid.Uint64Range(1, 40).Draw(t, "size")
			pools = append(pools, Pool{addrAdd(base, at), addrAdd(base, at+n-1)})
			at += n
		}
		taken := map[netip.Addr]bool{}
		total := poolsSize(pools)
		for range total {
			a, ok := freeAddress(pools, taken, rapid.Uint64().Draw(t, "from"))
			if !ok || taken[a] {
				t.Fatalf("address %v, ok %v after %d of %d", a, ok, len(taken), total)
			}
			taken[a] = true
		}
		if a, ok := freeAddress(pools, taken, 0); ok {
			t.Fatalf("full pools gave %v", a)
		}
	})
}

func TestEUI64IsTheHostsOwnAddress(t *testing.T) {
	got := eui64(netip.MustParsePrefix("fd00:1::/64"), [6]byte{0xfa, 0x16, 0x3e, 0x01, 0x02, 0x03})
	if want := netip.MustParseAddr("fd00:1::f816:3eff:fe01:203"); got != want {
		t.Fatalf("got %s want %s", got, want)
	}
}
