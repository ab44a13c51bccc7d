package keystoneapi_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/httpapi"
	. "github.com/hastack/hastack/internal/keystone/keystonetest"
)

// persona is a token with what it may do beyond the rules for everybody.
type persona struct {
	name, token string
	reads       bool // everything of the cloud, or what is in a domain
}

// world is what the routes of the matrix act on: all of it belongs to victim.
type world struct {
	s      *Server
	values map[string]string
}

func newWorld(t *testing.T) (*world, []persona) {
	s := New(t)
	admin := s.Admin()
	victim := s.Member("victim", "member")
	w := &world{s: s, values: map[string]string{
		"user_id": victim.UserID, "project_id": victim.ProjectID, "role_id": s.RoleID("reader"), "implied_id": s.RoleID("reader"),
		"domain_id": s.Must(201, "POST", "/domains", admin, M{"domain": M{"name": "d"}}).String("domain", "id"),
		"group_id":  s.Must(201, "POST", "/groups", admin, M{"group": M{"name": "g"}}).String("group", "id"),
		"region_id": Region, "tag": "t",
		"service_id":    s.Must(200, "GET", "/services", admin, nil).List("services")[0]["id"].(string),
		"endpoint_id":   s.Must(200, "GET", "/endpoints", admin, nil).List("endpoints")[0]["id"].(string),
		"credential_id": s.Must(201, "POST", "/credentials", victim.Token, M{"credential": M{"type": "c", "blob": "b"}}).String("credential", "id"),
		"access":        s.Must(201, "POST", "/users/"+victim.UserID+"/credentials/OS-EC2", victim.Token, M{"tenant_id": victim.ProjectID}).String("credential", "access"),
		"id":            s.Must(201, "POST", "/users/"+victim.UserID+"/application_credentials", victim.Token, M{"application_credential": M{"name": "a"}}).String("application_credential", "id"),
	}}
	s.Must(201, "PUT", "/projects/"+victim.ProjectID+"/tags/t", admin, nil)
	var out []persona
	grant := func(name, role, target string, scope any) {
		m := s.Must(201, "POST", "/users", admin, M{"user": M{"name": name, "password": "pw"}}).String("user", "id")
		s.Must(204, "PUT", target+"/users/"+m+"/roles/"+s.RoleID(role), admin, nil)
		out = append(out, persona{
			name: name, token: s.Token(name, "pw", scope), reads: !strings.HasPrefix(target, "/projects"),
		})
	}
	own := s.Must(201, "POST", "/projects", admin, M{"project": M{"name": "own"}}).String("project", "id")
	for _, role := range []string{"manager", "member", "reader"} {
		grant("project-"+role, role, "/projects/"+own, ProjectScope(own))
		if role != "manager" { // who may change these things: see the next test
			grant("domain-"+role, role, "/domains/default", DomainScope("default"))
		}
		grant("other-domain-"+role, role, "/domains/"+w.values["domain_id"], DomainScope(w.values["domain_id"]))
		grant("system-"+role, role, "/system", SystemScope())
	}
	return w, out
}

var placeholder = regexp.MustCompile(`\{([a-z_]+)(\.\.\.)?\}`)

func (w *world) path(t *testing.T, route httpapi.Route) string {
	return placeholder.ReplaceAllStringFunc(route.Path, func(p string) string {
		name := placeholder.FindStringSubmatch(p)[1]
		if name == "rest" {
			return "x"
		}
		v := w.values[name]
		if v == "" {
			t.Fatalf("the matrix has no value for %s of %s", p, route.Path)
		}
		return v
	})
}

// open are the rules that every valid token satisfies, or that look at the
// token itself.
var open = map[string]bool{
	"identity:get_auth_catalog": true, "identity:get_auth_projects": true, "identity:get_auth_domains": true,
	"identity:get_auth_system": true, "identity:get_region": true, "identity:list_regions": true,
	// Lists of one's own where one may not see more.
	"identity:list_credentials": true, "identity:create_credential": true,
}

// TestSec31PersonaMatrix sends every route of the table as every persona that
// is not an administrator, at things that belong to somebody else.
func TestSec31PersonaMatrix(t *testing.T) {
	w, personas := newWorld(t)
	refused, checked := 0, 0
	for _, route := range w.s.API.Routes() {
		if route.Rule == httpapi.Public || route.Rule == httpapi.AnyToken {
			continue
		}
		path := strings.TrimPrefix(w.path(t, route), "/v3")
		victim := w.s.Token("victim", "password-of-victim", "unscoped")
		send := func(token string) *Reply {
			return w.s.Do(route.Method, path, token, bodyFor(route), "X-Subject-Token", victim)
		}
		if r := send(""); r.Status != 401 {
			t.Errorf("%s %s without a token: %d", route.Method, route.Path, r.Status)
		}
		if open[route.Rule] {
			continue
		}
		reading := route.Method == "GET" || route.Method == "HEAD"
		for _, p := range personas {
			checked++
			r := send(p.token)
			switch {
			case r.Status >= 500:
				t.Errorf("%s as %s: %s %s: %d %s", route.Rule, p.name, route.Method, path, r.Status, r.Raw)
			case reading && p.reads:
				// Readers of the system see everything, readers of a domain what
				// is in theirs; the tests of the resources look at that.
			case r.Status != 403 && r.Status != 404:
				t.Errorf("%s as %s: %s %s: %d %s", route.Rule, p.name, route.Method, path, r.Status, r.Raw)
			default:
				refused++
			}
		}
	}
	if checked < 1000 || refused < 500 {
		t.Errorf("the matrix has only %d cells, %d of them refusals", checked, refused)
	}
}

