package keystoneapi_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/keystone"
	. "github.com/hastack/hastack/internal/keystone/keystonetest"
)

// within calls f until it is true and fails after a second.
func within(t *testing.T, what string, f func() bool) {
	t.Helper()
	end := clock.System.Now().Add(time.Second)
	for !f() {
		if clock.System.Now().After(end) {
			t.Fatalf("%s: not within a second", what)
		}
		<-clock.System.After(10 * time.Millisecond)
	}
}

func TestSec22EveryLossOfRightsEndsTokensOnAllNodes(t *testing.T) {
	s := New(t)
	nodes := []*Server{s, s.Another(), s.Another()}
	admin := s.Admin()
	domain := s.Must(http.StatusCreated, "POST", "/domains", admin, M{"domain": M{"name": "dom"}}).String("domain", "id")
	group := s.Must(http.StatusCreated, "POST", "/groups", admin, M{"group": M{"name": "grp"}}).String("group", "id")
	for name, lose := range map[string]func(m Member){
		"role": func(m Member) {
			s.Must(204, "DELETE", "/projects/"+m.ProjectID+"/users/"+m.UserID+"/roles/"+m.RoleID, admin, nil)
		},
		"user-deleted":  func(m Member) { s.Must(204, "DELETE", "/users/"+m.UserID, admin, nil) },
		"user-disabled": func(m Member) { s.Must(200, "PATCH", "/users/"+m.UserID, admin, M{"user": M{"enabled": false}}) },
		"project-disabled": func(m Member) {
			s.Must(200, "PATCH", "/projects/"+m.ProjectID, admin, M{"project": M{"enabled": false}})
		},
		"project-deleted": func(m Member) { s.Must(204, "DELETE", "/projects/"+m.ProjectID, admin, nil) },
		"password-reset":  func(m Member) { s.Must(200, "PATCH", "/users/"+m.UserID, admin, M{"user": M{"password": "new"}}) },
		"password-change": func(m Member) {
			s.Must(204, "POST", "/users/"+m.UserID+"/password", "", M{"user": M{"password": "n", "original_password": m.Password}})
		},
		"token": func(m Member) { s.Must(204, "DELETE", "/auth/tokens", m.Token, nil, "X-Subject-Token", m.Token) },
		"group": func(m Member) {
			s.Must(204, "DELETE", "/groups/"+group+"/users/"+m.UserID, admin, nil)
		},
		"domain-disabled": func(Member) { s.Must(200, "PATCH", "/domains/"+domain, admin, M{"domain": M{"enabled": false}}) },
	} {
		t.Run(name, func(t *testing.T) {
			m := s.Member("user-"+name, "member")
			switch name {
			case "group": // the role comes by the group only
				s.Must(204, "PUT", "/groups/"+group+"/users/"+m.UserID, admin, nil)
				s.Must(204, "PUT", "/projects/"+m.ProjectID+"/groups/"+group+"/roles/"+m.RoleID, admin, nil)
				s.Must(204, "DELETE", "/projects/"+m.ProjectID+"/users/"+m.UserID+"/roles/"+m.RoleID, admin, nil)
			case "domain-disabled": // the scope is in another domain than the user
				m.ProjectID = s.Must(201, "POST", "/projects", admin, M{"project": M{"name": "in-dom", "domain_id": domain}}).String("project", "id")
				s.Must(204, "PUT", "/projects/"+m.ProjectID+"/users/"+m.UserID+"/roles/"+m.RoleID, admin, nil)
				m.Token = s.Token(m.Name, m.Password, ProjectScope(m.ProjectID))
			}
			own := s.ServiceToken()
			for i, n := range nodes {
				if r := n.Do("GET", "/auth/tokens", own, nil, "X-Subject-Token", m.Token); r.Status != 200 {
					t.Fatalf("node %d: token is not valid to begin with: %d %s", i, r.Status, r.Raw)
				}
			}
			lose(m)
			for _, n := range nodes {
				within(t, "token refused", func() bool {
					return n.Do("GET", "/auth/tokens", own, nil, "X-Subject-Token", m.Token).Status == 404
				})
				within(t, "caller refused", func() bool { return n.Do("GET", "/auth/projects", m.Token, nil).Status == 401 })
			}
		})
	}
}

