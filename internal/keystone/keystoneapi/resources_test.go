package keystoneapi_test

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	. "github.com/hastack/hastack/internal/keystone/keystonetest"
)

func idsOf(items []map[string]any) []string {
	out := []string{}
	for _, i := range items {
		out = append(out, i["id"].(string))
	}
	sort.Strings(out)
	return out
}

func namesOf(items []map[string]any) string {
	out := []string{}
	for _, i := range items {
		out = append(out, i["name"].(string))
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}

func (w *rows) count(table, where string, args ...any) int {
	w.t.Helper()
	n, err := w.s.DB.NewSelect().Table(table).Where(where, args...).Count(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return int(n)
}

type rows struct {
	t *testing.T
	s *Server
}

func TestUnknownAttributesAreKept(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	for kind, in := range map[string]M{
		"user": {"name": "x"}, "project": {"name": "x"}, "domain": {"name": "x"}, "group": {"name": "x"}, "role": {"name": "x"},
		"service": {"type": "x"}, "region": {"description": "x"},
	} {
		in["colour"], in["shape"] = M{"r": 1}, "round"
		id := s.Must(201, "POST", "/"+kind+"s", admin, M{kind: in}).String(kind, "id")
		s.Must(200, "PATCH", "/"+kind+"s/"+id, admin, M{kind: M{"shape": nil, "size": 3}})
		r := s.Must(200, "GET", "/"+kind+"s/"+id, admin, nil)
		if r.At(kind, "colour", "r") != float64(1) || r.At(kind, "size") != float64(3) || r.At(kind, "shape") != nil {
			t.Errorf("%s is %s", kind, r.Raw)
		}
		// And they cannot pose as known ones.
		s.Must(200, "PATCH", "/"+kind+"s/"+id, admin, M{kind: M{"links": M{"self": "http://evil"}, "password_hash": "x"}})
		if got := s.Must(200, "GET", "/"+kind+"s/"+id, admin, nil).String(kind, "links", "self"); got != s.AuthURL+"/"+kind+"s/"+id {
			t.Errorf("%s links to %s", kind, got)
		}
	}
}

func TestNamesAreUniqueInTheirDomain(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	other := s.Must(201, "POST", "/domains", admin, M{"domain": M{"name": "other"}}).String("domain", "id")
	for _, kind := range []string{"user", "project", "group", "role"} {
		first := s.Must(201, "POST", "/"+kind+"s", admin, M{kind: M{"name": "same"}}).String(kind, "id")
		if r := s.Do("POST", "/"+kind+"s", admin, M{kind: M{"name": "same"}}); r.Status != 409 {
			t.Errorf("second %s: %d", kind, r.Status)
		}
		s.Must(201, "POST", "/"+kind+"s", admin, M{kind: M{"name": "same", "domain_id": other}})
		s.Must(201, "POST", "/"+kind+"s", admin, M{kind: M{"name": "Same"}})
		if r := s.Do("PATCH", "/"+kind+"s/"+first, admin, M{kind: M{"name": "Same"}}); r.Status != 409 {
			t.Errorf("%s renamed to a taken name: %d", kind, r.Status)
		}
		for _, bad := range []any{"", "  ", nil, 5, strings.Repeat("x", 256), []string{"x"}} {
			if r := s.Do("POST", "/"+kind+"s", admin, M{kind: M{"name": bad}}); r.Status != 400 {
				t.Errorf("%s named %v: %d", kind, bad, r.Status)
			}
		}
		if r := s.Do("POST", "/"+kind+"s", admin, M{kind: M{"name": "x", "domain_id": "nope"}}); r.Status != 400 {
			t.Errorf("%s in no domain: %d", kind, r.Status)
		}
		if r := s.Do("PATCH", "/"+kind+"s/"+first, admin, M{kind: M{"domain_id": other}}); r.Status != 400 {
			t.Errorf("%s moved to another domain: %d", kind, r.Status)
		}
	}
}

func TestListsAreFilteredAndPaged(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	for _, n := range []string{"alpha", "Alps", "beta", "50%_a", "500xa"} {
		s.Must(201, "POST", "/users", admin, M{"user": M{"name": n, "enabled": n != "beta"}})
	}
	for query, want := range map[string]string{
		"name=alpha": "alpha", "name=ALPHA": "", "name__startswith=al": "alpha", "name__istartswith=AL": "Alps alpha",
		"name__contains=et": "beta", "name__icontains=LP": "Alps alpha", "name__endswith=ta": "beta",
		"name__contains=%25_": "50%_a", "enabled=false": "beta", "name=beta&enabled=true": "", "enabled=0": "beta",
		"name=beta&domain_id=nope": "", "name=beta&unknown=x": "beta", "name__startswith=" + "%27%3B%20--": "",
	} {
		if got := namesOf(s.Must(200, "GET", "/users?"+query, admin, nil).List("users")); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	if r := s.Do("GET", "/users?name__regex=x", admin, nil); r.Status != 400 {
		t.Errorf("unknown operator: %d", r.Status)
	}
	var seen []string
	path := "/users?limit=3"
	for pages := 0; path != "" && pages < 10; pages++ {
		r := s.Must(200, "GET", path, admin, nil)
		page := idsOf(r.List("users"))
		if len(page) > 3 {
			t.Fatalf("page of %d", len(page))
		}
		seen = append(seen, page...)
		path = strings.TrimPrefix(r.String("links", "next"), s.AuthURL)
	}
	if all := idsOf(s.Must(200, "GET", "/users", admin, nil).List("users")); !slices.Equal(seen, all) {
		t.Errorf("pages gave %v, the list is %v", seen, all)
	}
}

func TestDomainIsDeletedOnlyWhenDisabledAndWithAllInIt(t *testing.T) {
	s := New(t)
	w, admin := &rows{t, s}, s.Admin()
	dom := s.Must(201, "POST", "/domains", admin, M{"domain": M{"name": "d"}}).String("domain", "id")
	in := func(kind string) string {
		return s.Must(201, "POST", "/"+kind+"s", admin, M{kind: M{"name": "x", "domain_id": dom}}).String(kind, "id")
	}
	user, group, project, role := in("user"), in("group"), in("project"), in("role")
	s.Must(204, "PUT", "/groups/"+group+"/users/"+user, admin, nil)
	s.Must(204, "PUT", "/projects/"+project+"/groups/"+group+"/roles/"+role, admin, nil)
	s.Must(204, "PUT", "/domains/"+dom+"/users/"+user+"/roles/"+s.RoleID("reader"), admin, nil)
	s.Must(201, "PUT", "/projects/"+project+"/tags/t", admin, nil)
	if r := s.Do("DELETE", "/domains/"+dom, admin, nil); r.Status != 403 {
		t.Errorf("enabled domain: %d", r.Status)
	}
	if r := s.Do("DELETE", "/domains/default", admin, nil); r.Status != 403 {
		t.Errorf("default domain: %d", r.Status)
	}
	s.Must(200, "PATCH", "/domains/"+dom, admin, M{"domain": M{"enabled": false}})
	s.Must(204, "DELETE", "/domains/"+dom, admin, nil)
	for table, where := range map[string]string{
		"users": "domain_id = ?", "user_groups": "domain_id = ?", "projects": "domain_id = ?", "roles": "domain_id = ?", "domains": "id = ?",
	} {
		if n := w.count(table, where, dom); n != 0 {
			t.Errorf("%d rows left in %s", n, table)
		}
	}
	if n := w.count("assignments", "actor_id IN (?, ?) OR target_id IN (?, ?)", user, group, project, dom); n != 0 {
		t.Errorf("%d assignments left", n)
	}
	if n := w.count("memberships", "user_id = ?", user) + w.count("project_tags", "project_id = ?", project); n != 0 {
		t.Errorf("%d memberships and tags left", n)
	}
	s.Must(404, "GET", "/domains/"+dom, admin, nil)
}

func TestProjectHierarchy(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	under := func(name, parent string) *Reply {
		return s.Do("POST", "/projects", admin, M{"project": M{"name": name, "parent_id": parent}})
	}
	top := under("top", "default").String("project", "id")
	mid := under("mid", top).String("project", "id")
	low := under("low", mid).String("project", "id")
	r := s.Must(200, "GET", "/projects/"+low+"?parents_as_list", admin, nil)
	if got := r.List("project", "parents"); len(got) != 2 || got[0]["project"].(M)["id"] != mid || got[1]["project"].(M)["id"] != top {
		t.Errorf("parents are %v", got)
	}
	r = s.Must(200, "GET", "/projects/"+top+"?subtree_as_ids", admin, nil)
	if got := r.At("project", "subtree", mid); got == nil || got.(M)[low] != nil {
		t.Errorf("subtree is %v", r.At("project", "subtree"))
	}
	if got := idsOf(s.Must(200, "GET", "/projects?parent_id="+top, admin, nil).List("projects")); !slices.Equal(got, []string{mid}) {
		t.Errorf("children of top are %v", got)
	}
	if r := s.Do("DELETE", "/projects/"+mid, admin, nil); r.Status != 403 {
		t.Errorf("project with a child deleted: %d", r.Status)
	}
	if r := s.Do("PATCH", "/projects/"+low, admin, M{"project": M{"parent_id": top}}); r.Status != 403 {
		t.Errorf("project moved: %d", r.Status)
	}
	if r := under("x", "nope"); r.Status != 400 {
		t.Errorf("unknown parent: %d", r.Status)
	}
	deep := under("4", low)
	if deep = under("5", deep.String("project", "id")); deep.Status != 201 {
		t.Errorf("fifth level: %d", deep.Status)
	}
	if r := under("6", deep.String("project", "id")); r.Status != 403 {
		t.Errorf("sixth level: %d", r.Status)
	}
	s.Must(200, "PATCH", "/projects/"+top, admin, M{"project": M{"enabled": false}})
	if r := under("y", mid); r.Status != 403 {
		t.Errorf("below a disabled project: %d", r.Status)
	}
}

func TestInheritedRolesReachTheProjectsBelow(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	m := s.Member("u", "reader")
	top := s.Must(201, "POST", "/projects", admin, M{"project": M{"name": "top"}}).String("project", "id")
	low := s.Must(201, "POST", "/projects", admin, M{"project": M{"name": "low", "parent_id": top}}).String("project", "id")
	can := func(scope any) bool {
		return s.Do("POST", "/auth/tokens", "", PasswordAuth(m.Name, m.Password, scope)).Status == 201
	}
	grant := "/OS-INHERIT/projects/" + top + "/users/" + m.UserID + "/roles/" + s.RoleID("member") + "/inherited_to_projects"
	s.Must(204, "PUT", grant, admin, nil)
	s.Must(204, "HEAD", grant, admin, nil)
	if can(ProjectScope(top)) || !can(ProjectScope(low)) {
		t.Errorf("on the target %v, below it %v; want below only", can(ProjectScope(top)), can(ProjectScope(low)))
	}
	if got := idsOf(s.Must(200, "GET", "/auth/projects", m.Token, nil).List("projects")); !slices.Contains(got, low) || slices.Contains(got, top) {
		t.Errorf("projects are %v", got)
	}
	s.Must(204, "DELETE", grant, admin, nil)
	if can(ProjectScope(low)) {
		t.Error("after the end of the assignment it still counts")
	}
	group := s.Must(201, "POST", "/groups", admin, M{"group": M{"name": "g"}}).String("group", "id")
	s.Must(204, "PUT", "/groups/"+group+"/users/"+m.UserID, admin, nil)
	s.Must(204, "PUT", "/OS-INHERIT/domains/default/groups/"+group+"/roles/"+s.RoleID("member")+"/inherited_to_projects", admin, nil)
	if !can(ProjectScope(low)) || !can(ProjectNamed("admin")) || can(DomainScope("default")) {
		t.Error("a group's role inherited from the domain does not count on its projects only")
	}
	r := s.Must(200, "GET", "/role_assignments?effective&include_names&user.id="+m.UserID+"&scope.project.id="+low, admin, nil)
	var got []string
	for _, a := range r.List("role_assignments") {
		if a["links"].(M)["membership"] == nil || a["scope"].(M)["project"].(M)["name"] != "low" {
			t.Errorf("assignment is %v", a)
		}
		got = append(got, a["role"].(M)["name"].(string))
	}
	sort.Strings(got)
	if !slices.Equal(got, []string{"member", "reader"}) {
		t.Errorf("effective roles are %v", got)
	}
}

func TestImpliedRolesAndDomainRoles(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	m := s.Member("u", "reader")
	role := func(name, domain string) string {
		in := M{"name": name}
		if domain != "" {
			in["domain_id"] = domain
		}
		return s.Must(201, "POST", "/roles", admin, M{"role": in}).String("role", "id")
	}
	a, b, own := role("a", ""), role("b", ""), role("own", "default")
	s.Must(201, "PUT", "/roles/"+own+"/implies/"+a, admin, nil)
	s.Must(201, "PUT", "/roles/"+a+"/implies/"+b, admin, nil)
	s.Must(201, "PUT", "/roles/"+b+"/implies/"+a, admin, nil) // a circle is no problem
	s.Must(204, "PUT", "/projects/"+m.ProjectID+"/users/"+m.UserID+"/roles/"+own, admin, nil)
	r := s.Must(201, "POST", "/auth/tokens", "", PasswordAuth(m.Name, m.Password, ProjectScope(m.ProjectID)))
	if got := roleNames(r); !slices.Equal(got, []string{"a", "b", "reader"}) {
		t.Errorf("token has %v: it wants what the domain's role implies, not that role", got)
	}
	if r := s.Do("PUT", "/roles/"+a+"/implies/"+s.RoleID("admin"), admin, nil); r.Status != 403 {
		t.Errorf("admin implied: %d", r.Status)
	}
	if r := s.Do("PUT", "/roles/"+a+"/implies/"+own, admin, nil); r.Status != 403 {
		t.Errorf("a domain's role implied by a global one: %d", r.Status)
	}
	if r := s.Do("PUT", "/roles/"+a+"/implies/"+a, admin, nil); r.Status != 403 {
		t.Errorf("itself: %d", r.Status)
	}
	s.Must(204, "HEAD", "/roles/"+own+"/implies/"+a, admin, nil)
	s.Must(404, "GET", "/roles/"+own+"/implies/"+b, admin, nil)
	s.Must(204, "DELETE", "/roles/"+own+"/implies/"+a, admin, nil)
	r = s.Must(200, "GET", "/auth/tokens", s.ServiceToken(), nil, "X-Subject-Token", r.Header.Get("X-Subject-Token"))
	if got := roleNames(r); !slices.Equal(got, []string{"reader"}) {
		t.Errorf("existing token now has %v", got)
	}
	if got := namesOf(s.Must(200, "GET", "/roles?domain_id=default", admin, nil).List("roles")); got != "own" {
		t.Errorf("roles of the domain are %q", got)
	}
}

func TestApplicationCredentials(t *testing.T) {
	s := New(t)
	m := s.Member("u", "member")
	path := "/users/" + m.UserID + "/application_credentials"
	for name, bad := range map[string]M{
		"role the user lacks": {"name": "x", "roles": []M{{"name": "admin"}}},
		"past":                {"name": "x", "expires_at": "2020-01-01T00:00:00"},
		"no name":             {},
		"bad time":            {"name": "x", "expires_at": "tomorrow"},
		"bad roles":           {"name": "x", "roles": "member"},
		"unknown":             {"name": "x", "colour": "red"},
	} {
		if r := s.Do("POST", path, m.Token, M{"application_credential": bad}); r.Status != 400 {
			t.Errorf("%s: %d %s", name, r.Status, r.Raw)
		}
	}
	if r := s.Do("POST", path, s.Admin(), M{"application_credential": M{"name": "x"}}); r.Status != 403 {
		t.Errorf("made by another: %d", r.Status)
	}
	made := s.Must(201, "POST", path, m.Token, M{"application_credential": M{"name": "mine", "secret": "s3cret", "roles": []M{{"name": "reader"}}, "expires_at": "2999-01-01T00:00:00.5"}})
	id := made.String("application_credential", "id")
	if got := made.String("application_credential", "expires_at"); got != "2999-01-01T00:00:00.500000" {
		t.Errorf("expires_at is %s", got)
	}
	if got := s.Must(200, "GET", path+"/"+id, m.Token, nil); got.At("application_credential", "secret") != nil {
		t.Error("the secret is shown a second time")
	}
	s.Must(409, "POST", path, m.Token, M{"application_credential": M{"name": "mine"}})
	login := func(secret string) *Reply {
		return s.Do("POST", "/auth/tokens", "", M{"auth": M{"identity": M{"methods": []string{"application_credential"},
			"application_credential": M{"name": "mine", "user": M{"name": "u", "domain": M{"id": "default"}}, "secret": secret}}}})
	}
	if r := login("wrong"); r.Status != 401 {
		t.Errorf("wrong secret: %d", r.Status)
	}
	r := login("s3cret")
	if !slices.Equal(roleNames(r), []string{"reader"}) || r.At("token", "application_credential", "restricted") != true {
		t.Errorf("token is %s", r.Raw)
	}
	token := r.Header.Get("X-Subject-Token")
	s.Must(200, "GET", path, token, nil)
	s.Must(204, "DELETE", path+"/"+id, m.Token, nil)
	if r := s.Validate(token); r.Status != 404 {
		t.Errorf("token of a deleted application credential: %d", r.Status)
	}
	if r := login("s3cret"); r.Status != 401 {
		t.Errorf("login with a deleted one: %d", r.Status)
	}
}

func TestCredentialsAreEncryptedAndTheirOwners(t *testing.T) {
	s := New(t)
	a, b := s.Member("a", "member"), s.Member("b", "member")
	id := s.Must(201, "POST", "/credentials", a.Token, M{"credential": M{"type": "cert", "blob": "plain text"}}).String("credential", "id")
	var stored string
	if err := s.DB.NewSelect().Table("credentials").Column("encrypted_blob").Where("id = ?", id).Scan(t.Context(), &stored); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(stored, "plain") || stored == "" {
		t.Errorf("the database holds %q", stored)
	}
	if r := s.Must(200, "GET", "/credentials/"+id, a.Token, nil); r.String("credential", "blob") != "plain text" {
		t.Errorf("credential is %s", r.Raw)
	}
	if n := len(s.Must(200, "GET", "/credentials", b.Token, nil).List("credentials")); n != 0 {
		t.Errorf("another user sees %d", n)
	}
	if n := len(s.Must(200, "GET", "/credentials?user_id="+a.UserID, b.Token, nil).List("credentials")); n != 0 {
		t.Errorf("another user sees %d by filter", n)
	}
	if n := len(s.Must(200, "GET", "/credentials", s.Admin(), nil).List("credentials")); n != 1 {
		t.Errorf("the admin sees %d", n)
	}
	if r := s.Do("POST", "/credentials", b.Token, M{"credential": M{"type": "cert", "blob": "x", "user_id": a.UserID}}); r.Status != 403 {
		t.Errorf("made for another: %d", r.Status)
	}
}

func TestCatalogResources(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	s.Must(201, "PUT", "/regions/two", admin, M{"region": M{"parent_region_id": Region}})
	if r := s.Do("PATCH", "/regions/"+Region, admin, M{"region": M{"parent_region_id": "two"}}); r.Status != 400 {
		t.Errorf("region below itself: %d", r.Status)
	}
	svc := s.Must(201, "POST", "/services", admin, M{"service": M{"type": "volumev3", "name": "cinder"}}).String("service", "id")
	ep := s.Must(201, "POST", "/endpoints", admin, M{"endpoint": M{"service_id": svc, "interface": "public", "url": "http://c/$(tenant_id)s", "region": "two"}}).String("endpoint", "id")
	inCatalog := func() bool {
		for _, c := range s.Must(200, "GET", "/auth/catalog", admin, nil).List("catalog") {
			if c["type"] == "volumev3" && len(c["endpoints"].([]any)) == 1 {
				return true
			}
		}
		return false
	}
	if !inCatalog() {
		t.Error("endpoint is not in the catalog of an existing token")
	}
	s.Must(403, "DELETE", "/regions/two", admin, nil)
	s.Must(200, "PATCH", "/endpoints/"+ep, admin, M{"endpoint": M{"enabled": false}})
	if inCatalog() {
		t.Error("disabled endpoint is in the catalog")
	}
	if r := s.Do("PATCH", "/endpoints/"+ep, admin, M{"endpoint": M{"interface": "secret"}}); r.Status != 400 {
		t.Errorf("unknown interface: %d", r.Status)
	}
	if r := s.Do("PATCH", "/endpoints/"+ep, admin, M{"endpoint": M{"url": "/relative"}}); r.Status != 400 {
		t.Errorf("relative url: %d", r.Status)
	}
	s.Must(204, "DELETE", "/services/"+svc, admin, nil)
	s.Must(404, "GET", "/endpoints/"+ep, admin, nil)
	s.Must(204, "DELETE", "/regions/two", admin, nil)
}

func TestACatalogEntryThatIsDeletedMeanwhileGetsNoEndpoint(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	for range 20 {
		svc := s.Must(201, "POST", "/services", admin, M{"service": M{"type": "volumev3", "name": "cinder"}}).String("service", "id")
		s.Must(201, "PUT", "/regions/two", admin, M{"region": M{}})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				e := M{"service_id": svc, "interface": "public", "url": "http://c", "region_id": "two"}
				if r := s.Do("POST", "/endpoints", admin, M{"endpoint": e}); r.Status != 201 && r.Status != 400 {
					t.Errorf("create endpoint: %d", r.Status)
				}
			})
		}
		wg.Go(func() {
			if r := s.Do("POST", "/regions", admin, M{"region": M{"parent_region_id": "two"}}); r.Status != 201 && r.Status != 404 {
				t.Errorf("create region below: %d", r.Status)
			}
		})
		wg.Go(func() {
			if r := s.Do("DELETE", "/regions/two", admin, nil); r.Status != 204 && r.Status != 403 {
				t.Errorf("delete region: %d", r.Status)
			}
		})
		wg.Go(func() {
			if r := s.Do("DELETE", "/services/"+svc, admin, nil); r.Status != 204 {
				t.Errorf("delete service: %d", r.Status)
			}
		})
		wg.Wait()
		regions := map[string]bool{}
		for _, r := range s.Must(200, "GET", "/regions", admin, nil).List("regions") {
			regions[r["id"].(string)] = true
		}
		for _, r := range s.Must(200, "GET", "/regions?parent_region_id=two", admin, nil).List("regions") {
			if !regions["two"] {
				t.Fatalf("region %s is below one that is gone", r["id"])
			}
			s.Must(204, "DELETE", "/regions/"+r["id"].(string), admin, nil)
		}
		for _, e := range s.Must(200, "GET", "/endpoints", admin, nil).List("endpoints") {
			if e["region_id"] == "two" && !regions["two"] {
				t.Fatalf("endpoint %s is in a region that is gone", e["id"])
			}
		}
		if n := len(s.Must(200, "GET", "/endpoints?service_id="+svc, admin, nil).List("endpoints")); n != 0 {
			t.Fatalf("%d endpoints of a service that is gone", n)
		}
		if regions["two"] {
			s.Must(204, "DELETE", "/regions/two", admin, nil)
		}
	}
}

