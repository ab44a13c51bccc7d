package placement_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	neturl "net/url"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/db/dbtest"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement"
	"github.com/hastack/hastack/internal/placement/placementtest"
)

func newClaim(consumer, provider string, res map[string]int64) placement.Claim {
	return placement.Claim{
		Consumer:        placement.Consumer{UUID: consumer, ProjectID: "p", UserID: "u", Type: "INSTANCE"},
		CheckGeneration: true, Allocations: placement.Allocations{provider: res},
	}
}

// three opens three servers on one database, as three nodes would.
func three(t *testing.T) [3]*placementtest.Cloud {
	t.Helper()
	url := dbtest.URL(t)
	var c [3]*placementtest.Cloud
	for i := range c {
		if i == 0 {
			c[i] = placementtest.On(t, dbtest.Open(t, db.Config{URL: url, NoSync: true}, placement.Migrations))
		} else {
			c[i] = placementtest.On(t, dbtest.Open(t, db.Config{URL: url, NoSync: true}))
		}
	}
	return c
}

// 200 servers onto hosts with room for exactly 200, from three schedulers that
// each believe their own candidates: all fit, no host holds one too many.
func TestThreeServersFillTheCloudExactly(t *testing.T) {
	c := three(t)
	const hosts, each = 20, 10
	for i := range hosts {
		c[0].Host(fmt.Sprint("h", i), each, each*512, each*10)
	}
	res := map[string]int64{"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 10}
	var placed atomic.Int64
	var wg sync.WaitGroup
	for i := range hosts * each {
		wg.Go(func() {
			if boot(t, c[i%3].Service, res) {
				placed.Add(1)
			}
		})
	}
	wg.Wait()
	if placed.Load() != hosts*each {
		t.Errorf("%d of %d servers found a place", placed.Load(), hosts*each)
	}
	if boot(t, c[1].Service, res) {
		t.Error("one more than there is room for was placed")
	}
	for _, cloud := range c {
		cloud.CheckSums()
	}
}

// boot asks for candidates and claims the first that still has room.
func boot(t *testing.T, s *placement.Service, res map[string]int64) bool {
	consumer := ids.UUID()
	for range 100 {
		found, err := s.Candidates(t.Context(), &placement.Query{Resources: res, Nested: true})
		if err != nil {
			t.Error(err)
			return false
		}
		if len(found.List) == 0 {
			return false
		}
		host := found.List[rand.N(len(found.List))].One
		err = s.Replace(t.Context(), newClaim(consumer, host.UUID, res))
		if err == nil {
			return true
		}
		if !fault.Is(err, fault.Conflict) {
			t.Error(err)
			return false
		}
	}
	return false
}

// Whatever clients do at once, used is the sum of the allocations and never
// above the capacity.
func TestConcurrentChangesKeepTheSums(t *testing.T) {
	c := three(t)
	rapid.Check(t, func(rt *rapid.T) {
		hosts := make([]string, rapid.IntRange(1, 3).Draw(rt, "hosts"))
		for i := range hosts {
			hosts[i] = c[0].Host(ids.UUID(), rapid.Int64Range(1, 8).Draw(rt, "vcpus"), 4096, 100)
		}
		consumers := make([]string, rapid.IntRange(1, 4).Draw(rt, "consumers"))
		for i := range consumers {
			consumers[i] = ids.UUID()
		}
		type step struct {
			Consumer, Host, Server int
			VCPUs, MemoryMB        int64
		}
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{
				rapid.IntRange(0, len(consumers)-1).Draw(rt, "consumer"), rapid.IntRange(0, len(hosts)-1).Draw(rt, "host"),
				rapid.IntRange(0, 2).Draw(rt, "server"),
				rapid.Int64Range(0, 5).Draw(rt, "vcpus"), rapid.Int64Range(1, 3000).Draw(rt, "memory"),
			}
		}), 4, 16).Draw(rt, "steps")
		var wg sync.WaitGroup
		for _, st := range steps {
			wg.Go(func() {
				svc, consumer := c[st.Server].Service, consumers[st.Consumer]
				var err error
				if st.VCPUs == 0 {
					err = svc.DeleteAllocations(t.Context(), consumer)
				} else {
					claim := newClaim(consumer, hosts[st.Host], map[string]int64{"VCPU": st.VCPUs, "MEMORY_MB": st.MemoryMB})
					claim.CheckGeneration = st.VCPUs%2 == 0 // the others are old clients, who overwrite
					err = svc.Replace(t.Context(), claim)
				}
				if err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
					t.Errorf("%+v: %v", st, err)
				}
			})
		}
		wg.Wait()
		c[0].CheckSums()
		if t.Failed() {
			rt.FailNow()
		}
	})
}