func TestSec22DisabledUserEnabledAgainDoesNotGetOldTokensBack(t *testing.T) {
	s := New(t)
	m, admin := s.Member("u", "member"), s.Admin()
	s.Must(200, "PATCH", "/users/"+m.UserID, admin, M{"user": M{"enabled": false}})
	s.Must(200, "PATCH", "/users/"+m.UserID, admin, M{"user": M{"enabled": true}})
	if r := s.Validate(m.Token); r.Status != 404 {
		t.Errorf("old token: %d", r.Status)
	}
	if r := s.Validate(s.Token(m.Name, m.Password, ProjectScope(m.ProjectID))); r.Status != 200 {
		t.Errorf("new token: %d", r.Status)
	}
}

func TestSec23RescopedTokenKeepsOriginalEnd(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC))
	s := New(t, WithClock(c))
	m := s.Member("u", "member")
	first := s.Must(201, "POST", "/auth/tokens", "", PasswordAuth(m.Name, m.Password, "unscoped"))
	token, end := first.Header.Get("X-Subject-Token"), first.String("token", "expires_at")
	chain := first.At("token", "audit_ids").([]any)[0]
	for range 5 {
		c.Advance(10 * time.Minute)
		r := s.Must(201, "POST", "/auth/tokens", "", TokenAuth(token, ProjectScope(m.ProjectID)))
		if got := r.String("token", "expires_at"); got != end {
			t.Fatalf("rescoped token ends %s, the original %s", got, end)
		}
		ids := r.At("token", "audit_ids").([]any)
		if len(ids) != 2 || ids[1] != chain {
			t.Fatalf("audit ids %v do not end in %v", ids, chain)
		}
		token = r.Header.Get("X-Subject-Token")
	}
	c.Advance(10*time.Minute + time.Second)
	if r := s.Validate(token); r.Status != 404 {
		t.Errorf("token lives on after the original's end: %d", r.Status)
	}
}

func TestSec23RepeatedMethodCostsOneHash(t *testing.T) {
	s := New(t, WithConfig(func(c *keystone.Config) { c.BcryptCost = 11 }))
	body := PasswordAuth("admin", AdminPassword, nil)
	methods := make([]string, 500)
	for i := range methods {
		methods[i] = "password"
	}
	body["auth"].(M)["identity"].(M)["methods"] = methods
	start := clock.System.Now()
	r := s.Must(201, "POST", "/auth/tokens", "", body)
	if took := clock.System.Now().Sub(start); took > 10*time.Second {
		t.Errorf("took %v: one hash takes a tenth of a second", took)
	}
	if got := r.At("token", "methods").([]any); len(got) != 1 {
		t.Errorf("token has methods %v", got)
	}
}

func TestSec24RevokedChainEndsRescopedTokens(t *testing.T) {
	s := New(t)
	m := s.Member("u", "member")
	root := s.Token(m.Name, m.Password, "unscoped")
	rescoped := s.Must(201, "POST", "/auth/tokens", "", TokenAuth(root, ProjectScope(m.ProjectID))).Header.Get("X-Subject-Token")
	again := s.Must(201, "POST", "/auth/tokens", "", TokenAuth(rescoped, ProjectScope(m.ProjectID))).Header.Get("X-Subject-Token")

	s.Must(204, "DELETE", "/auth/tokens", rescoped, nil, "X-Subject-Token", rescoped)
	if r := s.Validate(rescoped); r.Status != 404 {
		t.Errorf("revoked token: %d", r.Status)
	}
	if r := s.Validate(again); r.Status != 200 {
		t.Errorf("token of the same chain after one was revoked: %d", r.Status)
	}
	s.Must(204, "DELETE", "/auth/tokens?chain", again, nil, "X-Subject-Token", again)
	for name, token := range map[string]string{"root": root, "rescoped": rescoped, "again": again} {
		if r := s.Validate(token); r.Status != 404 {
			t.Errorf("%s after its chain was revoked: %d", name, r.Status)
		}
	}
	if r := s.Validate(m.Token); r.Status != 200 {
		t.Errorf("another login of the user: %d", r.Status)
	}
}

