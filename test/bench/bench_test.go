// Package bench measures a whole cloud from outside: an ephemeral one with
// simulated servers, its client and its databases share the machine's cores,
// and every commit is on disk. CPU is that of the cloud's process, read from
// /proc; the client's own is not in it.
//
//	HASTACK_BIN=$PWD/bin/hastack go test -run '^$' -bench . ./test/bench
package bench

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
)

func BenchmarkTokenValidation(b *testing.B) {
	c := start(b)
	token := c.provider.Token()
	c.measure(b, func() {
		for range b.N {
			if ok, err := tokens.Validate(b.Context(), c.identity, token); err != nil || !ok {
				b.Fatal(ok, err)
			}
		}
	})
}

func BenchmarkServersDetail100(b *testing.B) {
	c := start(b)
	c.bootAll(b, 100)
	c.measure(b, func() {
		for range b.N {
			resp := c.get(b, c.compute.Endpoint+"servers/detail?limit=100")
			if n := strings.Count(resp, `"hostId"`); n != 100 {
				b.Fatalf("%d servers", n)
			}
		}
	})
}

func BenchmarkPortCreate(b *testing.B) {
	c := start(b)
	c.measure(b, func() {
		for range b.N {
			if _, err := ports.Create(b.Context(), c.network, ports.CreateOpts{NetworkID: c.netID}).Extract(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkServerCreate(b *testing.B) {
	for _, clients := range []int{1, 8} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			c := start(b)
			var mu sync.Mutex
			var took []time.Duration
			c.measure(b, func() {
				c.parallel(clients, b.N, func() {
					begin := time.Now()
					c.create(b)
					d := time.Since(begin)
					mu.Lock()
					took = append(took, d)
					mu.Unlock()
				})
			})
			b.ReportMetric(float64(median(took).Microseconds())/1000, "p50-ms")
			c.awaitActive(b)
		})
	}
}

// BenchmarkBoot is from POST /servers to ACTIVE with a port, eight at a time.
func BenchmarkBoot(b *testing.B) {
	c := start(b)
	before := c.counters(b)
	begin := time.Now()
	c.measure(b, func() {
		c.parallel(8, b.N, func() { c.create(b) })
		c.awaitActive(b)
	})
	took := time.Since(begin)
	b.ReportMetric(float64(b.N)/took.Seconds(), "boots/s")
	after := c.counters(b)
	for name, unit := range map[string]string{
		"hastack_sql_statements_total": "statements/op", "hastack_sql_commits_total": "commits/op",
		"hastack_bus_messages_total": "messages/op", "hastack_http_calls_total": "calls/op",
	} {
		b.ReportMetric((after[name]-before[name])/float64(b.N), unit)
	}
}

func BenchmarkIdle(b *testing.B) {
	c := start(b)
	time.Sleep(2 * time.Second)
	b.ReportMetric(c.residentMB(b), "RSS-MB")
	begin, cpu := time.Now(), c.cpu(b)
	time.Sleep(5 * time.Second)
	b.ReportMetric((c.cpu(b)-cpu).Seconds()/time.Since(begin).Seconds()*100, "cpu-%")
	for range b.N {
		// One idle cloud is the measurement, however large b.N is.
		break
	}
}

// BenchmarkStart is how long a cloud that has run before takes to be ready.
func BenchmarkStart(b *testing.B) {
	c := start(b)
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		c.down(b)
		b.StartTimer()
		c.up(b)
	}
}

// create asks for one server.
func (c *cloud) create(b *testing.B) {
	n := c.serial.Add(1)
	_, err := servers.Create(b.Context(), c.compute, servers.CreateOpts{
		Name: fmt.Sprintf("b%d", n), ImageRef: c.imageID, FlavorRef: "bench", Networks: []servers.Network{{UUID: c.netID}},
	}, nil).Extract()
	if err != nil {
		b.Error(err)
	}
}

func (c *cloud) bootAll(b *testing.B, n int) {
	c.parallel(8, n, func() { c.create(b) })
	c.awaitActive(b)
}

// parallel runs f n times from several clients at once.
func (c *cloud) parallel(clients, n int, f func()) {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				f()
			}
		})
	}
	wg.Wait()
}

// awaitActive waits until no server is being built; one in ERROR fails.
func (c *cloud) awaitActive(b *testing.B) {
	for range 3000 {
		body := c.get(b, c.compute.Endpoint+"servers?status=BUILD&limit=1")
		if !strings.Contains(body, `"id"`) {
			if body := c.get(b, c.compute.Endpoint+"servers/detail?status=ERROR&limit=1"); strings.Contains(body, `"fault"`) {
				b.Fatalf("a server is in ERROR: %s", body)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.Fatal("servers are still building after a minute")
}

// measure times f and reports the CPU of the cloud's process per operation.
func (c *cloud) measure(b *testing.B, f func()) {
	b.Helper()
	before := c.cpu(b)
	b.ResetTimer()
	f()
	b.StopTimer()
	b.ReportMetric(float64((c.cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

func (c *cloud) get(b *testing.B, url string) string {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", c.provider.Token())
	return c.do(b, req)
}
