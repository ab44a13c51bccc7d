package novaapi

import (
	"net/http"
	"strings"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
)

// lastProxied is the microversion that took Nova's way to Neutron's security
// groups away.
const lastProxied = 36

func (a *API) addSecurityGroupRoutes() {
	const rule = pre + "os-security-groups:"
	a.get("/os-security-groups", rule+"get", until(lastProxied, a.listSecurityGroups))
	a.get("/os-security-groups/{id}", rule+"show", until(lastProxied, a.showSecurityGroup))
	a.post("/os-security-groups", rule+"create", http.StatusOK, until(lastProxied, a.createSecurityGroup))
	a.put("/os-security-groups/{id}", rule+"update", until(lastProxied, a.updateSecurityGroup))
	a.del("/os-security-groups/{id}", rule+"delete", http.StatusAccepted, until(lastProxied, a.deleteSecurityGroup))
	a.post("/os-security-group-rules", rule+"rule:create", http.StatusOK, until(lastProxied, a.createSecurityGroupRule))
	a.del("/os-security-group-rules/{id}", rule+"rule:delete", http.StatusAccepted, until(lastProxied, a.deleteSecurityGroupRule))
}

type securityGroupView struct {
	ID          string                  `json:"id"`
	Name        string                  `json:"name"`
	Description string                  `json:"description"`
	ProjectID   string                  `json:"tenant_id"`
	Rules       []securityGroupRuleView `json:"rules"`
}

type securityGroupRuleView struct {
	ID       string            `json:"id"`
	GroupID  string            `json:"parent_group_id"`
	Protocol *string           `json:"ip_protocol"`
	From     *int              `json:"from_port"`
	To       *int              `json:"to_port"`
	Range    map[string]string `json:"ip_range"`
	Group    map[string]string `json:"group"`
}

// viewSecurityGroup shows of a group what its servers let in: Nova never knew
// rules for what goes out.
func viewSecurityGroup(g *nova.SecurityGroup) securityGroupView {
	v := securityGroupView{g.ID, g.Name, g.Description, g.ProjectID, []securityGroupRuleView{}}
	for i := range g.Rules {
		if g.Rules[i].Direction == "ingress" {
			v.Rules = append(v.Rules, viewSecurityGroupRule(&g.Rules[i]))
		}
	}
	return v
}

func viewSecurityGroupRule(r *nova.SecurityGroupRule) securityGroupRuleView {
	v := securityGroupRuleView{ID: r.ID, GroupID: r.GroupID, Protocol: r.Protocol, Range: map[string]string{}, Group: map[string]string{}}
	v.From, v.To = r.Ports()
	switch {
	case r.RemoteID == nil:
		v.Range["cidr"] = r.CIDR()
	case r.Remote != nil:
		v.Group["name"], v.Group["tenant_id"] = r.Remote.Name, r.Remote.ProjectID
	}
	return v
}

func viewSecurityGroups(groups []nova.SecurityGroup) []securityGroupView {
	list := make([]securityGroupView, len(groups))
	for i := range groups {
		list[i] = viewSecurityGroup(&groups[i])
	}
	return list
}

func (a *API) listSecurityGroups(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	groups, err := a.nova.SecurityGroups(r.Context(), r.Identity(), "")
	if err != nil {
		return nil, err
	}
	return map[string]any{"security_groups": viewSecurityGroups(groups)}, nil
}

func (a *API) showSecurityGroup(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	groups, err := a.nova.SecurityGroups(r.Context(), r.Identity(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"security_group": viewSecurityGroup(&groups[0])}, nil
}

type securityGroupBody struct {
	Group *struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"security_group"`
}

func readSecurityGroup(r *httpapi.Request) (name, description string, err error) {
	var in securityGroupBody
	if err := r.Decode(&in); err != nil {
		return "", "", err
	}
	if in.Group == nil || strings.TrimSpace(in.Group.Name) == "" {
		return "", "", fault.New(fault.BadRequest, "Security group name cannot be empty")
	}
	return strings.TrimSpace(in.Group.Name), in.Group.Description, nil
}

func (a *API) createSecurityGroup(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	name, description, err := readSecurityGroup(r)
	if err != nil {
		return nil, err
	}
	g, err := a.nova.CreateSecurityGroup(r.Context(), r.Identity(), name, description)
	if err != nil {
		return nil, err
	}
	return map[string]any{"security_group": viewSecurityGroup(g)}, nil
}

func (a *API) updateSecurityGroup(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	name, description, err := readSecurityGroup(r)
	if err != nil {
		return nil, err
	}
	g, err := a.nova.UpdateSecurityGroup(r.Context(), r.Identity(), r.PathValue("id"), name, description)
	if err != nil {
		return nil, err
	}
	return map[string]any{"security_group": viewSecurityGroup(g)}, nil
}

func (a *API) deleteSecurityGroup(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return nil, a.nova.DeleteSecurityGroup(r.Context(), r.Identity(), r.PathValue("id"))
}

type securityGroupRuleBody struct {
	Rule *struct {
		GroupID  string  `json:"parent_group_id"`
		Protocol string  `json:"ip_protocol"`
		From     *int    `json:"from_port"`
		To       *int    `json:"to_port"`
		CIDR     *string `json:"cidr"`
		RemoteID *string `json:"group_id"`
	} `json:"security_group_rule"`
}

func (a *API) createSecurityGroupRule(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in securityGroupRuleBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Rule == nil || in.Rule.GroupID == "" {
		return nil, fault.New(fault.BadRequest, "Parent group id is required")
	}
	rule := nova.SecurityGroupRule{GroupID: in.Rule.GroupID, MinPort: portOf(in.Rule.From), MaxPort: portOf(in.Rule.To), RemoteID: in.Rule.RemoteID}
	if p := strings.ToLower(in.Rule.Protocol); p != "" {
		rule.Protocol = &p
	}
	if rule.RemoteID == nil {
		rule.Prefix = in.Rule.CIDR
		if rule.Prefix != nil && strings.Contains(*rule.Prefix, ":") {
			rule.EtherType = "IPv6"
		}
	}
	made, err := a.nova.CreateSecurityGroupRule(r.Context(), r.Identity(), rule)
	if err != nil {
		return nil, err
	}
	return map[string]any{"security_group_rule": viewSecurityGroupRule(made)}, nil
}

// portOf is a port as Neutron has it: none where Nova's clients say -1.
func portOf(p *int) *int {
	if p != nil && *p == -1 {
		return nil
	}
	return p
}

func (a *API) deleteSecurityGroupRule(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return nil, a.nova.DeleteSecurityGroupRule(r.Context(), r.Identity(), r.PathValue("id"))
}