func TestSnapshotFollowsOtherServers(t *testing.T) {
	c := three(t)
	host := c[0].Host("h", 4, 4096, 100)
	for _, cloud := range c {
		p, err := cloud.Service.Provider(t.Context(), host)
		if err != nil || len(p.Inventories) != 3 {
			t.Fatalf("provider = %+v, %v", p, err)
		}
	}
	consumer := ids.UUID()
	if err := c[1].Service.Replace(t.Context(), newClaim(consumer, host, map[string]int64{"VCPU": 3})); err != nil {
		t.Fatal(err)
	}
	if p, _ := c[2].Service.Provider(t.Context(), host); p.Inventory("VCPU").Used != 3 {
		t.Errorf("another server sees %d used", p.Inventory("VCPU").Used)
	}
	if _, err := c[0].Service.SetTraits(t.Context(), host, nil, []string{"HW_NUMA_ROOT"}); err != nil {
		t.Fatal(err)
	}
	if err := c[1].Service.DeleteAllocations(t.Context(), consumer); err != nil {
		t.Fatal(err)
	}
	if p, _ := c[2].Service.Provider(t.Context(), host); !p.HasTrait("HW_NUMA_ROOT") || p.Inventory("VCPU").Used != 0 {
		t.Errorf("another server sees %+v", p)
	}
	if err := c[2].Service.DeleteProvider(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	if _, err := c[0].Service.Provider(t.Context(), host); !fault.Is(err, fault.NotFound) {
		t.Errorf("another server still has it: %v", err)
	}
}

func TestClaimHonoursUnits(t *testing.T) {
	c := placementtest.New(t)
	p, err := c.Service.CreateProvider(t.Context(), "", "h", "")
	if err != nil {
		t.Fatal(err)
	}
	inv := placement.NewInventory("MEMORY_MB", 1000)
	inv.MinUnit, inv.MaxUnit, inv.StepSize, inv.AllocationRatio, inv.Reserved = 100, 500, 50, 1.5, 200
	if _, err := c.Service.SetInventories(t.Context(), p.UUID, p.Generation, []placement.Inventory{inv}, true); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		amount int64
		ok     bool
	}{{50, false}, {120, false}, {550, false}, {500, true}, {500, true}, {250, false}, {200, true}, {100, false}} {
		err := c.Service.Replace(t.Context(), newClaim(ids.UUID(), p.UUID, map[string]int64{"MEMORY_MB": row.amount}))
		if (err == nil) != row.ok {
			t.Errorf("claim of %d: %v", row.amount, err)
		}
	}
	c.CheckSums()
}

// A resize within the capacity and its units works on what is held, not on the
// difference.
func TestReplacingAnAllocationChecksTheWholeAmount(t *testing.T) {
	c := placementtest.New(t)
	p, _ := c.Service.CreateProvider(t.Context(), "", "h", "")
	inv := placement.NewInventory("VCPU", 8)
	inv.StepSize = 2
	if _, err := c.Service.SetInventories(t.Context(), p.UUID, p.Generation, []placement.Inventory{inv}, true); err != nil {
		t.Fatal(err)
	}
	consumer := ids.UUID()
	var gen *int64
	for i, row := range []struct {
		amount int64
		ok     bool
	}{{4, true}, {5, false}, {3, false}, {8, true}, {10, false}, {2, true}} {
		claim := newClaim(consumer, p.UUID, map[string]int64{"VCPU": row.amount})
		claim.Generation = gen
		err := c.Service.Replace(t.Context(), claim)
		if (err == nil) != row.ok {
			t.Errorf("step %d, %d: %v", i, row.amount, err)
		}
		h, _ := c.Service.Holding(t.Context(), consumer)
		gen = &h.Consumer.Generation
	}
	c.CheckSums()
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	if !dbtest.MySQL() {
		t.Skip("HASTACK_TEST_MYSQL names no server: a file cannot be away")
	}
	url := dbtest.URL(t)
	u, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	wire := newWire(t, u.Host)
	u.Host = wire.addr
	c := placementtest.On(t, dbtest.Open(t, db.Config{URL: u.String()}, placement.Migrations))
	host := c.Host("h", 4, 4096, 100)
	wire.cut()
	if r := c.Do("GET", "/resource_providers/"+host, nil); r.Status != http.StatusServiceUnavailable {
		t.Errorf("without the database = %d %s", r.Status, r.Body)
	}
	wire.mend()
	c.Must(http.StatusOK, "GET", "/resource_providers/"+host, nil)
}
