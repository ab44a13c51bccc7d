package keystoneapi_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/keystone"
	. "github.com/hastack/hastack/internal/keystone/keystonetest"
)

func roleNames(r *Reply) []string {
	out := []string{}
	for _, role := range r.List("token", "roles") {
		out = append(out, role["name"].(string))
	}
	return out
}

func TestScopesOfALogin(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	m := s.Member("u", "member")
	s.Must(204, "PUT", "/domains/default/users/"+m.UserID+"/roles/"+s.RoleID("reader"), admin, nil)
	s.Must(204, "PUT", "/system/users/"+m.UserID+"/roles/"+s.RoleID("reader"), admin, nil)
	for name, c := range map[string]struct {
		scope  any
		status int
		key    string // of the token that names the scope
		roles  []string
	}{
		"none":            {nil, 201, "", []string{}},
		"unscoped":        {"unscoped", 201, "", []string{}},
		"unscoped object": {M{"unscoped": M{}}, 201, "", []string{}},
		"project":         {ProjectScope(m.ProjectID), 201, "project", []string{"member", "reader"}},
		"project name":    {M{"project": M{"name": "u-project", "domain": M{"name": "Default"}}}, 201, "project", []string{"member", "reader"}},
		"domain":          {DomainScope("default"), 201, "domain", []string{"reader"}},
		"domain name":     {M{"domain": M{"name": "Default"}}, 201, "domain", []string{"reader"}},
		"system":          {SystemScope(), 201, "system", []string{"reader"}},
		"foreign project": {ProjectNamed("admin"), 401, "", nil},
		"no such project": {ProjectScope("nope"), 401, "", nil},
		"no such domain":  {DomainScope("nope"), 401, "", nil},
		"two scopes":      {M{"project": M{"id": m.ProjectID}, "domain": M{"id": "default"}}, 400, "", nil},
		"project by name": {M{"project": M{"name": "u-project"}}, 400, "", nil},
		"empty":           {M{}, 400, "", nil},
		"text":            {"everything", 400, "", nil},
		"list":            {[]string{}, 400, "", nil},
		"trust":           {M{"OS-TRUST:trust": M{"id": "x"}}, 501, "", nil},
	} {
		r := s.Do("POST", "/auth/tokens", "", PasswordAuth(m.Name, m.Password, c.scope))
		if r.Status != c.status {
			t.Errorf("%s: %d %s, want %d", name, r.Status, r.Raw, c.status)
			continue
		}
		for _, key := range []string{"project", "domain", "system"} {
			if (r.At("token", key) != nil) != (key == c.key) {
				t.Errorf("%s: token has %s %v", name, key, r.At("token", key))
			}
		}
		if c.status == 201 && !slices.Equal(roleNames(r), c.roles) {
			t.Errorf("%s: roles %v, want %v", name, roleNames(r), c.roles)
		}
		if c.status == 201 && (r.At("token", "catalog") != nil) != (c.key != "") {
			t.Errorf("%s: catalog is %v", name, r.At("token", "catalog"))
		}
	}
}

func TestDefaultProjectIsTheScopeWhenItMayBe(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	m := s.Member("u", "member")
	s.Must(200, "PATCH", "/users/"+m.UserID, admin, M{"user": M{"default_project_id": m.ProjectID}})
	login := func(scope any) *Reply {
		return s.Must(201, "POST", "/auth/tokens", "", PasswordAuth(m.Name, m.Password, scope))
	}
	if got := login(nil).String("token", "project", "id"); got != m.ProjectID {
		t.Errorf("scope is project %q", got)
	}
	if got := login("unscoped").At("token", "project"); got != nil {
		t.Errorf("explicitly unscoped token has project %v", got)
	}
	s.Must(204, "DELETE", "/projects/"+m.ProjectID+"/users/"+m.UserID+"/roles/"+m.RoleID, admin, nil)
	if got := login(nil).At("token", "project"); got != nil {
		t.Errorf("without a role on it the scope is project %v", got)
	}
}

