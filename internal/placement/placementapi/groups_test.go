package placementapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement/placementtest"
)

// networkQuery asks for a processor and bandwidth on two networks, as a server
// with two ports of guaranteed bandwidth does.
const networkQuery = "/allocation_candidates?resources=VCPU:1" +
	"&resources_NET1=NET_BW_EGR_KILOBIT_PER_SEC:10&required_NET1=CUSTOM_PHYSNET1" +
	"&resources_NET2=NET_BW_EGR_KILOBIT_PER_SEC:20&required_NET2=CUSTOM_PHYSNET2&group_policy=none"

type nics struct{ root, agent, nic1, nic2 string }

// nicTree is a host with an agent, which has a nic on each of two networks.
func nicTree(c *placementtest.Cloud) nics {
	mk := func(name, parent, class string, total int, trait string) string {
		body := map[string]any{"name": name}
		if parent != "" {
			body["parent_provider_uuid"] = parent
		}
		p := c.Must(http.StatusOK, "POST", "/resource_providers", body).Map()
		uuid := p["uuid"].(string)
		c.Do("PUT", "/traits/"+trait, nil)
		c.Must(http.StatusOK, "PUT", "/resource_providers/"+uuid+"/traits", map[string]any{
			"resource_provider_generation": p["generation"], "traits": []string{trait},
		})
		c.Must(http.StatusCreated, "POST", "/resource_providers/"+uuid+"/inventories", map[string]any{"resource_class": class, "total": total})
		return uuid
	}
	c.Do("PUT", "/resource_classes/CUSTOM_AGENT", nil)
	var n nics
	n.root = mk("nic-host", "", "VCPU", 4, "CUSTOM_FOO")
	n.agent = mk("agent", n.root, "CUSTOM_AGENT", 1, "CUSTOM_VNIC_TYPE_DIRECT")
	n.nic1 = mk("nic1", n.agent, "NET_BW_EGR_KILOBIT_PER_SEC", 1000, "CUSTOM_PHYSNET1")
	n.nic2 = mk("nic2", n.agent, "NET_BW_EGR_KILOBIT_PER_SEC", 1000, "CUSTOM_PHYSNET2")
	return n
}

func TestGroupsAreServedByOneProviderEach(t *testing.T) {
	c := placementtest.New(t)
	n := nicTree(c)
	c.Host("no nics", 4, 2048, 100)
	got := c.Must(http.StatusOK, "GET", networkQuery, nil).Map()
	requests := got["allocation_requests"].([]any)
	if len(requests) != 1 || len(got["provider_summaries"].(map[string]any)) != 4 {
		t.Fatalf("candidates = %v", got)
	}
	first := requests[0].(map[string]any)
	want := fmt.Sprint(map[string]any{
		"": []any{n.root}, "_NET1": []any{n.nic1}, "_NET2": []any{n.nic2},
	})
	if fmt.Sprint(first["mappings"]) != want {
		t.Errorf("mappings = %v, want %v", first["mappings"], want)
	}
	claim := placementtest.Claim(n.root, nil)
	claim["allocations"], claim["mappings"] = first["allocations"], first["mappings"]
	c.Must(http.StatusNoContent, "PUT", "/allocations/"+ids.UUID(), claim)
	if p, _ := c.Service.Provider(t.Context(), n.nic2); p.Inventory("NET_BW_EGR_KILOBIT_PER_SEC").Used != 20 {
		t.Errorf("nic2 = %+v", p)
	}
	c.CheckSums()
}

func TestGroupsHonourPolicySumsAndSubtrees(t *testing.T) {
	c := placementtest.New(t)
	n := nicTree(c)
	bw := func(suffix string, amount int) string {
		return fmt.Sprintf("&resources%s=NET_BW_EGR_KILOBIT_PER_SEC:%d", suffix, amount)
	}
	base := "/allocation_candidates?in_tree=" + n.root
	for query, want := range map[string]int{
		bw("1", 600): 2,
		bw("1", 400) + bw("2", 400) + "&group_policy=none":                       4,
		bw("1", 400) + bw("2", 400) + "&group_policy=isolate":                    2,
		bw("1", 600) + bw("2", 600) + "&group_policy=none":                       2, // both on one nic would be too much
		bw("1", 400) + bw("2", 400) + bw("3", 1) + "&group_policy=isolate":       0,
		bw("1", 400) + "&required1=!CUSTOM_PHYSNET1":                             1,
		bw("1", 400) + "&in_tree1=" + n.nic2:                                     2,
		bw("1", 400) + "&in_tree1=" + ids.UUID():                                 0,
		bw("_N", 1) + "&required_A=CUSTOM_VNIC_TYPE_DIRECT&same_subtree=_N,_A":   2,
		bw("_N", 1) + "&resources_C=VCPU:1&group_policy=none&same_subtree=_N,_C": 2, // the root is above the nics
		bw("_N", 1) + bw("_M", 1) + "&group_policy=isolate&same_subtree=_N,_M":   0, // no nic is above the other
	} {
		got := c.Must(http.StatusOK, "GET", base+query, nil).Map()
		if n := len(got["allocation_requests"].([]any)); n != want {
			t.Errorf("%s: %d candidates, want %d: %v", query, n, want, got["allocation_requests"])
		}
	}
}

// A query whose combinations explode ends.
func TestCombinationsAreBounded(t *testing.T) {
	c := placementtest.New(t)
	root := c.Must(http.StatusOK, "POST", "/resource_providers", map[string]any{"name": "root"}).Map()["uuid"].(string)
	for i := range 12 {
		uuid := c.Must(http.StatusOK, "POST", "/resource_providers", map[string]any{
			"name": fmt.Sprint("child", i), "parent_provider_uuid": root,
		}).Map()["uuid"].(string)
		c.Must(http.StatusCreated, "POST", "/resource_providers/"+uuid+"/inventories", map[string]any{"resource_class": "VGPU", "total": 1})
	}
	query := "/allocation_candidates?group_policy=isolate"
	for i := range 13 { // one more than there are
		query += fmt.Sprintf("&resources_%d=VGPU:1", i)
	}
	if got := c.Must(http.StatusOK, "GET", query, nil).Map(); len(got["allocation_requests"].([]any)) != 0 {
		t.Errorf("candidates = %v", got)
	}
}
