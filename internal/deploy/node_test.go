package deploy

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/node"
	"github.com/hastack/hastack/internal/topology"
)

// nodeWanted is what the node part wants of a server of an example, and the
// agent's configuration in it as the agent reads it.
func nodeWanted(t *testing.T, example, server string) (*Want, *node.Config) {
	t.Helper()
	top, err := topology.Load("../../examples/" + example)
	if err != nil {
		t.Fatal(err)
	}
	d, err := cluster.Ensure(filepath.Join(t.TempDir(), "c"), top)
	if err != nil {
		t.Fatal(err)
	}
	c := &Context{Topology: top, Cluster: d, Release: "1-abc", binary: &binary{}}
	w, err := wantNode(c, top.Server(server))
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Files) != 1 || w.Files[0].Mode != 0o600 || !w.Files[0].Secret {
		t.Fatalf("files %+v", w.Files)
	}
	p := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(p, w.Files[0].Content, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := node.LoadConfig(p)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Galera != nil && cfg.Galera.Password.Reveal() != d.Secrets.DatabaseMonitor.Reveal() {
		t.Error("the agent does not get the password of the database's monitor")
	}
	return w, cfg
}

func TestAgentWatchesWhatItsServerHas(t *testing.T) {
	w, cfg := nodeWanted(t, "three.yaml", "node02")
	if len(cfg.Peers) != 2 || cfg.Peers[0].Address != netip.MustParseAddrPort("10.3.0.11:9180") || cfg.Listen != netip.MustParseAddrPort("10.3.0.12:9180") {
		t.Errorf("peers %+v at %s", cfg.Peers, cfg.Listen)
	}
	if len(cfg.Links) != 3 || len(cfg.Links[0].Legs) != 2 || cfg.Links[0].Legs[1] != (node.LegConfig{Name: "bond0l2", Switch: "tor-b"}) {
		t.Errorf("links %+v", cfg.Links)
	}
	if len(cfg.VIPs) != 2 || cfg.Galera == nil || cfg.Checks != netip.MustParseAddrPort("10.3.0.12:9181") || cfg.Rabbit == nil || cfg.HAProxy == "" || !cfg.Guests {
		t.Errorf("configuration %+v", cfg)
	}
	for _, u := range []string{"mariadb.service", "rabbitmq-server.service", "haproxy.service", "keepalived.service", "hastack-nova-compute.service", "ssh.service"} {
		if !slices.Contains(cfg.Units, u) {
			t.Errorf("%s is not watched: %v", u, cfg.Units)
		}
	}
	if slices.Contains(cfg.Units, nodeUnitName) {
		t.Error("the agent watches itself")
	}
	if len(w.Units) != 2 || w.Units[0].Name != nodeSocketName || !strings.Contains(w.Units[0].Content, "ListenStream=10.3.0.12:9181\n") ||
		!strings.Contains(w.Units[1].Content, "Requires="+nodeSocketName+"\n") {
		t.Errorf("units %+v", w.Units)
	}
}

func TestServerWithoutEnginesIsAskedForNone(t *testing.T) {
	w, cfg := nodeWanted(t, "reference-27.yaml", "compute01")
	if cfg.Galera != nil || cfg.Rabbit != nil || cfg.HAProxy != "" || cfg.FernetKeys != "" || len(cfg.VIPs) > 0 || cfg.Memcached != "" {
		t.Errorf("configuration %+v", cfg)
	}
	if len(cfg.Peers) != 26 || cfg.BeatMS != 2000 {
		t.Errorf("%d peers every %d ms", len(cfg.Peers), cfg.BeatMS)
	}
	if len(w.Units) != 1 || strings.Contains(w.Units[0].Content, nodeSocketName) || strings.Contains(string(w.Files[0].Content), "password") {
		t.Errorf("units %+v", w.Units)
	}
}
