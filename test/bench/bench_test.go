package bench

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
)

// BenchmarkStart is how long a cloud that has run before takes to be ready,
// with a hundred servers and their ports in its databases.
func BenchmarkStart(b *testing.B) {
	c := start(b)
	c.bootAll(b, 100)
	for b.Loop() {
		b.StopTimer()
		c.down(b)
		b.StartTimer()
		c.up(b)
	}
}

// BenchmarkIdle is what a cloud holds and spends when nobody asks for anything.
func BenchmarkIdle(b *testing.B) {
	c := start(b)
	const watch = 10 * time.Second
	time.Sleep(3 * time.Second) // what starting left behind settles
	for b.Loop() {
		before := c.cpu(b)
		time.Sleep(watch)
		b.ReportMetric((c.cpu(b)-before).Seconds()/watch.Seconds()*100, "cpu-%")
		b.ReportMetric(c.residentMB(b), "RSS-MB")
	}
}

// BenchmarkTokenValidation is Keystone's answer about a token, catalog included.
func BenchmarkTokenValidation(b *testing.B) {
	c := start(b)
	c.measure(b, func() { c.validate(b) })
}

// BenchmarkValidationDuringLogins is the same while clients log in without a
// pause. Its cpu-ms/op holds the logins' bcrypt and says nothing; compare p50-ms.
func BenchmarkValidationDuringLogins(b *testing.B) {
	c := start(b)
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				client, err := openstack.NewClient(c.auth.IdentityEndpoint)
				if err == nil {
					err = openstack.Authenticate(ctx, client, c.auth)
				}
				if err == nil {
					c.logins.Add(1)
				} else if ctx.Err() == nil {
					b.Error("log in:", err)
					return
				}
			}
		})
	}
	begin := time.Now()
	c.measure(b, func() { c.validate(b) })
	b.ReportMetric(float64(c.logins.Load())/time.Since(begin).Seconds(), "logins/s")
	stop()
	wg.Wait()
}

func BenchmarkServersDetail100(b *testing.B) {
	c := start(b)
	c.bootAll(b, 100)
	c.measure(b, func() {
		body := c.get(b, c.compute.Endpoint+"servers/detail?limit=100")
		if n := strings.Count(body, `"hostId"`); n != 100 {
			b.Fatalf("%d servers in the list", n)
		}
	})
}

func BenchmarkPortCreate(b *testing.B) {
	c := start(b)
	c.measure(b, func() {
		p, err := ports.Create(b.Context(), c.network, ports.CreateOpts{NetworkID: c.netID}).Extract()
		if err != nil || len(p.FixedIPs) != 1 {
			b.Fatal(p, err)
		}
	})
}

// BenchmarkClaim1000 is what a scheduler asks of Placement for one server, as
// ours does: some candidates among a thousand hosts, then the allocation.
func BenchmarkClaim1000(b *testing.B) {
	c := start(b)
	c.addHosts(b, 1000)
	c.measure(b, func() { c.claim(b) })
}

// BenchmarkServerCreate is POST /servers alone, while the servers asked for
// before are being built.
func BenchmarkServerCreate(b *testing.B) {
	for _, clients := range []int{1, 8} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			c := start(b)
			c.bootAll(b, 8)
			c.measureAll(b, func(t *timings) {
				c.parallel(clients, b.N, func() { t.time(func() { c.create(b) }) })
			})
			c.awaitActive(b)
		})
	}
}

// BenchmarkBoot is from POST /servers to ACTIVE with a port, eight at a time,
// and what one costs. The client polls as one does that waits for its servers.
func BenchmarkBoot(b *testing.B) {
	c := start(b)
	c.bootAll(b, 8)
	before, polls := c.counters(b), c.polls.Load()
	begin := time.Now()
	c.measureAll(b, func(*timings) { c.bootAll(b, b.N) })
	b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "boots/s")
	after := c.counters(b)
	for name, unit := range map[string]string{
		"hastack_sql_statements_total": "statements/op", "hastack_sql_commits_total": "commits/op",
		"hastack_bus_messages_total": "messages/op", "hastack_http_calls_total": "calls/op",
	} {
		n := after[name] - before[name]
		if n == 0 {
			b.Errorf("%s did not move", name)
		}
		b.ReportMetric(n/float64(b.N), unit)
	}
	b.ReportMetric(float64(c.polls.Load()-polls)/float64(b.N), "polls/op")
}

// BenchmarkQEMUStart is from POST /servers to a running QEMU process, real
// network included, as `hastack trace` tells it. It changes the machine's
// networks, so it wants a namespace of its own: qemu.sh makes one.
func BenchmarkQEMUStart(b *testing.B) {
	image := wantQEMU(b)
	c := startWith(b, "qemu", image)
	c.useUploaded(b)
	var whole, copied []time.Duration
	for b.Loop() {
		id := c.create(b)
		c.awaitActive(b)
		took, image := c.bootTrace(b, id)
		whole, copied = append(whole, took), append(copied, image)
		c.deleteServer(b, id)
	}
	b.ReportMetric(millis(percentile(whole, 50)), "p50-ms")
	b.ReportMetric(millis(percentile(whole, 95)), "p95-ms")
	b.ReportMetric(millis(percentile(copied, 50)), "image-ms")
}
