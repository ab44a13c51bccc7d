package keystoneapi_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/hastack/hastack/internal/keystone/keystonetest"
)

// sample reads a published body; ok is false if that file is not JSON, as two
// of the published ones are not.
func sample(t *testing.T, name string) (v any, ok bool) {
	t.Helper()
	dir := os.Getenv("HASTACK_API_SAMPLES")
	if dir == "" {
		t.Skip("HASTACK_API_SAMPLES does not name the folder of published bodies")
	}
	b, err := os.ReadFile(filepath.Join(dir, "keystone", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return v, json.Unmarshal(b, &v) == nil
}

// shape compares what we answer with what is published: every key of the
// sample is there with a value of the same JSON type, null where either is.
func shape(path string, want, got any, missing map[string]bool) []string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, published is an object", path, got)}
		}
		var out []string
		for k, v := range w {
			if missing[k] {
				continue
			}
			if _, ok := g[k]; !ok {
				out = append(out, path+"."+k+" is missing")
				continue
			}
			out = append(out, shape(path+"."+k, v, g[k], missing)...)
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, published is a list", path, got)}
		}
		if len(w) == 0 || len(g) == 0 {
			return nil
		}
		return shape(path+"[0]", w[0], g[0], missing)
	case nil:
		return nil
	}
	if got != nil && fmt.Sprintf("%T", got) != fmt.Sprintf("%T", want) {
		return []string{fmt.Sprintf("%s is %T, published is %T", path, got, want)}
	}
	return nil
}

// contract is one published answer: what asks for it, and which of its keys we
// leave out on purpose.
type contract struct {
	sample, method, path string
	body                 any
	without              []string
}

