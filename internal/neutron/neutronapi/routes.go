package neutronapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
)

// crud are the handlers of one resource; nil ones are not served.
type crud struct {
	list, create, show, update, remove httpapi.Handler
}

func (a *API) addRoutes(r *httpapi.Router) {
	r.Handle("GET /{$}", httpapi.Public, http.StatusOK, a.listVersions)
	r.Handle("GET /v2.0", httpapi.Public, http.StatusOK, a.showVersion)
	r.Handle("GET /v2.0/{$}", httpapi.Public, http.StatusOK, a.showVersion)
	r.Handle("GET /v2.0/extensions", httpapi.AnyToken, http.StatusOK, a.listExtensions)
	r.Handle("GET /v2.0/extensions/{alias}", httpapi.AnyToken, http.StatusOK, a.showExtension)

	a.addCRUD(r, "networks", "network", crud{a.listNetworks, a.createNetwork, a.showNetwork, a.updateNetwork, a.deleteNetwork})
	a.addCRUD(r, "subnets", "subnet", crud{a.listSubnets, a.createSubnet, a.showSubnet, a.updateSubnet, a.deleteSubnet})
	a.addCRUD(r, "ports", "port", crud{a.listPorts, a.createPort, a.showPort, a.updatePort, a.deletePort})
	a.addCRUD(r, "routers", "router", crud{a.listRouters, a.createRouter, a.showRouter, a.updateRouter, a.deleteRouter})
	a.addCRUD(r, "floatingips", "floatingip", crud{a.listFloatingIPs, a.createFloatingIP, a.showFloatingIP, a.updateFloatingIP, a.deleteFloatingIP})
	a.addCRUD(r, "security-groups", "security_group", crud{a.listGroups, a.createGroup, a.showGroup, a.updateGroup, a.deleteGroup})
	a.addCRUD(r, "security-group-rules", "security_group_rule", crud{a.listRules, a.createRule, a.showRule, nil, a.deleteRule})
	a.addCRUD(r, "rbac-policies", "rbac_policy", crud{a.listRBAC, a.createRBAC, a.showRBAC, a.updateRBAC, a.deleteRBAC})
	a.addCRUD(r, "agents", "agent", crud{a.listAgents, nil, a.showAgent, a.updateAgent, a.deleteAgent})

	r.Handle("PUT /v2.0/routers/{id}/add_router_interface", "add_router_interface", http.StatusOK, a.addInterface)
	r.Handle("PUT /v2.0/routers/{id}/remove_router_interface", "remove_router_interface", http.StatusOK, a.removeInterface)
	r.Handle("PUT /v2.0/routers/{id}/add_extraroutes", "add_extraroutes", http.StatusOK, a.addExtraRoutes)
	r.Handle("PUT /v2.0/routers/{id}/remove_extraroutes", "remove_extraroutes", http.StatusOK, a.removeExtraRoutes)
	a.addOperatorRoutes(r)
	for _, kind := range neutron.TaggedKinds() {
		a.addTagRoutes(r, kind)
	}
	a.addUnserved(r)
}

// addCRUD adds the five usual routes of a resource.
func (a *API) addCRUD(r *httpapi.Router, path, name string, h crud) {
	for _, x := range []struct {
		pattern, rule string
		status        int
		handler       httpapi.Handler
	}{
		{"GET /v2.0/" + path, "get_" + name, http.StatusOK, h.list},
		{"POST /v2.0/" + path, "create_" + name, http.StatusCreated, h.create},
		{"GET /v2.0/" + path + "/{id}", "get_" + name, http.StatusOK, h.show},
		{"PUT /v2.0/" + path + "/{id}", "update_" + name, http.StatusOK, h.update},
		{"DELETE /v2.0/" + path + "/{id}", "delete_" + name, http.StatusNoContent, h.remove},
	} {
		if x.handler != nil {
			r.Handle(x.pattern, x.rule, x.status, x.handler)
		}
	}
}