func TestAProjectThatIsDeletedMeanwhileGetsNoChild(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	for range 20 {
		parent := s.Must(201, "POST", "/projects", admin, M{"project": M{"name": "parent"}}).String("project", "id")
		var wg sync.WaitGroup
		for n := range 3 {
			wg.Go(func() {
				p := M{"name": fmt.Sprint("child", n), "parent_id": parent}
				if r := s.Do("POST", "/projects", admin, M{"project": p}); r.Status != 201 && r.Status != 400 {
					t.Errorf("create project: %d", r.Status)
				}
			})
		}
		wg.Go(func() {
			if r := s.Do("DELETE", "/projects/"+parent, admin, nil); r.Status != 204 && r.Status != 403 {
				t.Errorf("delete project: %d", r.Status)
			}
		})
		wg.Wait()
		gone := s.Do("GET", "/projects/"+parent, admin, nil).Status == 404
		for _, p := range s.Must(200, "GET", "/projects?parent_id="+parent, admin, nil).List("projects") {
			if gone {
				t.Fatalf("project %s is below one that is gone", p["id"])
			}
			s.Must(204, "DELETE", "/projects/"+p["id"].(string), admin, nil)
		}
		if !gone {
			s.Must(204, "DELETE", "/projects/"+parent, admin, nil)
		}
	}
}

