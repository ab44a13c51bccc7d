package neutronapi

import (
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
)

type floatingIPView struct {
	standardView
	NetworkID       string           `json:"floating_network_id"`
	Address         string           `json:"floating_ip_address"`
	PortID          *string          `json:"port_id"`
	FixedIP         *string          `json:"fixed_ip_address"`
	RouterID        *string          `json:"router_id"`
	Status          string           `json:"status"`
	DNSName         string           `json:"dns_name"`
	DNSDomain       string           `json:"dns_domain"`
	QoSPolicyID     *string          `json:"qos_policy_id"`
	QoSNetworkID    *string          `json:"qos_network_policy_id"`
	PortDetails     *portDetailsView `json:"port_details"`
	PortForwardings []string         `json:"port_forwardings"`
}

type portDetailsView struct {
	Name         string `json:"name"`
	NetworkID    string `json:"network_id"`
	MAC          string `json:"mac_address"`
	AdminStateUp bool   `json:"admin_state_up"`
	Status       string `json:"status"`
	DeviceID     string `json:"device_id"`
	DeviceOwner  string `json:"device_owner"`
}

func viewFloatingIP(f *neutron.FloatingIP) any {
	v := &floatingIPView{
		standardView: viewStandard(&f.Standard),
		NetworkID:    f.NetworkID, Address: f.Address, PortID: f.PortID, FixedIP: f.FixedIP, RouterID: f.RouterID,
		Status: f.Status, DNSName: f.DNSName, DNSDomain: f.DNSDomain, PortForwardings: []string{},
	}
	if p := f.Port; p != nil {
		v.PortDetails = &portDetailsView{
			Name: p.Name, NetworkID: p.NetworkID, MAC: p.MAC, AdminStateUp: p.AdminStateUp, Status: p.Status,
			DeviceID: p.DeviceID, DeviceOwner: p.DeviceOwner,
		}
	}
	return v
}

func (a *API) listFloatingIPs(r *httpapi.Request) (any, error) {
	if err := r.Enforce(own(r)); err != nil {
		return nil, err
	}
	l, err := a.listing(r, neutron.FloatingIPs)
	if err != nil {
		return nil, err
	}
	fips, err := a.neutron.FloatingIPs(r.Context(), a.caller(r), l.query)
	if err != nil {
		return nil, err
	}
	return page(l, "/v2.0/floatingips", "floatingips", fips, func(f *neutron.FloatingIP) string { return f.ID }, viewFloatingIP)
}

func (a *API) showFloatingIP(r *httpapi.Request) (any, error) {
	f, err := a.neutron.FloatingIP(r.Context(), a.caller(r), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(owned(f.ProjectID)); err != nil {
		return nil, err
	}
	return one(r, "floatingip", viewFloatingIP(f))
}

func (a *API) createFloatingIP(r *httpapi.Request) (any, error) {
	forms, _, err := a.forms(r, "create_floatingip", "floatingip", "")
	if err != nil {
		return nil, err
	}
	f := forms[0]
	spec := &neutron.FloatingIPSpec{}
	f.require("floating_network_id")
	spec.ProjectID = f.project()
	if err := f.enforce(owned(spec.ProjectID)); err != nil {
		return nil, err
	}
	f.uuid("floating_network_id", &spec.NetworkID)
	f.str("description", 255, &spec.Description)
	var port, subnet, address, fixed *string
	f.uuidOrNull("port_id", &port)
	f.uuidOrNull("subnet_id", &subnet)
	f.nullable("floating_ip_address", 64, &address)
	f.nullable("fixed_ip_address", 64, &fixed)
	for dst, src := range map[*string]*string{&spec.WantPort: port, &spec.SubnetID: subnet, &spec.Address: address, &spec.WantIP: fixed} {
		if src != nil {
			*dst = *src
		}
	}
	if spec.WantIP != "" && spec.WantPort == "" {
		f.fail(badRequest("Bad floatingip request: fixed_ip_address cannot be specified without a port_id."))
	}
	f.str("dns_name", 255, &spec.DNSName)
	f.str("dns_domain", 255, &spec.DNSDomain)
	f.tags(&spec.Standard)
	f.ignore("qos_policy_id", "distributed")
	if err := f.done("router_id", "port_details", "port_forwardings"); err != nil {
		return nil, err
	}
	c := a.caller(r)
	ids, err := identify(r, neutron.FloatingIPs, 1)
	if err != nil {
		return nil, err
	}
	made, err := once(ids, func(id string) (*neutron.FloatingIP, error) { return a.neutron.FloatingIP(r.Context(), c, id) },
		func() ([]*neutron.FloatingIP, error) {
			spec.ID = ids[0]
			fip, err := a.neutron.CreateFloatingIP(r.Context(), c, spec)
			return []*neutron.FloatingIP{fip}, err
		})
	if err != nil {
		return nil, err
	}
	return one(r, "floatingip", viewFloatingIP(made[0]))
}

func (a *API) updateFloatingIP(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	fip, err := a.neutron.FloatingIP(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	f, err := a.updateForm(r, "floatingip", owned(fip.ProjectID))
	if err != nil {
		return nil, err
	}
	p := neutron.FloatingIPPatch{}
	f.strPtr("description", 255, &p.Description)
	var port, fixed *string
	if f.uuidOrNull("port_id", &port) {
		p.PortID = new(string) // null frees the address
		if port != nil {
			p.PortID = port
		}
	}
	if f.nullable("fixed_ip_address", 64, &fixed) && fixed != nil {
		p.FixedIP = *fixed
	}
	f.ignore("qos_policy_id", "distributed")
	if err := f.done("floating_network_id", "floating_ip_address", "router_id", "subnet_id", "dns_name", "dns_domain", "port_details"); err != nil {
		return nil, err
	}
	if p.Revision, err = revision(r); err != nil {
		return nil, err
	}
	if fip, err = a.neutron.UpdateFloatingIP(r.Context(), c, fip.ID, p); err != nil {
		return nil, err
	}
	return one(r, "floatingip", viewFloatingIP(fip))
}

func (a *API) deleteFloatingIP(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	f, err := a.neutron.FloatingIP(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(owned(f.ProjectID)); err != nil {
		return nil, err
	}
	rev, err := revision(r)
	if err != nil {
		return nil, err
	}
	return nil, a.neutron.DeleteFloatingIP(r.Context(), c, f.ID, rev)
}