// served are the samples of what Keystone serves here.
func served(s *Server, m Member, group, child string) []contract {
	user, project := "/users/"+m.UserID, "/projects/"+m.ProjectID
	return []contract{
		{"admin/domains-list-response", "GET", "/domains", nil, nil},
		{"admin/domain-show-response", "GET", "/domains/default", nil, nil},
		{"admin/domain-create-response", "POST", "/domains", M{"domain": M{"name": "c"}}, nil},
		{"admin/projects-list-response", "GET", "/projects", nil, nil},
		{"admin/project-show-response", "GET", project, nil, nil},
		{"admin/project-create-response", "POST", "/projects", M{"project": M{"name": "c"}}, nil},
		{"admin/project-update-response", "PATCH", project, M{"project": M{"description": "x"}}, nil},
		{"admin/project-show-parents-response", "GET", "/projects/" + child + "?parents_as_list", nil, nil},
		{"admin/project-show-subtree-response", "GET", project + "?subtree_as_list", nil, nil},
		{"admin/project-tags-list-response", "GET", project + "/tags", nil, nil},
		{"admin/project-tags-update-response", "PUT", project + "/tags", M{"tags": []string{"foo"}}, []string{"projects"}},
		{"admin/users-list-response", "GET", "/users", nil, nil},
		{"admin/user-show-response", "GET", user, nil, []string{"email", "description"}},
		{"admin/user-create-response", "POST", "/users", M{"user": M{"name": "c", "default_project_id": m.ProjectID, "description": "d", "email": "e", "options": M{"ignore_password_expiry": true}}}, nil},
		{"admin/user-update-response", "PATCH", user, M{"user": M{"options": M{"ignore_lockout_failure_attempts": true}}}, nil},
		{"admin/user-projects-list-response", "GET", user + "/projects", nil, nil},
		{"admin/user-groups-list-response", "GET", user + "/groups", nil, []string{"membership_expires_at"}},
		{"admin/groups-list-response", "GET", "/groups", nil, nil},
		{"admin/group-show-response", "GET", "/groups/" + group, nil, nil},
		{"admin/group-create-response", "POST", "/groups", M{"group": M{"name": "c"}}, nil},
		{"admin/group-update-response", "PATCH", "/groups/" + group, M{"group": M{"description": "x"}}, nil},
		{"admin/roles-list-response", "GET", "/roles", nil, nil},
		{"admin/role-show-response", "GET", "/roles/" + m.RoleID, nil, nil},
		{"admin/role-create-response", "POST", "/roles", M{"role": M{"name": "c"}}, nil},
		{"admin/role-update-response", "PATCH", "/roles/" + m.RoleID, M{"role": M{"description": "x"}}, nil},
		{"admin/role-inferences-response", "GET", "/role_inferences", nil, nil},
		{"admin/list-implied-roles-for-role-response", "GET", "/roles/" + m.RoleID + "/implies", nil, nil},
		{"admin/get-role-inferences-response", "GET", "/roles/" + m.RoleID + "/implies/" + s.RoleID("reader"), nil, nil},
		{"admin/create-role-inferences-response", "PUT", "/roles/" + m.RoleID + "/implies/" + s.RoleID("reader"), nil, nil},
		{"admin/project-user-roles-list-response", "GET", project + user + "/roles", nil, nil},
		{"admin/project-group-roles-list-response", "GET", project + "/groups/" + group + "/roles", nil, nil},
		{"admin/domain-user-roles-list-response", "GET", "/domains/default" + user + "/roles", nil, nil},
		{"admin/domain-group-roles-list-response", "GET", "/domains/default/groups/" + group + "/roles", nil, nil},
		{"admin/user-roles-domain-list-response", "GET", "/OS-INHERIT/domains/default" + user + "/roles/inherited_to_projects", nil, nil},
		{"admin/group-roles-domain-list-response", "GET", "/OS-INHERIT/domains/default/groups/" + group + "/roles/inherited_to_projects", nil, nil},
		{"admin/list-system-roles-for-user-response", "GET", "/system" + user + "/roles", nil, nil},
		{"admin/list-system-roles-for-group-response", "GET", "/system/groups/" + group + "/roles", nil, nil},
		{"admin/role-assignments-list-response", "GET", "/role_assignments?scope.domain.id=default", nil, nil},
		{"admin/role-assignments-effective-list-response", "GET", "/role_assignments?effective&scope.domain.id=default", nil, nil},
		{"admin/role-assignments-list-include-subtree-response", "GET", "/role_assignments?include_subtree&scope.project.id=" + m.ProjectID, nil, []string{"domain", "OS-INHERIT:inherited_to"}},
		{"admin/regions-list-response", "GET", "/regions", nil, nil},
		{"admin/region-show-response", "GET", "/regions/" + Region, nil, nil},
		{"admin/region-create-response", "POST", "/regions", M{"region": M{"parent_region_id": Region}}, nil},
		{"admin/services-list-response", "GET", "/services", nil, nil},
		{"admin/service-create-response", "POST", "/services", M{"service": M{"type": "c", "name": "c", "description": "d"}}, nil},
		{"admin/endpoints-list-response", "GET", "/endpoints", nil, nil},
		{"admin/get-service-catalog-response", "GET", "/auth/catalog", nil, nil},
		{"admin/get-available-project-scopes-response", "GET", "/auth/projects", nil, nil},
		{"admin/get-available-domain-scopes-response", "GET", "/auth/domains", nil, nil},
		{"admin/get-available-system-scopes-response", "GET", "/auth/system", nil, nil},
		{"admin/credential-create-response", "POST", "/credentials", M{"credential": M{"type": "ec2", "project_id": m.ProjectID, "blob": `{"access":"a","secret":"b"}`}}, nil},
		{"admin/credentials-list-response", "GET", "/credentials", nil, nil},
		{"admin/identity-version-response", "GET", "/", nil, nil},
	}
}

// notServed are published bodies of what answers 501 here.
var notServed = []string{"access-rule", "limit", "registered-limit", "domain-config", "domain-group-update", "policies", "policy", "access-rules", "limits", "registered-limits"}

