package placementapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/httpapi"
)

const (
	ruleProviders   = "placement:resource_providers:"
	ruleInventories = "placement:resource_providers:inventories:"
	ruleTraits      = "placement:resource_providers:traits:"
	ruleAggregates  = "placement:resource_providers:aggregates:"
	ruleClasses     = "placement:resource_classes:"
	ruleAllocations = "placement:allocations:"
)

func (a *API) addRoutes() {
	rt := a.router
	rt.Handle("GET /{$}", httpapi.Public, http.StatusOK, a.versions)

	rt.Handle("GET /resource_providers", ruleProviders+"list", http.StatusOK, a.listProviders)
	rt.Handle("POST /resource_providers", ruleProviders+"create", http.StatusOK, a.createProvider)
	rt.Handle("GET /resource_providers/{uuid}", ruleProviders+"show", http.StatusOK, a.showProvider)
	rt.Handle("PUT /resource_providers/{uuid}", ruleProviders+"update", http.StatusOK, a.updateProvider)
	rt.Handle("DELETE /resource_providers/{uuid}", ruleProviders+"delete", http.StatusNoContent, a.deleteProvider)

	rt.Handle("GET /resource_providers/{uuid}/inventories", ruleInventories+"list", http.StatusOK, a.listInventories)
	rt.Handle("POST /resource_providers/{uuid}/inventories", ruleInventories+"create", http.StatusCreated, a.createInventory)
	rt.Handle("PUT /resource_providers/{uuid}/inventories", ruleInventories+"update", http.StatusOK, a.setInventories)
	rt.Handle("DELETE /resource_providers/{uuid}/inventories", ruleInventories+"delete", http.StatusNoContent, a.deleteInventories)
	rt.Handle("GET /resource_providers/{uuid}/inventories/{class}", ruleInventories+"show", http.StatusOK, a.showInventory)
	rt.Handle("PUT /resource_providers/{uuid}/inventories/{class}", ruleInventories+"update", http.StatusOK, a.setInventory)
	rt.Handle("DELETE /resource_providers/{uuid}/inventories/{class}", ruleInventories+"delete", http.StatusNoContent, a.deleteInventory)

	rt.Handle("GET /resource_providers/{uuid}/usages", ruleProviders+"usages", http.StatusOK, a.providerUsages)
	rt.Handle("GET /resource_providers/{uuid}/allocations", ruleProviders+"allocations:list", http.StatusOK, a.providerAllocations)
	rt.Handle("GET /resource_providers/{uuid}/traits", ruleTraits+"list", http.StatusOK, a.providerTraits)
	rt.Handle("PUT /resource_providers/{uuid}/traits", ruleTraits+"update", http.StatusOK, a.setProviderTraits)
	rt.Handle("DELETE /resource_providers/{uuid}/traits", ruleTraits+"delete", http.StatusNoContent, a.deleteProviderTraits)
	rt.Handle("GET /resource_providers/{uuid}/aggregates", ruleAggregates+"list", http.StatusOK, a.providerAggregates)
	rt.Handle("PUT /resource_providers/{uuid}/aggregates", ruleAggregates+"update", http.StatusOK, a.setProviderAggregates)

	rt.Handle("GET /traits", "placement:traits:list", http.StatusOK, a.listTraits)
	rt.Handle("GET /traits/{name}", "placement:traits:show", http.StatusNoContent, a.showTrait)
	rt.Handle("PUT /traits/{name}", "placement:traits:update", http.StatusCreated, a.createTrait)
	rt.Handle("DELETE /traits/{name}", "placement:traits:delete", http.StatusNoContent, a.deleteTrait)

	rt.Handle("GET /resource_classes", ruleClasses+"list", http.StatusOK, a.listClasses)
	rt.Handle("POST /resource_classes", ruleClasses+"create", http.StatusCreated, a.createClass)
	rt.Handle("GET /resource_classes/{name}", ruleClasses+"show", http.StatusOK, a.showClass)
	rt.Handle("PUT /resource_classes/{name}", ruleClasses+"update", http.StatusCreated, a.putClass)
	rt.Handle("DELETE /resource_classes/{name}", ruleClasses+"delete", http.StatusNoContent, a.deleteClass)

	rt.Handle("POST /allocations", ruleAllocations+"manage", http.StatusNoContent, a.manageAllocations)
	rt.Handle("GET /allocations/{consumer}", ruleAllocations+"list", http.StatusOK, a.showAllocations)
	rt.Handle("PUT /allocations/{consumer}", ruleAllocations+"update", http.StatusNoContent, a.setAllocations)
	rt.Handle("DELETE /allocations/{consumer}", ruleAllocations+"delete", http.StatusNoContent, a.deleteAllocations)

	rt.HandleStream("GET /allocation_candidates", "placement:allocation_candidates:list", a.listCandidates)
	rt.Handle("GET /usages", "placement:usages", http.StatusOK, a.usages)
	rt.Handle("POST /reshaper", "placement:reshaper:reshape", http.StatusNoContent, a.reshape)
}

func (a *API) versions(*httpapi.Request) (any, error) {
	return map[string]any{"versions": []map[string]any{{
		"id": "v1.0", "min_version": "1.0", "max_version": httpapi.Microversion{Major: 1, Minor: maxMinor}.String(),
		"status": "CURRENT", "links": []map[string]string{{"rel": "self", "href": ""}},
	}}}, nil
}
