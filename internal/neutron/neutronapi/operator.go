package neutronapi

import (
	"fmt"

	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/neutron"
)

type rbacView struct {
	ID           string `json:"id"`
	ProjectID    string `json:"project_id"`
	TenantID     string `json:"tenant_id"`
	ObjectType   string `json:"object_type"`
	ObjectID     string `json:"object_id"`
	Action       string `json:"action"`
	TargetTenant string `json:"target_tenant"`
}

func viewRBAC(p *neutron.RBACPolicy) any {
	return &rbacView{p.ID, p.ProjectID, p.ProjectID, p.ObjectType, p.ObjectID, p.Action, p.TargetProject}
}

func (a *API) listRBAC(r *httpapi.Request) (any, error) {
	if err := r.Enforce(own(r)); err != nil {
		return nil, err
	}
	l, err := a.listing(r, neutron.RBACPolicies)
	if err != nil {
		return nil, err
	}
	list, err := a.neutron.RBACPolicies(r.Context(), a.caller(r), l.query)
	if err != nil {
		return nil, err
	}
	return page(l, "/v2.0/rbac-policies", "rbac_policies", list, func(p *neutron.RBACPolicy) string { return p.ID }, viewRBAC)
}

func (a *API) showRBAC(r *httpapi.Request) (any, error) {
	p, err := a.neutron.RBACPolicy(r.Context(), a.caller(r), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(owned(p.ProjectID)); err != nil {
		return nil, err
	}
	return one(r, "rbac_policy", viewRBAC(p))
}

func (a *API) createRBAC(r *httpapi.Request) (any, error) {
	forms, _, err := a.forms(r, "create_rbac_policy", "rbac_policy", "")
	if err != nil {
		return nil, err
	}
	f := forms[0]
	p := &neutron.RBACPolicy{}
	f.require("object_type", "object_id", "action", "target_tenant")
	p.ProjectID = f.project()
	var target string
	f.str("target_tenant", 255, &target)
	t := owned(p.ProjectID)
	t["target_tenant"] = target
	if err := f.enforce(t); err != nil {
		return nil, err
	}
	p.TargetProject = target
	f.str("object_type", 32, &p.ObjectType)
	f.uuid("object_id", &p.ObjectID)
	f.str("action", 32, &p.Action)
	if err := f.done(); err != nil {
		return nil, err
	}
	if err := a.neutron.CreateRBACPolicy(r.Context(), a.caller(r), p); err != nil {
		return nil, err
	}
	return one(r, "rbac_policy", viewRBAC(p))
}

func (a *API) updateRBAC(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	p, err := a.neutron.RBACPolicy(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	forms, _, err := a.forms(r, "update_rbac_policy", "rbac_policy", "")
	if err != nil {
		return nil, err
	}
	f, target := forms[0], p.TargetProject
	f.str("target_tenant", 255, &target)
	t := owned(p.ProjectID)
	t["target_tenant"] = target
	if err := f.enforce(t); err != nil {
		return nil, err
	}
	if err := f.done("object_type", "object_id", "action"); err != nil {
		return nil, err
	}
	if p, err = a.neutron.UpdateRBACPolicy(r.Context(), c, p.ID, target); err != nil {
		return nil, err
	}
	return one(r, "rbac_policy", viewRBAC(p))
}

func (a *API) deleteRBAC(r *httpapi.Request) (any, error) {
	c := a.caller(r)
	p, err := a.neutron.RBACPolicy(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := r.Enforce(owned(p.ProjectID)); err != nil {
		return nil, err
	}
	return nil, a.neutron.DeleteRBACPolicy(r.Context(), c, p.ID)
}

type agentView struct {
	ID               string         `json:"id"`
	Type             string         `json:"agent_type"`
	Binary           string         `json:"binary"`
	Topic            string         `json:"topic"`
	Host             string         `json:"host"`
	AvailabilityZone *string        `json:"availability_zone"`
	AdminStateUp     bool           `json:"admin_state_up"`
	Alive            bool           `json:"alive"`
	Description      *string        `json:"description"`
	Configurations   map[string]any `json:"configurations"`
	ResourcesSynced  *bool          `json:"resources_synced"`
	HAState          *string        `json:"ha_state"`
	ResourceVersions map[string]any `json:"resource_versions"`
	CreatedAt        string         `json:"created_at"`
	StartedAt        string         `json:"started_at"`
	HeartbeatAt      string         `json:"heartbeat_timestamp"`
}

func (a *API) viewAgent(x *neutron.Agent) any {
	const format = "2006-01-02 15:04:05"
	v := &agentView{
		ID: x.ID, Type: x.Type, Binary: x.Binary, Topic: x.Topic, Host: x.Host, AdminStateUp: x.AdminStateUp,
		Alive: a.neutron.Alive(x), Configurations: x.Configurations, ResourceVersions: map[string]any{},
		CreatedAt: x.CreatedAt.UTC().Format(format), StartedAt: x.StartedAt.UTC().Format(format), HeartbeatAt: x.HeartbeatAt.UTC().Format(format),
	}
	if x.Topic != "N/A" { // only agents that are scheduled to have a zone
		v.AvailabilityZone = &x.AvailabilityZone
	}
	if x.Description != "" {
		v.Description = &x.Description
	}
	return v
}

func (a *API) listAgents(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	l, err := a.listing(r, neutron.Agents)
	if err != nil {
		return nil, err
	}
	alive := l.query.Filters["alive"]
	agents, err := a.neutron.Agents(r.Context(), l.query)
	if err != nil {
		return nil, err
	}
	if len(alive) == 1 {
		kept := agents[:0]
		for _, x := range agents {
			if fmt.Sprint(a.neutron.Alive(x)) == lower(alive[0]) {
				kept = append(kept, x)
			}
		}
		agents = kept
	}
	return page(l, "/v2.0/agents", "agents", agents, func(x *neutron.Agent) string { return x.ID }, a.viewAgent)
}

func (a *API) showAgent(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	x, err := a.neutron.Agent(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return one(r, "agent", a.viewAgent(x))
}

func (a *API) updateAgent(r *httpapi.Request) (any, error) {
	f, err := a.updateForm(r, "agent", own(r))
	if err != nil {
		return nil, err
	}
	p := neutron.AgentPatch{}
	f.boolPtr("admin_state_up", &p.AdminStateUp)
	f.strPtr("description", 255, &p.Description)
	if err := f.done("agent_type", "binary", "host", "topic", "alive", "configurations", "availability_zone"); err != nil {
		return nil, err
	}
	x, err := a.neutron.UpdateAgent(r.Context(), r.PathValue("id"), p)
	if err != nil {
		return nil, err
	}
	return one(r, "agent", a.viewAgent(x))
}

func (a *API) deleteAgent(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return nil, a.neutron.DeleteAgent(r.Context(), r.PathValue("id"))
}

func (a *API) listNetworksOfAgent(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	nets, err := a.neutron.NetworksOfAgent(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	views := []any{}
	for _, n := range nets {
		views = append(views, a.viewNetwork(r, n))
	}
	return map[string]any{"networks": views}, nil
}

func (a *API) addNetworkToAgent(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in struct {
		NetworkID string `json:"network_id"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	// The API answers null here, which clients read as an empty success.
	return []byte("null"), a.neutron.AddNetworkToAgent(r.Context(), r.PathValue("id"), in.NetworkID)
}

func (a *API) removeNetworkFromAgent(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return nil, a.neutron.RemoveNetworkFromAgent(r.Context(), r.PathValue("id"), r.PathValue("network_id"))
}

func (a *API) listRoutersOfAgent(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	routers, err := a.neutron.RoutersOfAgent(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	views := []any{}
	for _, x := range routers {
		views = append(views, a.viewRouter(r, x))
	}
	return map[string]any{"routers": views}, nil
}

func (a *API) addRouterToAgent(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in struct {
		RouterID string `json:"router_id"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	return []byte("null"), a.neutron.AddRouterToAgent(r.Context(), r.PathValue("id"), in.RouterID)
}

func (a *API) removeRouterFromAgent(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	return nil, a.neutron.RemoveRouterFromAgent(r.Context(), r.PathValue("id"), r.PathValue("router_id"))
}

func (a *API) agentsOf(r *httpapi.Request, agents []*neutron.Agent, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	views := []any{}
	for _, x := range agents {
		views = append(views, a.viewAgent(x))
	}
	return map[string]any{"agents": views}, r.Enforce(nil)
}

func (a *API) listAgentsOfNetwork(r *httpapi.Request) (any, error) {
	agents, err := a.neutron.AgentsOfNetwork(r.Context(), r.PathValue("id"))
	return a.agentsOf(r, agents, err)
}

func (a *API) listAgentsOfRouter(r *httpapi.Request) (any, error) {
	agents, err := a.neutron.AgentsOfRouter(r.Context(), r.PathValue("id"))
	return a.agentsOf(r, agents, err)
}
