package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hastack/hastack/internal/ids"
)

// cases in the order they run; later ones find what earlier ones made.
var cases = []struct {
	name    string
	measure func(b *run, ctx context.Context) error
}{
	{"idle memory", (*run).idle},
	{"login", (*run).logins},
	{"token validation", (*run).validation},
	{"port create", (*run).ports},
	{"POST /servers", (*run).posts},
	{"boots", (*run).boots},
	{"100 servers in detail", (*run).details},
	{"placement claim at 1,000 hosts", (*run).claims},
}

// prepare logs in and makes what servers need.
func (b *run) prepare(ctx context.Context) (err error) {
	if b.api.token, b.project, err = b.api.login(ctx, b.cfg.User, b.cfg.Password, "admin"); err != nil {
		return err
	}
	if err := b.prepareFlavor(ctx); err != nil {
		return err
	}
	var img struct{ ID string }
	_, err = b.api.do(ctx, "POST", "/image/v2/images",
		object{"name": "bench", "disk_format": "raw", "container_format": "bare"}, &img)
	if err != nil {
		return err
	}
	b.image = img.ID
	if _, err := b.api.do(ctx, "PUT", "/image/v2/images/"+img.ID+"/file", make([]byte, 64<<10), nil); err != nil {
		return err
	}
	var net struct{ Network struct{ ID string } }
	if _, err := b.api.do(ctx, "POST", "/network/v2.0/networks", object{"network": object{"name": "bench"}}, &net); err != nil {
		return err
	}
	b.network = net.Network.ID
	_, err = b.api.do(ctx, "POST", "/network/v2.0/subnets",
		object{"subnet": object{"network_id": b.network, "ip_version": 4, "cidr": "10.99.0.0/16"}}, nil)
	if err != nil {
		return err
	}
	return b.liftQuotas(ctx)
}

func (b *run) prepareFlavor(ctx context.Context) error {
	var f struct{ Flavor struct{ ID string } }
	_, err := b.api.do(ctx, "POST", "/compute/v2.1/flavors",
		object{"flavor": object{"name": "bench-" + ids.Hex()[:8], "vcpus": 1, "ram": 16, "disk": 0}}, &f)
	b.flavor = f.Flavor.ID
	return err
}

func (b *run) liftQuotas(ctx context.Context) error {
	_, err := b.api.do(ctx, "PUT", "/compute/v2.1/os-quota-sets/"+b.project,
		object{"quota_set": object{"instances": -1, "cores": -1, "ram": -1}}, nil)
	if err != nil {
		return err
	}
	_, err = b.api.do(ctx, "PUT", "/network/v2.0/quotas/"+b.project, object{"quota": object{"port": -1}}, nil)
	return err
}

func (b *run) idle(context.Context) error {
	mib, err := memory(b.cfg.PID)
	b.add("resident memory before the load", mib, "MiB", 150)
	return err
}

func (b *run) logins(ctx context.Context) error {
	return b.cost(ctx, "login with a password", b.times(10), 0, func(int) error {
		_, _, err := b.api.login(ctx, b.cfg.User, b.cfg.Password, "admin")
		return err
	})
}

func (b *run) validation(ctx context.Context) error {
	return b.cost(ctx, "token validation", b.times(3000), 0.2, func(int) error {
		_, err := b.api.do(ctx, "GET", "/identity/v3/auth/tokens", nil, nil, "X-Subject-Token", b.api.token)
		return err
	})
}

func (b *run) ports(ctx context.Context) error {
	return b.cost(ctx, "port create", b.times(300), 8, func(int) error {
		_, err := b.api.do(ctx, "POST", "/network/v2.0/ports", object{"port": object{"network_id": b.network}}, nil)
		return err
	})
}

// post starts one server and returns how long the answer took.
func (b *run) post(ctx context.Context, i int) (id string, took time.Duration, err error) {
	var out struct{ Server struct{ ID string } }
	start := b.clock.Now()
	_, err = b.api.do(ctx, "POST", "/compute/v2.1/servers", object{"server": object{
		"name": fmt.Sprintf("bench-%d", i), "flavorRef": b.flavor, "imageRef": b.image,
		"networks": []object{{"uuid": b.network}}}}, &out)
	return out.Server.ID, b.clock.Now().Sub(start), err
}

// postAll starts n servers from so many clients at once.
func (b *run) postAll(ctx context.Context, n, clients int) ([]time.Duration, error) {
	var mu sync.Mutex
	var took []time.Duration
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(clients)
	for i := range n {
		g.Go(func() error {
			id, d, err := b.post(ctx, i)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				took, b.servers = append(took, d), append(b.servers, id)
			}
			return err
		})
	}
	return took, g.Wait()
}

