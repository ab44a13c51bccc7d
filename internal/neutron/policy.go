package neutron

import "github.com/hastack/hastack/internal/policy"

// The checks that most rules consist of.
const (
	checkAdmin       = "rule:admin_only"
	checkMember      = "rule:admin_only or (role:member and project_id:%(project_id)s)"
	checkReader      = "rule:admin_only or (role:reader and project_id:%(project_id)s)"
	checkNetOwner    = "rule:admin_only or (role:member and rule:network_owner)"
	checkNetOrMember = checkMember + " or (role:member and rule:network_owner)"
)

func op(method, path string) []policy.Operation {
	return []policy.Operation{{Method: method, Path: path}}
}

// Rules are Neutron's policy rules with the published names and defaults. One
// is stricter than upstream's: only an administrator may give a port a
// device_owner of Neutron's own, since such ports are not filtered.
func Rules() []policy.Rule {
	rules := []policy.Rule{
		{Name: "context_is_admin", Check: "role:admin"},
		{Name: "service_api", Check: "role:service"},
		{Name: "owner", Check: "project_id:%(project_id)s"},
		{Name: "admin_or_owner", Check: "rule:context_is_admin or rule:owner"},
		{Name: "context_is_advsvc", Check: "role:advsvc"},
		{Name: "network_owner", Check: "project_id:%(network:project_id)s"},
		{Name: "admin_or_network_owner", Check: "rule:context_is_admin or rule:network_owner"},
		{Name: "admin_owner_or_network_owner", Check: "rule:owner or rule:admin_or_network_owner"},
		{Name: "admin_only", Check: "rule:context_is_admin"},
		{Name: "regular_user", Check: ""},
		{Name: "shared", Check: "field:networks:shared=True"},
		{Name: "external", Check: "field:networks:router:external=True"},
		{Name: "network_device", Check: "field:port:device_owner=~^network:"},
		{Name: "default", Check: "rule:admin_or_owner"},
	}
	rules = append(rules, networkRules()...)
	rules = append(rules, subnetRules()...)
	rules = append(rules, portRules()...)
	rules = append(rules, routerRules()...)
	rules = append(rules, securityRules()...)
	rules = append(rules, operatorRules()...)
	return append(rules, tagRules()...)
}

// attributes makes one rule for each attribute of an action.
func attributes(action, check string, names ...string) []policy.Rule {
	out := make([]policy.Rule, 0, len(names))
	for _, n := range names {
		out = append(out, policy.Rule{Name: action + ":" + n, Check: check})
	}
	return out
}

var providerAttributes = []string{"provider:network_type", "provider:physical_network", "provider:segmentation_id"}

func networkRules() []policy.Rule {
	rules := []policy.Rule{
		{Name: "create_network", Check: checkMember, Operations: op("POST", "/networks")},
		{Name: "get_network", Check: checkReader + " or rule:shared or rule:external or rule:context_is_advsvc", Operations: op("GET", "/networks")},
		{Name: "update_network", Check: checkMember, Operations: op("PUT", "/networks/{id}")},
		{Name: "delete_network", Check: checkMember, Operations: op("DELETE", "/networks/{id}")},
		{Name: "get_network:router:external", Check: ""},
	}
	for _, action := range []string{"create_network", "update_network"} {
		rules = append(rules, attributes(action, checkAdmin, "shared", "router:external", "is_default", "segments")...)
		rules = append(rules, attributes(action, checkAdmin, providerAttributes...)...)
		rules = append(rules, attributes(action, checkMember, "port_security_enabled")...)
	}
	return append(rules, attributes("get_network", checkAdmin, append([]string{"segments"}, providerAttributes...)...)...)
}

func subnetRules() []policy.Rule {
	rules := []policy.Rule{
		{Name: "create_subnet", Check: checkNetOwner, Operations: op("POST", "/subnets")},
		{Name: "get_subnet", Check: checkReader + " or rule:shared or rule:external or (role:reader and rule:network_owner)", Operations: op("GET", "/subnets")},
		{Name: "update_subnet", Check: checkNetOrMember, Operations: op("PUT", "/subnets/{id}")},
		{Name: "delete_subnet", Check: checkNetOrMember, Operations: op("DELETE", "/subnets/{id}")},
	}
	for _, action := range []string{"create_subnet", "update_subnet", "get_subnet"} {
		rules = append(rules, attributes(action, checkAdmin, "segment_id")...)
	}
	rules = append(rules, attributes("create_subnet", checkAdmin, "service_types")...)
	return append(rules, attributes("update_subnet", checkAdmin, "service_types")...)
}

func portRules() []policy.Rule {
	rules := []policy.Rule{
		{Name: "create_port", Check: checkMember, Operations: op("POST", "/ports")},
		{Name: "get_port", Check: checkReader + " or (role:reader and rule:network_owner)", Operations: op("GET", "/ports")},
		{Name: "update_port", Check: checkMember, Operations: op("PUT", "/ports/{id}")},
		{Name: "delete_port", Check: checkNetOrMember, Operations: op("DELETE", "/ports/{id}")},
	}
	for _, action := range []string{"create_port", "update_port"} {
		rules = append(rules, attributes(action, "rule:admin_only or not rule:network_device", "device_owner")...)
		rules = append(rules, attributes(action, checkNetOwner, "mac_address", "fixed_ips:ip_address", "port_security_enabled", "allowed_address_pairs")...)
		rules = append(rules, attributes(action, checkNetOwner+" or rule:shared", "fixed_ips", "fixed_ips:subnet_id")...)
		rules = append(rules, attributes(action, checkAdmin, "binding:host_id", "binding:profile", "hints", "trusted", "data_plane_status")...)
		rules = append(rules, attributes(action, checkMember, "binding:vnic_type")...)
	}
	return append(rules, attributes("get_port", checkAdmin, "binding:vif_type", "binding:vif_details", "binding:host_id",
		"binding:profile", "hints", "trusted", "resource_request")...)
}

