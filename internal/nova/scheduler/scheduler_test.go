package scheduler

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func host(name string, change func(*Host)) Host {
	h := Host{Name: name, Hypervisor: name, Up: true, Zone: "nova", FreeVCPUs: 8, FreeMemoryMB: 8192, FreeDiskGB: 100, Type: "QEMU", Arch: "x86_64"}
	if change != nil {
		change(&h)
	}
	return h
}

func TestEachFilterRemovesTheHostItIsFor(t *testing.T) {
	cases := []struct {
		filter string
		host   func(*Host)
		req    Request
	}{
		{"ComputeFilter", func(h *Host) { h.Up = false }, Request{}},
		{"ComputeFilter", func(h *Host) { h.Disabled = true }, Request{}},
		{"RetryFilter", nil, Request{Exclude: map[string]bool{"bad": true}}},
		{"AvailabilityZoneFilter", nil, Request{Zone: "west"}},
		{"ForcedHostFilter", nil, Request{ForceHost: "good"}},
		{"ForcedHostFilter", nil, Request{ForceNode: "good"}},
		{"SameHostFilter", nil, Request{SameHosts: map[string]bool{"good": true}}},
		{"DifferentHostFilter", nil, Request{DifferentHosts: map[string]bool{"bad": true}}},
		{"ImagePropertiesFilter", func(h *Host) { h.Arch = "aarch64" }, Request{ImageProps: map[string]string{"hw_architecture": "x86_64"}}},
		{"ImagePropertiesFilter", nil, Request{ImageProps: map[string]string{"img_hv_type": "xen"}}},
		{"ComputeCapabilitiesFilter", nil, Request{ExtraSpecs: map[string]string{"capabilities:gpu": "s== yes"}}},
		{"AggregateInstanceExtraSpecsFilter", nil, Request{ExtraSpecs: map[string]string{"aggregate_instance_extra_specs:ssd": "true"}}},
		{"ServerGroupAffinityFilter", nil, Request{GroupPolicy: Affinity, GroupSize: 1}},
		{"ServerGroupAntiAffinityFilter", func(h *Host) { h.GroupMembers = 1 }, Request{GroupPolicy: AntiAffinity, GroupSize: 1}},
		{"NumInstancesFilter", func(h *Host) { h.Servers = 50 }, Request{}},
	}
	for _, c := range cases {
		t.Run(c.filter, func(t *testing.T) {
			bad := host("bad", c.host)
			got, ex := Select([]Host{bad}, &c.req)
			if len(got) != 0 || len(ex.Filters) != 1 || ex.Filters[0].Filter != c.filter {
				t.Fatalf("hosts %v, explanation %+v, want it removed by %s", got, ex, c.filter)
			}
			if ex.NearestHost != "bad" || ex.NearestMiss == "" {
				t.Errorf("nearest miss is not told: %+v", ex)
			}
		})
	}
}

func TestNearestMissIsTheHostThatPassedMostFilters(t *testing.T) {
	hosts := []Host{
		host("far", func(h *Host) { h.Up = false }),
		host("near", func(h *Host) { h.Servers = 50 }),
	}
	_, ex := Select(hosts, &Request{})
	if ex.NearestHost != "near" {
		t.Errorf("nearest host %q, want near", ex.NearestHost)
	}
	want := "2 host(s) had room; ComputeFilter removed 1 (1 left); NumInstancesFilter removed 1 (0 left); nearest miss: NumInstancesFilter: the host has 50 servers already"
	if got := ex.Text(); got != want {
		t.Errorf("text\n got %q\nwant %q", got, want)
	}
}

func TestFreestHostIsFirst(t *testing.T) {
	hosts := []Host{host("small", func(h *Host) { h.FreeMemoryMB = 1 }), host("big", nil)}
	got, _ := Select(hosts, &Request{})
	if got[0].Name != "big" {
		t.Errorf("first is %s", got[0].Name)
	}
}

func TestSoftPoliciesOutweighFreeRoom(t *testing.T) {
	hosts := []Host{
		host("with", func(h *Host) { h.GroupMembers = 1; h.FreeMemoryMB = 10 }),
		host("without", nil),
	}
	got, _ := Select(hosts, &Request{GroupPolicy: SoftAffinity})
	if got[0].Name != "with" {
		t.Errorf("soft-affinity chose %s", got[0].Name)
	}
	hosts = []Host{
		host("with", func(h *Host) { h.GroupMembers = 1 }),
		host("without", func(h *Host) { h.FreeMemoryMB = 10 }),
	}
	got, _ = Select(hosts, &Request{GroupPolicy: SoftAntiAffinity})
	if got[0].Name != "without" {
		t.Errorf("soft-anti-affinity chose %s", got[0].Name)
	}
}

func TestEqualHostsAreChosenEvenly(t *testing.T) {
	count := map[string]int{}
	for i := range 1000 {
		hosts := []Host{host("a", nil), host("b", nil), host("c", nil), host("d", nil)}
		got, _ := Select(hosts, &Request{ServerID: fmt.Sprintf("server-%d", i)})
		count[got[0].Name]++
	}
	for name, n := range count {
		if n < 150 {
			t.Errorf("host %s was first %d times of 1000: %v", name, n, count)
		}
	}
}

func TestMatchSpec(t *testing.T) {
	cases := []struct {
		have, want string
		ok         bool
	}{
		{"x", "x", true}, {"x", "y", false}, {"4", "= 4", true}, {"5", "= 4", true}, {"3", "= 4", false},
		{"4", "== 4", true}, {"4", "!= 4", false}, {"4", ">= 5", false}, {"4", "<= 5", true},
		{"abc", "<in> b", true}, {"b", "<or> a <or> b", true}, {"c", "<or> a <or> b", false},
		{"abc", "s== abc", true}, {"abc", "s!= abc", false}, {"word", ">= 5", false},
		{"aes mmx", "<all-in> aes mmx", true}, {"aes", "<all-in> aes mmx", false},
	}
	for _, c := range cases {
		if got := matchSpec(c.have, c.want); got != c.ok {
			t.Errorf("matchSpec(%q, %q) = %v", c.have, c.want, got)
		}
	}
}

func TestSelectLosesAndInventsNoHost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 20).Draw(t, "hosts")
		hosts := make([]Host, n)
		for i := range hosts {
			hosts[i] = host(fmt.Sprint(i), func(h *Host) {
				h.Up = rapid.Bool().Draw(t, "up")
				h.Servers = rapid.IntRange(0, 60).Draw(t, "servers")
				h.GroupMembers = rapid.IntRange(0, 2).Draw(t, "members")
			})
		}
		r := &Request{GroupPolicy: rapid.SampledFrom([]string{"", Affinity, AntiAffinity, SoftAffinity}).Draw(t, "policy"), GroupSize: 1}
		got, ex := Select(hosts, r)
		removed := 0
		for _, f := range ex.Filters {
			removed += f.Removed
		}
		if len(got)+removed != n {
			t.Fatalf("%d hosts, %d chosen, %d removed", n, len(got), removed)
		}
		for _, h := range got {
			if !h.Up || h.Servers >= 50 {
				t.Fatalf("host %+v passed", h)
			}
		}
	})
}
