package neutronapi

import (
	"slices"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
)

type extensionView struct {
	Alias       string   `json:"alias"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Updated     string   `json:"updated"`
	Links       []string `json:"links"`
}

// extensions are what clients find here beyond the core. An alias is listed
// only if what it stands for is served.
func extensions() []extensionView {
	ext := func(alias, name, updated string) extensionView {
		return extensionView{Alias: alias, Name: name, Description: name + ".", Updated: updated + "T10:00:00-00:00", Links: []string{}}
	}
	return []extensionView{
		ext("agent", "agent", "2013-02-03"),
		ext("allowed-address-pairs", "Allowed Address Pairs", "2013-07-23"),
		ext("availability_zone", "Availability Zone", "2015-01-01"),
		ext("binding", "Port Binding", "2014-02-03"),
		ext("dhcp_agent_scheduler", "DHCP Agent Scheduler", "2013-02-07"),
		ext("dns-integration", "DNS Integration", "2015-08-15"),
		ext("empty-string-filtering", "Empty String Filtering", "2018-04-09"),
		ext("ext-gw-mode", "Neutron L3 Configurable external gateway mode", "2013-03-28"),
		ext("external-net", "Neutron external network", "2013-01-14"),
		ext("extra_dhcp_opt", "Neutron Extra DHCP options", "2013-03-17"),
		ext("extraroute", "Neutron Extra Route", "2013-02-01"),
		ext("extraroute-atomic", "Atomically add/remove extra routes", "2019-07-10"),
		ext("filter-validation", "Filter parameters validation", "2018-03-21"),
		ext("fip-port-details", "Floating IP Port Details Extension", "2018-04-09"),
		ext("ip-substring-filtering", "IP address substring filtering", "2017-11-28"),
		ext("l3_agent_scheduler", "L3 Agent Scheduler", "2013-02-07"),
		ext("net-mtu", "Network MTU", "2015-03-25"),
		ext("net-mtu-writable", "Network MTU (writable)", "2017-07-12"),
		ext("network-ip-availability", "Network IP Availability", "2015-09-24"),
		ext("network_availability_zone", "Network Availability Zone", "2015-01-01"),
		ext("pagination", "Pagination support", "2016-06-12"),
		ext("port-security", "Port Security", "2012-07-23"),
		ext("project-id", "project_id field enabled", "2016-09-09"),
		ext("provider", "Provider Network", "2012-09-07"),
		ext("quota-check-limit", "Quota engine limit check", "2021-01-01"),
		ext("quota_details", "Quota details management support", "2017-02-10"),
		ext("quotas", "Quota management support", "2012-07-29"),
		ext("rbac-policies", "RBAC Policies", "2015-06-17"),
		ext("revision-if-match", "If-Match constraints based on revision_number", "2016-12-11"),
		ext("router", "Neutron L3 Router", "2012-07-20"),
		ext("router_availability_zone", "Router Availability Zone", "2015-01-01"),
		ext("security-group", "security-group", "2012-10-05"),
		ext("service-type", "Neutron Service Type Management", "2013-01-20"),
		ext("sorting", "Sorting support", "2016-06-12"),
		ext("standard-attr-description", "standard-attr-description", "2016-02-10"),
		ext("standard-attr-revisions", "Resource revision numbers", "2016-04-11"),
		ext("standard-attr-tag", "Tag support for resources with standard attribute: floatingip, network, port, router, security_group, security_group_rule, subnet", "2017-01-01"),
		ext("standard-attr-timestamp", "Resource timestamps", "2016-09-12"),
		ext("stateful-security-group", "Stateful security group", "2019-11-26"),
		ext("subnet-dns-publish-fixed-ip", "Subnet DNS publish fixed IP", "2019-05-09"),
		ext("subnet-external-network", "Subnet belongs to an external network", "2024-09-24"),
		ext("subnet-service-types", "Subnet service types", "2016-03-15"),
		ext("tag-ports-during-bulk-creation", "Tag Ports During Bulk Creation", "2019-12-29"),
	}
}

func (a *API) listExtensions(*httpapi.Request) (any, error) {
	return map[string]any{"extensions": extensions()}, nil
}

func (a *API) showExtension(r *httpapi.Request) (any, error) {
	for _, e := range extensions() {
		if e.Alias == r.PathValue("alias") {
			return map[string]any{"extension": e}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "Extension with alias %s does not exist", clip(r.PathValue("alias"))).WithCode("ExtensionNotFound")
}

type versionView struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Links  []link `json:"links"`
}

func (a *API) listVersions(r *httpapi.Request) (any, error) {
	return map[string]any{"versions": []versionView{{
		ID: "v2.0", Status: "CURRENT", Links: []link{{Rel: "self", Href: r.PublicURL() + "/v2.0/"}},
	}}}, nil
}

type resourceView struct {
	Name       string `json:"name"`
	Collection string `json:"collection"`
	Links      []link `json:"links"`
}

func (a *API) showVersion(r *httpapi.Request) (any, error) {
	views := []resourceView{}
	for _, name := range []string{"subnet", "network", "port"} {
		views = append(views, resourceView{
			Name: name, Collection: name + "s", Links: []link{{Rel: "self", Href: r.PublicURL() + "/v2.0/" + name + "s"}},
		})
	}
	return map[string]any{"resources": views}, nil
}

type zoneView struct {
	Name     string `json:"name"`
	Resource string `json:"resource"`
	State    string `json:"state"`
}

func (a *API) listZones(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	zones, err := a.neutron.AvailabilityZones(r.Context())
	if err != nil {
		return nil, err
	}
	views := []zoneView{}
	for _, resource := range []string{"network", "router"} {
		for name, up := range zones[resource] {
			state := "unavailable"
			if up {
				state = "available"
			}
			views = append(views, zoneView{Name: name, Resource: resource, State: state})
		}
	}
	slices.SortFunc(views, func(x, y zoneView) int { return cmpZones(x, y) })
	return map[string]any{"availability_zones": views}, nil
}

func cmpZones(x, y zoneView) int {
	if x.Name+x.Resource < y.Name+y.Resource {
		return -1
	}
	return 1
}

func (a *API) listServiceProviders(r *httpapi.Request) (any, error) {
	return map[string]any{"service_providers": []any{}}, r.Enforce(nil)
}

// notServed answers for resources of Neutron that are not built.
func (a *API) notServed(r *httpapi.Request) (any, error) {
	return nil, fault.New(fault.NotImplemented, "%s is not implemented", clip(r.URL.Path))
}