func TestBadLoginsAreRefusedInTheirOwnWay(t *testing.T) {
	s := New(t)
	for body, want := range map[string]int{
		``:                           400,
		`{`:                          400,
		`[]`:                         400,
		`{}`:                         400,
		`{"auth": {}}`:               400,
		`{"auth": {"identity": {}}}`: 400,
		`{"auth": {"identity": {"methods": []}}}`:                                                                                                         400,
		`{"auth": {"identity": {"methods": ["password"]}}}`:                                                                                               400,
		`{"auth": {"identity": {"methods": "password"}}}`:                                                                                                 400,
		`{"auth": {"identity": {"methods": ["saml2"]}}}`:                                                                                                  401,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "password": "x"}}}}}`:                                     400,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"name": "nope"}, "password": "x"}}}}}`:         401,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "nope", "password": "x"}}}}}`:                                        401,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "x", "password": null}}}}}`:                                          400,
		`{"auth": {"identity": {"methods": ["token"], "token": {"id": "gAAAA"}}}}`:                                                                        401,
		`{"auth": {"identity": {"methods": ["token"], "token": {}}}}`:                                                                                     400,
		`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": "x", "secret": "y"}}}}`:                           401,
		`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"name": "x", "secret": "y"}}}}`:                         400,
		`{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"name": "x", "user": {"id": "nope"}, "secret": "y"}}}}`: 401,
	} {
		r := s.Do("POST", "/auth/tokens", "", body)
		if r.Status != want || r.At("error", "code") != float64(want) || r.String("error", "title") != http.StatusText(want) {
			t.Errorf("%s: %d %s, want %d", body, r.Status, r.Raw, want)
		}
	}
	if r := s.Do("POST", "/auth/tokens", "", "{}", "Content-Type", "text/plain"); r.Status != 415 {
		t.Errorf("text/plain: %d", r.Status)
	}
	if r := s.Do("POST", "/auth/tokens", "", strings.Repeat(" ", 2<<20)); r.Status != 413 {
		t.Errorf("2 MiB: %d", r.Status)
	}
	if r := s.Must(401, "GET", "/users", "", nil); !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Keystone uri=\""+s.AuthURL) {
		t.Errorf("WWW-Authenticate is %q", r.Header.Get("WWW-Authenticate"))
	}
}

func TestTwoMethodsMustBeOneUser(t *testing.T) {
	s := New(t)
	a, b := s.Member("a", "member"), s.Member("b", "member")
	body := PasswordAuth("a", a.Password, ProjectScope(a.ProjectID))
	id := body["auth"].(M)["identity"].(M)
	id["methods"] = []string{"password", "token"}
	id["token"] = M{"id": b.Token}
	if r := s.Do("POST", "/auth/tokens", "", body); r.Status != 401 {
		t.Errorf("password of a with token of b: %d", r.Status)
	}
	id["token"] = M{"id": a.Token}
	r := s.Must(201, "POST", "/auth/tokens", "", body)
	if methods := r.At("token", "methods").([]any); len(methods) != 2 {
		t.Errorf("methods are %v", methods)
	}
}

func TestStaleTokenHeaderDoesNotHinderALogin(t *testing.T) {
	s := New(t)
	for _, path := range []string{"/auth/tokens"} {
		if r := s.Do("POST", path, "stale", PasswordAuth("admin", AdminPassword, nil)); r.Status != 201 {
			t.Errorf("login: %d", r.Status)
		}
	}
	if r := s.Do("GET", "", "stale", nil); r.Status != 200 {
		t.Errorf("version: %d", r.Status)
	}
}

func TestExpiredTokenIsShownToServicesOnly(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s := New(t, WithClock(c), WithConfig(func(c *keystone.Config) { c.ExpiredWindow = 10 * time.Hour }))
	m := s.Member("u", "member")
	c.Advance(2 * time.Hour)
	ask := func(token, query string) int {
		return s.Do("GET", "/auth/tokens"+query, token, nil, "X-Subject-Token", m.Token).Status
	}
	fresh := s.Token(m.Name, m.Password, ProjectScope(m.ProjectID))
	own := s.ServiceToken()
	for _, c := range []struct {
		token, query string
		want         int
	}{{own, "", 404}, {own, "?allow_expired=1", 200}, {fresh, "?allow_expired=1", 404}, {own, "?allow_expired=0", 404}, {m.Token, "?allow_expired=1", 401}} {
		if got := ask(c.token, c.query); got != c.want {
			t.Errorf("%q: %d, want %d", c.query, got, c.want)
		}
	}
	c.Advance(10 * time.Hour)
	if got := ask(s.ServiceToken(), "?allow_expired=1"); got != 404 {
		t.Errorf("beyond the window: %d", got)
	}
}

func TestTokensAreForTheirOwnerServicesAndAdmins(t *testing.T) {
	s := New(t)
	a, b := s.Member("a", "member"), s.Member("b", "member")
	for _, c := range []struct {
		name, token string
		want        int
	}{{"owner", a.Token, 200}, {"other user", b.Token, 403}, {"admin", s.Admin(), 200}, {"service", s.ServiceToken(), 200}} {
		if r := s.Do("GET", "/auth/tokens", c.token, nil, "X-Subject-Token", a.Token); r.Status != c.want {
			t.Errorf("GET by %s: %d, want %d", c.name, r.Status, c.want)
		}
		if r := s.Do("HEAD", "/auth/tokens", c.token, nil, "X-Subject-Token", a.Token); r.Status != c.want || len(r.Raw) != 0 {
			t.Errorf("HEAD by %s: %d %q, want %d", c.name, r.Status, r.Raw, c.want)
		}
	}
	if r := s.Do("DELETE", "/auth/tokens", b.Token, nil, "X-Subject-Token", a.Token); r.Status != 403 {
		t.Errorf("DELETE by another user: %d", r.Status)
	}
	if r := s.Do("GET", "/auth/tokens", a.Token, nil); r.Status != 400 {
		t.Errorf("without subject: %d", r.Status)
	}
	if h := s.Do("GET", "/auth/tokens", a.Token, nil, "X-Subject-Token", a.Token).Header.Get("X-Hastack-Token-Issue"); h != "" {
		t.Errorf("a user is told %q", h)
	}
}

