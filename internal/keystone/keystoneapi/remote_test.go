package keystoneapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
	. "github.com/hastack/hastack/internal/keystone/keystonetest"
)

// remote is how another service asks this Keystone about tokens.
func remote(s *Server) *authtoken.Remote {
	own := ""
	return &authtoken.Remote{
		AuthURL: s.AuthURL, Client: &http.Client{Timeout: 10 * time.Second},
		OwnToken: func(_ context.Context, fresh bool) (string, error) {
			if own == "" || fresh {
				own = s.ServiceToken()
			}
			return own, nil
		},
	}
}

func TestServicesReadIdentitiesOfAllScopes(t *testing.T) {
	s := New(t)
	m := s.Member("someone", "member")
	v := remote(s)
	id, err := v.Validate(t.Context(), m.Token)
	if err != nil {
		t.Fatal(err)
	}
	if id.UserID != m.UserID || id.UserName != "someone" || id.UserDomainName != "Default" || id.ProjectID != m.ProjectID ||
		id.ProjectDomainID != "default" || !id.HasRole("member") || !id.HasRole("reader") || id.IsAdmin() {
		t.Errorf("identity is %+v", id)
	}
	if left := id.ExpiresAt.Sub(id.IssuedAt); left != time.Hour {
		t.Errorf("token lives %v", left)
	}
	if id.TokenRequestedAt.IsZero() || id.TokenVerified < 0 {
		t.Errorf("login was at %v and took %v", id.TokenRequestedAt, id.TokenVerified)
	}
	if id, err = v.Validate(t.Context(), s.Token("admin", AdminPassword, SystemScope())); err != nil || id.SystemScope != "all" || !id.IsAdmin() {
		t.Errorf("system token is %+v, %v", id, err)
	}
	token, _ := appCred(t, s, m, M{"roles": []M{{"name": "reader"}}})
	if id, err = v.Validate(t.Context(), token); err != nil || id.AppCredID == "" || id.AppCredUnrestricted || id.HasRole("member") {
		t.Errorf("token of an application credential is %+v, %v", id, err)
	}
}

func TestServiceWhoseOwnTokenEndedLogsInAgain(t *testing.T) {
	s := New(t)
	m := s.Member("someone", "member")
	v := remote(s)
	if _, err := v.Validate(t.Context(), m.Token); err != nil {
		t.Fatal(err)
	}
	own, err := v.OwnToken(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	s.Must(204, "DELETE", "/auth/tokens", own, nil, "X-Subject-Token", own)
	if _, err := v.Validate(t.Context(), m.Token); err != nil {
		t.Errorf("after the service's own token was revoked: %v", err)
	}
	s.Must(204, "DELETE", "/auth/tokens", m.Token, nil, "X-Subject-Token", m.Token)
	if _, err := v.Validate(t.Context(), m.Token); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("revoked token: %v", err)
	}
}

// TestSec22RevocationReachesServicesWithinASecond counts everything between: a
// revocation at one Keystone, a service that asks another and remembers.
func TestSec22RevocationReachesServicesWithinASecond(t *testing.T) {
	s := New(t)
	mw := authtoken.New(authtoken.Config{Validator: remote(s.Another())})
	h := mw.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
	}), func(w http.ResponseWriter, _ *http.Request, err error) {
		w.WriteHeader(fault.KindOf(err).Status())
	})
	for round := range 3 {
		m := s.Member("user"+string(rune('a'+round)), "member")
		ask := func() int {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("X-Auth-Token", m.Token)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		if got := ask(); got != http.StatusOK {
			t.Fatalf("valid token: %d", got)
		}
		s.Must(204, "DELETE", "/auth/tokens", m.Token, nil, "X-Subject-Token", m.Token)
		within(t, "service refuses the token", func() bool { return ask() == http.StatusUnauthorized })
	}
}
