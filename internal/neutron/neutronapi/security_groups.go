package neutronapi

import (
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
)

type groupView struct {
	standardView
	Name     string `json:"name"`
	Stateful bool   `json:"stateful"`
	Shared   bool   `json:"shared"`
	Rules    []any  `json:"security_group_rules"`
}

type ruleView struct {
	standardView
	SecurityGroupID      string  `json:"security_group_id"`
	Direction            string  `json:"direction"`
	EtherType            string  `json:"ethertype"`
	Protocol             *string `json:"protocol"`
	PortRangeMin         *int    `json:"port_range_min"`
	PortRangeMax         *int    `json:"port_range_max"`
	RemoteIPPrefix       *string `json:"remote_ip_prefix"`
	RemoteGroupID        *string `json:"remote_group_id"`
	RemoteAddressGroupID *string `json:"remote_address_group_id"`
	NormalizedCIDR       *string `json:"normalized_cidr"`
	BelongsToDefault     bool    `json:"belongs_to_default_sg"`
}

func viewGroup(g *neutron.SecurityGroup) any {
	v := &groupView{standardView: viewStandard(&g.Standard), Name: g.Name, Stateful: g.Stateful, Rules: make([]any, 0, len(g.Rules))}
	for _, r := range g.Rules {
		v.Rules = append(v.Rules, viewRule(r))
	}
	return v
}

func viewRule(r *neutron.SecurityGroupRule) any {
	return &ruleView{
		standardView: viewStandard(&r.Standard), SecurityGroupID: r.SecurityGroupID, Direction: r.Direction, EtherType: r.EtherType,
		Protocol: r.Protocol, PortRangeMin: r.PortRangeMin, PortRangeMax: r.PortRangeMax, RemoteIPPrefix: r.RemoteIPPrefix,
		RemoteGroupID: r.RemoteGroupID, NormalizedCIDR: r.RemoteIPPrefix, BelongsToDefault: r.DefaultGroup,
	}
}

func (a *API) listGroups(r *httpapi.Request) (any, error) {
	if err := r.Enforce(own(r)); err != nil {
		return nil, err
	}
	l, err := a.listing(r, neutron.SecurityGroups)
	if err != nil {
		return nil, err
	}
	groups, err := a.neutron.SecurityGroups(r.Context(), a.caller(r), l.query)
	if err != nil {
		return nil, err
	}
	return page(l, "/v2.0/security-groups", "security_groups", groups, func(g *neutron.SecurityGroup) string { return g.ID }, viewGroup)
}

