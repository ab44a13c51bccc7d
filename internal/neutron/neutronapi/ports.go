package neutronapi

import (
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/policy"
)

type portView struct {
	standardView
	Name                  string                  `json:"name"`
	NetworkID             string                  `json:"network_id"`
	MAC                   string                  `json:"mac_address"`
	AdminStateUp          bool                    `json:"admin_state_up"`
	Status                string                  `json:"status"`
	DeviceID              string                  `json:"device_id"`
	DeviceOwner           string                  `json:"device_owner"`
	FixedIPs              []neutron.FixedIP       `json:"fixed_ips"`
	SecurityGroups        []string                `json:"security_groups"`
	AllowedAddressPairs   []neutron.AddressPair   `json:"allowed_address_pairs"`
	ExtraDHCPOpts         []neutron.DHCPOption    `json:"extra_dhcp_opts"`
	PortSecurityEnabled   bool                    `json:"port_security_enabled"`
	PropagateUplinkStatus bool                    `json:"propagate_uplink_status"`
	DNSName               string                  `json:"dns_name"`
	DNSDomain             string                  `json:"dns_domain"`
	DNSAssignment         []neutron.DNSAssignment `json:"dns_assignment"`
	VNICType              string                  `json:"binding:vnic_type"`
	IPAllocation          string                  `json:"ip_allocation"`
	DataPlaneStatus       *string                 `json:"data_plane_status"`
	QoSPolicyID           *string                 `json:"qos_policy_id"`
	QoSNetworkPolicyID    *string                 `json:"qos_network_policy_id"`
	HardwareOffloadType   *string                 `json:"hardware_offload_type"`
	*bindingView
}

type bindingView struct {
	Host            string         `json:"binding:host_id"`
	VIFType         string         `json:"binding:vif_type"`
	VIFDetails      map[string]any `json:"binding:vif_details"`
	Profile         map[string]any `json:"binding:profile"`
	ResourceRequest *string        `json:"resource_request"`
	Hints           *string        `json:"hints"`
	Trusted         *bool          `json:"trusted"`
}

func portTarget(p *neutron.Port) policy.Target {
	t := owned(p.ProjectID)
	t["device_owner"] = p.DeviceOwner
	return t
}

func (a *API) viewPort(r *httpapi.Request, p *neutron.Port) any {
	v := &portView{
		standardView: viewStandard(&p.Standard),
		Name:         p.Name, NetworkID: p.NetworkID, MAC: p.MAC, AdminStateUp: p.AdminStateUp, Status: p.Status,
		DeviceID: p.DeviceID, DeviceOwner: p.DeviceOwner, FixedIPs: p.FixedIPs, SecurityGroups: list(p.SecurityGroups),
		AllowedAddressPairs: p.AllowedAddressPairs, ExtraDHCPOpts: p.ExtraDHCPOpts,
		PortSecurityEnabled: p.PortSecurityEnabled, PropagateUplinkStatus: p.PropagateUplinkStatus,
		DNSName: p.DNSName, DNSDomain: p.DNSDomain, DNSAssignment: a.neutron.DNSAssignments(p),
		VNICType: p.VNICType, IPAllocation: "immediate",
	}
	if v.FixedIPs == nil {
		v.FixedIPs = []neutron.FixedIP{}
	}
	if v.AllowedAddressPairs == nil {
		v.AllowedAddressPairs = []neutron.AddressPair{}
	}
	if v.ExtraDHCPOpts == nil {
		v.ExtraDHCPOpts = []neutron.DHCPOption{}
	}
	if r.Allowed("get_port:binding:host_id", portTarget(p)) {
		v.bindingView = &bindingView{
			Host: p.Host, VIFType: p.VIFType, VIFDetails: p.VIFDetails, Profile: p.Profile, Trusted: p.Trusted,
		}
	}
	return v
}

func (a *API) listPorts(r *httpapi.Request) (any, error) {
	if err := r.Enforce(own(r)); err != nil {
		return nil, err
	}
	l, err := a.listing(r, neutron.Ports)
	if err != nil {
		return nil, err
	}
	ports, err := a.neutron.Ports(r.Context(), a.caller(r), l.query)
	if err != nil {
		return nil, err
	}
	return page(l, "/v2.0/ports", "ports", ports,
		func(p *neutron.Port) string { return p.ID }, func(p *neutron.Port) any { return a.viewPort(r, p) })
}

