package placementapi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement"
	"github.com/hastack/hastack/internal/placement/placementtest"
)

// A claim as a scheduler makes it: candidates, then the allocation on the
// first, through HTTP, with a durable commit. cpu-ms/op counts the service,
// the client and the database, which share this process on SQLite.
func BenchmarkClaim1000(b *testing.B)  { benchmarkClaim(b, 1000, 0) }
func BenchmarkClaim10000(b *testing.B) { benchmarkClaim(b, 10_000, 0) }

// With the limit of a scheduler that needs some choice, not all hosts.
func BenchmarkClaim1000Limit50(b *testing.B)  { benchmarkClaim(b, 1000, 50) }
func BenchmarkClaim10000Limit50(b *testing.B) { benchmarkClaim(b, 10_000, 50) }

func benchmarkClaim(b *testing.B, hosts, limit int) {
	c := placementtest.On(b, dbtest.Open(b, db.Config{URL: dbtest.URL(b)}, placement.Migrations))
	addHosts(b, c, hosts)
	query := "/allocation_candidates?resources=VCPU:1,MEMORY_MB:512,DISK_GB:1"
	if limit > 0 {
		query += fmt.Sprint("&limit=", limit)
	}
	c.Must(http.StatusOK, "GET", query, nil) // the first one reads all hosts
	before, stats := cpu(), c.DB.Stats()
	for b.Loop() {
		got := c.Must(http.StatusOK, "GET", query, nil)
		host := firstHost(got.Body)
		c.Must(http.StatusNoContent, "PUT", "/allocations/"+ids.UUID(),
			placementtest.Claim(host, map[string]int64{"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}))
	}
	n := float64(b.N)
	b.ReportMetric(float64(cpu()-before)/1e6/n, "cpu-ms/op")
	b.ReportMetric(float64(c.DB.Stats().Statements-stats.Statements)/n, "statements/op")
	b.ReportMetric(float64(c.DB.Stats().Commits-stats.Commits)/n, "commits/op")
}

// firstHost finds the first uuid of the answer without reading all of it: the
// figure is the service's, not that of a JSON decoder.
func firstHost(body []byte) string {
	i := bytes.Index(body, []byte(`{"allocations":{"`))
	return string(body[i+17 : i+17+36])
}

// addHosts fills the tables in large steps.
func addHosts(b *testing.B, c *placementtest.Cloud, n int) {
	b.Helper()
	var p, i []string
	flush := func() {
		for _, q := range []string{
			`INSERT INTO providers (uuid, name, parent_uuid, root_uuid, generation, revision, shape, created_at, updated_at) VALUES ` + strings.Join(p, ","),
			`INSERT INTO inventories (provider_uuid, resource_class, total, reserved, min_unit, max_unit, step_size, allocation_ratio, capacity, used) VALUES ` + strings.Join(i, ","),
		} {
			if _, err := c.DB.ExecContext(b.Context(), q); err != nil {
				b.Fatal(err)
			}
		}
		p, i = nil, nil
	}
	for h := range n {
		id := ids.UUID()
		p = append(p, fmt.Sprintf("('%s','host-%d','','%s',1,1,1,'2026-01-01 00:00:00','2026-01-01 00:00:00')", id, h, id))
		for _, inv := range []struct {
			class string
			total int
		}{{"VCPU", 100_000}, {"MEMORY_MB", 100_000_000}, {"DISK_GB", 1_000_000}} {
			i = append(i, fmt.Sprintf("('%s','%s',%d,0,1,%d,1,1.0,%d,0)", id, inv.class, inv.total, inv.total, inv.total))
		}
		if len(p) == 200 {
			flush()
		}
	}
	if len(p) > 0 {
		flush()
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
