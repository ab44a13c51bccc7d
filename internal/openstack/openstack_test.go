package openstack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/config"
)

// keystone issues tokens whose catalog has an image service from the second
// token on, and is that image service, too: it remembers whose token it saw.
func keystone(t *testing.T) (url string, logins *atomic.Int32, seen *atomic.Value) {
	t.Helper()
	logins, seen = &atomic.Int32{}, &atomic.Value{}
	mux := http.NewServeMux()
	var srv *httptest.Server
	mux.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, _ *http.Request) {
		n := logins.Add(1)
		catalog := []any{}
		if n > 1 {
			catalog = append(catalog, map[string]any{"type": "image", "name": "glance", "endpoints": []any{
				map[string]any{"interface": "internal", "region": "RegionOne", "region_id": "RegionOne", "url": srv.URL + "/image"}}})
		}
		w.Header().Set("X-Subject-Token", fmt.Sprintf("service-%d", n))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		if err := json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{"catalog": catalog,
			"expires_at": "2099-01-01T00:00:00.000000Z"}}); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/image/", func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("X-Auth-Token"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"versions":[{"id":"v2.17","status":"CURRENT","links":[{"rel":"self","href":"%s/image/v2/"}]}]}`, srv.URL)
	})
	srv = httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL + "/v3", logins, seen
}

// A user's call must not become the service's because an endpoint was not in
// the catalog at first: the service may do what the user may not.
func TestAUsersCallKeepsTheUsersToken(t *testing.T) {
	url, logins, seen := keystone(t)
	c := New(Config{AuthURL: url, Username: "nova", Password: config.NewSecret("x"), Project: "service", Domain: "Default", Region: "RegionOne"})
	if _, err := c.Token(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		user, err := c.ForUser(t.Context(), &authtoken.Identity{Token: config.NewSecret("users")})
		if err != nil {
			t.Fatal(err)
		}
		sc, err := user.Image(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		resp, err := sc.Get(t.Context(), sc.ServiceURL("images"), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if got := seen.Load(); got != "users" {
			t.Errorf("the image service saw the token %v, want the user's", got)
		}
	}
	if n := logins.Load(); n != 2 {
		t.Errorf("%d logins, want one and another for the catalog", n)
	}
}
