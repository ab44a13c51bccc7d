package neutronapi

import (
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/policy"
)

type networkView struct {
	standardView
	Name                  string   `json:"name"`
	Status                string   `json:"status"`
	AdminStateUp          bool     `json:"admin_state_up"`
	Shared                bool     `json:"shared"`
	External              bool     `json:"router:external"`
	IsDefault             bool     `json:"is_default"`
	MTU                   int      `json:"mtu"`
	PortSecurityEnabled   bool     `json:"port_security_enabled"`
	VLANTransparent       bool     `json:"vlan_transparent"`
	QinQ                  bool     `json:"qinq"`
	L2Adjacency           bool     `json:"l2_adjacency"`
	DNSDomain             string   `json:"dns_domain"`
	Subnets               []string `json:"subnets"`
	AvailabilityZones     []string `json:"availability_zones"`
	AvailabilityZoneHints []string `json:"availability_zone_hints"`
	IPv4AddressScope      *string  `json:"ipv4_address_scope"`
	IPv6AddressScope      *string  `json:"ipv6_address_scope"`
	QoSPolicyID           *string  `json:"qos_policy_id"`
	*providerView
}

type providerView struct {
	Type            string  `json:"provider:network_type"`
	PhysicalNetwork *string `json:"provider:physical_network"`
	SegmentationID  *int    `json:"provider:segmentation_id"`
}

func networkTarget(n *neutron.Network) policy.Target {
	t := owned(n.ProjectID)
	t["shared"], t["router:external"] = n.Shared, n.External
	t["network:project_id"], t["network:tenant_id"] = n.ProjectID, n.ProjectID
	return t
}

func (a *API) viewNetwork(r *httpapi.Request, n *neutron.Network) any {
	v := networkView{
		standardView: viewStandard(&n.Standard),
		Name:         n.Name, Status: n.Status, AdminStateUp: n.AdminStateUp, Shared: n.Shared, External: n.External,
		IsDefault: n.IsDefault, MTU: n.MTU, PortSecurityEnabled: n.PortSecurityEnabled, VLANTransparent: n.VLANTransparent,
		L2Adjacency: true, DNSDomain: n.DNSDomain, Subnets: n.SubnetIDs, AvailabilityZones: []string{},
		AvailabilityZoneHints: list(n.AvailabilityZoneHints),
	}
	if len(n.SubnetIDs) > 0 {
		v.AvailabilityZones = []string{a.neutron.Config().AvailabilityZone}
	}
	v.Subnets = list(v.Subnets)
	if r.Allowed("get_network:provider:network_type", networkTarget(n)) {
		p := &providerView{Type: n.Type}
		if n.PhysicalNetwork != "" {
			p.PhysicalNetwork = &n.PhysicalNetwork
		}
		if n.SegmentationID != 0 {
			p.SegmentationID = &n.SegmentationID
		}
		v.providerView = p
	}
	return &v
}

func (a *API) listNetworks(r *httpapi.Request) (any, error) {
	if err := r.Enforce(own(r)); err != nil {
		return nil, err
	}
	l, err := a.listing(r, neutron.Networks)
	if err != nil {
		return nil, err
	}
	nets, err := a.neutron.Networks(r.Context(), a.caller(r), l.query)
	if err != nil {
		return nil, err
	}
	return page(l, "/v2.0/networks", "networks", nets,
		func(n *neutron.Network) string { return n.ID }, func(n *neutron.Network) any { return a.viewNetwork(r, n) })
}

