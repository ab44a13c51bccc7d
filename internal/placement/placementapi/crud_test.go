package placementapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/placement"
	"github.com/hastack/hastack/internal/placement/placementtest"
)

func TestOnlyAdminsAndServicesMayUsePlacement(t *testing.T) {
	c := placementtest.New(t)
	for _, route := range c.API.Routes() {
		if route.Path == "/{$}" {
			continue
		}
		path := strings.NewReplacer("{uuid}", ids.UUID(), "{consumer}", ids.UUID(), "{class}", "VCPU", "{name}", "CUSTOM_X").Replace(route.Path)
		for persona, wantForbidden := range map[string]bool{"member": true, "reader": true, "other": true, "admin": false, "service": false} {
			if route.Path == "/reshaper" && persona == "admin" {
				wantForbidden = true // published as service only
			}
			r := c.As(persona, placementtest.Latest, route.Method, path, nil)
			if (r.Status == http.StatusForbidden) != wantForbidden {
				t.Errorf("%s as %s = %d %s", route.Method+" "+route.Path, persona, r.Status, r.Body)
			}
			if r.Status >= 500 {
				t.Errorf("%s as %s = %d", route.Method+" "+route.Path, persona, r.Status)
			}
		}
		if r := c.As("nonsense", placementtest.Latest, route.Method, path, nil); r.Status != http.StatusUnauthorized {
			t.Errorf("%s without a valid token = %d", route.Method+" "+route.Path, r.Status)
		}
	}
}

func TestAReaderSeesTheUsagesOfItsOwnProject(t *testing.T) {
	c := placementtest.New(t)
	for project, want := range map[string]int{
		"d0000000000000000000000000000001": http.StatusOK, "e0000000000000000000000000000001": http.StatusForbidden,
	} {
		if r := c.As("reader", "1.9", "GET", "/usages?project_id="+project, nil); r.Status != want {
			t.Errorf("usages of %s = %d, want %d", project, r.Status, want)
		}
	}
}

func TestMicroversionsOutOfRangeAreRefused(t *testing.T) {
	c := placementtest.New(t)
	r := c.As("service", "1.40", "GET", "/resource_providers", nil)
	if r.Status != http.StatusNotAcceptable || !strings.Contains(string(r.Body), `"max_version":"1.39"`) {
		t.Errorf("1.40 = %d %s", r.Status, r.Body)
	}
	if r := c.As("service", "one", "GET", "/resource_providers", nil); r.Status != http.StatusBadRequest {
		t.Errorf("one = %d", r.Status)
	}
	if r := c.As("service", "latest", "GET", "/resource_providers", nil); r.Header.Get("OpenStack-API-Version") != "placement 1.39" {
		t.Errorf("latest = %v", r.Header)
	}
	for path, before := range map[string]string{
		"/allocation_candidates?resources=VCPU:1": "1.9", "/usages?project_id=x": "1.8", "/traits": "1.5", "/resource_classes": "1.1",
	} {
		if r := c.As("service", before, "GET", path, nil); r.Status != http.StatusNotFound {
			t.Errorf("%s at %s = %d", path, before, r.Status)
		}
	}
}