// portOf reads the port of the URL with the target for its rules. The caller
// sees the port because the port is its own or because the network is.
func (a *API) portOf(r *httpapi.Request, c neutron.Caller) (*neutron.Port, policy.Target, error) {
	p, err := a.neutron.Port(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return nil, nil, err
	}
	t := portTarget(p)
	if c.Admin {
		return p, t, nil
	}
	if net, err := a.neutron.Network(r.Context(), c, p.NetworkID); err == nil {
		t["network:project_id"], t["network:tenant_id"], t["shared"] = net.ProjectID, net.ProjectID, net.Shared
	}
	return p, t, nil
}

func (a *API) showPort(r *httpapi.Request) (any, error) {
	p, t, err := a.portOf(r, a.caller(r))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(t); err != nil {
		return nil, err
	}
	return one(r, "port", a.viewPort(r, p))
}

func (a *API) createPort(r *httpapi.Request) (any, error) {
	forms, bulk, err := a.forms(r, "create_port", "port", "ports")
	if err != nil {
		return nil, err
	}
	c := a.caller(r)
	specs := make([]*neutron.PortSpec, 0, len(forms))
	for _, f := range forms {
		spec, err := a.readPort(f, c)
		if err != nil {
			return nil, err
		}
		specs = append(specs, spec)
	}
	ids, err := identify(r, neutron.Ports, len(specs))
	if err != nil {
		return nil, err
	}
	ports, err := once(ids, func(id string) (*neutron.Port, error) { return a.neutron.Port(r.Context(), c, id) },
		func() ([]*neutron.Port, error) {
			for i, spec := range specs {
				spec.ID = ids[i]
			}
			return a.neutron.CreatePorts(r.Context(), c, specs)
		})
	if err != nil {
		return nil, err
	}
	views := make([]any, 0, len(ports))
	for _, p := range ports {
		views = append(views, a.viewPort(r, p))
	}
	return created(bulk, "port", "ports", views), nil
}

func (a *API) readPort(f *form, c neutron.Caller) (*neutron.PortSpec, error) {
	spec := &neutron.PortSpec{Port: neutron.Port{AdminStateUp: true, VNICType: "normal", Profile: map[string]any{}}}
	f.require("network_id")
	spec.ProjectID = f.project()
	f.uuid("network_id", &spec.NetworkID)
	f.str("device_owner", 255, &spec.DeviceOwner)
	if f.err != nil {
		return nil, f.err
	}
	t := portTarget(&spec.Port)
	if !c.Admin {
		// Rules about a port may ask who owns its network; an administrator
		// passes them without, and saves the look.
		net, err := a.neutron.Network(f.r.Context(), c, spec.NetworkID)
		if err != nil {
			return nil, err
		}
		t["network:project_id"], t["network:tenant_id"], t["shared"] = net.ProjectID, net.ProjectID, net.Shared
	}
	if err := f.enforce(t); err != nil {
		return nil, err
	}
	f.str("name", 255, &spec.Name)
	f.str("description", 255, &spec.Description)
	f.boolean("admin_state_up", &spec.AdminStateUp)
	f.boolPtr("port_security_enabled", &spec.PortSecurityOn)
	f.boolean("propagate_uplink_status", &spec.PropagateUplinkStatus)
	f.str("device_id", 255, &spec.DeviceID)
	f.str("dns_name", 255, &spec.DNSName)
	f.str("dns_domain", 255, &spec.DNSDomain)
	var mac *string
	if f.nullable("mac_address", 32, &mac) && mac != nil {
		spec.MAC = *mac
	}
	if ips, ok, err := f.fixedIPs(t); err != nil {
		return nil, err
	} else if ok {
		spec.WantIPs = &ips
	}
	var groups []string
	if f.groups(&groups) {
		spec.WantGroups = &groups
	}
	f.object("allowed_address_pairs", &spec.AllowedAddressPairs)
	f.object("extra_dhcp_opts", &spec.ExtraDHCPOpts)
	f.binding(&spec.Host, &spec.VNICType, &spec.Profile)
	f.trusted(&spec.Trusted)
	f.tags(&spec.Standard)
	f.ignore("qos_policy_id", "hints", "numa_affinity_policy", "data_plane_status", "hardware_offload_type", "pvlan_type", "device_profile")
	return spec, f.done(portReadOnly()...)
}

func portReadOnly() []string {
	return []string{"binding:vif_type", "binding:vif_details", "dns_assignment", "ip_allocation", "resource_request", "qos_network_policy_id"}
}

// fixedIPs reads the addresses asked for and checks the rules on choosing
// them. Null is as good as absent.
func (f *form) fixedIPs(t policy.Target) ([]neutron.FixedIP, bool, error) {
	if isNull(f.raw["fixed_ips"]) {
		delete(f.raw, "fixed_ips")
		return nil, false, nil
	}
	ips := []neutron.FixedIP{}
	if !f.object("fixed_ips", &ips) {
		return nil, false, nil
	}
	for _, ip := range ips {
		for name, set := range map[string]bool{"ip_address": ip.IP != "", "subnet_id": ip.SubnetID != ""} {
			if !set {
				continue
			}
			if err := f.r.EnforceRule(f.action+":fixed_ips:"+name, t); err != nil {
				return nil, false, err
			}
		}
	}
	return ips, true, nil
}