func TestAnswersHaveThePublishedShape(t *testing.T) {
	sample(t, "admin/domain-show-response") // skips
	s := New(t)
	admin := s.Admin()
	m := s.Member("someone", "member")
	group := s.Must(201, "POST", "/groups", admin, M{"group": M{"name": "g"}}).String("group", "id")
	child := s.Must(201, "POST", "/projects", admin, M{"project": M{"name": "child", "parent_id": m.ProjectID}}).String("project", "id")
	s.Must(204, "PUT", "/groups/"+group+"/users/"+m.UserID, admin, nil)
	s.Must(200, "PATCH", "/users/"+m.UserID, admin, M{"user": M{"default_project_id": m.ProjectID}})
	for _, target := range []string{"/projects/" + m.ProjectID, "/domains/default", "/system"} {
		for _, actor := range []string{"/users/" + m.UserID, "/groups/" + group} {
			s.Must(204, "PUT", target+actor+"/roles/"+m.RoleID, admin, nil)
			if target != "/system" {
				s.Must(204, "PUT", "/OS-INHERIT"+target+actor+"/roles/"+m.RoleID+"/inherited_to_projects", admin, nil)
			}
		}
	}
	for _, c := range served(s, m, group, child) {
		want, ok := sample(t, c.sample)
		if !ok {
			t.Logf("%s is not JSON as published", c.sample)
			continue
		}
		r := s.Do(c.method, c.path, admin, c.body)
		if r.Status >= 300 {
			t.Errorf("%s: %s %s: %d %s", c.sample, c.method, c.path, r.Status, r.Raw)
			continue
		}
		without := map[string]bool{}
		for _, k := range c.without {
			without[k] = true
		}
		for _, diff := range shape("", want, any(r.Body), without) {
			t.Errorf("%s: %s", c.sample, diff)
		}
	}
}

func TestTokensHaveThePublishedShape(t *testing.T) {
	sample(t, "admin/domain-show-response") // skips
	s := New(t)
	adminID := s.Must(200, "GET", "/users?name=admin", s.Admin(), nil).List("users")[0]["id"].(string)
	s.Must(204, "PUT", "/domains/default/users/"+adminID+"/roles/"+s.RoleID("admin"), s.Admin(), nil)
	parent := s.Token("admin", AdminPassword, "unscoped")
	for scope, value := range map[string]any{"project": ProjectNamed("admin"), "domain": DomainScope("default"), "system": SystemScope()} {
		for method, body := range map[string]M{"password": PasswordAuth("admin", AdminPassword, value), "token": TokenAuth(parent, value)} {
			name := "auth/responses/" + scope + "-scoped-" + method
			want, ok := sample(t, name)
			if !ok {
				t.Fatalf("%s is not JSON", name)
			}
			r := s.Must(201, "POST", "/auth/tokens", "", body)
			for _, diff := range shape("", want, any(r.Body), nil) {
				t.Errorf("%s: %s", name, diff)
			}
			if got, want := len(r.At("token", "audit_ids").([]any)), map[string]int{"password": 1, "token": 2}[method]; got != want {
				t.Errorf("%s: %d audit ids", name, got)
			}
		}
	}
	want, _ := sample(t, "auth/responses/unscoped-password")
	r := s.Must(201, "POST", "/auth/tokens", "", PasswordAuth("admin", AdminPassword, "unscoped"))
	for _, diff := range shape("", want, any(r.Body), nil) {
		t.Error(diff)
	}
	for _, key := range []string{"roles", "catalog", "project", "is_domain"} {
		if r.At("token", key) != nil {
			t.Errorf("unscoped token has %s", key)
		}
	}
}

// TestEveryPublishedSampleIsAccountedFor keeps a sample from being skipped in
// silence.
func TestEveryPublishedSampleIsAccountedFor(t *testing.T) {
	sample(t, "admin/domain-show-response") // skips
	files, err := filepath.Glob(filepath.Join(os.Getenv("HASTACK_API_SAMPLES"), "keystone", "admin", "*-response.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	var have []string
	for _, c := range served(New(t), Member{RoleID: "x"}, "", "") {
		have = append(have, strings.TrimPrefix(c.sample, "admin/"))
	}
	same := map[string]string{ // held by another test, or the same body again
		"auth-": "TestTokensHaveThePublishedShape", "application-credential-": "TestApplicationCredentials",
		"identity-versions": "TestVersionDocuments", "credential-": "credential-create-response",
		"endpoint-": "endpoints-list-response", "service-": "service-create-response", "region-": "region-show-response",
		"domain-update": "domain-show-response", "group-users": "users-list-response",
		"role-assignments-effective-list-include-names": "TestInheritedRolesReachTheProjectsBelow",
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		ok := slices.Contains(have, name)
		for prefix := range same {
			ok = ok || strings.HasPrefix(name, prefix)
		}
		for _, prefix := range notServed {
			ok = ok || strings.HasPrefix(name, prefix+"-")
		}
		if !ok {
			t.Errorf("%s is held against nothing", name)
		}
	}
}
