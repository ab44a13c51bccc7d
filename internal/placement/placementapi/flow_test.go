package placementapi_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement/placementtest"
)

func server(vcpus, memory, disk int64) map[string]int64 {
	return map[string]int64{"VCPU": vcpus, "MEMORY_MB": memory, "DISK_GB": disk}
}

const ask = "/allocation_candidates?resources=VCPU:1,MEMORY_MB:512,DISK_GB:1"

func TestClaimTakesRoomUntilItIsGone(t *testing.T) {
	c := placementtest.New(t)
	host := c.Host("h1", 4, 2048, 100)
	c.Host("small", 4, 256, 100)
	got := c.Must(http.StatusOK, "GET", ask, nil).Map()
	requests := got["allocation_requests"].([]any)
	if len(requests) != 1 || requests[0].(map[string]any)["allocations"].(map[string]any)[host] == nil {
		t.Fatalf("candidates = %v", got)
	}
	var held []string
	for range 4 {
		id := ids.UUID()
		held = append(held, id)
		c.Must(http.StatusNoContent, "PUT", "/allocations/"+id, placementtest.Claim(host, server(1, 512, 1)))
	}
	r := c.Do("PUT", "/allocations/"+ids.UUID(), placementtest.Claim(host, server(1, 512, 1)))
	if _, code := r.Error(); r.Status != http.StatusConflict || code != "placement.undefined_code" {
		t.Errorf("fifth claim = %d %s", r.Status, r.Body)
	}
	if got := c.Must(http.StatusOK, "GET", ask, nil).Map(); len(got["allocation_requests"].([]any)) != 0 {
		t.Errorf("a full host is still a candidate: %v", got)
	}
	c.CheckSums()
	c.Must(http.StatusNoContent, "DELETE", "/allocations/"+held[0], nil)
	c.Must(http.StatusNotFound, "DELETE", "/allocations/"+held[0], nil)
	if got := c.Must(http.StatusOK, "GET", ask, nil).Map(); len(got["allocation_requests"].([]any)) != 1 {
		t.Errorf("the room given back is not offered: %v", got)
	}
	usages := c.Must(http.StatusOK, "GET", "/resource_providers/"+host+"/usages", nil).Map()["usages"].(map[string]any)
	if usages["VCPU"] != 3.0 || usages["MEMORY_MB"] != 1536.0 {
		t.Errorf("usages = %v", usages)
	}
	c.CheckSums()
}

func TestClaimIsAllOrNothing(t *testing.T) {
	c := placementtest.New(t)
	host := c.Host("h1", 4, 2048, 100)
	id := ids.UUID()
	r := c.Do("PUT", "/allocations/"+id, placementtest.Claim(host, server(1, 4096, 1)))
	if r.Status != http.StatusConflict {
		t.Fatalf("claim of too much memory = %d %s", r.Status, r.Body)
	}
	if a := c.Must(http.StatusOK, "GET", "/allocations/"+id, nil).Map()["allocations"].(map[string]any); len(a) != 0 {
		t.Errorf("something stayed: %v", a)
	}
	if p, _ := c.Service.Provider(t.Context(), host); p.Inventory("VCPU").Used != 0 {
		t.Errorf("used VCPU = %d", p.Inventory("VCPU").Used)
	}
	c.CheckSums()
}

