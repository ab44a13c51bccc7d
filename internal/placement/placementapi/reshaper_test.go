package placementapi_test

import (
	"net/http"
	"testing"

	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement/placementtest"
)

// A host's graphics card becomes a provider of its own, with the server that
// uses it.
func TestReshapeMovesInventoryAndAllocations(t *testing.T) {
	c := placementtest.New(t)
	host := c.Host("host", 4, 2048, 100)
	c.Must(http.StatusCreated, "POST", "/resource_providers/"+host+"/inventories", map[string]any{"resource_class": "VGPU", "total": 2})
	card := c.Must(http.StatusOK, "POST", "/resource_providers", map[string]any{"name": "card", "parent_provider_uuid": host}).Map()["uuid"].(string)
	srv := ids.UUID()
	c.Must(http.StatusNoContent, "PUT", "/allocations/"+srv, placementtest.Claim(host, map[string]int64{"VCPU": 1, "VGPU": 2}))
	gen := func(uuid string) any {
		return c.Must(http.StatusOK, "GET", "/resource_providers/"+uuid, nil).Map()["generation"]
	}
	inventory := func(uuid string, totals map[string]int) map[string]any {
		list := map[string]any{}
		for class, n := range totals {
			list[class] = map[string]any{"total": n}
		}
		return map[string]any{"resource_provider_generation": gen(uuid), "inventories": list}
	}
	onHost := map[string]int{"VCPU": 4, "MEMORY_MB": 2048, "DISK_GB": 100}
	left := placementtest.Claim(host, map[string]int64{"VCPU": 1, "VGPU": 2})
	left["consumer_generation"] = 1
	r := c.Do("POST", "/reshaper", map[string]any{
		"inventories": map[string]any{host: inventory(host, onHost), card: inventory(card, map[string]int{"VGPU": 2})},
		"allocations": map[string]any{srv: left},
	})
	if _, code := r.Error(); r.Status != http.StatusConflict || code != "placement.inventory.inuse" {
		t.Fatalf("reshape that leaves the card's allocation behind = %d %s", r.Status, r.Body)
	}
	moved := placementtest.Claim(host, map[string]int64{"VCPU": 1})
	moved["allocations"].(map[string]any)[card] = map[string]any{"resources": map[string]int{"VGPU": 2}}
	moved["consumer_generation"] = 1
	body := map[string]any{
		"inventories": map[string]any{host: inventory(host, onHost), card: inventory(card, map[string]int{"VGPU": 2})},
		"allocations": map[string]any{srv: moved},
	}
	c.Must(http.StatusNoContent, "POST", "/reshaper", body)
	if r := c.Do("POST", "/reshaper", body); r.Status != http.StatusConflict {
		t.Errorf("the same again, at old generations = %d", r.Status)
	}
	h, p := must(c.Service.Provider(t.Context(), host)), must(c.Service.Provider(t.Context(), card))
	if h.Inventory("VGPU") != nil || h.Inventory("VCPU").Used != 1 || p.Inventory("VGPU").Used != 2 {
		t.Errorf("host = %+v, card = %+v", h, p)
	}
	c.CheckSums()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