func TestSec24RespelledTokenDoesNotEvadeRevocation(t *testing.T) {
	s := New(t)
	m := s.Member("u", "member")
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var spellings []string
	for _, l := range letters {
		spellings = append(spellings, m.Token[:len(m.Token)-1]+string(l))
	}
	for _, suffix := range []string{"=", "==", "%3D"} {
		spellings = append(spellings, m.Token+suffix)
	}
	own := s.ServiceToken()
	for _, sp := range spellings {
		r := s.Do("GET", "/auth/tokens", own, nil, "X-Subject-Token", sp)
		if r.Status == 200 && r.String("token", "user", "id") != m.UserID || r.Status != 200 && r.Status != 404 {
			t.Fatalf("spelling %q: %d %s", sp, r.Status, r.Raw)
		}
	}
	s.Must(204, "DELETE", "/auth/tokens", m.Token, nil, "X-Subject-Token", m.Token)
	for _, sp := range spellings {
		if r := s.Do("GET", "/auth/tokens", own, nil, "X-Subject-Token", sp); r.Status != 404 {
			t.Fatalf("spelling %q of a revoked token: %d", sp, r.Status)
		}
	}
}

func TestSec24RevocationIsPreciseWithinASecond(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s := New(t, WithClock(c))
	m := s.Member("u", "member")
	c.Advance(time.Millisecond)
	s.Must(204, "POST", "/users/"+m.UserID+"/password", "", M{"user": M{"password": "new", "original_password": m.Password}})
	c.Advance(time.Millisecond)
	fresh := s.Token(m.Name, "new", ProjectScope(m.ProjectID))
	if r := s.Validate(m.Token); r.Status != 404 {
		t.Errorf("token from before the change: %d", r.Status)
	}
	if r := s.Validate(fresh); r.Status != 200 {
		t.Errorf("token from after the change, in the same second: %d", r.Status)
	}
}

func TestSec33OverlongPasswordIsRefusedUnhashed(t *testing.T) {
	var log logBuffer
	s := New(t, WithLog(log.logger()))
	admin := s.Admin()
	hashOf := func() string {
		var h string
		if err := s.DB.NewSelect().Table("users").Column("password_hash").Where("name = 'admin'").Scan(t.Context(), &h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	before := hashOf()
	long := strings.Repeat("pässwörd", 100_000)
	adminID := s.Must(200, "GET", "/users?name=admin", admin, nil).List("users")[0]["id"].(string)
	for name, do := range map[string]func() *Reply{
		"login":  func() *Reply { return s.Do("POST", "/auth/tokens", "", PasswordAuth("admin", long, nil)) },
		"create": func() *Reply { return s.Do("POST", "/users", admin, M{"user": M{"name": "x", "password": long}}) },
		"update": func() *Reply { return s.Do("PATCH", "/users/"+adminID, admin, M{"user": M{"password": long}}) },
		"change": func() *Reply {
			return s.Do("POST", "/users/"+adminID+"/password", "", M{"user": M{"password": long, "original_password": AdminPassword}})
		},
		"old": func() *Reply {
			return s.Do("POST", "/users/"+adminID+"/password", "", M{"user": M{"password": "x", "original_password": long}})
		},
	} {
		start := clock.System.Now()
		r := do()
		if r.Status != 400 {
			t.Errorf("%s: %d %.200s", name, r.Status, r.Raw)
		}
		if took := clock.System.Now().Sub(start); took > time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
	if hashOf() != before {
		t.Error("the password was changed")
	}
	if strings.Contains(log.text(), "wörd") {
		t.Error("the password is in the log")
	}
	if r := s.Do("GET", "/auth/projects", strings.Repeat("g", 20_000), nil); r.Status != 401 {
		t.Errorf("overlong token: %d", r.Status)
	}
}

func TestSec34IdentityHeadersFromOutsideMeanNothing(t *testing.T) {
	s := New(t)
	m := s.Member("u", "reader")
	forged := []string{
		"X-Roles", "admin", "X-Role", "admin", "X-User-Id", "someone", "X-Project-Id", "p", "X-Is-Admin-Project", "True",
		"X-Identity-Status", "Confirmed", "Openstack-System-Scope", "all", "X-Service-Roles", "service", "X-Domain-Id", "default",
	}
	if r := s.Do("GET", "/users", m.Token, nil, forged...); r.Status != 403 {
		t.Errorf("with a reader's token: %d", r.Status)
	}
	if r := s.Do("GET", "/users", "", nil, forged...); r.Status != 401 {
		t.Errorf("without a token: %d", r.Status)
	}
	// And the identity is the request's, whoever else is being served.
	admin := s.Admin()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if r := s.Do("GET", "/users", admin, nil); r.Status != 200 {
					t.Errorf("admin: %d", r.Status)
				}
				if r := s.Do("GET", "/users", m.Token, nil); r.Status != 403 {
					t.Errorf("reader: %d", r.Status)
				}
			}
		})
	}
	wg.Wait()
}