func TestConsumerGenerationDecidesRaces(t *testing.T) {
	c := placementtest.New(t)
	host := c.Host("h1", 8, 8192, 100)
	id := ids.UUID()
	claim := placementtest.Claim(host, server(1, 512, 1))
	c.Must(http.StatusNoContent, "PUT", "/allocations/"+id, claim)
	r := c.Do("PUT", "/allocations/"+id, claim) // generation null, but it exists
	if _, code := r.Error(); r.Status != http.StatusConflict || code != "placement.concurrent_update" {
		t.Fatalf("second claim as new = %d %s", r.Status, r.Body)
	}
	got := c.Must(http.StatusOK, "GET", "/allocations/"+id, nil).Map()
	if got["consumer_generation"] != 1.0 || got["consumer_type"] != "INSTANCE" {
		t.Fatalf("allocations = %v", got)
	}
	claim = placementtest.Claim(host, server(4, 1024, 1))
	claim["consumer_generation"] = 1
	c.Must(http.StatusNoContent, "PUT", "/allocations/"+id, claim)
	if r := c.Do("PUT", "/allocations/"+id, claim); r.Status != http.StatusConflict {
		t.Errorf("stale generation = %d", r.Status)
	}
	if p, _ := c.Service.Provider(t.Context(), host); p.Inventory("VCPU").Used != 4 {
		t.Errorf("used VCPU = %d, want the 4 of the resize", p.Inventory("VCPU").Used)
	}
	c.CheckSums()
	empty := map[string]any{"allocations": map[string]any{}, "project_id": "p", "user_id": "u", "consumer_generation": 2, "consumer_type": "INSTANCE"}
	c.Must(http.StatusNoContent, "PUT", "/allocations/"+id, empty)
	if got := c.Must(http.StatusOK, "GET", "/allocations/"+id, nil).Map(); got["consumer_generation"] != nil {
		t.Errorf("the consumer is still there: %v", got)
	}
	c.CheckSums()
}

func TestMoveBetweenConsumersNeedsNoExtraRoom(t *testing.T) {
	c := placementtest.New(t)
	host := c.Host("h1", 2, 1024, 10)
	srv, mig := ids.UUID(), ids.UUID()
	c.Must(http.StatusNoContent, "PUT", "/allocations/"+srv, placementtest.Claim(host, server(2, 1024, 10)))
	move := placementtest.Claim(host, server(2, 1024, 10))
	move["consumer_type"] = "MIGRATION"
	c.Must(http.StatusNoContent, "POST", "/allocations", map[string]any{
		mig: move,
		srv: map[string]any{
			"allocations": map[string]any{}, "project_id": "p", "user_id": "u", "consumer_generation": 1, "consumer_type": "INSTANCE",
		},
	})
	held := c.Must(http.StatusOK, "GET", "/resource_providers/"+host+"/allocations", nil).Map()["allocations"].(map[string]any)
	if len(held) != 1 || held[mig] == nil {
		t.Errorf("held = %v", held)
	}
	c.CheckSums()
}

func TestProviderGenerationDecidesRaces(t *testing.T) {
	c := placementtest.New(t)
	host := c.Host("h1", 4, 2048, 100)
	path := "/resource_providers/" + host + "/inventories"
	inv := c.Must(http.StatusOK, "GET", path, nil).Map()
	gen := inv["resource_provider_generation"]
	body := map[string]any{"resource_provider_generation": gen, "inventories": map[string]any{"VCPU": map[string]any{"total": 8, "allocation_ratio": 4.0}}}
	got := c.Must(http.StatusOK, "PUT", path, body).Map()
	if got["resource_provider_generation"] != gen.(float64)+1 || got["inventories"].(map[string]any)["DISK_GB"] != nil {
		t.Errorf("inventories = %v", got)
	}
	r := c.Do("PUT", path, body)
	if _, code := r.Error(); r.Status != http.StatusConflict || code != "placement.concurrent_update" {
		t.Errorf("stale generation = %d %s", r.Status, r.Body)
	}
	c.Must(http.StatusNoContent, "PUT", "/allocations/"+ids.UUID(), placementtest.Claim(host, map[string]int64{"VCPU": 30}))
	r = c.Do("DELETE", path+"/VCPU", nil)
	if _, code := r.Error(); r.Status != http.StatusConflict || code != "placement.inventory.inuse" {
		t.Errorf("delete in use = %d %s", r.Status, r.Body)
	}
	r = c.Do("DELETE", "/resource_providers/"+host, nil)
	if _, code := r.Error(); r.Status != http.StatusConflict || code != "placement.resource_provider.inuse" {
		t.Errorf("delete provider in use = %d %s", r.Status, r.Body)
	}
	// A host that lost processors keeps its servers, and takes no more.
	gen = c.Must(http.StatusOK, "GET", path, nil).Map()["resource_provider_generation"]
	c.Must(http.StatusOK, "PUT", path+"/VCPU", map[string]any{"resource_provider_generation": gen, "total": 4})
	if r := c.Do("PUT", "/allocations/"+ids.UUID(), placementtest.Claim(host, map[string]int64{"VCPU": 1})); r.Status != http.StatusConflict {
		t.Errorf("claim on a host over its capacity = %d", r.Status)
	}
}

