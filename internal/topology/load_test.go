package topology

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func example(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func load(t testing.TB, name string) *Topology {
	t.Helper()
	topo, err := Parse(name, []byte(example(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func TestExamplesAreRight(t *testing.T) {
	for name, want := range map[string][]string{
		"three.yaml":        {"control and compute are together on node01, node02, node03", "control and load-balancer are together on node01"},
		"small.yaml":        nil,
		"reference-27.yaml": nil,
	} {
		topo := load(t, name)
		if want == nil && len(topo.Warnings()) > 0 {
			t.Errorf("%s: warns %v", name, topo.Warnings())
		}
		for _, w := range want {
			if !slices.ContainsFunc(topo.Warnings(), func(p Problem) bool { return strings.Contains(p.Text, w) && p.Line > 0 }) {
				t.Errorf("%s: no warning %q in %v", name, w, topo.Warnings())
			}
		}
	}
}

// Every error names the line and says what to do.
func TestProblemsNameTheLine(t *testing.T) {
	cases := []struct{ file, old, new, want string }{
		{"three.yaml", "name: three\n", "", "the file has no name"},
		{"three.yaml", "name: three\n", "name: Three\n", `name "Three" cannot be: use small letters`},
		{"three.yaml", "allow_colocation: true\n", "", "server node01 has control and compute: put them on different servers"},
		{"three.yaml", "allow_colocation: true\n", "allow_colocaton: true\n", `did you mean "allow_colocation"?`},
		{"three.yaml", "allow_colocation: true\n", "allow_colocation: 7\n", `allow_colocation is "7": say true or false`},
		{"three.yaml", "host: 12", "host: 11", "server node02 has the host number 11 of node01 (line 24)"},
		{"three.yaml", "host: 12", "host: 1", "servers[1].host is 1: give it a number from 2 to 254"},
		{"three.yaml", "host: 12", "host: x", `servers[1].host is "x": give it a whole number`},
		{"three.yaml", "host: 12", "host: 100", "VIP api has the address 10.3.0.100 of server node02"},
		{"three.yaml", "host: 12", "host: 200", "floating range 203.0.113.128-203.0.113.250 holds 203.0.113.200 of server node02"},
		{"three.yaml", "name: node02", "name: node01", "server node01 is on line 24 already"},
		{"three.yaml", "name: node02", "name: node_02", `servers[1].name "node_02" cannot be`},
		{"three.yaml", "node03, host: 13, rack: r1, roles: [control, network,", "node03, host: 13, rack: r1, roles: [network,", "2 servers have the role control: make it 3"},
		{"three.yaml", "roles: [control, network, compute, load-balancer]}\n  - {name: node02", "roles: [contrl, network, compute, load-balancer]}\n  - {name: node02", `did you mean "control"?`},
		{"three.yaml", "tunnel: {cidr: 10.4.0.0/24", "tunnel: {cidr: 10.3.0.0/16", "network tunnel (10.3.0.0/16) overlaps management (10.3.0.0/24, line 10)"},
		{"three.yaml", "tunnel: {cidr: 10.4.0.0/24", "tunnel: {cidr: 10.4.0.7/24", "10.4.0.7/24 has host bits: write 10.4.0.0/24"},
		{"three.yaml", "tunnel: {cidr: 10.4.0.0/24", "tunnel: {cidr: 10.4.0.0/26", "has 26 bits"},
		{"three.yaml", "tunnel: {cidr: 10.4.0.0/24", "tunnel: {cidr: fd00::/24", "is IPv6"},
		{"three.yaml", "tunnel: {cidr: 10.4.0.0/24", "tunnel: {cidr: here", `networks.tunnel.cidr "here" is no network`},
		{"three.yaml", "tunnel: {cidr: 10.4.0.0/24", "tunnels: {cidr: 10.4.0.0/24", `networks has no "tunnels": did you mean "tunnel"?`},
		{"three.yaml", "  tunnel: {cidr: 10.4.0.0/24, device: bond2, switches: [tor-a, tor-b]}\n", "", "needs network tunnel"},
		{"three.yaml", "device: bond2", "device: bond0", "networks management and tunnel share the device bond0 on server node01"},
		{"three.yaml", "device: bond2, switches: [tor-a, tor-b]", "device: bond2, switches: [tor-a, tor-c]", `network tunnel is on switch "tor-c", which is not described: did you mean "tor-a"?`},
		{"three.yaml", "device: bond2, switches: [tor-a, tor-b]", "device: bond2, switches: tor-a", `networks.tunnel.switches is "tor-a": make it a list`},
		{"three.yaml", "rack: r1, peer: tor-a", "rack: r1, peer: tor-b", "switch tor-b is its own peer"},
		{"three.yaml", ", peer: tor-a", "", `switch tor-a has the peer tor-b, whose own peer is ""`},
		{"three.yaml", "gateway: 203.0.113.1\n", "gateway: 203.0.114.1\n", "gateway 203.0.114.1 is not an address of external"},
		{"three.yaml", "    gateway: 203.0.113.1\n", "", `add "gateway: 203.0.113.1"`},
		{"three.yaml", "203.0.113.128-203.0.113.250", "203.0.113.128-203.0.114.250", "is not inside 203.0.113.0/24"},
		{"three.yaml", "203.0.113.128-203.0.113.250", "203.0.113.250-203.0.113.128", "is no range of addresses"},
		{"three.yaml", "address: 10.3.0.100", "address: 10.4.0.100", "VIP api has 10.4.0.100, which is not in management"},
		{"three.yaml", "address: 10.3.0.100", "address: 10.3.0.1", "which is the operator's"},
		{"three.yaml", "address: 203.0.113.100", "address: 203.0.113.130", "holds 203.0.113.130 of VIP public"},
		{"three.yaml", "network: external, address: 203.0.113.100", "network: management, address: 10.3.0.101", "VIP public is in network management: it belongs into external"},
		{"three.yaml", "prefer: node01", "prefer: node04", `VIP api prefers "node04", which is no server: did you mean "node01"?`},
		{"small.yaml", "prefer: loadbalance01", "prefer: compute01", "VIP api prefers compute01, which is no load balancer"},
		{"small.yaml", "vip_manager: keepalived", "vip_manager: keepalive", `vip_manager "keepalive" is unknown: did you mean "keepalived"?`},
		{"small.yaml", "{name: api, ", "{name: object, ", "there is no VIP api"},
		{"three.yaml", "buffer_pool_mb: 64", "buffer_pool_mb: 1", "engines.mariadb.buffer_pool_mb is 1: give it a number from 16"},
		{"three.yaml", "lab: {memory_mb: 1700", "lab: {memory_mb: 17", "lab.memory_mb is 17: give it a number from 100"},
		{"reference-27.yaml", "hardware: r620-network", "hardware: r620-netwrk", `did you mean "r620-network"?`},
		{"reference-27.yaml", "vlan: 104", "vlan: 103", "network tunnel has the VLAN 103 of management"},
		{"reference-27.yaml", "host: 6}", "host: 11}", "switch oob has the address 10.0.0.11 of the management controller of loadbalance01"},
		{"reference-27.yaml", "{count: 2, gb: 800, kind: ssd, raid: raid1,", "{count: 2, gb: 800, kind: ssd, raid: raid6,", "RAID-6 of 2 disks: it takes at least four"},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) {
			text := example(t, c.file)
			if !strings.Contains(text, c.old) {
				t.Fatalf("%s has no %q", c.file, c.old)
			}
			_, err := Parse("x.yaml", []byte(strings.Replace(text, c.old, c.new, 1)))
			var p *Problems
			if !errors.As(err, &p) {
				t.Fatalf("got %v", err)
			}
			i := slices.IndexFunc(p.List, func(x Problem) bool { return strings.Contains(x.Text, c.want) })
			if i < 0 {
				t.Fatalf("got:\n%v\nwant %q", err, c.want)
			}
			if p.List[i].Line == 0 || !strings.Contains(err.Error(), fmt.Sprintf("x.yaml:%d: ", p.List[i].Line)) {
				t.Errorf("no line: %v", err)
			}
		})
	}
}

func TestProblemsAreAllTold(t *testing.T) {
	_, err := Parse("x.yaml", []byte(strings.NewReplacer("host: 12", "host: 300", "prefer: node01", "prefer: nobody", "driver", "x", "r1, peer: tor-a", "r1, pear: tor-a").Replace(example(t, "three.yaml"))))
	var p *Problems
	if !errors.As(err, &p) || len(p.List) < 3 {
		t.Fatalf("got %v", err)
	}
	if !slices.IsSortedFunc(p.List, func(a, b Problem) int { return a.Line - b.Line }) {
		t.Errorf("not by line: %v", err)
	}
}

func TestBrokenFiles(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "the file is empty",
		"a: [":                                  "x.yaml:",
		"- a\n- b\n":                            "the file is a list: give it keys and values",
		"name: a\n---\nb: c":                    "a second document begins",
		"servers: [null]":                       "servers[0] is empty",
		"servers: {a: b}":                       "servers is a mapping: make it a list",
		"networks: {tunnel: }":                  "networks.tunnel is empty",
		"name: a\nname: b":                      `x.yaml:2: the file has "name" already on line 1`,
		"a: &a {b: *a}":                         "x.yaml:",
		"servers: &s [{roles: *s}]":             "x.yaml:",
		"hardware: &h {a: {disks: [{<<: *h}]}}": "x.yaml:",
		strings.Repeat("#", maxBytes+1):         "a topology has at most",
	} {
		_, err := Parse("x.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: got %v, want %q", text, err, want)
		}
	}
}

func TestMergedKeysAreRead(t *testing.T) {
	text := strings.Replace(example(t, "three.yaml"), "  - {name: node01, host: 11, rack: r1,", "  - &n {name: node01, host: 11, rack: r1,", 1)
	text = strings.Replace(text, "  - {name: node02, host: 12, rack: r1, roles: [control, network, compute, load-balancer]}", "  - {<<: *n, name: node02, host: 12}", 1)
	topo, err := Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if s := topo.Server("node02"); s.Rack != "r1" || len(s.Roles) != 4 || s.Host != 12 {
		t.Errorf("got %+v", s)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"control", "compute", "network"}
	for word, want := range map[string]string{"contorl": `did you mean "control"?`, "Compute": `did you mean "compute"?`, "zzz": "one of control, compute, network"} {
		if got := nearest(word, words); got != want {
			t.Errorf("%s: %s", word, got)
		}
	}
}

// Whatever a file says, no two owners share an address once it was accepted,
// and whatever it says, the parser answers.
func TestAcceptedFilesShareNoAddress(t *testing.T) {
	base := example(t, "small.yaml")
	rapid.Check(t, func(rt *rapid.T) {
		text := base
		for _, host := range []string{"host: 11,", "host: 20,", "host: 31,", "host: 41,"} {
			if rapid.Bool().Draw(rt, "change") {
				text = strings.Replace(text, host, fmt.Sprintf("host: %d,", rapid.IntRange(-1, 256).Draw(rt, "host")), 1)
			}
		}
		topo, err := Parse("x.yaml", []byte(text))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, s := range topo.Servers {
			for _, n := range s.Networks() {
				a := s.Address(n).String()
				if seen[a] || topo.VIP("api").Address.String() == a || a == "203.0.113.1" {
					rt.Fatalf("%s twice", a)
				}
				seen[a] = true
			}
		}
	})
}

func TestAnyChangedLineIsAnswered(t *testing.T) {
	lines := strings.Split(example(t, "reference-27.yaml"), "\n")
	rapid.Check(t, func(rt *rapid.T) {
		changed := slices.Clone(lines)
		for range rapid.IntRange(1, 3).Draw(rt, "changes") {
			i := rapid.IntRange(0, len(lines)-1).Draw(rt, "line")
			changed[i] = rapid.SampledFrom([]string{"", "  - null", "  - {}", "x: y", changed[i] + changed[i], "  management: {}",
				"  a: [", "vips: 1", "\t", strings.ToUpper(changed[i])}).Draw(rt, "to")
		}
		if _, err := Parse("x.yaml", []byte(strings.Join(changed, "\n"))); err != nil {
			var p *Problems
			if !errors.As(err, &p) || len(p.List) == 0 {
				rt.Fatalf("got %T %v", err, err)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"three.yaml", "small.yaml", "reference-27.yaml"} {
		f.Add([]byte(example(f, name)))
	}
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = Parse("x.yaml", b)
	})
}
