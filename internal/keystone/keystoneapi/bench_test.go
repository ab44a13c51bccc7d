package keystoneapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/keystone"
	. "github.com/hastack/hastack/internal/keystone/keystonetest"
)

// BenchmarkValidate is a service's question about a token that is in use,
// through the whole HTTP handler: 0.2 ms of CPU is the goal.
func BenchmarkValidate(b *testing.B) {
	s := New(b)
	own := s.ServiceToken()
	subject := s.Admin()
	before := s.DB.Stats()
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodGet, "/v3/auth/tokens?nocatalog=1", nil)
		r.Header.Set("X-Auth-Token", own)
		r.Header.Set("X-Subject-Token", subject)
		w := httptest.NewRecorder()
		s.API.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	b.ReportMetric(float64(s.DB.Stats().Statements-before.Statements)/float64(b.N), "statements/op")
}

// BenchmarkValidateAfterChange is the first question after something about
// identities changed: everything is read again.
func BenchmarkValidateAfterChange(b *testing.B) {
	s := New(b)
	own, subject := s.ServiceToken(), s.Admin()
	admin := s.Admin()
	role := s.RoleID("reader")
	member := s.Member("someone", "member")
	path := "/projects/" + member.ProjectID + "/users/" + member.UserID + "/roles/" + role
	for b.Loop() {
		b.StopTimer()
		s.Must(http.StatusNoContent, "PUT", path, admin, nil)
		b.StartTimer()
		s.Must(http.StatusOK, "GET", "/auth/tokens", own, nil, "X-Subject-Token", subject)
	}
}

// BenchmarkValidateDuringLogins is BenchmarkValidate while as many clients log
// in as the queue takes: it must stay in the same order of magnitude.
func BenchmarkValidateDuringLogins(b *testing.B) {
	s := New(b, WithConfig(func(c *keystone.Config) { c.BcryptCost = 10 }))
	own, subject := s.ServiceToken(), s.Admin()
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _, _ = s.Service.Authenticate(ctx, keystone.Login{
					Methods: []string{"password"}, User: keystone.UserRef{Name: "admin", DomainID: "default"}, Password: config.NewSecret("wrong"),
				})
			}
		})
	}
	for b.Loop() {
		r := httptest.NewRequest(http.MethodGet, "/v3/auth/tokens?nocatalog=1", nil)
		r.Header.Set("X-Auth-Token", own)
		r.Header.Set("X-Subject-Token", subject)
		w := httptest.NewRecorder()
		s.API.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	stop()
	wg.Wait()
}

// BenchmarkListUsers is a page of 100 of 1,000 users.
func BenchmarkListUsers(b *testing.B) {
	s := New(b)
	admin := s.Admin()
	for i := range 1000 {
		s.Must(http.StatusCreated, "POST", "/users", admin, M{"user": M{"name": "user-" + strconv.Itoa(i)}})
	}
	for b.Loop() {
		s.Must(http.StatusOK, "GET", "/users?limit=100", admin, nil)
	}
}