func TestCandidatesHonourTraitsAndAggregates(t *testing.T) {
	c := placementtest.New(t)
	a, b := c.Host("a", 4, 2048, 100), c.Host("b", 4, 2048, 100)
	agg := ids.UUID()
	c.Must(http.StatusCreated, "PUT", "/traits/CUSTOM_FAST", nil)
	c.Must(http.StatusNoContent, "PUT", "/traits/CUSTOM_FAST", nil)
	gen := func(host string) any {
		return c.Must(http.StatusOK, "GET", "/resource_providers/"+host, nil).Map()["generation"]
	}
	c.Must(http.StatusOK, "PUT", "/resource_providers/"+a+"/traits", map[string]any{
		"resource_provider_generation": gen(a), "traits": []string{"CUSTOM_FAST", "HW_CPU_X86_AVX2"},
	})
	c.Must(http.StatusOK, "PUT", "/resource_providers/"+b+"/aggregates", map[string]any{
		"resource_provider_generation": gen(b), "aggregates": []string{agg},
	})
	for query, want := range map[string][]string{
		"":                       {a, b},
		"&required=CUSTOM_FAST":  {a},
		"&required=!CUSTOM_FAST": {b},
		"&required=in:CUSTOM_FAST,STORAGE_DISK_SSD": {a},
		"&required=CUSTOM_FAST,!HW_CPU_X86_AVX2":    nil,
		"&member_of=" + agg:                         {b},
		"&member_of=in:" + agg + "," + ids.UUID():   {b},
		"&member_of=!" + agg:                        {a},
		"&in_tree=" + a:                             {a},
		"&in_tree=" + ids.UUID():                    nil,
		"&root_required=CUSTOM_FAST":                {a},
	} {
		got := c.Must(http.StatusOK, "GET", ask+query, nil).Map()
		var found []string
		for uuid := range got["provider_summaries"].(map[string]any) {
			found = append(found, uuid)
		}
		slices.Sort(found)
		slices.Sort(want)
		if !slices.Equal(found, want) {
			t.Errorf("%s: %v, want %v", query, found, want)
		}
	}
	if r := c.Do("GET", ask+"&limit=1", nil); len(r.Map()["allocation_requests"].([]any)) != 1 {
		t.Errorf("limit=1: %s", r.Body)
	}
	if r := c.Do("DELETE", "/traits/CUSTOM_FAST", nil); r.Status != http.StatusConflict {
		t.Errorf("delete a trait in use = %d", r.Status)
	}
}

