package novaapi_test

import (
	"testing"

	"github.com/hastack/hastack/internal/nova/novatest"
)

func TestSecurityGroupsAreNeutronsUntil236(t *testing.T) {
	c := novatest.New(t)
	g := c.Must(200, 1, "member", "POST", "/os-security-groups", M{"security_group": M{"name": " ssh ", "description": "d"}})
	id := g.Text("security_group", "id")
	if g.Text("security_group", "name") != "ssh" || len(g.List("security_group", "rules")) != 0 {
		t.Errorf("made %s: want no rule shown for what goes out", g.Body)
	}
	rule := c.Must(200, 1, "member", "POST", "/os-security-group-rules", M{"security_group_rule": M{
		"parent_group_id": id, "ip_protocol": "TCP", "from_port": 22, "to_port": 22, "cidr": "10.0.0.0/24"}})
	if rule.Text("security_group_rule", "ip_range", "cidr") != "10.0.0.0/24" || rule.Get("security_group_rule", "from_port") != 22.0 {
		t.Errorf("rule %s", rule.Body)
	}
	from := c.Must(200, 1, "member", "POST", "/os-security-group-rules", M{"security_group_rule": M{
		"parent_group_id": id, "ip_protocol": "icmp", "from_port": -1, "to_port": -1, "group_id": "5ec00000-0000-4000-8000-000000000002"}})
	if from.Text("security_group_rule", "group", "name") != "web" || from.Get("security_group_rule", "to_port") != -1.0 {
		t.Errorf("rule for a group %s", from.Body)
	}
	if got := c.Must(200, 35, "member", "GET", "/os-security-groups/"+id, nil).List("security_group", "rules"); len(got) != 2 || got[0]["ip_protocol"] != "tcp" {
		t.Errorf("rules %v", got)
	}
	c.Must(202, 1, "member", "DELETE", "/os-security-group-rules/"+rule.Text("security_group_rule", "id"), nil)
	renamed := c.Must(200, 1, "member", "PUT", "/os-security-groups/"+id, M{"security_group": M{"name": "icmp", "description": ""}})
	if renamed.Text("security_group", "name") != "icmp" || len(renamed.List("security_group", "rules")) != 1 {
		t.Errorf("renamed %s", renamed.Body)
	}
	c.Must(202, 1, "member", "DELETE", "/os-security-groups/"+id, nil)
	c.Must(404, 1, "member", "GET", "/os-security-groups/"+id, nil)
	if got := c.Must(200, 1, "member", "GET", "/os-security-groups", nil).List("security_groups"); len(got) != 2 {
		t.Errorf("groups %v", got)
	}
}

func TestSecurityGroupsRefuseWhatIsWrong(t *testing.T) {
	c := novatest.New(t)
	c.Must(403, 1, "reader", "POST", "/os-security-groups", M{"security_group": M{"name": "x", "description": ""}})
	c.Must(400, 1, "member", "POST", "/os-security-groups", M{"security_group": M{"name": "  ", "description": ""}})
	c.Must(400, 1, "member", "POST", "/os-security-groups", M{})
	c.Must(400, 1, "member", "POST", "/os-security-group-rules", M{"security_group_rule": M{"ip_protocol": "tcp"}})
	c.Must(404, 1, "member", "DELETE", "/os-security-groups/nope", nil)
	for _, path := range []string{"/os-security-groups", "/os-security-groups/5ec00000-0000-4000-8000-000000000001"} {
		c.Must(404, 36, "member", "GET", path, nil)
	}
}
