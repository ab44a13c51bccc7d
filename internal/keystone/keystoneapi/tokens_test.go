package keystoneapi_test

import (
	"net/http"
	"slices"
	"testing"

	. "github.com/hastack/hastack/internal/keystone/keystonetest"
)

func TestPasswordLoginGivesScopedTokenWithCatalog(t *testing.T) {
	s := New(t, WithService("compute", "nova", "http://cloud/compute/v2.1/$(project_id)s"))
	r := s.Must(http.StatusCreated, "POST", "/auth/tokens", "", PasswordAuth("admin", AdminPassword, ProjectNamed("admin")))
	if r.String("token", "project", "name") != "admin" || r.String("token", "project", "domain", "name") != "Default" {
		t.Errorf("project is %v", r.At("token", "project"))
	}
	var roles []string
	for _, role := range r.List("token", "roles") {
		roles = append(roles, role["name"].(string))
	}
	if want := []string{"admin", "manager", "member", "reader"}; !slices.Equal(roles, want) {
		t.Errorf("roles are %v, want %v", roles, want)
	}
	catalog := r.List("token", "catalog")
	if len(catalog) != 2 {
		t.Fatalf("catalog is %v", catalog)
	}
	url := catalog[0]["endpoints"].([]any)[0].(M)["url"]
	if want := "http://cloud/compute/v2.1/" + r.String("token", "project", "id"); url != want {
		t.Errorf("endpoint url is %v, want %v", url, want)
	}
	if got := s.Validate(r.Header.Get("X-Subject-Token")); got.Status != http.StatusOK || string(got.Raw) != string(r.Raw) {
		t.Errorf("validation answers %d %s, want the body of the login", got.Status, got.Raw)
	}
	if h := s.Validate(r.Header.Get("X-Subject-Token")).Header.Get("X-Hastack-Token-Issue"); h == "" {
		t.Error("service does not learn when the token was requested")
	}
}