func TestTreesAndSharedStorageAreCombined(t *testing.T) {
	c := placementtest.New(t)
	ctx := t.Context()
	root := c.Must(http.StatusOK, "POST", "/resource_providers", map[string]any{"name": "host"}).Map()["uuid"].(string)
	numa := c.Must(http.StatusOK, "POST", "/resource_providers", map[string]any{"name": "numa", "parent_provider_uuid": root}).Map()
	if numa["root_provider_uuid"] != root || numa["parent_provider_uuid"] != root {
		t.Fatalf("child = %v", numa)
	}
	nfs := c.Must(http.StatusOK, "POST", "/resource_providers", map[string]any{"name": "nfs"}).Map()["uuid"].(string)
	put := func(uuid, class string, total int) {
		c.Must(http.StatusCreated, "POST", "/resource_providers/"+uuid+"/inventories", map[string]any{"resource_class": class, "total": total})
	}
	put(root, "MEMORY_MB", 2048)
	put(numa["uuid"].(string), "VCPU", 4)
	put(nfs, "DISK_GB", 1000)
	if got := c.Must(http.StatusOK, "GET", ask, nil).Map(); len(got["allocation_requests"].([]any)) != 0 {
		t.Fatalf("storage that is not shared was used: %v", got)
	}
	agg := ids.UUID()
	if _, err := c.Service.SetTraits(ctx, nfs, nil, []string{"MISC_SHARES_VIA_AGGREGATE"}); err != nil {
		t.Fatal(err)
	}
	for _, uuid := range []string{root, nfs} {
		if _, err := c.Service.SetAggregates(ctx, uuid, nil, []string{agg}); err != nil {
			t.Fatal(err)
		}
	}
	got := c.Must(http.StatusOK, "GET", ask, nil).Map()
	requests := got["allocation_requests"].([]any)
	if len(requests) != 1 {
		t.Fatalf("candidates = %v", got)
	}
	allocations := requests[0].(map[string]any)["allocations"].(map[string]any)
	if len(allocations) != 3 || len(got["provider_summaries"].(map[string]any)) != 3 {
		t.Fatalf("candidates = %v", got)
	}
	if r := c.As("service", "1.28", "GET", ask, nil); len(r.Map()["allocation_requests"].([]any)) != 0 {
		t.Errorf("a nested candidate for a client before 1.29: %s", r.Body)
	}
	claim := placementtest.Claim(root, nil)
	claim["allocations"] = allocations
	c.Must(http.StatusNoContent, "PUT", "/allocations/"+ids.UUID(), claim)
	c.CheckSums()
	r := c.Do("DELETE", "/resource_providers/"+root, nil)
	if _, code := r.Error(); r.Status != http.StatusConflict || code != "placement.resource_provider.cannot_delete_parent" {
		t.Errorf("delete a parent = %d %s", r.Status, r.Body)
	}
}

func TestProviderMovesAndGoes(t *testing.T) {
	c := placementtest.New(t)
	mk := func(name, parent string) string {
		body := map[string]any{"name": name}
		if parent != "" {
			body["parent_provider_uuid"] = parent
		}
		return c.Must(http.StatusOK, "POST", "/resource_providers", body).Map()["uuid"].(string)
	}
	a, b := mk("a", ""), mk("b", "")
	a1 := mk("a1", a)
	a2 := mk("a2", a1)
	if r := c.Do("POST", "/resource_providers", map[string]any{"name": "a"}); r.Status != http.StatusConflict {
		t.Errorf("second provider named a = %d", r.Status)
	}
	if r := c.Do("PUT", "/resource_providers/"+a, map[string]any{"name": "a", "parent_provider_uuid": a2}); r.Status != http.StatusBadRequest {
		t.Errorf("a loop = %d %s", r.Status, r.Body)
	}
	if r := c.As("service", "1.36", "PUT", "/resource_providers/"+a1, map[string]any{"name": "a1", "parent_provider_uuid": b}); r.Status != http.StatusBadRequest {
		t.Errorf("move before 1.37 = %d", r.Status)
	}
	c.Must(http.StatusOK, "PUT", "/resource_providers/"+a1, map[string]any{"name": "a1", "parent_provider_uuid": b})
	list := c.Must(http.StatusOK, "GET", "/resource_providers?in_tree="+b, nil).Map()["resource_providers"].([]any)
	if len(list) != 3 {
		t.Errorf("tree of b = %v", list)
	}
	c.Must(http.StatusNoContent, "DELETE", "/resource_providers/"+a2, nil)
	c.Must(http.StatusNotFound, "GET", "/resource_providers/"+a2, nil)
	if list := c.Must(http.StatusOK, "GET", "/resource_providers?name=a2", nil).Map()["resource_providers"].([]any); len(list) != 0 {
		t.Errorf("deleted provider is listed: %v", list)
	}
}
