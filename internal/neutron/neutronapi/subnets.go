package neutronapi

import (
	"net/netip"
	"strconv"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/policy"
)

type subnetView struct {
	standardView
	Name              string              `json:"name"`
	NetworkID         string              `json:"network_id"`
	IPVersion         int                 `json:"ip_version"`
	CIDR              string              `json:"cidr"`
	GatewayIP         *string             `json:"gateway_ip"`
	EnableDHCP        bool                `json:"enable_dhcp"`
	RAMode            *string             `json:"ipv6_ra_mode"`
	AddressMode       *string             `json:"ipv6_address_mode"`
	AllocationPools   []neutron.Pool      `json:"allocation_pools"`
	DNSNameservers    []string            `json:"dns_nameservers"`
	HostRoutes        []neutron.HostRoute `json:"host_routes"`
	ServiceTypes      []string            `json:"service_types"`
	SubnetPoolID      *string             `json:"subnetpool_id"`
	DNSPublishFixedIP bool                `json:"dns_publish_fixed_ip"`
	External          bool                `json:"router:external"`
	SegmentID         *string             `json:"segment_id"`
}

func viewSubnet(n *neutron.Subnet) any {
	v := &subnetView{
		standardView: viewStandard(&n.Standard),
		Name:         n.Name, NetworkID: n.NetworkID, IPVersion: n.IPVersion, CIDR: n.CIDR, GatewayIP: n.GatewayIP,
		EnableDHCP: n.EnableDHCP, RAMode: n.RAMode, AddressMode: n.AddressMode, AllocationPools: n.AllocationPools,
		DNSNameservers: list(n.DNSNameservers), HostRoutes: n.HostRoutes, ServiceTypes: list(n.ServiceTypes),
		SubnetPoolID: n.SubnetPoolID, DNSPublishFixedIP: n.DNSPublishFixedIP, External: n.External,
	}
	if v.AllocationPools == nil {
		v.AllocationPools = []neutron.Pool{}
	}
	if v.HostRoutes == nil {
		v.HostRoutes = []neutron.HostRoute{}
	}
	return v
}

// subnetTarget is the target of rules about a subnet; its network decides too.
func subnetTarget(n *neutron.Subnet, net *neutron.Network) policy.Target {
	t := networkTarget(net)
	t["project_id"], t["tenant_id"] = n.ProjectID, n.ProjectID
	return t
}

func (a *API) listSubnets(r *httpapi.Request) (any, error) {
	if err := r.Enforce(own(r)); err != nil {
		return nil, err
	}
	l, err := a.listing(r, neutron.Subnets)
	if err != nil {
		return nil, err
	}
	subnets, err := a.neutron.Subnets(r.Context(), a.caller(r), l.query)
	if err != nil {
		return nil, err
	}
	return page(l, "/v2.0/subnets", "subnets", subnets, func(n *neutron.Subnet) string { return n.ID }, viewSubnet)
}

// subnetOf reads the subnet of the URL with the target for its rules.
func (a *API) subnetOf(r *httpapi.Request, c neutron.Caller) (*neutron.Subnet, policy.Target, error) {
	n, err := a.neutron.Subnet(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return nil, nil, err
	}
	net, err := a.neutron.Network(r.Context(), c, n.NetworkID)
	if err != nil {
		// A subnet of one's own on a network that is no longer shared.
		return n, owned(n.ProjectID), nil //nolint:nilerr // the network only adds rights
	}
	return n, subnetTarget(n, net), nil
}

func (a *API) showSubnet(r *httpapi.Request) (any, error) {
	n, t, err := a.subnetOf(r, a.caller(r))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(t); err != nil {
		return nil, err
	}
	return one(r, "subnet", viewSubnet(n))
}

func (a *API) createSubnet(r *httpapi.Request) (any, error) {
	forms, bulk, err := a.forms(r, "create_subnet", "subnet", "subnets")
	if err != nil {
		return nil, err
	}
	c := a.caller(r)
	specs := make([]*neutron.SubnetSpec, 0, len(forms))
	for _, f := range forms {
		spec, err := a.readSubnet(f, c)
		if err != nil {
			return nil, err
		}
		specs = append(specs, spec)
	}
	ids, err := identify(r, neutron.Subnets, len(specs))
	if err != nil {
		return nil, err
	}
	subnets, err := once(ids, func(id string) (*neutron.Subnet, error) { return a.neutron.Subnet(r.Context(), c, id) },
		func() ([]*neutron.Subnet, error) {
			for i, spec := range specs {
				spec.ID = ids[i]
			}
			return a.neutron.CreateSubnets(r.Context(), c, specs)
		})
	if err != nil {
		return nil, err
	}
	views := make([]any, 0, len(subnets))
	for _, n := range subnets {
		views = append(views, viewSubnet(n))
	}
	return created(bulk, "subnet", "subnets", views), nil
}

