package deploy

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/topology"
)

func TestPacemakerConfigurationNamesItself(t *testing.T) {
	sum := func(top *topology.Topology) string {
		b, err := pacemakerConfig(top)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`hastack-config=([0-9a-f]{16})\b`).FindSubmatch(b)
		if m == nil {
			t.Fatalf("no sum in\n%s", b)
		}
		return string(m[1])
	}
	a, b := example(t, "three"), example(t, "three")
	if sum(a) != sum(b) {
		t.Error("the same topology has two sums")
	}
	b.VIPs[0].Prefer = "node03"
	if sum(a) == sum(b) {
		t.Error("another preference has the same sum: it would never be loaded")
	}
}

func TestPacemakerKeepsAddressesWithHAProxyAndOnTheirSegment(t *testing.T) {
	b, err := pacemakerConfig(example(t, "three"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"primitive vip-public IPaddr2 params ip=203.0.113.100 cidr_netmask=32 nic=bond1",
		"colocation vip-public-with-haproxy inf: vip-public haproxy-clone",
		"location vip-public-prefers vip-public 100: node02",
		"link-bond1l2 ocf:heartbeat:ethmonitor params interface=bond1l2 link_status_only=true", // a network may be quiet
		"location vip-public-needs-bond1 vip-public rule -inf: ethmonitor-bond1l1 eq 0 and ethmonitor-bond1l2 eq 0",
		"no-quorum-policy=stop",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
	if strings.Contains(string(b), "link-bond0") {
		t.Error("management is watched twice: by corosync and by a resource")
	}
}

func TestCorosyncHasEveryLoadBalancerAndOneSecretKey(t *testing.T) {
	top := example(t, "three")
	top.VIPManager = topology.Pacemaker
	dir, err := cluster.Ensure(t.TempDir(), top)
	if err != nil {
		t.Fatal(err)
	}
	c := &Context{Topology: top, Cluster: dir, Clock: clock.System}
	var keys [][]byte
	for _, s := range top.With(topology.RoleLoadBalancer) {
		w, err := wantVIPManager(c, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range w.Files {
			switch f.Path {
			case "/etc/corosync/authkey":
				if !f.Secret || f.Mode != 0o400 || len(f.Content) != corosyncKeyBytes {
					t.Errorf("authkey: secret %v, mode %o, %d bytes", f.Secret, f.Mode, len(f.Content))
				}
				keys = append(keys, f.Content)
			case "/etc/corosync/corosync.conf":
				for _, o := range top.With(topology.RoleLoadBalancer) {
					if !bytes.Contains(f.Content, []byte("name: "+o.Name+"\n")) {
						t.Errorf("%s does not know %s", s.Name, o.Name)
					}
				}
				if bytes.Contains(f.Content, []byte("two_node")) {
					t.Error("three members are told to be two")
				}
			}
		}
		h, err := wantHAProxy(c, s)
		if err != nil {
			t.Fatal(err)
		}
		if u := h.unit("haproxy.service"); !u.Elsewhere || u.Running || u.Enabled {
			t.Errorf("haproxy is started by systemd as well as by pacemaker: %+v", u)
		}
	}
	if len(keys) != 3 || !bytes.Equal(keys[0], keys[1]) || !bytes.Equal(keys[1], keys[2]) {
		t.Error("the members have different keys")
	}
}

func TestUnknownVIPManagerIsRefused(t *testing.T) {
	top := example(t, "three")
	top.VIPManager = "heartbeat"
	if _, err := wantVIPManager(&Context{Topology: top}, top.Servers[0]); err == nil || !strings.Contains(err.Error(), "keepalived or pacemaker") {
		t.Errorf("error: %v", err)
	}
}
