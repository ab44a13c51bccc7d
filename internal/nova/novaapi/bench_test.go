package novaapi_test

import (
	"net/http/httptest"
	"testing"

	"github.com/hastack/hastack/internal/nova/novatest"
	"github.com/hastack/hastack/internal/nova/virt/fake"
)

// BenchmarkListDetail100 is GET /servers/detail of 100 servers with a port,
// from the handler to the last byte, without a client's JSON decoding.
func BenchmarkListDetail100(b *testing.B) {
	c := novatest.New(b, novatest.WithDriver(func(_ string, cfg *fake.Config) { cfg.VCPUs, cfg.MemoryMB, cfg.DiskGB = 1000, 1<<20, 1<<20 }))
	c.Must(200, 57, "admin", "PUT", "/os-quota-sets/d0000000000000000000000000000001", M{"quota_set": M{"instances": -1, "cores": -1, "ram": -1}})
	flavor := c.Flavor("small")
	var last string
	for range 100 {
		last = c.Create(flavor, nil)
	}
	c.Wait(last, "ACTIVE")
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		r := httptest.NewRequest("GET", "/v2.1/servers/detail?limit=100", nil)
		r.Header.Set("X-Auth-Token", "member")
		r.Header.Set("OpenStack-API-Version", "compute 2.93")
		w := httptest.NewRecorder()
		c.API.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Body.String())
		}
	}
}

// BenchmarkBoot is POST /servers to ACTIVE with one port: all of Nova, its
// neighbours being as cheap as a test can make them.
func BenchmarkBoot(b *testing.B) {
	c := novatest.New(b, novatest.WithDriver(func(_ string, cfg *fake.Config) { cfg.VCPUs, cfg.MemoryMB, cfg.DiskGB = 100000, 1<<30, 1<<30 }))
	c.Must(200, 57, "admin", "PUT", "/os-quota-sets/d0000000000000000000000000000001", M{"quota_set": M{"instances": -1, "cores": -1, "ram": -1}})
	flavor := c.Flavor("small")
	stats, msgs, calls := c.DB.Stats(), c.Bus.Stats(), c.Clients.Calls()
	b.ResetTimer()
	for b.Loop() {
		c.Boot(flavor, nil)
	}
	n := float64(b.N)
	after, sent := c.DB.Stats(), c.Bus.Stats()
	b.ReportMetric(float64(after.Statements-stats.Statements)/n, "statements/boot")
	b.ReportMetric(float64(after.Commits-stats.Commits)/n, "commits/boot")
	b.ReportMetric(float64(sent.Messages()-msgs.Messages())/n, "messages/boot")
	b.ReportMetric(float64(c.Clients.Calls()-calls)/n, "http/boot")
}
