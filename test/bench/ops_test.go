package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"

	"github.com/hastack/hastack/internal/ids"
)

// validate asks Keystone about the client's own token.
func (c *cloud) validate(b *testing.B) {
	if ok, err := tokens.Validate(b.Context(), c.identity, c.provider.Token()); err != nil || !ok {
		b.Fatal(ok, err)
	}
}

// create asks for one server and returns its id.
func (c *cloud) create(b *testing.B) string {
	s, err := servers.Create(b.Context(), c.compute, servers.CreateOpts{
		Name: fmt.Sprintf("b%d", c.serial.Add(1)), ImageRef: c.imageID, FlavorRef: c.flavor,
		Networks: []servers.Network{{UUID: c.netID}},
	}, nil).Extract()
	if err != nil {
		b.Error(err)
		return ""
	}
	return s.ID
}

// bootAll makes n servers, eight at a time, and waits until all are ACTIVE.
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

// awaitActive waits until no server is being built and wants every one that
// was asked for to be ACTIVE.
func (c *cloud) awaitActive(b *testing.B) {
	for range 3000 {
		c.polls.Add(1)
		if !strings.Contains(c.get(b, c.compute.Endpoint+"servers?status=BUILD&limit=1"), `"id"`) {
			if body := c.get(b, c.compute.Endpoint+"servers/detail?status=ERROR&limit=1"); strings.Contains(body, `"fault"`) {
				b.Fatalf("a server is in ERROR: %s", body)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.Fatal("servers are still being built after a minute")
}

// placement is a client of Placement at the microversion that Nova speaks.
func (c *cloud) placement(b *testing.B) *gophercloud.ServiceClient {
	sc, err := openstack.NewPlacementV1(c.provider, gophercloud.EndpointOpts{})
	check(b, err)
	sc.Microversion = "1.36"
	return sc
}

type object map[string]any

// addHosts makes providers in Placement that have what no other has.
func (c *cloud) addHosts(b *testing.B, n int) {
	sc := c.placement(b)
	send := func(method, path string, body any, codes ...int) {
		resp, err := sc.Request(b.Context(), method, sc.ServiceURL(path), &gophercloud.RequestOpts{JSONBody: body, OkCodes: codes})
		check(b, err)
		_ = resp.Body.Close()
	}
	send("PUT", "resource_classes/CUSTOM_BENCH", nil, http.StatusCreated)
	for range n {
		id := ids.UUID()
		send("POST", "resource_providers", object{"uuid": id, "name": "bench-" + id}, http.StatusOK)
		send("PUT", "resource_providers/"+id+"/inventories", object{
			"resource_provider_generation": 0,
			"inventories":                  object{"VCPU": object{"total": 64}, "MEMORY_MB": object{"total": 262144}, "CUSTOM_BENCH": object{"total": 64}},
		}, http.StatusOK)
	}
}

// candidates is how many hosts with room our scheduler asks for.
const candidates = 200

// claim asks for candidates and allocates the first.
func (c *cloud) claim(b *testing.B) {
	sc := c.placement(b)
	var out struct {
		Requests []struct {
			Allocations map[string]struct {
				Resources map[string]int `json:"resources"`
			} `json:"allocations"`
		} `json:"allocation_requests"`
	}
	_, err := sc.Get(b.Context(), sc.ServiceURL("allocation_candidates")+"?limit="+strconv.Itoa(candidates)+"&resources=VCPU:1,MEMORY_MB:64,CUSTOM_BENCH:1", &out, nil)
	if err != nil || len(out.Requests) != candidates {
		b.Fatal(len(out.Requests), err)
	}
	allocations := object{}
	for id, a := range out.Requests[0].Allocations {
		allocations[id] = object{"resources": a.Resources}
	}
	resp, err := sc.Put(b.Context(), sc.ServiceURL("allocations", ids.UUID()), object{
		"allocations": allocations, "project_id": ids.Hex(), "user_id": ids.Hex(), "consumer_generation": nil,
	}, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusNoContent}})
	check(b, err)
	_ = resp.Body.Close()
}

// wantQEMU skips where real servers would touch the machine's own networks.
func wantQEMU(b *testing.B) (image string) {
	image = os.Getenv("HASTACK_BENCH_IMAGE")
	if image == "" || os.Geteuid() != 0 {
		b.Skip("HASTACK_BENCH_IMAGE does not name an image, or this is not root: see qemu.sh")
	}
	if _, err := os.Stat(image); err != nil {
		b.Skip(err)
	}
	return image
}

// useUploaded boots the image that `up` has uploaded, with a flavor it fits in.
func (c *cloud) useUploaded(b *testing.B) {
	ic, err := openstack.NewImageV2(c.provider, gophercloud.EndpointOpts{})
	check(b, err)
	pages, err := images.List(ic, images.ListOpts{Name: "testvm"}).AllPages(b.Context())
	check(b, err)
	list, err := images.ExtractImages(pages)
	check(b, err)
	if len(list) != 1 {
		b.Fatalf("%d images of the name testvm", len(list))
	}
	c.imageID, c.flavor = list[0].ID, "qemu"
	disk := 1
	_, err = flavors.Create(b.Context(), c.compute, flavors.CreateOpts{ID: c.flavor, Name: c.flavor, VCPUs: 1, RAM: 128, Disk: &disk}).Extract()
	check(b, err)
}

// deleteServer deletes a server and waits until it is gone.
func (c *cloud) deleteServer(b *testing.B, id string) {
	check(b, servers.Delete(b.Context(), c.compute, id).ExtractErr())
	for range 500 {
		if _, err := servers.Get(b.Context(), c.compute, id).Extract(); gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.Fatalf("server %s is still there after ten seconds", id)
}

// bootTrace is how long a boot took by its trace: from POST
// /servers to the running process, and the image's part in it.
func (c *cloud) bootTrace(b *testing.B, id string) (whole, image time.Duration) {
	out, err := exec.CommandContext(b.Context(), os.Getenv("HASTACK_BIN"), "trace", "--json", "--state-dir", c.dir, id).Output()
	check(b, err)
	var t struct {
		Steps []struct {
			N        int       `json:"n"`
			Start    time.Time `json:"start"`
			Duration float64   `json:"duration_ms"`
			Outcome  string    `json:"outcome"`
		} `json:"steps"`
	}
	check(b, json.Unmarshal(out, &t))
	if len(t.Steps) != 28 || t.Steps[27].Outcome != "ok" {
		b.Fatalf("not the trace of a server that runs: %s", out)
	}
	// Not from the token check: a remembered one began before this request.
	first, last := t.Steps[2], t.Steps[27]
	took := func(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
	return last.Start.Add(took(last.Duration)).Sub(first.Start), took(t.Steps[20].Duration)
}