func TestADomainThatIsDeletedMeanwhileGetsNothing(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	for range 20 {
		d := s.Must(201, "POST", "/domains", admin, M{"domain": M{"name": "d", "enabled": false}}).String("domain", "id")
		var wg sync.WaitGroup
		for _, what := range []string{"user", "group", "project", "role"} {
			wg.Go(func() {
				if r := s.Do("POST", "/"+what+"s", admin, M{what: M{"name": "x", "domain_id": d}}); r.Status != 201 && r.Status != 400 {
					t.Errorf("create %s: %d", what, r.Status)
				}
			})
		}
		wg.Go(func() { s.Must(204, "DELETE", "/domains/"+d, admin, nil) })
		wg.Wait()
		for _, what := range []string{"users", "groups", "projects", "roles"} {
			if n := len(s.Must(200, "GET", "/"+what+"?domain_id="+d, admin, nil).List(what)); n != 0 {
				t.Fatalf("%d %s of a domain that is gone", n, what)
			}
		}
	}
}

func TestProjectTags(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	p := s.Must(201, "POST", "/projects", admin, M{"project": M{"name": "p", "tags": []string{"red", "blue"}}}).String("project", "id")
	s.Must(201, "POST", "/projects", admin, M{"project": M{"name": "q", "tags": []string{"red"}}})
	for query, want := range map[string]string{
		"tags=red": "p q", "tags=red,blue": "p", "tags-any=blue,green": "p", "not-tags=red,blue&name__startswith=q": "q", "not-tags-any=red&name=p": "",
	} {
		if got := namesOf(s.Must(200, "GET", "/projects?"+query, admin, nil).List("projects")); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	s.Must(201, "PUT", "/projects/"+p+"/tags/green", admin, nil)
	s.Must(201, "PUT", "/projects/"+p+"/tags/green", admin, nil)
	s.Must(204, "GET", "/projects/"+p+"/tags/green", admin, nil)
	s.Must(204, "DELETE", "/projects/"+p+"/tags/red", admin, nil)
	s.Must(404, "GET", "/projects/"+p+"/tags/red", admin, nil)
	if r := s.Do("PUT", "/projects/"+p+"/tags", admin, M{"tags": []string{"a,b"}}); r.Status != 400 {
		t.Errorf("tag with a comma: %d", r.Status)
	}
	s.Must(200, "PUT", "/projects/"+p+"/tags", admin, M{"tags": []string{"x"}})
	if got := s.Must(200, "GET", "/projects/"+p, admin, nil).At("project", "tags").([]any); len(got) != 1 || got[0] != "x" {
		t.Errorf("tags are %v", got)
	}
}

func TestDomainIsAlsoAProject(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	r := s.Must(201, "POST", "/projects", admin, M{"project": M{"name": "d", "is_domain": true}})
	id := r.String("project", "id")
	if r.At("project", "is_domain") != true || r.At("project", "domain_id") != nil {
		t.Errorf("project is %s", r.Raw)
	}
	if got := s.Must(200, "GET", "/domains/"+id, admin, nil).String("domain", "name"); got != "d" {
		t.Errorf("domain is named %q", got)
	}
	if got := namesOf(s.Must(200, "GET", "/projects?is_domain=true", admin, nil).List("projects")); got != "Default d" {
		t.Errorf("projects that are domains: %q", got)
	}
	in := s.Must(201, "POST", "/projects", admin, M{"project": M{"name": "p", "parent_id": id}})
	if in.String("project", "domain_id") != id {
		t.Errorf("child is %s", in.Raw)
	}
	s.Must(403, "DELETE", "/projects/"+id, admin, nil)
	s.Must(200, "PATCH", "/projects/"+id, admin, M{"project": M{"enabled": false}})
	if got := s.Must(200, "GET", "/projects/"+id, admin, nil); got.At("project", "enabled") != false {
		t.Errorf("project is %s", got.Raw)
	}
	s.Must(204, "DELETE", "/projects/"+id, admin, nil)
	s.Must(404, "GET", "/domains/"+id, admin, nil)
	m := s.Member("u", "member")
	if r := s.Do("POST", "/projects", m.Token, M{"project": M{"name": "x", "is_domain": true}}); r.Status != 403 {
		t.Errorf("domain made by a member: %d", r.Status)
	}
}

func TestWhatIsNotBuiltSaysSo(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	for _, path := range []string{"/limits", "/registered_limits", "/OS-TRUST/trusts", "/users/x/access_rules", "/policies", "/domains/default/config"} {
		s.Must(501, "GET", path, admin, nil)
		s.Must(501, "GET", path+"/x", admin, nil)
	}
	s.Must(404, "GET", "/nothing", admin, nil)
	s.Must(405, "PUT", "/users", admin, nil)
}

func TestBootstrapCanBeRepeated(t *testing.T) {
	s := New(t)
	before := s.DB.Stats().Commits
	revision := func() (n int) {
		if err := s.DB.NewSelect().Table("revisions").ColumnExpr("SUM(value)").Scan(t.Context(), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	was := revision()
	Bootstrap(t, s)
	if n := s.DB.Stats().Commits - before; n != 0 {
		t.Errorf("the second bootstrap made %d commits", n)
	}
	if now := revision(); now != was {
		t.Errorf("the second bootstrap raised the revisions by %d", now-was)
	}
	if _, err := s.DB.NewDelete().Table("implied_roles").Where("1 = 1").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := s.Another()
	Bootstrap(t, other)
	if got := roleNames(other.Must(201, "POST", "/auth/tokens", "", PasswordAuth("admin", AdminPassword, SystemScope()))); len(got) != 4 {
		t.Errorf("after a repair the admin has %v", got)
	}
}