func (a *API) addOperatorRoutes(r *httpapi.Router) {
	r.Handle("GET /v2.0/agents/{id}/dhcp-networks", "get_dhcp-networks", http.StatusOK, a.listNetworksOfAgent)
	r.Handle("POST /v2.0/agents/{id}/dhcp-networks", "create_dhcp-network", http.StatusCreated, a.addNetworkToAgent)
	r.Handle("DELETE /v2.0/agents/{id}/dhcp-networks/{network_id}", "delete_dhcp-network", http.StatusNoContent, a.removeNetworkFromAgent)
	r.Handle("GET /v2.0/networks/{id}/dhcp-agents", "get_dhcp-agents", http.StatusOK, a.listAgentsOfNetwork)
	r.Handle("GET /v2.0/agents/{id}/l3-routers", "get_l3-routers", http.StatusOK, a.listRoutersOfAgent)
	r.Handle("POST /v2.0/agents/{id}/l3-routers", "create_l3-router", http.StatusCreated, a.addRouterToAgent)
	r.Handle("DELETE /v2.0/agents/{id}/l3-routers/{router_id}", "delete_l3-router", http.StatusNoContent, a.removeRouterFromAgent)
	r.Handle("GET /v2.0/routers/{id}/l3-agents", "get_l3-agents", http.StatusOK, a.listAgentsOfRouter)

	r.Handle("GET /v2.0/quotas", "get_quota", http.StatusOK, a.listQuotas)
	r.Handle("GET /v2.0/quotas/{id}", "get_quota", http.StatusOK, a.showQuotas)
	r.Handle("GET /v2.0/quotas/{id}/default", "get_quota", http.StatusOK, a.showDefaultQuotas)
	r.Handle("GET /v2.0/quotas/{id}/details.json", "get_quota", http.StatusOK, a.showQuotaDetails)
	r.Handle("GET /v2.0/quotas/{id}/details", "get_quota", http.StatusOK, a.showQuotaDetails)
	r.Handle("PUT /v2.0/quotas/{id}", "update_quota", http.StatusOK, a.updateQuotas)
	r.Handle("DELETE /v2.0/quotas/{id}", "delete_quota", http.StatusNoContent, a.deleteQuotas)

	r.Handle("GET /v2.0/network-ip-availabilities", "get_network_ip_availability", http.StatusOK, a.listAvailability)
	r.Handle("GET /v2.0/network-ip-availabilities/{id}", "get_network_ip_availability", http.StatusOK, a.showAvailability)
	r.Handle("GET /v2.0/availability_zones", "get_availability_zone", http.StatusOK, a.listZones)
	r.Handle("GET /v2.0/service-providers", "get_service_provider", http.StatusOK, a.listServiceProviders)
}

func (a *API) addTagRoutes(r *httpapi.Router, kind neutron.Kind) {
	h := tagHandlers{a, kind}
	path, res := "/v2.0/"+string(kind)+"/{id}/tags", kind.TagName()
	r.Handle("GET "+path, "get_"+res+"_tags", http.StatusOK, h.list)
	r.Handle("PUT "+path, "update_"+res+"_tags", http.StatusOK, h.replace)
	r.Handle("DELETE "+path, "delete_"+res+"_tags", http.StatusNoContent, h.removeAll)
	r.Handle("GET "+path+"/{tag}", "get_"+res+"_tags", http.StatusNoContent, h.has)
	r.Handle("PUT "+path+"/{tag}", "update_"+res+"_tags", http.StatusCreated, h.add)
	r.Handle("DELETE "+path+"/{tag}", "delete_"+res+"_tags", http.StatusNoContent, h.remove)
}

// addUnserved names the resources of the published API that are not built, so
// that a client reads 501 and not that it misspelt them.
func (a *API) addUnserved(r *httpapi.Router) {
	for _, path := range []string{
		"subnetpools", "address-scopes", "address-groups", "auto-allocated-topology", "trunks", "segments", "qos/policies", "qos/rule-types",
		"metering/metering-labels", "flavors", "log/logs", "default-security-group-rules", "local_ips", "ndp_proxies", "network_segment_ranges",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			r.Handle(method+" /v2.0/"+path, httpapi.AnyToken, http.StatusOK, a.notServed)
			r.Handle(method+" /v2.0/"+path+"/{rest...}", httpapi.AnyToken, http.StatusOK, a.notServed)
		}
	}
	r.Handle("GET /v2.0/floatingips/{id}/port_forwardings", httpapi.AnyToken, http.StatusOK, a.notServed)
	r.Handle("POST /v2.0/floatingips/{id}/port_forwardings", httpapi.AnyToken, http.StatusOK, a.notServed)
}
