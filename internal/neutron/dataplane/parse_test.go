package dataplane

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

func prefixes() *rapid.Generator[netip.Prefix] {
	return rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 3).Draw(t, "b")), rapid.Byte().Draw(t, "c"), rapid.Byte().Draw(t, "d")})
		p, _ := a.Prefix(rapid.IntRange(6, 32).Draw(t, "bits"))
		return p
	})
}

func TestDisjointKeepsTheAddressesAndOverlapsNowhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOf(prefixes()).Draw(t, "prefixes")
		out := disjoint(slices.Clone(in))
		for i, p := range out {
			for _, q := range out[i+1:] {
				if p.Overlaps(q) {
					t.Fatalf("%s overlaps %s", p, q)
				}
			}
		}
		for _, p := range in {
			if !slices.ContainsFunc(out, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) }) {
				t.Fatalf("%s is lost", p)
			}
		}
	})
}

func TestOwnerSurvivesItsAlias(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := owner{
			tag: rapid.StringMatching(`[0-9a-f]{8}`).Draw(t, "tag"), kind: rapid.SampledFrom([]string{ownerNetwork, ownerPort, ownerRouter}).Draw(t, "kind"),
			id: rapid.StringMatching(`[0-9a-f-]{36}`).Draw(t, "id"), zone: rapid.Uint16().Draw(t, "zone"),
		}
		if got, ok := parseOwner(want.String()); !ok || got != want {
			t.Fatalf("%v became %v %t", want, got, ok)
		}
	})
}

func TestForeignAliasesAreNotOurs(t *testing.T) {
	for _, alias := range []string{"", "hastack", "hastack:/var/lib/hastack", "other:a:b:c", "hastack:a:network:id:zone", "hastack:a:network:id:99999"} {
		if o, ok := parseOwner(alias); ok {
			t.Errorf("%q was taken for %v", alias, o)
		}
	}
}

func FuzzDHCPOptionIsOneLineOrRefused(f *testing.F) {
	f.Add("tftp-server", "10.0.0.1", 4)
	f.Add("150", "10.0.0.1\ndhcp-script=/bin/sh", 4)
	f.Add("mtu\n", "1", 6)
	f.Add("dns-server", "a\u2028b\r", 6)
	f.Fuzz(func(t *testing.T, name, value string, version int) {
		line, err := optionLine("port-x", rpc.DHCPOption{Name: name, Value: value, IPVersion: version})
		if err != nil {
			return
		}
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") || strings.ContainsAny(line, "\r\x00") || !strings.HasPrefix(line, "tag:port-x,") {
			t.Fatalf("%q", line)
		}
	})
}

// FuzzSec51RulesAreOneStatementOrLeftOut feeds a group with whatever a tenant
// may write: what reaches nft is one line of known words.
func FuzzSec51RulesAreOneStatementOrLeftOut(f *testing.F) {
	f.Add("ingress", "IPv4", "tcp", 22, 22, "10.0.0.0/8", "")
	f.Add("egress", "IPv6", "58", 128, 300, "::/0", "")
	f.Add("ingress", "IPv4", "tcp; flush ruleset", 1, 2, "10.0.0.0/99", "a} b")
	f.Add("ingress", "IPv4", "", 1, 2, "0.0.0.0/0 accept", "x\ny")
	f.Fuzz(func(t *testing.T, direction, ethertype, protocol string, low, high int, remote, group string) {
		g := &rpc.SecurityGroupState{ID: "g", Rules: []rpc.SecurityGroupRule{{
			Direction: direction, EtherType: ethertype, Protocol: protocol, PortMin: &low, PortMax: &high, RemoteIP: remote, RemoteGroupID: group,
		}}, Members: []string{remote, group}}
		parsed, _ := parseGroup(g)
		table := newTable("bridge", "t")
		parsed.render(table, map[string]*groupFilter{"g": parsed})
		for _, line := range append(table.chains["gi_g"], table.chains["ge_g"]...) {
			if !strings.HasPrefix(line, "ether type ip") || !strings.HasSuffix(line, " accept") || strings.Count(line, "accept") != 1 ||
				strings.ContainsAny(line, ";{}\n\r\"#\\$") {
				t.Fatalf("%q", line)
			}
		}
		for name, s := range table.sets {
			if strings.ContainsAny(name+strings.Join(s.elems, ""), " ;{}\n\"") {
				t.Fatalf("%q %q", name, s.elems)
			}
		}
	})
}

func FuzzSec53HostsFileHasOneLineAnAddress(f *testing.F) {
	f.Add("fa:16:3e:00:00:01", "name", "10.1.0.5", "example.org")
	f.Add("fa:16:3e:00:00:01\n", "na,me\n", "10.1.0.5\n", "a\nb")
	f.Fuzz(func(t *testing.T, mac, name, ip, domain string) {
		n := &rpc.NetworkState{ID: "n", DNSDomain: domain, Subnets: []rpc.SubnetState{{ID: "s", CIDR: "10.1.0.0/24", EnableDHCP: true, GatewayIP: ip, DNS: []string{ip, name}}}}
		d := &rpc.DHCPNetworkState{NetworkID: "n", Port: &rpc.PortState{}, Hosts: []rpc.DHCPHost{{PortID: "p", MAC: mac, Hostname: name, FixedIPs: []rpc.FixedIP{{SubnetID: "s", IP: ip}}}}}
		c, err := dhcpConfig(n, d)
		if err == nil && strings.Count(c.hosts, "\n") != 1 {
			t.Fatalf("%q", c.hosts)
		}
		for _, text := range []string{c.hosts, c.names, c.options} {
			for line := range strings.Lines(text) {
				if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\n\r\x00") {
					t.Fatalf("%q", text)
				}
			}
		}
		if strings.ContainsAny(c.domain, " ,/\n") || strings.Count(c.hosts, "\n") > 1 || strings.Count(c.names, "\n") > 1 {
			t.Fatalf("%q %q %q", c.domain, c.hosts, c.names)
		}
	})
}

func TestRuleUpdatesNeverReferToWhatIsNotThere(t *testing.T) {
	old, now := newTable("bridge", "t"), newTable("bridge", "t")
	old.vmaps["in"], now.vmaps["in"] = map[string]string{"tapa": "jump a"}, map[string]string{"tapb": "jump b"}
	old.chains["a"], now.chains["b"] = []string{"ip saddr @x accept"}, []string{"ip saddr @y accept"}
	old.sets["x"], now.sets["y"] = nftSet{typ: "ipv4_addr", elems: []string{"10.0.0.1"}}, nftSet{typ: "ipv4_addr", elems: []string{"10.0.0.2"}}
	want := []string{
		"add set bridge t y { type ipv4_addr; }", "add element bridge t y { 10.0.0.2 }", "add chain bridge t b", "add rule bridge t b ip saddr @y accept",
		`delete element bridge t in { "tapa" : jump a }`, `add element bridge t in { "tapb" : jump b }`,
		"flush chain bridge t a", "delete chain bridge t a", "delete set bridge t x",
	}
	if got := strings.Split(strings.TrimSpace(now.update(old)), "\n"); !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if again := now.update(now); again != "" {
		t.Errorf("nothing to change gives %q", again)
	}
}
