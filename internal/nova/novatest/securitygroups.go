package novatest

import (
	"maps"
	"net/http"
	"slices"

	"github.com/hastack/hastack/internal/ids"
)

// firstGroups are the security groups that a fake Neutron starts with. They
// belong to whatever project asks for them.
func firstGroups() []map[string]any {
	return []map[string]any{
		{"id": "5ec00000-0000-4000-8000-000000000001", "name": "default", "description": "", "security_group_rules": []map[string]any{}},
		{"id": "5ec00000-0000-4000-8000-000000000002", "name": "web", "description": "", "security_group_rules": []map[string]any{}},
	}
}

func (n *Neighbours) group(id any) map[string]any {
	i := slices.IndexFunc(n.groups, func(g map[string]any) bool { return g["id"] == id })
	if i < 0 {
		return nil
	}
	return n.groups[i]
}

func (n *Neighbours) serveGroups(w http.ResponseWriter, r *http.Request, id string, body map[string]any) {
	in, _ := body["security_group"].(map[string]any)
	g := n.group(id)
	switch {
	case id == "" && r.Method == http.MethodPost:
		in["id"], in["project_id"] = ids.UUID(), personas()[r.Header.Get("X-Auth-Token")].ProjectID
		in["security_group_rules"] = []map[string]any{{"id": ids.UUID(), "security_group_id": in["id"], "direction": "egress", "ethertype": "IPv4"}}
		n.groups = append(n.groups, in)
		reply(w, 201, map[string]any{"security_group": in})
	case id == "":
		list := []map[string]any{}
		for _, g := range n.groups {
			if want := r.URL.Query()["id"]; len(want) == 0 || slices.Contains(want, g["id"].(string)) {
				if g["project_id"] == nil {
					g["project_id"] = r.URL.Query().Get("project_id")
				}
				list = append(list, g)
			}
		}
		reply(w, 200, map[string]any{"security_groups": list})
	case g == nil:
		reply(w, 404, map[string]any{"NeutronError": map[string]any{"type": "SecurityGroupNotFound", "message": "no such security group"}})
	case r.Method == http.MethodDelete:
		n.groups = slices.DeleteFunc(n.groups, func(g map[string]any) bool { return g["id"] == id })
		w.WriteHeader(204)
	default:
		maps.Copy(g, in)
		reply(w, 200, map[string]any{"security_group": g})
	}
}

func (n *Neighbours) serveGroupRules(w http.ResponseWriter, r *http.Request, id string, body map[string]any) {
	if r.Method == http.MethodPost {
		in := body["security_group_rule"].(map[string]any)
		g := n.group(in["security_group_id"])
		if g == nil {
			reply(w, 404, map[string]any{"NeutronError": map[string]any{"type": "SecurityGroupNotFound", "message": "no such security group"}})
			return
		}
		in["id"] = ids.UUID()
		g["security_group_rules"] = append(g["security_group_rules"].([]map[string]any), in)
		reply(w, 201, map[string]any{"security_group_rule": in})
		return
	}
	for _, g := range n.groups {
		rules := g["security_group_rules"].([]map[string]any)
		if i := slices.IndexFunc(rules, func(rule map[string]any) bool { return rule["id"] == id }); i >= 0 {
			g["security_group_rules"] = slices.Delete(rules, i, i+1)
			w.WriteHeader(204)
			return
		}
	}
	reply(w, 404, map[string]any{"NeutronError": map[string]any{"type": "SecurityGroupRuleNotFound", "message": "no such rule"}})
}