// groups reads security groups; null, as some clients send it, means none were
// chosen.
func (f *form) groups(dst *[]string) bool {
	if isNull(f.raw["security_groups"]) {
		delete(f.raw, "security_groups")
		return false
	}
	return f.strings("security_groups", dst)
}

func (f *form) binding(host, vnic *string, profile *map[string]any) {
	var h, v *string
	if f.nullable("binding:host_id", 255, &h) {
		*host = ""
		if h != nil {
			*host = *h
		}
	}
	if f.nullable("binding:vnic_type", 64, &v) && v != nil {
		switch *v {
		case "normal":
			*vnic = *v
		default:
			f.invalid("binding:vnic_type", "'%s' is not in ['normal'].", clip(*v))
		}
	}
	var p map[string]any
	if f.object("binding:profile", &p) {
		if p == nil {
			p = map[string]any{}
		}
		*profile = p
	}
}

func (f *form) trusted(dst **bool) {
	if isNull(f.raw["trusted"]) {
		delete(f.raw, "trusted")
		return
	}
	f.boolPtr("trusted", dst)
}

func (a *API) updatePort(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	port, t, err := a.portOf(r, c)
	if err != nil {
		return nil, err
	}
	forms, _, err := a.forms(r, "update_port", "port", "")
	if err != nil {
		return nil, err
	}
	f := forms[0]
	p := neutron.PortPatch{}
	f.strPtr("device_owner", 255, &p.DeviceOwner)
	if p.DeviceOwner != nil && *p.DeviceOwner != port.DeviceOwner {
		// The rule looks at the owner that the port would get: taking on one of
		// Neutron's own would take the port's filter away (CVE-2015-5240).
		t["device_owner"] = *p.DeviceOwner
	}
	if err := f.enforce(t); err != nil {
		return nil, err
	}
	if err := f.portPatch(&p, t, port); err != nil {
		return nil, err
	}
	if p.Revision, err = revision(r); err != nil {
		return nil, err
	}
	if port, err = a.neutron.UpdatePort(r.Context(), c, port.ID, p); err != nil {
		return nil, err
	}
	return one(r, "port", a.viewPort(r, port))
}

func (f *form) portPatch(p *neutron.PortPatch, t policy.Target, port *neutron.Port) error {
	f.strPtr("name", 255, &p.Name)
	f.strPtr("description", 255, &p.Description)
	f.strPtr("device_id", 255, &p.DeviceID)
	f.strPtr("mac_address", 32, &p.MAC)
	f.strPtr("dns_name", 255, &p.DNSName)
	f.strPtr("dns_domain", 255, &p.DNSDomain)
	f.boolPtr("admin_state_up", &p.AdminStateUp)
	f.boolPtr("port_security_enabled", &p.PortSecurityOn)
	if ips, ok, err := f.fixedIPs(t); err != nil {
		return err
	} else if ok {
		p.FixedIPs = &ips
	}
	var groups []string
	if f.groups(&groups) {
		p.SecurityGroups = &groups
	}
	var pairs []neutron.AddressPair
	if f.object("allowed_address_pairs", &pairs) {
		p.AllowedAddressPairs = &pairs
	}
	var opts []neutron.DHCPOption
	if f.object("extra_dhcp_opts", &opts) {
		p.ExtraDHCPOpts = &opts
	}
	hostGiven, vnicGiven, profileGiven := f.has("binding:host_id"), f.has("binding:vnic_type"), f.has("binding:profile")
	host, vnic, profile := "", port.VNICType, map[string]any{}
	f.binding(&host, &vnic, &profile)
	if hostGiven {
		p.Host = &host
	}
	if vnicGiven {
		p.VNICType = &vnic
	}
	if profileGiven {
		p.Profile = &profile
	}
	if f.has("trusted") {
		var trusted *bool
		f.trusted(&trusted)
		p.Trusted = &trusted
	}
	f.ignore("qos_policy_id", "hints", "data_plane_status", "numa_affinity_policy", "propagate_uplink_status")
	return f.done(append([]string{"network_id"}, portReadOnly()...)...)
}

func (a *API) deletePort(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	p, t, err := a.portOf(r, c)
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
	return nil, a.neutron.DeletePort(r.Context(), c, p.ID, rev)
}