func bodyFor(route httpapi.Route) any {
	if route.Method != "POST" && route.Method != "PATCH" && !strings.HasSuffix(route.Path, "/tags") {
		return nil
	}
	words := strings.Split(route.Rule, "_")
	kind := words[len(words)-1]
	switch {
	case strings.HasSuffix(route.Path, "/tags"):
		return M{"tags": []string{"x"}}
	case strings.Contains(route.Path, "OS-EC2"):
		return M{"tenant_id": "x"}
	case strings.Contains(route.Path, "application_credentials"):
		kind = "application_credential"
	}
	attrs := M{"name": "matrix", "description": "x"}
	if route.Method == "POST" && (kind == "user" || kind == "group" || kind == "project") {
		attrs["domain_id"] = "default" // which is nobody's own
	}
	return M{kind: attrs}
}

func TestSec31DomainManagerStaysInTheDomain(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	dom := s.Must(201, "POST", "/domains", admin, M{"domain": M{"name": "d"}}).String("domain", "id")
	other := s.Must(201, "POST", "/users", admin, M{"user": M{"name": "elsewhere"}}).String("user", "id")
	boss := s.Must(201, "POST", "/users", admin, M{"user": M{"name": "boss", "password": "pw", "domain_id": dom}}).String("user", "id")
	s.Must(204, "PUT", "/domains/"+dom+"/users/"+boss+"/roles/"+s.RoleID("manager"), admin, nil)
	body := PasswordAuth("boss", "pw", DomainScope(dom))
	body["auth"].(M)["identity"].(M)["password"].(M)["user"].(M)["domain"] = M{"id": dom}
	token := s.Must(201, "POST", "/auth/tokens", "", body).Header.Get("X-Subject-Token")

	user := s.Must(201, "POST", "/users", token, M{"user": M{"name": "mine"}})
	if user.String("user", "domain_id") != dom {
		t.Errorf("user was made in %s", user.String("user", "domain_id"))
	}
	mine := user.String("user", "id")
	project := s.Must(201, "POST", "/projects", token, M{"project": M{"name": "mine"}}).String("project", "id")
	s.Must(204, "PUT", "/projects/"+project+"/users/"+mine+"/roles/"+s.RoleID("member"), token, nil)
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{"PUT", "/projects/" + project + "/users/" + mine + "/roles/" + s.RoleID("admin"), nil},
		{"PUT", "/projects/" + project + "/users/" + mine + "/roles/" + s.RoleID("manager"), nil},
		{"PUT", "/projects/" + project + "/users/" + other + "/roles/" + s.RoleID("member"), nil},
		{"PUT", "/domains/default/users/" + mine + "/roles/" + s.RoleID("member"), nil},
		{"PUT", "/system/users/" + mine + "/roles/" + s.RoleID("reader"), nil},
		{"POST", "/users", M{"user": M{"name": "x", "domain_id": "default"}}},
		{"PATCH", "/users/" + other, M{"user": M{"password": "taken"}}},
		{"DELETE", "/users/" + other, nil},
		{"POST", "/projects", M{"project": M{"name": "x", "domain_id": "default"}}},
		{"PATCH", "/domains/" + dom, M{"domain": M{"enabled": false}}},
		{"GET", "/users/" + other, nil},
		{"GET", "/role_assignments?include_subtree&scope.project.id=" + s.Must(200, "GET", "/projects?name=admin", admin, nil).List("projects")[0]["id"].(string), nil},
	} {
		if r := s.Do(c.method, c.path, token, c.body); r.Status != 403 {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.Status, r.Raw)
		}
	}
	for _, u := range s.Must(200, "GET", "/users?domain_id=default", token, nil).List("users") {
		t.Errorf("the list shows %v of another domain", u["name"])
	}
	if n := len(s.Must(200, "GET", "/users", token, nil).List("users")); n != 2 {
		t.Errorf("the list shows %d users, want the 2 of the domain", n)
	}
	for _, as := range s.Must(200, "GET", "/role_assignments", token, nil).List("role_assignments") {
		scope := as["scope"].(M)
		if p, ok := scope["project"].(M); ok && p["id"] == project {
			continue
		}
		if d, ok := scope["domain"].(M); ok && d["id"] == dom {
			continue
		}
		t.Errorf("the list shows an assignment on %v", scope)
	}
	if n := len(s.Must(200, "GET", "/domains", token, nil).List("domains")); n != 1 {
		t.Errorf("%d domains are shown", n)
	}
}
