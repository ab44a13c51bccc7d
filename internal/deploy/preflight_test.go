package deploy

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster/clustertest"
	"github.com/hastack/hastack/internal/topology"
)

// fit is what a server says that nothing is wrong with.
func fit(t *topology.Topology, s *topology.Server) *facts {
	f := &facts{
		values:    map[string]string{"os": "debian", "uid": "0", "hostname": s.Name, "machine": "id-" + s.Name, "memory": "8000", "disk": "90000", "container": "none"},
		version:   "12",
		addresses: map[string]string{}, clashes: map[string]string{}, macs: []string{"02:00:00:00:00:" + s.Name[len(s.Name)-2:]},
	}
	for _, n := range s.Networks() {
		f.addresses[s.Address(n).String()] = t.Networks[n].Device
	}
	return f
}

func TestUnfitServersAreNamedWithWhatToDo(t *testing.T) {
	top := clustertest.Topology(t, 22)
	top.Hardware = map[string]*topology.Hardware{"m1": {Disks: []topology.Disks{
		{Count: 1, GB: 480, RAID: "raid1", Use: "system"}, {Count: 3, GB: 4000, Use: "objects"},
	}}}
	for _, s := range top.Servers {
		s.Hardware = "m1"
	}
	s := top.Server("node02")
	good := []int64{480e9, 4000e9, 4000e9, 4000e9}
	for name, c := range map[string]struct {
		break_ func(f *facts)
		says   []string
	}{
		"nothing":     {func(*facts) {}, nil},
		"wrong OS":    {func(f *facts) { f.version = "11" }, []string{"debian 11", "install Debian 12"}},
		"other OS":    {func(f *facts) { f.values["os"] = "ubuntu" }, []string{"ubuntu", "install Debian 12"}},
		"not root":    {func(f *facts) { f.values["uid"] = "1000" }, []string{"sudo"}},
		"clock":       {func(f *facts) { f.skew = -time.Hour }, []string{"clock is -1h0m0s off", "set it"}},
		"other name":  {func(f *facts) { f.values["hostname"] = "node03" }, []string{"node03", "cabling"}},
		"fresh name":  {func(f *facts) { f.values["hostname"] = "debian" }, nil},
		"other owner": {func(f *facts) { f.values["cluster"] = "c2" }, []string{"cluster c2"}},
		"no address":  {func(f *facts) { delete(f.addresses, "10.4.0.12") }, []string{"10.4.0.12", "tunnel", "test2"}},
		"clash":       {func(f *facts) { f.clashes["10.4.0.12"] = "aa:bb:cc:dd:ee:ff" }, []string{"aa:bb:cc:dd:ee:ff", "10.4.0.12"}},
		"memory":      {func(f *facts) { f.values["memory"] = "512" }, []string{"512 MiB of memory", "add memory"}},
		"full disk":   {func(f *facts) { f.values["disk"] = "100" }, []string{"100 MiB are free", "free some"}},
		"lost disk":   {func(f *facts) { f.drives = good[:3] }, []string{"3 disks of 4000 GB", "it has 2"}},
		"small disk":  {func(f *facts) { f.drives = []int64{480e9, 4000e9, 4000e9, 2000e9} }, []string{"it has 2"}},
		"a container": {func(f *facts) { f.drives, f.values["container"] = nil, "systemd-nspawn" }, nil},
		"no systemd":  {func(f *facts) { f.lacks = []string{"systemd"} }, []string{"systemd is missing"}},
	} {
		f := fit(top, s)
		f.drives = good
		c.break_(f)
		problems := unfit(top, s, f)
		if (len(problems) == 0) != (c.says == nil) {
			t.Errorf("%s: problems %v", name, problems)
		}
		text := errors.Join(problems...)
		for _, word := range c.says {
			if !strings.Contains(text.Error(), word) || !strings.HasPrefix(text.Error(), "node02: ") {
				t.Errorf("%s: %v, want %q of node02", name, text, word)
			}
		}
	}
}

func TestServersAreComparedWithEachOther(t *testing.T) {
	top := clustertest.Topology(t, 22)
	all := func() map[string]*facts {
		out := map[string]*facts{}
		for _, s := range top.Servers {
			out[s.Name] = fit(top, s)
		}
		return out
	}
	if problems := together(top, all()); len(problems) != 0 {
		t.Errorf("good servers: %v", problems)
	}
	same := all()
	same["node03"].values["machine"] = "id-node01"
	if text := errors.Join(together(top, same)...); text == nil || !strings.Contains(text.Error(), "node03: it has the same machine id as node01") {
		t.Errorf("same machine: %v", text)
	}
	// A VIP that another load balancer holds is as it should be.
	vip := top.VIP("public").Address.String()
	held := all()
	held["node01"].clashes[vip] = held["node02"].macs[0]
	if problems := together(top, held); len(problems) != 0 {
		t.Errorf("a held VIP: %v", problems)
	}
	held["node01"].clashes[vip], held["node02"].clashes[vip] = "aa:bb:cc:dd:ee:ff", "aa:bb:cc:dd:ee:ff"
	if problems := together(top, held); len(problems) != 1 || !strings.Contains(problems[0].Error(), "VIP public") {
		t.Errorf("a foreign VIP: %v", problems)
	}
}

// TestPreflightReportsEverythingAtOnce runs the real script: the machine that
// runs the tests is not what the topology says, and one server is down.
func TestPreflightReportsEverythingAtOnce(t *testing.T) {
	f := clustertest.New(t)
	f.Servers["node03"].Stop()
	c := &Context{Topology: f.Topology, Cluster: f.Cluster(t), Clock: clock.System, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := Preflight(ctx, c)
	for _, word := range []string{
		"nothing was changed", "node03 does not answer", "node01: it has no address 203.0.113.11 on the external network",
		"node02: it has no address 10.4.0.12 on the tunnel network", "same machine id",
	} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v, want %q in it", err, word)
		}
	}
	for name, s := range f.Servers {
		if s.Read("/var/lib/hastack/deploy/base.records") != "" {
			t.Errorf("%s was touched", name)
		}
	}
}
