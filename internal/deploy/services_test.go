package deploy_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/deploy"
	"github.com/hastack/hastack/internal/topology"
)

const servicesTopology = `
name: wanted
domain: wanted.example
allow_colocation: true
networks:
  management: {cidr: 10.3.0.0/24, device: bond0, switches: [tor-a]}
  external: {cidr: 203.0.113.0/24, device: bond1, switches: [tor-a], gateway: 203.0.113.1, floating: 203.0.113.128-203.0.113.250}
  tunnel: {cidr: 10.4.0.0/24, device: bond2, switches: [tor-a]}
switches:
  - {name: tor-a, rack: r1}
servers:
  - {name: c1, host: 11, rack: r1, roles: [control, load-balancer]}
  - {name: c2, host: 12, rack: r1, roles: [control, load-balancer]}
  - {name: c3, host: 13, rack: r1, roles: [control, load-balancer]}
  - {name: net1, host: 21, rack: r1, roles: [network]}
  - {name: cmp1, host: 31, rack: r1, roles: [compute]}
vips:
  - {name: api, network: management, address: 10.3.0.100}
  - {name: public, network: external, address: 203.0.113.100}
`

// wantOf is what a part wants on a server.
func wantOf(t *testing.T, c *deploy.Context, part, server string) *deploy.Want {
	t.Helper()
	for _, p := range deploy.Parts() {
		if p.Name != part {
			continue
		}
		s := c.Topology.Server(server)
		if !slices.Contains(p.Servers(c.Topology), s) {
			return nil
		}
		w, err := p.Want(c, s)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	t.Fatalf("there is no part %s", part)
	return nil
}

// fileOf is a file of a want, and its content as a configuration.
func fileOf(t *testing.T, w *deploy.Want, path string) deploy.File {
	t.Helper()
	i := slices.IndexFunc(w.Files, func(f deploy.File) bool { return f.Path == path })
	if i < 0 {
		t.Fatalf("no %s", path)
	}
	return w.Files[i]
}

func loaded(t *testing.T, f deploy.File) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(path, f.Content, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatalf("%v in\n%s", err, f.Content)
	}
	return cfg
}

func servicesContext(t *testing.T) *deploy.Context {
	t.Helper()
	top, err := topology.Parse("wanted.yaml", []byte(servicesTopology))
	if err != nil {
		t.Fatal(err)
	}
	return inDirectory(t, top, filepath.Join(t.TempDir(), "cluster"))
}

func TestControlServersGetServicesAndAgentsDoNot(t *testing.T) {
	c := servicesContext(t)
	w := wantOf(t, c, "control", "c2")
	cfg := loaded(t, fileOf(t, w, "/etc/hastack/control.yaml"))
	if cfg.Endpoints["compute"] != "https://203.0.113.100/compute" || cfg.InternalAuthURL() != "https://10.3.0.100/identity/v3" ||
		!cfg.Database.Synced || len(cfg.Bus.URLs) != 3 || cfg.Image.Self != "https://10.3.0.12:9292" || len(cfg.Image.Peers) != 3 {
		t.Errorf("%+v", cfg)
	}
	for _, u := range w.Units {
		if !strings.Contains(u.Content, "\nUser=hastack\n") || !strings.Contains(u.Content, "\nNoNewPrivileges=yes\n") ||
			!strings.Contains(u.Content, "--listen 10.3.0.12:") || strings.Contains(u.Content, "{{") {
			t.Errorf("%s:\n%s", u.Name, u.Content)
		}
	}
	if wantOf(t, c, "control", "cmp1") != nil || wantOf(t, c, "agents", "c1") != nil {
		t.Error("a role is on a server that does not have it")
	}
}

func TestAgentsKnowNoDatabaseAndNoAdmin(t *testing.T) {
	c := servicesContext(t)
	x := c.Cluster.Secrets
	for _, server := range []string{"net1", "cmp1"} {
		w := wantOf(t, c, "agents", server)
		for _, f := range w.Files {
			for name, secret := range map[string]config.Secret{"database": x.DatabaseService, "root": x.DatabaseRoot, "admin": x.AdminPassword, "demo": x.DemoPassword} {
				if strings.Contains(string(f.Content), secret.Reveal()) {
					t.Errorf("%s has the %s password in %s", server, name, f.Path)
				}
			}
			if f.Mode.Perm()&0o077 != 0 || f.Owner != "" {
				t.Errorf("%s: %s is %v of %q", server, f.Path, f.Mode, f.Owner)
			}
		}
		if cfg := loaded(t, fileOf(t, w, "/etc/hastack/agent.yaml")); cfg.Database.URL.Reveal() != "" {
			t.Errorf("%s has a database", server)
		}
	}
}

func TestServersDoWhatTheirRolesSay(t *testing.T) {
	c := servicesContext(t)
	network := loaded(t, fileOf(t, wantOf(t, c, "agents", "net1"), "/etc/hastack/agent.yaml"))
	if network.Network.BridgeMappings["public"] != "bond1" || len(network.Network.Parts) != 4 || network.Network.TunnelIP != "10.4.0.21" ||
		network.Network.ExternalCIDR != "" || network.MetadataURL() != "https://10.3.0.100/metadata" {
		t.Errorf("%+v", network.Network)
	}
	w := wantOf(t, c, "agents", "cmp1")
	compute := loaded(t, fileOf(t, w, "/etc/hastack/agent.yaml"))
	if len(compute.Network.BridgeMappings) != 0 || !slices.Equal(compute.Network.Parts, []string{"l2"}) || compute.Compute.VNCListen != "10.3.0.31:0" {
		t.Errorf("%+v %+v", compute.Network, compute.Compute)
	}
	for _, u := range w.Units {
		if !strings.Contains(u.Content, "\nKillMode=process\n") {
			t.Errorf("%s takes servers with it when it stops", u.Name)
		}
	}
}

func keyFiles(w *deploy.Want) map[string]string {
	out := map[string]string{}
	for _, f := range w.Files {
		if n, ok := strings.CutPrefix(f.Path, "/etc/hastack/keys/fernet-keys/"); ok {
			out[n] = string(f.Content)
		}
	}
	return out
}

func TestKeysAreMadeOnceAndPrivate(t *testing.T) {
	c := servicesContext(t)
	first := wantOf(t, c, "keys", "c1")
	if a, b := keyFiles(first), keyFiles(wantOf(t, c, "keys", "c3")); len(a) != 2 || a["0"] == a["1"] || a["0"] != b["0"] || a["1"] != b["1"] {
		t.Errorf("keys %v and %v", a, b)
	}
	for _, f := range first.Files {
		if !f.Secret || f.Mode != 0o600 || f.Owner != "hastack" || f.Restart != nil {
			t.Errorf("%+v", f)
		}
	}
}

// inDirectory is a context for a topology with a cluster directory of its own.
func inDirectory(t *testing.T, top *topology.Topology, dir string) *deploy.Context {
	t.Helper()
	d, err := cluster.Ensure(dir, top)
	if err != nil {
		t.Fatal(err)
	}
	return &deploy.Context{Topology: top, Cluster: d, Clock: clock.System, Log: slog.New(slog.DiscardHandler), Release: "1-abc"}
}
