package neutronapi

import (
	"encoding/json"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/policy"
)

type gatewayView struct {
	NetworkID        string            `json:"network_id"`
	EnableSNAT       bool              `json:"enable_snat"`
	ExternalFixedIPs []neutron.FixedIP `json:"external_fixed_ips"`
}

type routerView struct {
	standardView
	Name                  string              `json:"name"`
	Status                string              `json:"status"`
	AdminStateUp          bool                `json:"admin_state_up"`
	ExternalGatewayInfo   *gatewayView        `json:"external_gateway_info"`
	Routes                []neutron.HostRoute `json:"routes"`
	AvailabilityZones     []string            `json:"availability_zones"`
	AvailabilityZoneHints []string            `json:"availability_zone_hints"`
	FlavorID              *string             `json:"flavor_id"`
	ServiceTypeID         *string             `json:"service_type_id"`
	ConntrackHelpers      []string            `json:"conntrack_helpers"`
	*routerModeView
}

type routerModeView struct {
	Distributed bool `json:"distributed"`
	HA          bool `json:"ha"`
}

func (a *API) viewRouter(r *httpapi.Request, x *neutron.Router) any {
	v := &routerView{
		standardView: viewStandard(&x.Standard),
		Name:         x.Name, Status: x.Status, AdminStateUp: x.AdminStateUp, Routes: x.Routes,
		AvailabilityZones: []string{}, AvailabilityZoneHints: list(x.AvailabilityZoneHints), ConntrackHelpers: []string{},
	}
	if v.Routes == nil {
		v.Routes = []neutron.HostRoute{}
	}
	if x.GatewayNetworkID != nil {
		v.ExternalGatewayInfo = &gatewayView{NetworkID: *x.GatewayNetworkID, EnableSNAT: x.EnableSNAT, ExternalFixedIPs: x.ExternalFixedIPs}
		v.AvailabilityZones = []string{a.neutron.Config().AvailabilityZone}
	}
	if r.Allowed("get_router:distributed", owned(x.ProjectID)) {
		v.routerModeView = &routerModeView{Distributed: x.Distributed, HA: x.HA}
	}
	return v
}

func (a *API) listRouters(r *httpapi.Request) (any, error) {
	if err := r.Enforce(own(r)); err != nil {
		return nil, err
	}
	l, err := a.listing(r, neutron.Routers)
	if err != nil {
		return nil, err
	}
	routers, err := a.neutron.Routers(r.Context(), a.caller(r), l.query)
	if err != nil {
		return nil, err
	}
	return page(l, "/v2.0/routers", "routers", routers,
		func(x *neutron.Router) string { return x.ID }, func(x *neutron.Router) any { return a.viewRouter(r, x) })
}

// routerOf reads the router of the URL.
func (a *API) routerOf(r *httpapi.Request, c neutron.Caller) (*neutron.Router, error) {
	return a.neutron.Router(r.Context(), c, r.PathValue("id"))
}

func (a *API) showRouter(r *httpapi.Request) (any, error) {
	x, err := a.routerOf(r, a.caller(r))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(owned(x.ProjectID)); err != nil {
		return nil, err
	}
	return one(r, "router", a.viewRouter(r, x))
}

func (a *API) createRouter(r *httpapi.Request) (any, error) {
	forms, _, err := a.forms(r, "create_router", "router", "")
	if err != nil {
		return nil, err
	}
	f := forms[0]
	x := &neutron.Router{AdminStateUp: true}
	x.ProjectID = f.project()
	if err := f.enforce(owned(x.ProjectID)); err != nil {
		return nil, err
	}
	f.str("name", 255, &x.Name)
	f.str("description", 255, &x.Description)
	f.boolean("admin_state_up", &x.AdminStateUp)
	gw, err := f.gateway(owned(x.ProjectID))
	if err != nil {
		return nil, err
	}
	var hints []string
	f.strings("availability_zone_hints", &hints)
	x.AvailabilityZoneHints = hints
	f.tags(&x.Standard)
	f.ignore("distributed", "ha", "flavor_id", "service_type_id", "enable_ndp_proxy", "enable_default_route_bfd", "enable_default_route_ecmp", "qos_policy_id")
	if err := f.done("routes", "availability_zones", "conntrack_helpers", "external_gateways"); err != nil {
		return nil, err
	}
	c := a.caller(r)
	keys, err := identify(r, neutron.Routers, 1)
	if err != nil {
		return nil, err
	}
	made, err := once(keys, func(id string) (*neutron.Router, error) { return a.neutron.Router(r.Context(), c, id) },
		func() ([]*neutron.Router, error) {
			x.ID = keys[0]
			return []*neutron.Router{x}, a.neutron.CreateRouter(r.Context(), c, x, gw)
		})
	if err != nil {
		return nil, err
	}
	return one(r, "router", a.viewRouter(r, made[0]))
}

// gateway reads external_gateway_info; null and {} mean no gateway. Each of
// its members has a rule of its own.
func (f *form) gateway(t policy.Target) (*neutron.GatewayInfo, error) {
	raw, ok := f.take("external_gateway_info")
	if !ok {
		return nil, nil
	}
	gw := &neutron.GatewayInfo{}
	if isNull(raw) {
		return gw, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, badRequest("Invalid input for external_gateway_info. Reason: '%s' is not an object.", pyText(raw))
	}
	for name := range members {
		rule := f.action + ":external_gateway_info:" + name
		if _, ok := f.a.policy.Rule(rule); ok {
			if err := f.r.EnforceRule(rule, t); err != nil {
				return nil, err
			}
		}
	}
	sub := &form{a: f.a, r: f.r, action: f.action, raw: members}
	var network *string
	sub.uuidOrNull("network_id", &network)
	sub.boolPtr("enable_snat", &gw.EnableSNAT)
	var ips []neutron.FixedIP
	if sub.object("external_fixed_ips", &ips) {
		gw.ExternalFixedIPs = &ips
	}
	sub.ignore("qos_policy_id")
	if network != nil {
		gw.NetworkID = *network
	} else if len(members) > 1 || gw.EnableSNAT != nil || gw.ExternalFixedIPs != nil {
		sub.invalid("external_gateway_info", "'network_id' is required.")
	}
	return gw, sub.done()
}