func (a *API) showNetwork(r *httpapi.Request) (any, error) {
	n, err := a.neutron.Network(r.Context(), a.caller(r), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(networkTarget(n)); err != nil {
		return nil, err
	}
	return one(r, "network", a.viewNetwork(r, n))
}

func (a *API) createNetwork(r *httpapi.Request) (any, error) {
	forms, bulk, err := a.forms(r, "create_network", "network", "networks")
	if err != nil {
		return nil, err
	}
	nets := make([]*neutron.Network, 0, len(forms))
	for _, f := range forms {
		n, err := readNetwork(f)
		if err != nil {
			return nil, err
		}
		nets = append(nets, n)
	}
	c := a.caller(r)
	ids, err := identify(r, neutron.Networks, len(nets))
	if err != nil {
		return nil, err
	}
	nets, err = once(ids, func(id string) (*neutron.Network, error) { return a.neutron.Network(r.Context(), c, id) },
		func() ([]*neutron.Network, error) {
			for i, n := range nets {
				n.ID = ids[i]
			}
			return nets, a.neutron.CreateNetworks(r.Context(), c, nets)
		})
	if err != nil {
		return nil, err
	}
	views := make([]any, 0, len(nets))
	for _, n := range nets {
		views = append(views, a.viewNetwork(r, n))
	}
	return created(bulk, "network", "networks", views), nil
}

func readNetwork(f *form) (*neutron.Network, error) {
	n := &neutron.Network{AdminStateUp: true, PortSecurityEnabled: true}
	n.ProjectID = f.project()
	if err := f.enforce(owned(n.ProjectID)); err != nil {
		return nil, err
	}
	f.str("name", 255, &n.Name)
	f.str("description", 255, &n.Description)
	f.boolean("admin_state_up", &n.AdminStateUp)
	f.boolean("shared", &n.Shared)
	f.boolean("router:external", &n.External)
	f.boolean("is_default", &n.IsDefault)
	f.integer("mtu", &n.MTU)
	f.boolean("port_security_enabled", &n.PortSecurityEnabled)
	f.str("dns_domain", 255, &n.DNSDomain)
	var typ, phys *string
	f.nullable("provider:network_type", 16, &typ)
	f.nullable("provider:physical_network", 64, &phys)
	if typ != nil {
		n.Type = *typ
	}
	if phys != nil {
		n.PhysicalNetwork = *phys
	}
	var seg *int
	f.intPtr("provider:segmentation_id", &seg)
	if seg != nil {
		n.SegmentationID = *seg
	}
	var hints []string
	f.strings("availability_zone_hints", &hints)
	n.AvailabilityZoneHints = hints
	f.tags(&n.Standard)
	f.ignore("qos_policy_id", "vlan_transparent", "qinq", "segments", "pvlan")
	return n, f.done("subnets", "availability_zones", "l2_adjacency", "ipv4_address_scope", "ipv6_address_scope")
}

func (a *API) updateNetwork(r *httpapi.Request) (any, error) {
	c, id := a.caller(r), r.PathValue("id")
	n, err := a.neutron.Network(r.Context(), c, id)
	if err != nil {
		return nil, err
	}
	f, err := a.updateForm(r, "network", networkTarget(n))
	if err != nil {
		return nil, err
	}
	p := neutron.NetworkPatch{}
	f.strPtr("name", 255, &p.Name)
	f.strPtr("description", 255, &p.Description)
	f.strPtr("dns_domain", 255, &p.DNSDomain)
	f.boolPtr("admin_state_up", &p.AdminStateUp)
	f.boolPtr("shared", &p.Shared)
	f.boolPtr("router:external", &p.External)
	f.boolPtr("is_default", &p.IsDefault)
	f.boolPtr("port_security_enabled", &p.PortSecurityOn)
	f.intPtr("mtu", &p.MTU)
	f.ignore("qos_policy_id")
	if err := f.done(append([]string{"subnets", "availability_zones", "availability_zone_hints", "l2_adjacency", "vlan_transparent"}, providerNames()...)...); err != nil {
		return nil, err
	}
	if p.Revision, err = revision(r); err != nil {
		return nil, err
	}
	if n, err = a.neutron.UpdateNetwork(r.Context(), c, id, p); err != nil {
		return nil, err
	}
	return one(r, "network", a.viewNetwork(r, n))
}

func providerNames() []string {
	return []string{"provider:network_type", "provider:physical_network", "provider:segmentation_id"}
}

func (a *API) deleteNetwork(r *httpapi.Request) (any, error) {
	c, id := a.caller(r), r.PathValue("id")
	n, err := a.neutron.Network(r.Context(), c, id)
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(networkTarget(n)); err != nil {
		return nil, err
	}
	rev, err := revision(r)
	if err != nil {
		return nil, err
	}
	return nil, a.neutron.DeleteNetwork(r.Context(), c, id, rev)
}