func TestIssueTimeIsToldOnlyByTheProcessThatKnows(t *testing.T) {
	s := New(t)
	other := s.Another()
	m := s.Member("u", "member")
	own := s.ServiceToken()
	header := func(n *Server) string {
		return n.Must(200, "GET", "/auth/tokens", own, nil, "X-Subject-Token", m.Token).Header.Get("X-Hastack-Token-Issue")
	}
	at, took, ok := strings.Cut(header(s), ";")
	if _, err := time.Parse(time.RFC3339Nano, at); err != nil || !ok || took == "" {
		t.Errorf("issuer says %q;%q", at, took)
	}
	if h := header(other); h != "" {
		t.Errorf("another process says %q", h)
	}
	// It is not forgotten when something about identities changes.
	s.Must(200, "PATCH", "/users/"+m.UserID, s.Admin(), M{"user": M{"email": "x"}})
	if header(s) == "" {
		t.Error("issuer has forgotten")
	}
}

func TestTokensSurviveKeyRotation(t *testing.T) {
	s := New(t)
	old := s.Admin()
	other := s.Another()
	if err := s.Service.RotateTokenKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, token := range []string{old, s.Admin()} {
		for _, n := range []*Server{s, other} {
			if r := n.Do("GET", "/auth/projects", token, nil); r.Status != 200 {
				t.Errorf("token %d: %d", i, r.Status)
			}
		}
	}
}

func TestValidationNeedsNoDatabaseWhileNothingChanges(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s := New(t, WithClock(c))
	own, subject := s.ServiceToken(), s.Admin()
	ask := func() { s.Must(200, "GET", "/auth/tokens", own, nil, "X-Subject-Token", subject) }
	ask()
	before := s.DB.Stats().Statements
	for range 100 {
		ask()
	}
	if n := s.DB.Stats().Statements - before; n != 0 {
		t.Errorf("100 validations took %d statements", n)
	}
	c.Advance(time.Minute)
	for range 100 {
		ask()
	}
	if n := s.DB.Stats().Statements - before; n != 1 {
		t.Errorf("100 validations a minute later took %d statements, want 1 look at the revisions", n)
	}
}

func TestOldRevocationsAreForgotten(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s := New(t, WithClock(c))
	w := &rows{t, s}
	m := s.Member("u", "member")
	s.Must(204, "DELETE", "/auth/tokens", m.Token, nil, "X-Subject-Token", m.Token)
	if n := w.count("revocation_events", "1 = 1"); n != 1 {
		t.Fatalf("%d events", n)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Service.Run(ctx) }()
	within(t, "housekeeping runs", func() bool { return c.Waiters() > 0 })
	c.Advance(30 * time.Minute)
	c.Advance(60 * time.Hour)
	within(t, "event removed", func() bool { return w.count("revocation_events", "1 = 1") == 0 })
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if r := s.Validate(m.Token); r.Status != 404 {
		t.Errorf("revoked token after its event was forgotten: %d", r.Status)
	}
}

func TestValidationFailsClosedWithoutTheDatabase(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s := New(t, WithClock(c))
	own, subject := s.ServiceToken(), s.Admin()
	s.Must(200, "GET", "/auth/tokens", own, nil, "X-Subject-Token", subject)
	if _, err := s.DB.ExecContext(t.Context(), "ALTER TABLE revisions RENAME TO revisions_gone"); err != nil {
		t.Fatal(err)
	}
	s.Must(200, "GET", "/auth/tokens", own, nil, "X-Subject-Token", subject)
	c.Advance(time.Second)
	if r := s.Do("GET", "/auth/tokens", own, nil, "X-Subject-Token", subject); r.Status < 500 {
		t.Errorf("nobody can know whether the token was revoked, and the answer is %d", r.Status)
	}
}

func TestVersionDocuments(t *testing.T) {
	s := New(t)
	r := s.Must(200, "GET", "/", "", nil)
	if r.String("version", "id") != "v3.14" || r.String("version", "status") != "stable" {
		t.Errorf("v3 is %s", r.Raw)
	}
	resp, err := http.Get(s.URL + "/identity")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMultipleChoices {
		t.Errorf("root: %d", resp.StatusCode)
	}
}