func (a *API) updateRouter(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	x, err := a.routerOf(r, c)
	if err != nil {
		return nil, err
	}
	t := owned(x.ProjectID)
	f, err := a.updateForm(r, "router", t)
	if err != nil {
		return nil, err
	}
	p := neutron.RouterPatch{}
	f.strPtr("name", 255, &p.Name)
	f.strPtr("description", 255, &p.Description)
	f.boolPtr("admin_state_up", &p.AdminStateUp)
	if p.Gateway, err = f.gateway(t); err != nil {
		return nil, err
	}
	routes := []neutron.HostRoute{}
	if f.object("routes", &routes) {
		p.Routes = &routes
	}
	f.ignore("distributed", "ha")
	if err := f.done("availability_zones", "availability_zone_hints", "flavor_id", "conntrack_helpers", "external_gateways"); err != nil {
		return nil, err
	}
	if p.Revision, err = revision(r); err != nil {
		return nil, err
	}
	if x, err = a.neutron.UpdateRouter(r.Context(), c, x.ID, p); err != nil {
		return nil, err
	}
	return one(r, "router", a.viewRouter(r, x))
}

func (a *API) deleteRouter(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	x, err := a.routerOf(r, c)
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(owned(x.ProjectID)); err != nil {
		return nil, err
	}
	rev, err := revision(r)
	if err != nil {
		return nil, err
	}
	return nil, a.neutron.DeleteRouter(r.Context(), c, x.ID, rev)
}

type interfaceView struct {
	ID        string   `json:"id"`
	ProjectID string   `json:"project_id"`
	TenantID  string   `json:"tenant_id"`
	NetworkID string   `json:"network_id"`
	PortID    string   `json:"port_id"`
	SubnetID  string   `json:"subnet_id"`
	SubnetIDs []string `json:"subnet_ids"`
	Tags      []string `json:"tags"`
}

func viewInterface(i *neutron.RouterInterface) any {
	v := &interfaceView{
		ID: i.Router.ID, ProjectID: i.Router.ProjectID, TenantID: i.Router.ProjectID, NetworkID: i.NetworkID,
		PortID: i.PortID, SubnetIDs: i.SubnetIDs, Tags: list(i.Router.Tags),
	}
	if len(i.SubnetIDs) > 0 {
		v.SubnetID = i.SubnetIDs[0]
	}
	return v
}

// interfaceBody is the body of add_ and remove_router_interface: alone among
// requests it has no wrapping object.
type interfaceBody struct {
	SubnetID string `json:"subnet_id"`
	PortID   string `json:"port_id"`
}

func (a *API) readInterface(r *httpapi.Request, c neutron.Caller) (*neutron.Router, *interfaceBody, error) {
	x, err := a.routerOf(r, c)
	if err != nil {
		return nil, nil, err
	}
	if err := r.Enforce(owned(x.ProjectID)); err != nil {
		return nil, nil, err
	}
	in := &interfaceBody{}
	if err := r.Decode(in); err != nil {
		return nil, nil, err
	}
	if in.SubnetID == "" && in.PortID == "" {
		return nil, nil, badRequest("Bad router request: Either subnet_id or port_id must be specified.")
	}
	for _, id := range []string{in.SubnetID, in.PortID} {
		if id != "" && !ids.IsUUID(id) {
			return nil, nil, badRequest("Bad router request: '%s' is not a valid UUID.", clip(id))
		}
	}
	return x, in, nil
}

func (a *API) addInterface(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	x, in, err := a.readInterface(r, c)
	if err != nil {
		return nil, err
	}
	if in.SubnetID != "" && in.PortID != "" {
		return nil, badRequest("Bad router request: Cannot specify both subnet-id and port-id.")
	}
	i, err := a.neutron.AddRouterInterface(r.Context(), c, x.ID, in.SubnetID, in.PortID)
	if err != nil {
		return nil, err
	}
	return viewInterface(i), nil
}

func (a *API) removeInterface(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	x, in, err := a.readInterface(r, c)
	if err != nil {
		return nil, err
	}
	i, err := a.neutron.RemoveRouterInterface(r.Context(), c, x.ID, in.SubnetID, in.PortID)
	if err != nil {
		return nil, err
	}
	return viewInterface(i), nil
}

func (a *API) addExtraRoutes(r *httpapi.Request) (any, error)    { return a.extraRoutes(r, true) }
func (a *API) removeExtraRoutes(r *httpapi.Request) (any, error) { return a.extraRoutes(r, false) }

func (a *API) extraRoutes(r *httpapi.Request, add bool) (any, error) {
	c := a.caller(r)
	x, err := a.routerOf(r, c)
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(owned(x.ProjectID)); err != nil {
		return nil, err
	}
	var in struct {
		Router struct {
			Routes []neutron.HostRoute `json:"routes"`
		} `json:"router"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	routes, none := in.Router.Routes, []neutron.HostRoute(nil)
	if add {
		x, err = a.neutron.ChangeRoutes(r.Context(), c, x.ID, routes, none)
	} else {
		x, err = a.neutron.ChangeRoutes(r.Context(), c, x.ID, none, routes)
	}
	if err != nil {
		return nil, err
	}
	return one(r, "router", a.viewRouter(r, x))
}