// settled waits until no server is being built, and fails if one ended badly.
func (b *run) settled(ctx context.Context) error {
	for {
		var out struct{ Servers []object }
		if _, err := b.api.do(ctx, "GET", "/compute/v2.1/servers?limit=1&status=BUILD", nil, &out); err != nil {
			return err
		}
		if len(out.Servers) == 0 {
			break
		}
		select {
		case <-b.clock.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var bad struct {
		Servers []struct{ Fault struct{ Message string } }
	}
	_, err := b.api.do(ctx, "GET", "/compute/v2.1/servers/detail?limit=1&status=ERROR", nil, &bad)
	if err == nil && len(bad.Servers) > 0 {
		err = errors.New("a server is in ERROR: " + bad.Servers[0].Fault.Message)
	}
	return err
}

func (b *run) posts(ctx context.Context) error {
	for i := range 3 {
		if _, _, err := b.post(ctx, i); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		clients, n int
		target     float64
	}{{1, 60, 10}, {8, 200, 40}} {
		if err := b.settled(ctx); err != nil {
			return err
		}
		took, err := b.postAll(ctx, b.times(c.n), c.clients)
		if err != nil {
			return err
		}
		b.add(fmt.Sprintf("POST /servers with %d client(s), p50", c.clients), ms(percentile(took, 50)), "ms", c.target)
		b.add(fmt.Sprintf("POST /servers with %d client(s), p95", c.clients), ms(percentile(took, 95)), "ms", 0)
	}
	return b.settled(ctx)
}

// boots measures servers with a port from the first POST to the last ACTIVE,
// and what one of them costs.
func (b *run) boots(ctx context.Context) error {
	n := b.times(300)
	countersBefore, err := b.api.counters(ctx)
	if err != nil {
		return err
	}
	cpuBefore, err := cpu(b.cfg.PID)
	if err != nil {
		return err
	}
	start := b.clock.Now()
	if _, err := b.postAll(ctx, n, 8); err != nil {
		return err
	}
	if err := b.settled(ctx); err != nil {
		return err
	}
	took := b.clock.Now().Sub(start)
	cpuAfter, err := cpu(b.cfg.PID)
	if err != nil {
		return err
	}
	countersAfter, err := b.api.counters(ctx)
	if err != nil {
		return err
	}
	b.addLeast("boots to ACTIVE", float64(n)/took.Seconds(), "/s", 20)
	b.add("boot, CPU", ms(cpuAfter-cpuBefore)/float64(n), "ms", 0)
	for _, c := range []struct{ name, counter string }{
		{"boot, SQL statements", "hastack_sql_statements_total"},
		{"boot, SQL commits", "hastack_sql_commits_total"},
		{"boot, bus messages", "hastack_bus_messages_total"},
		{"boot, internal HTTP calls", "hastack_http_calls_total"},
	} {
		b.add(c.name, (countersAfter[c.counter]-countersBefore[c.counter])/float64(n), "", 0)
	}
	return nil
}

func (b *run) details(ctx context.Context) error {
	if missing := 100 - len(b.servers); missing > 0 {
		if _, err := b.postAll(ctx, missing, 8); err != nil {
			return err
		}
		if err := b.settled(ctx); err != nil {
			return err
		}
	}
	return b.cost(ctx, "GET of 100 servers in detail", b.times(200), 3, func(int) error {
		var out struct{ Servers []struct{ ID string } }
		_, err := b.api.do(ctx, "GET", "/compute/v2.1/servers/detail?limit=100", nil, &out)
		if err == nil && len(out.Servers) != 100 {
			err = fmt.Errorf("%d servers in the list", len(out.Servers))
		}
		return err
	})
}

// placementVersion has consumer generations, the form that Nova uses.
const placementVersion = "placement 1.36"

// claims asks for candidates and claims the first, on a thousand providers.
func (b *run) claims(ctx context.Context) error {
	version := []string{"OpenStack-API-Version", placementVersion}
	if _, err := b.api.do(ctx, "PUT", "/placement/resource_classes/CUSTOM_BENCH", nil, nil, version...); err != nil {
		return err
	}
	for range b.times(1000) {
		id := ids.UUID()
		_, err := b.api.do(ctx, "POST", "/placement/resource_providers", object{"name": "bench-" + id, "uuid": id}, nil, version...)
		if err != nil {
			return err
		}
		_, err = b.api.do(ctx, "PUT", "/placement/resource_providers/"+id+"/inventories", object{
			"resource_provider_generation": 0,
			"inventories":                  object{"VCPU": object{"total": 64}, "MEMORY_MB": object{"total": 262144}, "CUSTOM_BENCH": object{"total": 64}},
		}, nil, version...)
		if err != nil {
			return err
		}
	}
	query := url.Values{"resources": {"VCPU:1,MEMORY_MB:64,CUSTOM_BENCH:1"}, "limit": {"10"}}.Encode()
	return b.cost(ctx, "placement claim (candidates and allocation) at 1,000 hosts", b.times(300), 3, func(int) error {
		var out struct {
			Requests []struct {
				Allocations map[string]struct{ Resources map[string]int }
			} `json:"allocation_requests"`
		}
		if _, err := b.api.do(ctx, "GET", "/placement/allocation_candidates?"+query, nil, &out, version...); err != nil {
			return err
		}
		if len(out.Requests) == 0 {
			return errors.New("no candidates")
		}
		allocations := object{}
		for id, a := range out.Requests[0].Allocations {
			allocations[id] = object{"resources": a.Resources}
		}
		_, err := b.api.do(ctx, "PUT", "/placement/allocations/"+ids.UUID(), object{"allocations": allocations, "project_id": b.project,
			"user_id": b.project, "consumer_generation": nil}, nil, version...)
		return err
	})
}