func routerRules() []policy.Rule {
	rules := []policy.Rule{
		{Name: "create_router", Check: checkMember, Operations: op("POST", "/routers")},
		{Name: "get_router", Check: checkReader, Operations: op("GET", "/routers")},
		{Name: "update_router", Check: checkMember, Operations: op("PUT", "/routers/{id}")},
		{Name: "delete_router", Check: checkMember, Operations: op("DELETE", "/routers/{id}")},
		{Name: "add_router_interface", Check: checkMember, Operations: op("PUT", "/routers/{id}/add_router_interface")},
		{Name: "remove_router_interface", Check: checkMember, Operations: op("PUT", "/routers/{id}/remove_router_interface")},
		{Name: "add_extraroutes", Check: checkMember, Operations: op("PUT", "/routers/{id}/add_extraroutes")},
		{Name: "remove_extraroutes", Check: checkMember, Operations: op("PUT", "/routers/{id}/remove_extraroutes")},
		{Name: "create_floatingip", Check: checkMember, Operations: op("POST", "/floatingips")},
		{Name: "create_floatingip:floating_ip_address", Check: checkAdmin},
		{Name: "get_floatingip", Check: checkReader, Operations: op("GET", "/floatingips")},
		{Name: "update_floatingip", Check: checkMember, Operations: op("PUT", "/floatingips/{id}")},
		{Name: "delete_floatingip", Check: checkMember, Operations: op("DELETE", "/floatingips/{id}")},
	}
	for _, action := range []string{"create_router", "update_router"} {
		rules = append(rules, attributes(action, checkAdmin, "distributed", "ha",
			"external_gateway_info:enable_snat", "external_gateway_info:external_fixed_ips")...)
		rules = append(rules, attributes(action, checkMember, "external_gateway_info", "external_gateway_info:network_id")...)
	}
	return append(rules, attributes("get_router", checkAdmin, "distributed", "ha")...)
}

func securityRules() []policy.Rule {
	var rules []policy.Rule
	for _, res := range []string{"security_group", "security_group_rule"} {
		rules = append(rules,
			policy.Rule{Name: "create_" + res, Check: checkMember, Operations: op("POST", "/"+res+"s")},
			policy.Rule{Name: "get_" + res, Check: checkReader, Operations: op("GET", "/"+res+"s")},
			policy.Rule{Name: "delete_" + res, Check: checkMember, Operations: op("DELETE", "/"+res+"s/{id}")})
	}
	return append(rules, policy.Rule{Name: "update_security_group", Check: checkMember, Operations: op("PUT", "/security-groups/{id}")})
}

func operatorRules() []policy.Rule {
	rules := []policy.Rule{
		{Name: "create_rbac_policy", Check: checkMember, Operations: op("POST", "/rbac-policies")},
		{Name: "create_rbac_policy:target_tenant", Check: "rule:admin_only or not field:rbac_policy:target_tenant=*"},
		{Name: "get_rbac_policy", Check: checkReader, Operations: op("GET", "/rbac-policies")},
		{Name: "update_rbac_policy", Check: checkMember, Operations: op("PUT", "/rbac-policies/{id}")},
		{Name: "update_rbac_policy:target_tenant", Check: "rule:admin_only or not field:rbac_policy:target_tenant=*"},
		{Name: "delete_rbac_policy", Check: checkMember, Operations: op("DELETE", "/rbac-policies/{id}")},
		{Name: "get_quota", Check: checkReader, Operations: op("GET", "/quotas/{id}")},
		{Name: "get_availability_zone", Check: "", Operations: op("GET", "/availability_zones")},
		{Name: "get_service_provider", Check: "", Operations: op("GET", "/service-providers")},
	}
	for name, path := range map[string]string{
		"get_agent": "/agents", "update_agent": "/agents/{id}", "delete_agent": "/agents/{id}",
		"create_dhcp-network": "/agents/{id}/dhcp-networks", "get_dhcp-networks": "/agents/{id}/dhcp-networks",
		"delete_dhcp-network": "/agents/{id}/dhcp-networks/{network_id}",
		"create_l3-router":    "/agents/{id}/l3-routers", "get_l3-routers": "/agents/{id}/l3-routers",
		"delete_l3-router": "/agents/{id}/l3-routers/{router_id}",
		"get_dhcp-agents":  "/networks/{id}/dhcp-agents", "get_l3-agents": "/routers/{id}/l3-agents",
		"update_quota": "/quotas/{id}", "delete_quota": "/quotas/{id}",
		"get_network_ip_availability": "/network-ip-availabilities",
	} {
		rules = append(rules, policy.Rule{Name: name, Check: checkAdmin, Operations: op("", path)})
	}
	return rules
}

func tagRules() []policy.Rule {
	var rules []policy.Rule
	for _, kind := range TaggedKinds() {
		res := kind.table()
		rules = append(rules,
			policy.Rule{Name: "get_" + res + "_tags", Check: checkReader + " or rule:shared or rule:external", Operations: op("GET", "/"+string(kind)+"/{id}/tags")},
			policy.Rule{Name: "create_" + res + "_tags", Check: checkMember, Operations: op("POST", "/"+string(kind)+"/{id}/tags")},
			policy.Rule{Name: "update_" + res + "_tags", Check: checkMember, Operations: op("PUT", "/"+string(kind)+"/{id}/tags")},
			policy.Rule{Name: "delete_" + res + "_tags", Check: checkMember, Operations: op("DELETE", "/"+string(kind)+"/{id}/tags")})
	}
	return rules
}
