package novaapi

import (
	"net/http"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/httpapi"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/nova/scheduler"
	"github.com/hastack/hastack/internal/policy"
)

func (a *API) addGroupRoutes() {
	a.get("/os-server-groups", pre+"os-server-groups:index", a.listGroups)
	a.post("/os-server-groups", pre+"os-server-groups:create", http.StatusOK, a.createGroup)
	a.get("/os-server-groups/{id}", pre+"os-server-groups:show", a.showGroup)
	a.del("/os-server-groups/{id}", pre+"os-server-groups:delete", http.StatusNoContent, a.deleteGroup)
}

func viewGroup(g *nova.ServerGroup, r *httpapi.Request) map[string]any {
	members := g.Members
	if members == nil {
		members = []string{}
	}
	out := map[string]any{"id": g.ID, "name": g.Name, "members": members}
	if r.Version().AtLeast(2, 64) {
		rules := map[string]int{}
		if g.MaxPerHost > 0 {
			rules["max_server_per_host"] = g.MaxPerHost
		}
		out["policy"], out["rules"] = g.Policy, rules
	} else {
		out["policies"], out["metadata"] = []string{g.Policy}, map[string]string{}
	}
	if r.Version().AtLeast(2, 13) {
		out["project_id"], out["user_id"] = g.ProjectID, g.UserID
	}
	return out
}

func (a *API) listGroups(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	q := r.URL.Query()
	project := r.Identity().ProjectID
	if q.Has("all_projects") {
		if err := r.EnforceRule(pre+"os-server-groups:index:all_projects", nil); err != nil {
			return nil, err
		}
		project = ""
	}
	limit, offset := maxLimit, 0
	for name, into := range map[string]*int{"limit": &limit, "offset": &offset} {
		if v := q.Get(name); v != "" {
			n, err := atoi(v)
			if err != nil || n < 0 {
				return nil, fault.New(fault.BadRequest, "%s %.40q is not a whole number of at least 0", name, v)
			}
			*into = min(n, maxLimit*maxLimit)
		}
	}
	list, err := a.nova.ServerGroups(r.Context(), project, min(limit, maxLimit), offset)
	if err != nil {
		return nil, err
	}
	views := []map[string]any{}
	for _, g := range list {
		views = append(views, viewGroup(g, r))
	}
	return map[string]any{"server_groups": views}, nil
}

// group loads the group of the path and enforces the route's rule on it.
func (a *API) group(r *httpapi.Request) (*nova.ServerGroup, error) {
	g, err := a.nova.ServerGroup(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	err = r.Enforce(policy.Target{"project_id": g.ProjectID})
	if fault.Is(err, fault.Forbidden) && g.ProjectID != r.Identity().ProjectID {
		return nil, notFound("Instance group", g.ID)
	}
	return g, err
}

func (a *API) showGroup(r *httpapi.Request) (any, error) {
	g, err := a.group(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"server_group": viewGroup(g, r)}, nil
}

func (a *API) deleteGroup(r *httpapi.Request) (any, error) {
	g, err := a.group(r)
	if err != nil {
		return nil, err
	}
	return nil, a.nova.DeleteServerGroup(r.Context(), g.ID)
}

type groupBody struct {
	Group *struct {
		Name     string   `json:"name"`
		Policies []string `json:"policies"`
		Policy   string   `json:"policy"`
		Rules    *struct {
			MaxPerHost *number `json:"max_server_per_host"`
		} `json:"rules"`
	} `json:"server_group"`
}

func (a *API) createGroup(r *httpapi.Request) (any, error) {
	if err := r.Enforce(nil); err != nil {
		return nil, err
	}
	var in groupBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	c, v := in.Group, r.Version()
	if c == nil {
		return nil, fault.New(fault.BadRequest, "'server_group' is a required property")
	}
	g := nova.ServerGroup{ProjectID: r.Identity().ProjectID, UserID: r.Identity().UserID, Name: c.Name, Policy: c.Policy}
	if v.AtLeast(2, 64) {
		if c.Policies != nil {
			return nil, unexpected("policies")
		}
		if c.Rules != nil && c.Rules.MaxPerHost != nil {
			if *c.Rules.MaxPerHost < 1 {
				return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute max_server_per_host: less than 1")
			}
			g.MaxPerHost = int(*c.Rules.MaxPerHost)
		}
	} else {
		if c.Policy != "" || c.Rules != nil {
			return nil, unexpected("policy")
		}
		if len(c.Policies) != 1 {
			return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute policies: there must be one")
		}
		g.Policy = c.Policies[0]
		soft := g.Policy == scheduler.SoftAffinity || g.Policy == scheduler.SoftAntiAffinity
		if soft && v.Before(2, 15) {
			return nil, fault.New(fault.BadRequest, "Invalid input for field/attribute policies: %s needs microversion 2.15", g.Policy)
		}
	}
	if err := a.nova.CreateServerGroup(r.Context(), &g); err != nil {
		return nil, err
	}
	return map[string]any{"server_group": viewGroup(&g, r)}, nil
}
