package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/topology"
)

func keepalivedOf(t *testing.T, top *topology.Topology, server string) string {
	t.Helper()
	b, err := keepalivedConfig(top, top.Server(server))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// prioritiesOf are the priorities of a server's addresses by name.
func prioritiesOf(t *testing.T, conf string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`(?s)vrrp_instance (\S+) \{.*?priority (\d+)`).FindAllStringSubmatch(conf, -1) {
		out[m[1]] = m[2]
	}
	return out
}

func TestAddressesPreferTheirServerAndNeverTie(t *testing.T) {
	top := example(t, "three")
	seen := map[string]map[string]bool{}
	for _, s := range top.With(topology.RoleLoadBalancer) {
		for vip, priority := range prioritiesOf(t, keepalivedOf(t, top, s.Name)) {
			if seen[vip] == nil {
				seen[vip] = map[string]bool{}
			}
			if seen[vip][priority] {
				t.Errorf("two servers have priority %s for %s", priority, vip)
			}
			seen[vip][priority] = true
			if preferred := top.VIP(vip).Prefer == s.Name; preferred != (priority == "250") {
				t.Errorf("%s has priority %s for %s, which prefers %s", s.Name, priority, vip, top.VIP(vip).Prefer)
			}
		}
	}
	if len(seen) != 2 || len(seen["api"]) != 3 {
		t.Errorf("priorities: %v", seen)
	}
}

func TestAddressesSpreadWithoutAPreference(t *testing.T) {
	top := example(t, "three")
	for _, v := range top.VIPs {
		v.Prefer = ""
	}
	first := map[string]bool{}
	for i := range top.VIPs {
		first[vipHolders(top, i)[0].Name] = true
	}
	if len(first) != len(top.VIPs) {
		t.Errorf("first holders: %v", first)
	}
}

func TestPublicAddressLeavesWithManagementOrItsOwnSegment(t *testing.T) {
	conf := keepalivedOf(t, example(t, "three"), "node03")
	_, public, _ := strings.Cut(conf, "vrrp_instance public {")
	_, tracked, _ := strings.Cut(public, "track_interface {")
	tracked, _, _ = strings.Cut(tracked, "}")
	if got := strings.Fields(tracked); len(got) != 2 || got[0] != "bond0" || got[1] != "bond1" {
		t.Errorf("public tracks %v, want bond0 and bond1", got)
	}
	for _, want := range []string{"advert_int 0.20", "unicast_src_ip 10.3.0.13", "203.0.113.100/32 dev bond1"} {
		if !strings.Contains(public, want) {
			t.Errorf("no %q in\n%s", want, public)
		}
	}
	if strings.Contains(strings.SplitN(public, "unicast_peer", 2)[1][:60], "10.3.0.13") {
		t.Error("node03 is its own peer")
	}
}

func TestKeepalivedAcceptsTheConfiguration(t *testing.T) {
	bin, err := exec.LookPath("keepalived")
	if err != nil {
		t.Skip("keepalived is not installed")
	}
	// The test machine has one interface for sure.
	conf := regexp.MustCompile(`bond\d`).ReplaceAllString(keepalivedOf(t, example(t, "three"), "node01"), "lo")
	dir := t.TempDir()
	for _, s := range []string{vipCheckScript, vipLeftScript} {
		script := filepath.Join(dir, filepath.Base(s))
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		conf = strings.ReplaceAll(conf, s, script)
	}
	file := filepath.Join(dir, "keepalived.conf")
	// Only root may own scripts that run as root, in directories of root's.
	conf = strings.NewReplacer("    enable_script_security\n", "", "    script_user root\n", "").Replace(conf)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), bin, "--config-test", "-f", file).CombinedOutput()
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.Contains(line, "Unknown keyword") || strings.Contains(line, "(Line") && !strings.Contains(line, "SECURITY") {
			t.Error(line)
		}
	}
	if err != nil {
		t.Logf("keepalived --config-test: %v\n%s", err, out)
	}
}

func TestScriptsAreShell(t *testing.T) {
	top := example(t, "three")
	for _, f := range vipScripts(top, top.Server("node02")) {
		shell, _, _ := strings.Cut(strings.TrimPrefix(string(f.Content), "#!"), "\n")
		cmd := exec.CommandContext(t.Context(), shell, "-n")
		cmd.Stdin = strings.NewReader(string(f.Content))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s", f.Path, err, out)
		}
		if f.Path == vipFlushScript && !strings.Contains(string(f.Content), "address del 203.0.113.100/32 dev bond1") {
			t.Errorf("flush leaves an address:\n%s", f.Content)
		}
	}
}
