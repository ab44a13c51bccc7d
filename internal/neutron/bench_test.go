package neutron_test

import (
	"testing"

	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/neutron/neutrontest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// What an agent's pull for one changed port costs on a network of 500.
func BenchmarkSyncOnePort(b *testing.B) {
	c := neutrontest.New(b, neutrontest.WithConfig(neutron.Config{Quotas: map[string]int64{"port": -1}}))
	c.Agents("host1", "192.0.2.1")
	n, _ := makeNetwork(b, c.Service, "10.0.0.0/16")
	var last string
	for range 500 {
		last = bound(b, c.Service, n.ID, "host1").ID
	}
	before := c.DB.Stats().Statements
	for b.Loop() {
		_, err := c.Service.SyncHost(b.Context(), rpc.SyncHostArgs{
			Host: "host1", Kinds: []string{rpc.KindL2, rpc.KindL3, rpc.KindDHCP}, Only: &rpc.Changed{Ports: []string{last}},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(c.DB.Stats().Statements-before)/float64(b.N), "statements/op")
}