// Every wrong request is answered with the envelope and changes nothing.
func TestBadRequestsAreRefused(t *testing.T) {
	c := placementtest.New(t)
	host := c.Host("h", 4, 2048, 100)
	gen := func() int64 {
		p, err := c.Service.Provider(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		return p.Generation
	}
	before := gen()
	rp, alloc := "/resource_providers/"+host, "/allocations/"+ids.UUID()
	claim := func(resources string) string {
		return fmt.Sprintf(`{"allocations":{%q:{"resources":%s}},"project_id":"p","user_id":"u","consumer_generation":null,"consumer_type":"INSTANCE"}`, host, resources)
	}
	for _, row := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/resource_providers", ``, 400},
		{"POST", "/resource_providers", `{`, 400},
		{"POST", "/resource_providers", `[]`, 400},
		{"POST", "/resource_providers", `{}`, 400},
		{"POST", "/resource_providers", `{"name":""}`, 400},
		{"POST", "/resource_providers", `{"name":"` + strings.Repeat("x", 201) + `"}`, 400},
		{"POST", "/resource_providers", `{"name":"n","uuid":"x"}`, 400},
		{"POST", "/resource_providers", `{"name":"n","flavour":1}`, 400},
		{"POST", "/resource_providers", `{"name":7}`, 400},
		{"POST", "/resource_providers", `{"name":"n","parent_provider_uuid":"` + ids.UUID() + `"}`, 400},
		{"PUT", "/resource_providers/" + ids.UUID(), `{"name":"n"}`, 404},
		{"DELETE", "/resource_providers/x", ``, 404},
		{"GET", "/resource_providers?colour=blue", ``, 400},
		{"GET", "/resource_providers?uuid=x", ``, 400},
		{"GET", "/resource_providers?name=a&name=b", ``, 400},
		{"PUT", rp + "/inventories", `{"inventories":{}}`, 400},
		{"PUT", rp + "/inventories", `{"resource_provider_generation":99,"inventories":{}}`, 409},
		{"PUT", rp + "/inventories/VCPU", `{"resource_provider_generation":1}`, 400},
		{"PUT", rp + "/inventories/VCPU", fmt.Sprintf(`{"resource_provider_generation":%d,"total":0}`, before), 400},
		{"PUT", rp + "/inventories/VCPU", fmt.Sprintf(`{"resource_provider_generation":%d,"total":2147483648}`, before), 400},
		{"PUT", rp + "/inventories/VCPU", fmt.Sprintf(`{"resource_provider_generation":%d,"total":4,"reserved":5}`, before), 400},
		{"PUT", rp + "/inventories/VCPU", fmt.Sprintf(`{"resource_provider_generation":%d,"total":4,"allocation_ratio":-1}`, before), 400},
		{"PUT", rp + "/inventories/VCPU", fmt.Sprintf(`{"resource_provider_generation":%d,"total":4.5}`, before), 400},
		{"PUT", rp + "/inventories/PGPU", fmt.Sprintf(`{"resource_provider_generation":%d,"total":4}`, before), 400},
		{"POST", rp + "/inventories", `{"resource_class":"CUSTOM_NONE","total":4}`, 400},
		{"POST", rp + "/inventories", `{"resource_class":"VCPU","total":4}`, 409},
		{"DELETE", rp + "/inventories/PGPU", ``, 404},
		{"PUT", rp + "/traits", fmt.Sprintf(`{"resource_provider_generation":%d,"traits":["CUSTOM_UNKNOWN"]}`, before), 400},
		{"PUT", rp + "/aggregates", fmt.Sprintf(`{"resource_provider_generation":%d,"aggregates":["x"]}`, before), 400},
		{"PUT", "/traits/FAST", ``, 400},
		{"PUT", "/traits/CUSTOM_fast", ``, 400},
		{"DELETE", "/traits/HW_CPU_X86_AVX", ``, 400},
		{"GET", "/traits/CUSTOM_NONE", ``, 404},
		{"GET", "/traits?associated=maybe", ``, 400},
		{"POST", "/resource_classes", `{"name":"FPGA2"}`, 400},
		{"DELETE", "/resource_classes/VCPU", ``, 400},
		{"DELETE", "/resource_classes/CUSTOM_NONE", ``, 404},
		{"PUT", alloc, claim(`{"VCPU":0}`), 400},
		{"PUT", alloc, claim(`{"VCPU":-1}`), 400},
		{"PUT", alloc, claim(`{"VCPU":1.5}`), 400},
		{"PUT", alloc, claim(`{}`), 400},
		{"PUT", alloc, claim(`{"CUSTOM_NONE":1}`), 400},
		{"PUT", alloc, claim(`{"PGPU":1}`), 409},
		{"PUT", alloc, strings.Replace(claim(`{"VCPU":1}`), host, ids.UUID(), 1), 400},
		{"PUT", alloc, strings.Replace(claim(`{"VCPU":1}`), host, "x", 1), 400},
		{"PUT", alloc, strings.Replace(claim(`{"VCPU":1}`), `"consumer_generation":null,`, ``, 1), 400},
		{"PUT", alloc, strings.Replace(claim(`{"VCPU":1}`), `null`, `3`, 1), 409},
		{"PUT", alloc, strings.Replace(claim(`{"VCPU":1}`), `INSTANCE`, `instance!`, 1), 400},
		{"PUT", "/allocations/x", claim(`{"VCPU":1}`), 400},
		{"POST", "/allocations", `{}`, 400},
		{"POST", "/allocations", `{"` + ids.UUID() + `":null}`, 400},
		{"GET", "/allocation_candidates", ``, 400},
		{"GET", "/allocation_candidates?resources=VCPU", ``, 400},
		{"GET", "/allocation_candidates?resources=VCPU:0", ``, 400},
		{"GET", "/allocation_candidates?resources=VCPU:1,VCPU:2", ``, 400},
		{"GET", "/allocation_candidates?resources=CUSTOM_NONE:1", ``, 400},
		{"GET", "/allocation_candidates?resources=VCPU:1&required=CUSTOM_NONE", ``, 400},
		{"GET", "/allocation_candidates?resources=VCPU:1&required=HW_NUMA_ROOT,!HW_NUMA_ROOT", ``, 400},
		{"GET", "/allocation_candidates?resources=VCPU:1&limit=0", ``, 400},
		{"GET", "/allocation_candidates?resources=VCPU:1&member_of=x", ``, 400},
		{"GET", "/allocation_candidates?resources1=VCPU:1&resources2=VCPU:1", ``, 400},
		{"GET", "/allocation_candidates?resources1=VCPU:1&resources2=VCPU:1&group_policy=maybe", ``, 400},
		{"GET", "/allocation_candidates?resources=VCPU:1&required_A=HW_NUMA_ROOT", ``, 400},
		{"GET", "/allocation_candidates?required_A=HW_NUMA_ROOT&same_subtree=_A", ``, 400},
		{"GET", "/allocation_candidates?resources_A=VCPU:1&same_subtree=_B", ``, 400},
		{"GET", "/allocation_candidates?resources_%20=VCPU:1", ``, 400},
		{"GET", "/usages", ``, 400},
		{"POST", "/reshaper", `{}`, 400},
		{"POST", "/reshaper", `{"inventories":{"x":{}},"allocations":{}}`, 400},
		{"POST", "/reshaper", `{"inventories":{"` + ids.UUID() + `":{"resource_provider_generation":0,"inventories":{}}},"allocations":{}}`, 400},
		{"PATCH", "/resource_providers", `{}`, 405},
		{"GET", "/nothing", ``, 404},
	} {
		r := c.Do(row.method, row.path, row.body)
		if r.Status != row.status {
			t.Errorf("%s %s %s = %d %s, want %d", row.method, row.path, row.body, r.Status, r.Body, row.status)
		}
		if detail, code := r.Error(); detail == "" || code == "" {
			t.Errorf("%s %s: no envelope: %s", row.method, row.path, r.Body)
		}
	}
	if gen() != before {
		t.Error("a refused request changed the provider")
	}
	list, err := c.Service.Providers(t.Context(), &placement.ListFilter{})
	if err != nil || len(list) != 1 {
		t.Errorf("providers left: %d, %v", len(list), err)
	}
	c.CheckSums()
}

