package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/topology"
)

// example loads a shipped topology.
func example(t *testing.T, name string) *topology.Topology {
	t.Helper()
	top, err := topology.Load(filepath.Join("..", "..", "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func labOf(t *testing.T, name string) *Lab {
	t.Helper()
	top := example(t, name)
	l := newLab(t.TempDir(), top.Name)
	l.topology = top
	return l
}

func TestNamesOfTwoLabsNeverMeet(t *testing.T) {
	if got := short("three"); got != "three" {
		t.Errorf("short name %q, want the name itself", got)
	}
	a, b := short("reference-27"), short("reference-28")
	if a == b || len(a) != shortLimit || !strings.HasPrefix(a, "ref") {
		t.Errorf("short names %q and %q", a, b)
	}
	one, two := newLab("/s", "a"), newLab("/s", "a-b")
	if one.nsName("b") == two.nsName(Operator) {
		t.Errorf("server b of lab a and lab a-b share the namespace %s", one.nsName("b"))
	}
	for _, bad := range []string{"", "-x", "x.y", "X", "a/b", "..", strings.Repeat("x", 41)} {
		if checkName(bad) == nil {
			t.Errorf("%q is taken as a name", bad)
		}
	}
}

func TestPortsAreDistinctInEveryExample(t *testing.T) {
	for _, file := range []string{"three.yaml", "small.yaml", "reference-27.yaml"} {
		top := example(t, file)
		if err := checkNames(top); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		names, indexes, macs := map[string]string{}, map[int]string{}, map[string]string{}
		for _, p := range ports(top) {
			if other := names[p.name]; other != "" || len(p.name) > 15 {
				t.Errorf("%s: port %s of %s and %s", file, p.name, p.link.Name(), other)
			}
			if other := indexes[p.index]; other != "" {
				t.Errorf("%s: index %d of %s and %s", file, p.index, p.link.Name(), other)
			}
			names[p.name], indexes[p.index] = p.link.Name(), p.link.Name()
			if b := bridge(top, p.link.Switch, p.link.Network); strings.Contains(b, "-1") || len(b) > 15 {
				t.Errorf("%s: link %s goes to bridge %s", file, p.link.Name(), b)
			}
			mac, owner := deviceMAC(top.Name, p.link.Server, p.link.Device).String(), p.link.Server+" "+p.link.Device
			if other := macs[mac]; other != "" && other != owner {
				t.Errorf("%s: %s and %s have the same address %s", file, owner, other, mac)
			}
			macs[mac] = owner
		}
	}
}

// A server that is added must not change what the others are plugged into.
func TestPortsStayWhenServersComeAndGo(t *testing.T) {
	top := example(t, "reference-27.yaml")
	before := map[string]string{}
	for _, p := range ports(top) {
		before[p.link.Name()] = p.name
	}
	top.Servers = slices.Delete(top.Servers, 3, 4)
	for _, p := range ports(top) {
		if before[p.link.Name()] != p.name {
			t.Errorf("%s moved from port %s to %s", p.link.Name(), before[p.link.Name()], p.name)
		}
	}
}

func TestNetworksAreOneSegmentWithoutALoop(t *testing.T) {
	top := example(t, "reference-27.yaml")
	for _, name := range top.NetworkNames() {
		joins := 0
		for _, u := range uplinks(top) {
			if u.network == name {
				joins++
			}
		}
		if want := len(top.Networks[name].Switches) - 1; joins != want {
			t.Errorf("network %s: %d cables between %d switches, want %d", name, joins, want+1, want)
		}
	}
}

func TestACutCoversWhatItNames(t *testing.T) {
	link := topology.Link{Server: "node01", Network: topology.Management, Device: "bond0", Leg: "bond0l1", Switch: "tor-a"}
	for _, c := range []string{"node01/bond0l1", "node01", "tor-a", "node01/management"} {
		if !isCut([]string{"else", c}, link) {
			t.Errorf("a cut of %s spares %s", c, link.Name())
		}
	}
	for _, c := range []string{"node01/bond0l2", "node02", "tor-b", "node01/tunnel", "tor-a--tor-b"} {
		if isCut([]string{c}, link) {
			t.Errorf("a cut of %s takes %s", c, link.Name())
		}
	}
}

func TestOnlyWhatIsThereCanBeCut(t *testing.T) {
	l := labOf(t, "three.yaml")
	for _, good := range []string{"node01", "node01/bond0l2", "node02/tunnel", "tor-b", "tor-a--tor-b", "operator", "operator/bond0l1"} {
		if err := l.checkTarget(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "node09", "node01/bond9l1", "node01/", "tor-c", "tor-b--tor-a"} {
		if err := l.checkTarget(bad); err == nil || !strings.Contains(err.Error(), "hastack lab show") {
			t.Errorf("cut of %q: %v, want an error that says where to look", bad, err)
		}
	}
}

func TestRulesOfLosses(t *testing.T) {
	l := labOf(t, "three.yaml")
	for _, c := range []struct {
		loss Loss
		want string
	}{
		{Loss{"node01", "node02", topology.Management, 100}, `meta mark 11 oifname { "p12.0", "p12.1" } drop`},
		{Loss{"node01", "node02", topology.Management, 5}, `meta mark 11 oifname { "p12.0", "p12.1" } numgen random mod 100 < 5 drop`},
		{Loss{"node01", Anyone, topology.Management, 100}, `iifname { "p11.0", "p11.1" } drop`},
		{Loss{Anyone, "node03", topology.Tunnel, 100}, `oifname { "p13.4", "p13.5" } drop`},
		{Loss{Operator, "node01", topology.External, 100}, `meta mark 255 oifname { "p11.2", "p11.3" } drop`},
	} {
		if diff := cmp.Diff(c.want, l.rule(c.loss)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.loss, diff)
		}
	}
	if got := l.ruleset(nil); strings.Contains(got, "chain") {
		t.Errorf("no loss still has rules:\n%s", got)
	}
}

func TestImpossibleLossesAreRefused(t *testing.T) {
	l := labOf(t, "three.yaml")
	for want, d := range map[string]Loss{
		"network":      {"node01", "node02", "wifi", 100},
		"no server":    {"node09", "node02", topology.Management, 100},
		"not possible": {"node01", "node02", topology.Management, 101},
		"not on":       {Operator, "node02", topology.Tunnel, 100},
	} {
		if err := l.setDrop(t.Context(), d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", d, err, want)
		}
	}
}

func TestOpenTellsWhichLabsThereAre(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(Dir(dir, "other"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(Dir(dir, "other"), "lab.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, "three")
	if err == nil || !strings.Contains(err.Error(), "labs here: other") {
		t.Errorf("%v, want the labs that there are", err)
	}
	if err := Enter(dir, "three"); err != nil {
		t.Errorf("enter without a lab: %v", err)
	}
}

func TestStateSurvivesAndUnreadableStateIsTold(t *testing.T) {
	l := labOf(t, "three.yaml")
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.change(t.Context(), func(s *state) error { s.Cuts = with(s.Cuts, "tor-a", true); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := l.change(t.Context(), func(s *state) error { s.Cuts = with(s.Cuts, "tor-a", true); return nil }); err != nil {
		t.Fatal(err)
	}
	s, err := l.load()
	if err != nil || !slices.Equal(s.Cuts, []string{"tor-a"}) {
		t.Errorf("cuts %v, %v, want tor-a once", s.Cuts, err)
	}
	if err := os.WriteFile(l.stateFile(), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := l.load(); err == nil || !strings.Contains(err.Error(), "hastack lab down three") {
		t.Errorf("%v, want what to do", err)
	}
}

func TestLayersAreKeyedByTheirPackages(t *testing.T) {
	a := layerKey([]string{"x", "y"})
	if a != layerKey([]string{"y", "x"}) {
		t.Error("the order of the list is another key")
	}
	if a == layerKey([]string{"x", "y", "z"}) || a == layerKey([]string{"x"}, []string{"y"}) {
		t.Error("another list has the same key")
	}
}

func TestALayerMadeByHandIsTakenOnlyWhole(t *testing.T) {
	dir := t.TempDir()
	write := func(status string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, "base/var/lib/dpkg"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "base/var/lib/dpkg/status"), []byte(status), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: deinstall ok config-files\n\n")
	if hasPackages(filepath.Join(dir, "base"), []string{"a", "b"}) {
		t.Error("a removed package counts as there")
	}
	if !hasPackages(filepath.Join(dir, "base"), []string{"a"}) {
		t.Error("an installed package is not found")
	}
	if hasPackages(filepath.Join(dir, "nothing"), []string{"a"}) {
		t.Error("nothing has a package")
	}
}

func TestLimitsOfAServer(t *testing.T) {
	l := labOf(t, "three.yaml")
	l.topology.Lab = topology.Limits{MemoryMB: 1700}
	l.topology.Servers[0].Lab = topology.Limits{CPUPercent: 50}
	if diff := cmp.Diff(topology.Limits{MemoryMB: 1700, CPUPercent: 50}, l.limits("node01")); diff != "" {
		t.Error(diff)
	}
	l.topology.Lab = topology.Limits{}
	if diff := cmp.Diff(topology.Limits{MemoryMB: defaultMemoryMB, CPUPercent: defaultCPUPercent}, l.limits("node02")); diff != "" {
		t.Error(diff)
	}
}

func TestADeviceHasOneLeg(t *testing.T) {
	const dev, in, carries = 7, true, true
	leg := func(name string, member, carrier bool) netlink.Link {
		a := netlink.LinkAttrs{Name: name, RawFlags: unix.IFF_UP}
		if member {
			a.MasterIndex = dev
		}
		if carrier {
			a.RawFlags |= unix.IFF_LOWER_UP
		}
		return &netlink.Dummy{LinkAttrs: a}
	}
	for _, c := range []struct {
		name        string
		legs        []netlink.Link
		leave, join string
	}{
		{"well", []netlink.Link{leg("a", in, carries), leg("b", !in, carries)}, "", ""},
		{"stays on the second", []netlink.Link{leg("a", !in, carries), leg("b", in, carries)}, "", ""},
		{"moves", []netlink.Link{leg("a", in, !carries), leg("b", !in, carries)}, "a", "b"},
		{"nowhere to move", []netlink.Link{leg("a", in, !carries), leg("b", !in, !carries)}, "", ""},
		{"none yet", []netlink.Link{leg("a", !in, carries), leg("b", !in, carries)}, "", "a"},
		{"a loop", []netlink.Link{leg("a", in, carries), leg("b", in, carries)}, "b", ""},
		{"a loop, first without carrier", []netlink.Link{leg("a", in, !carries), leg("b", in, carries)}, "a", ""},
		{"both in, both cut", []netlink.Link{leg("a", in, !carries), leg("b", in, !carries)}, "b", ""},
	} {
		leave, join := elect(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Index: dev}}, c.legs)
		var left, joined string
		for _, l := range leave {
			left += l.Attrs().Name
		}
		if join != nil {
			joined = join.Attrs().Name
		}
		if left != c.leave || joined != c.join {
			t.Errorf("%s: %q leave and %q joins, want %q and %q", c.name, left, joined, c.leave, c.join)
		}
	}
}

func TestWhatAllRequestsPassHasMoreOfTheProcessors(t *testing.T) {
	l := labOf(t, "reference-27.yaml")
	got := map[string]int{}
	for _, name := range []string{"loadbalance01", "controller01", "network01", "compute01", "swiftstorage01", "admin01"} {
		got[name] = weight(l.topology.Server(name))
	}
	want := map[string]int{"loadbalance01": 16, "controller01": 4, "network01": 1, "compute01": 1, "swiftstorage01": 1, "admin01": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