func TestSec36BooleansTakeNothingButTrueAndFalse(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	m := s.Member("u", "member")
	dom := s.Must(201, "POST", "/domains", admin, M{"domain": M{"name": "d", "enabled": false}}).String("domain", "id")
	svc := s.Must(201, "POST", "/services", admin, M{"service": M{"type": "t", "enabled": false}}).String("service", "id")
	ep := s.Must(201, "POST", "/endpoints", admin, M{"endpoint": M{"service_id": svc, "interface": "public", "url": "http://x", "enabled": false}}).String("endpoint", "id")
	user := s.Must(201, "POST", "/users", admin, M{"user": M{"name": "off", "enabled": false}}).String("user", "id")
	project := s.Must(201, "POST", "/projects", admin, M{"project": M{"name": "off", "enabled": false}}).String("project", "id")
	creates := map[string]M{
		"domain": {"name": "new"}, "project": {"name": "new"}, "user": {"name": "new"},
		"service": {"type": "new"}, "endpoint": {"service_id": svc, "interface": "admin", "url": "http://x"},
	}
	existing := map[string]string{"domain": dom, "project": project, "user": user, "service": svc, "endpoint": ep}
	for _, bad := range []string{`"FALSE"`, `"false"`, `"True"`, `"0"`, `0`, `1`, `null`, `[]`, `{}`, `""`} {
		for kind, id := range existing {
			path := "/" + kind + "s"
			if r := s.Do("PATCH", path+"/"+id, admin, M{kind: M{"enabled": json.RawMessage(bad)}}); r.Status != 400 {
				t.Errorf("PATCH %s enabled=%s: %d", kind, bad, r.Status)
			}
			if r := s.Must(200, "GET", path+"/"+id, admin, nil); r.At(kind, "enabled") != false {
				t.Errorf("%s is enabled after %s", kind, bad)
			}
			in := M{"enabled": json.RawMessage(bad)}
			maps.Copy(in, creates[kind])
			if r := s.Do("POST", path, admin, M{kind: in}); r.Status != 400 {
				t.Errorf("POST %s enabled=%s: %d %s", kind, bad, r.Status, r.Raw)
			}
		}
		if r := s.Do("POST", "/projects", admin, M{"project": M{"name": "new", "is_domain": json.RawMessage(bad)}}); r.Status != 400 {
			t.Errorf("is_domain=%s: %d", bad, r.Status)
		}
		path := "/users/" + m.UserID + "/application_credentials"
		if r := s.Do("POST", path, m.Token, M{"application_credential": M{"name": "new", "unrestricted": json.RawMessage(bad)}}); r.Status != 400 {
			t.Errorf("unrestricted=%s: %d", bad, r.Status)
		}
		body := PasswordAuth("admin", AdminPassword, M{"system": M{"all": json.RawMessage(bad)}})
		if r := s.Do("POST", "/auth/tokens", "", body); r.Status != 400 {
			t.Errorf("system.all=%s: %d", bad, r.Status)
		}
	}
	if r := s.Must(201, "POST", "/users", admin, M{"user": M{"name": "absent"}}); r.At("user", "enabled") != true {
		t.Error("absent enabled is not true")
	}
	if r := s.Must(200, "GET", "/users?name=new", admin, nil); len(r.List("users")) != 0 {
		t.Error("a refused user was made")
	}
}