func (a *API) readSubnet(f *form, c neutron.Caller) (*neutron.SubnetSpec, error) {
	spec := &neutron.SubnetSpec{Subnet: neutron.Subnet{EnableDHCP: true, HostRoutes: []neutron.HostRoute{}}}
	f.require("network_id")
	given := f.has("project_id") || f.has("tenant_id")
	spec.ProjectID = f.project()
	f.uuid("network_id", &spec.NetworkID)
	if f.err != nil {
		return nil, f.err
	}
	net, err := a.neutron.Network(f.r.Context(), c, spec.NetworkID)
	if err != nil {
		return nil, err
	}
	if c.Admin && !given {
		spec.ProjectID = net.ProjectID
	}
	t := networkTarget(net)
	t["project_id"], t["tenant_id"] = spec.ProjectID, spec.ProjectID
	if err := f.enforce(t); err != nil {
		return nil, err
	}
	f.ignore("subnetpool_id", "use_default_subnetpool", "prefixlen", "segment_id", "use_default_subnet_pool")
	if f.err != nil {
		return nil, f.err
	}
	f.require("cidr")
	f.str("cidr", 64, &spec.CIDR)
	if p, err := netip.ParsePrefix(spec.CIDR); err == nil {
		spec.IPVersion = 4
		if p.Addr().Is6() {
			spec.IPVersion = 6
		}
	}
	if f.has("ip_version") && f.integer("ip_version", &spec.IPVersion) && spec.IPVersion != 4 && spec.IPVersion != 6 {
		f.invalid("ip_version", "'%s' is not in [4, 6].", strconv.Itoa(spec.IPVersion))
	}
	f.str("name", 255, &spec.Name)
	f.str("description", 255, &spec.Description)
	spec.GatewaySet = f.nullable("gateway_ip", 64, &spec.GatewayIP)
	if spec.GatewayIP != nil && *spec.GatewayIP == "" {
		spec.GatewayIP = nil
	}
	f.boolean("enable_dhcp", &spec.EnableDHCP)
	f.boolean("dns_publish_fixed_ip", &spec.DNSPublishFixedIP)
	f.nullable("ipv6_ra_mode", 24, &spec.RAMode)
	f.nullable("ipv6_address_mode", 24, &spec.AddressMode)
	spec.PoolsSet = f.pools(&spec.AllocationPools)
	var dns, types []string
	f.strings("dns_nameservers", &dns)
	f.strings("service_types", &types)
	spec.DNSNameservers, spec.ServiceTypes = dns, types
	f.object("host_routes", &spec.HostRoutes)
	f.tags(&spec.Standard)
	return spec, f.done("router:external")
}

// pools reads allocation pools; an absent list and null are not given.
func (f *form) pools(dst *[]neutron.Pool) bool {
	if isNull(f.raw["allocation_pools"]) {
		delete(f.raw, "allocation_pools")
		return false
	}
	if !f.object("allocation_pools", dst) {
		return false
	}
	for _, p := range *dst {
		if !p.Start.IsValid() || !p.End.IsValid() || p.Start.Zone() != "" || p.End.Zone() != "" {
			f.invalid("allocation_pools", "a pool needs the addresses start and end.")
			return false
		}
	}
	return true
}

func (a *API) updateSubnet(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	n, t, err := a.subnetOf(r, c)
	if err != nil {
		return nil, err
	}
	f, err := a.updateForm(r, "subnet", t)
	if err != nil {
		return nil, err
	}
	p := neutron.SubnetPatch{}
	f.strPtr("name", 255, &p.Name)
	f.strPtr("description", 255, &p.Description)
	f.boolPtr("enable_dhcp", &p.EnableDHCP)
	f.boolPtr("dns_publish_fixed_ip", &p.DNSPublishFixedIP)
	p.GatewaySet = f.nullable("gateway_ip", 64, &p.GatewayIP)
	if p.GatewayIP != nil && *p.GatewayIP == "" {
		p.GatewayIP = nil
	}
	var pools []neutron.Pool
	if f.pools(&pools) {
		p.AllocationPools = &pools
	}
	var dns, types []string
	if f.strings("dns_nameservers", &dns) {
		p.DNSNameservers = &dns
	}
	if f.strings("service_types", &types) {
		p.ServiceTypes = &types
	}
	routes := []neutron.HostRoute{}
	if f.object("host_routes", &routes) {
		p.HostRoutes = &routes
	}
	f.ignore("segment_id")
	if err := f.done("cidr", "ip_version", "network_id", "subnetpool_id", "ipv6_ra_mode", "ipv6_address_mode", "router:external"); err != nil {
		return nil, err
	}
	if p.Revision, err = revision(r); err != nil {
		return nil, err
	}
	if n, err = a.neutron.UpdateSubnet(r.Context(), c, n.ID, p); err != nil {
		return nil, err
	}
	return one(r, "subnet", viewSubnet(n))
}

func (a *API) deleteSubnet(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	n, t, err := a.subnetOf(r, c)
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(t); err != nil {
		return nil, err
	}
	rev, err := revision(r)
	if err != nil {
		return nil, err
	}
	return nil, a.neutron.DeleteSubnet(r.Context(), c, n.ID, rev)
}