func (a *API) showGroup(r *httpapi.Request) (any, error) {
	g, err := a.neutron.SecurityGroup(r.Context(), a.caller(r), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(owned(g.ProjectID)); err != nil {
		return nil, err
	}
	return one(r, "security_group", viewGroup(g))
}

func (a *API) createGroup(r *httpapi.Request) (any, error) {
	forms, bulk, err := a.forms(r, "create_security_group", "security_group", "security_groups")
	if err != nil {
		return nil, err
	}
	groups := make([]*neutron.SecurityGroup, 0, len(forms))
	for _, f := range forms {
		g := &neutron.SecurityGroup{Stateful: true}
		g.ProjectID = f.project()
		if err := f.enforce(owned(g.ProjectID)); err != nil {
			return nil, err
		}
		f.str("name", 255, &g.Name)
		f.str("description", 255, &g.Description)
		f.boolean("stateful", &g.Stateful)
		f.tags(&g.Standard)
		if err := f.done("security_group_rules", "shared"); err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	c := a.caller(r)
	ids, err := identify(r, neutron.SecurityGroups, len(groups))
	if err != nil {
		return nil, err
	}
	groups, err = once(ids, func(id string) (*neutron.SecurityGroup, error) { return a.neutron.SecurityGroup(r.Context(), c, id) },
		func() ([]*neutron.SecurityGroup, error) {
			for i, g := range groups {
				g.ID = ids[i]
			}
			return groups, a.neutron.CreateSecurityGroups(r.Context(), c, groups)
		})
	if err != nil {
		return nil, err
	}
	views := make([]any, 0, len(groups))
	for _, g := range groups {
		views = append(views, viewGroup(g))
	}
	return created(bulk, "security_group", "security_groups", views), nil
}

func (a *API) updateGroup(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	g, err := a.neutron.SecurityGroup(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	f, err := a.updateForm(r, "security_group", owned(g.ProjectID))
	if err != nil {
		return nil, err
	}
	p := neutron.SecurityGroupPatch{}
	f.strPtr("name", 255, &p.Name)
	f.strPtr("description", 255, &p.Description)
	f.boolPtr("stateful", &p.Stateful)
	if err := f.done("security_group_rules", "shared"); err != nil {
		return nil, err
	}
	if p.Revision, err = revision(r); err != nil {
		return nil, err
	}
	if g, err = a.neutron.UpdateSecurityGroup(r.Context(), c, g.ID, p); err != nil {
		return nil, err
	}
	return one(r, "security_group", viewGroup(g))
}

func (a *API) deleteGroup(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	g, err := a.neutron.SecurityGroup(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(owned(g.ProjectID)); err != nil {
		return nil, err
	}
	rev, err := revision(r)
	if err != nil {
		return nil, err
	}
	return nil, a.neutron.DeleteSecurityGroup(r.Context(), c, g.ID, rev)
}

func (a *API) listRules(r *httpapi.Request) (any, error) {
	if err := r.Enforce(own(r)); err != nil {
		return nil, err
	}
	l, err := a.listing(r, neutron.SecurityGroupRules)
	if err != nil {
		return nil, err
	}
	rules, err := a.neutron.SecurityGroupRules(r.Context(), a.caller(r), l.query)
	if err != nil {
		return nil, err
	}
	return page(l, "/v2.0/security-group-rules", "security_group_rules", rules,
		func(x *neutron.SecurityGroupRule) string { return x.ID }, viewRule)
}

func (a *API) showRule(r *httpapi.Request) (any, error) {
	x, err := a.neutron.SecurityGroupRule(r.Context(), a.caller(r), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(owned(x.ProjectID)); err != nil {
		return nil, err
	}
	return one(r, "security_group_rule", viewRule(x))
}

func (a *API) createRule(r *httpapi.Request) (any, error) {
	forms, bulk, err := a.forms(r, "create_security_group_rule", "security_group_rule", "security_group_rules")
	if err != nil {
		return nil, err
	}
	rules := make([]*neutron.SecurityGroupRule, 0, len(forms))
	for _, f := range forms {
		x, err := readRule(f)
		if err != nil {
			return nil, err
		}
		rules = append(rules, x)
	}
	c := a.caller(r)
	ids, err := identify(r, neutron.SecurityGroupRules, len(rules))
	if err != nil {
		return nil, err
	}
	rules, err = once(ids, func(id string) (*neutron.SecurityGroupRule, error) {
		return a.neutron.SecurityGroupRule(r.Context(), c, id)
	},
		func() ([]*neutron.SecurityGroupRule, error) {
			for i, x := range rules {
				x.ID = ids[i]
			}
			return rules, a.neutron.CreateSecurityGroupRules(r.Context(), c, rules)
		})
	if err != nil {
		return nil, err
	}
	views := make([]any, 0, len(rules))
	for _, x := range rules {
		views = append(views, viewRule(x))
	}
	return created(bulk, "security_group_rule", "security_group_rules", views), nil
}

func readRule(f *form) (*neutron.SecurityGroupRule, error) {
	x := &neutron.SecurityGroupRule{EtherType: "IPv4"}
	f.require("security_group_id", "direction")
	x.ProjectID = f.project()
	if err := f.enforce(owned(x.ProjectID)); err != nil {
		return nil, err
	}
	f.uuid("security_group_id", &x.SecurityGroupID)
	f.str("direction", 16, &x.Direction)
	var ethertype *string
	if f.nullable("ethertype", 16, &ethertype) && ethertype != nil {
		x.EtherType = *ethertype
	}
	if raw := f.raw["protocol"]; len(raw) > 0 && raw[0] >= '0' && raw[0] <= '9' {
		f.raw["protocol"] = []byte(`"` + string(raw) + `"`) // numbers come with and without quotes
	}
	f.nullable("protocol", 32, &x.Protocol)
	f.intPtr("port_range_min", &x.PortRangeMin)
	f.intPtr("port_range_max", &x.PortRangeMax)
	f.nullable("remote_ip_prefix", 64, &x.RemoteIPPrefix)
	if x.RemoteIPPrefix != nil && *x.RemoteIPPrefix == "" {
		x.RemoteIPPrefix = nil
	}
	f.uuidOrNull("remote_group_id", &x.RemoteGroupID)
	f.ignore("remote_address_group_id")
	f.str("description", 255, &x.Description)
	return x, f.done("normalized_cidr", "belongs_to_default_sg")
}

func (a *API) deleteRule(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	x, err := a.neutron.SecurityGroupRule(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(owned(x.ProjectID)); err != nil {
		return nil, err
	}
	return nil, a.neutron.DeleteSecurityGroupRule(r.Context(), c, x.ID)
}