func TestErrorCodesAppearWith123(t *testing.T) {
	c := placementtest.New(t)
	for version, want := range map[string]string{"1.22": "", "1.23": "placement.resource_provider.not_found"} {
		r := c.As("service", version, "GET", "/resource_providers/"+ids.UUID(), nil)
		if _, code := r.Error(); code != want {
			t.Errorf("code at %s = %q, want %q", version, code, want)
		}
	}
}

func TestOldClientsGetOldForms(t *testing.T) {
	c := placementtest.New(t)
	r := c.As("service", "", "POST", "/resource_providers", `{"name":"old"}`)
	if r.Status != http.StatusCreated || len(r.Body) != 0 || !strings.HasPrefix(r.Header.Get("Location"), "http://cloud/placement/resource_providers/") {
		t.Errorf("create at 1.0 = %d %s %v", r.Status, r.Body, r.Header)
	}
	uuid := r.Header.Get("Location")[len("http://cloud/placement/resource_providers/"):]
	p := c.As("service", "1.0", "GET", "/resource_providers/"+uuid, nil).Map()
	if len(p["links"].([]any)) != 3 || p["root_provider_uuid"] != nil {
		t.Errorf("provider at 1.0 = %v", p)
	}
	c.Must(http.StatusCreated, "POST", "/resource_providers/"+uuid+"/inventories", map[string]any{"resource_class": "VCPU", "total": 4})
	body := `{"allocations":[{"resource_provider":{"uuid":"` + uuid + `"},"resources":{"VCPU":2}}]}`
	consumer := ids.UUID()
	for range 2 { // without a generation the second replaces the first
		if r := c.As("service", "1.0", "PUT", "/allocations/"+consumer, body); r.Status != http.StatusNoContent {
			t.Fatalf("claim at 1.0 = %d %s", r.Status, r.Body)
		}
	}
	h, err := c.Service.Holding(t.Context(), consumer)
	if err != nil || h.Allocations[uuid]["VCPU"] != 2 || h.Consumer.Type != placement.UnknownType {
		t.Errorf("holding = %+v, %v", h, err)
	}
	c.CheckSums()
}

func TestResourceClassesComeAndGo(t *testing.T) {
	c := placementtest.New(t)
	c.Must(http.StatusCreated, "POST", "/resource_classes", map[string]any{"name": "CUSTOM_A"})
	if r := c.Do("POST", "/resource_classes", map[string]any{"name": "CUSTOM_A"}); r.Status != http.StatusConflict {
		t.Errorf("the same again = %d", r.Status)
	}
	c.Must(http.StatusNoContent, "PUT", "/resource_classes/CUSTOM_A", nil)
	host := c.Host("h", 1, 1, 1)
	c.Must(http.StatusCreated, "POST", "/resource_providers/"+host+"/inventories", map[string]any{"resource_class": "CUSTOM_A", "total": 2})
	if r := c.Do("DELETE", "/resource_classes/CUSTOM_A", nil); r.Status != http.StatusConflict {
		t.Errorf("delete in use = %d", r.Status)
	}
	c.Must(http.StatusNoContent, "DELETE", "/resource_providers/"+host+"/inventories", nil)
	c.Must(http.StatusNoContent, "DELETE", "/resource_classes/CUSTOM_A", nil)
	c.Must(http.StatusNotFound, "GET", "/resource_classes/CUSTOM_A", nil)
}
