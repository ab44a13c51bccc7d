package cli

import (
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/deploy"
	"github.com/hastack/hastack/internal/lab"
	"github.com/hastack/hastack/internal/topology"
)

// A lab server has no way out: what a deployment installs must be in its root.
func TestLabServersHaveWhatADeploymentInstalls(t *testing.T) {
	have := append(lab.BasePackages(), lab.ClusterPackages()...)
	have = append(have, "gzip") // essential: every Debian has it
	for _, name := range []string{"three.yaml", "small.yaml", "reference-27.yaml"} {
		for _, manager := range []string{topology.Keepalived, topology.Pacemaker} {
			top, err := topology.Load(filepath.Join("../../examples", name))
			if err != nil {
				t.Fatal(err)
			}
			top.VIPManager = manager
			d, err := cluster.Ensure(filepath.Join(t.TempDir(), "cluster"), top)
			if err != nil {
				t.Fatal(err)
			}
			c := &deploy.Context{Topology: top, Cluster: d, Clock: clock.System, Log: slog.New(slog.DiscardHandler)}
			for _, p := range deploy.Parts() {
				if p.Name == "release" || p.Name == "node" {
					continue // they bring the binary, which is not built here, and no package
				}
				for _, s := range p.Servers(top) {
					want, err := p.Want(c, s)
					if err != nil {
						t.Fatalf("%s: part %s on %s: %v", name, p.Name, s.Name, err)
					}
					for _, pkg := range want.Packages {
						if !slices.Contains(have, pkg) {
							t.Errorf("%s: part %s installs %s, which lab servers do not have: add it to ClusterPackages", name, p.Name, pkg)
						}
					}
				}
			}
			d.Close()
		}
	}
}
