package keystoneapi_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	. "github.com/hastack/hastack/internal/keystone/keystonetest"
)

// appCred makes an application credential of m and logs in with it.
func appCred(t *testing.T, s *Server, m Member, attrs M) (token string, reply *Reply) {
	t.Helper()
	attrs["name"] = "ac" + clock.System.Now().String()
	made := s.Must(201, "POST", "/users/"+m.UserID+"/application_credentials", m.Token, M{"application_credential": attrs})
	reply = s.Must(201, "POST", "/auth/tokens", "", M{"auth": M{"identity": M{
		"methods":                []string{"application_credential"},
		"application_credential": M{"id": made.At("application_credential", "id"), "secret": made.At("application_credential", "secret")},
	}}})
	return reply.Header.Get("X-Subject-Token"), reply
}

func TestSec27CredentialOwnerNeverChanges(t *testing.T) {
	s := New(t)
	a, b := s.Member("a", "member"), s.Member("b", "member")
	for typ, blob := range map[string]string{"cert": "x", "ec2": `{"access":"k","secret":"s"}`} {
		c := s.Must(201, "POST", "/credentials", a.Token, M{"credential": M{"type": typ, "blob": blob, "project_id": a.ProjectID}}).String("credential", "id")
		for _, token := range []string{a.Token, s.Admin()} {
			for _, change := range []M{{"user_id": b.UserID}, {"project_id": b.ProjectID}} {
				if r := s.Do("PATCH", "/credentials/"+c, token, M{"credential": change}); r.Status != 403 {
					t.Errorf("%s: PATCH %v: %d", typ, change, r.Status)
				}
			}
		}
		got := s.Must(200, "GET", "/credentials/"+c, a.Token, nil)
		if got.String("credential", "user_id") != a.UserID || got.String("credential", "project_id") != a.ProjectID {
			t.Errorf("credential is now %s", got.Raw)
		}
		if r := s.Do("GET", "/credentials/"+c, b.Token, nil); r.Status != 403 {
			t.Errorf("another user's GET: %d", r.Status)
		}
	}
	for _, change := range []M{
		{"blob": `{"access":"other","secret":"s"}`}, {"blob": `{"access":"k","secret":"s","app_cred_id":"x"}`},
		{"blob": `{"access":"k","secret":"s","trust_id":"x"}`}, {"type": "cert"},
	} {
		id := s.Must(200, "GET", "/credentials?type=ec2", a.Token, nil).List("credentials")[0]["id"].(string)
		if r := s.Do("PATCH", "/credentials/"+id, a.Token, M{"credential": change}); r.Status != 400 {
			t.Errorf("PATCH %v: %d", change, r.Status)
		}
	}
}

func TestSec27RestrictedApplicationCredentialMakesNoCredentials(t *testing.T) {
	s := New(t)
	m := s.Member("a", "member")
	own := s.Must(201, "POST", "/credentials", m.Token, M{"credential": M{"type": "cert", "blob": "x"}}).String("credential", "id")
	token, _ := appCred(t, s, m, M{"roles": []M{{"name": "reader"}}})
	user := "/users/" + m.UserID
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{"POST", user + "/credentials/OS-EC2", M{"tenant_id": m.ProjectID}},
		{"POST", "/credentials", M{"credential": M{"type": "ec2", "project_id": m.ProjectID, "blob": `{"access":"a","secret":"b"}`}}},
		{"POST", user + "/application_credentials", M{"application_credential": M{"name": "wider"}}},
		{"PATCH", "/credentials/" + own, M{"credential": M{"blob": "y"}}},
		{"DELETE", "/credentials/" + own, nil},
	} {
		if r := s.Do(c.method, c.path, token, c.body); r.Status != 403 {
			t.Errorf("%s %s: %d %s", c.method, c.path, r.Status, r.Raw)
		}
	}
	if n := len(s.Must(200, "GET", user+"/credentials/OS-EC2", m.Token, nil).List("credentials")); n != 0 {
		t.Errorf("%d EC2 credentials were made", n)
	}
	// A token made from the token is no wider.
	again := s.Must(201, "POST", "/auth/tokens", "", TokenAuth(token, nil))
	if again.At("token", "application_credential") == nil || len(again.List("token", "roles")) != 1 {
		t.Errorf("rescoped token is %s", again.Raw)
	}
	if r := s.Do("POST", "/auth/tokens", "", TokenAuth(token, SystemScope())); r.Status != 401 {
		t.Errorf("system scope from an application credential: %d", r.Status)
	}
}

// ec2Body signs a request by version 2 and says when.
func ec2Body(access, secret string, at time.Time) M {
	params := map[string]string{
		"AWSAccessKeyId": access, "SignatureVersion": "2", "SignatureMethod": "HmacSHA256", "Timestamp": at.Format("2006-01-02T15:04:05Z"),
	}
	q := url.Values{}
	for k, v := range params {
		q.Set(k, v)
	}
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte("GET\nexample.com\n/\n" + q.Encode()))
	return M{"credentials": M{
		"access": access, "signature": base64.StdEncoding.EncodeToString(h.Sum(nil)),
		"host": "example.com", "verb": "GET", "path": "/", "params": params,
	}}
}

func TestSec25EC2LoginLooksAtRolesEveryTime(t *testing.T) {
	s := New(t)
	m, own := s.Member("a", "member"), s.ServiceToken()
	k := s.Must(201, "POST", "/users/"+m.UserID+"/credentials/OS-EC2", m.Token, M{"tenant_id": m.ProjectID})
	body := func() M {
		return ec2Body(k.String("credential", "access"), k.String("credential", "secret"), clock.System.Now())
	}
	r := s.Must(200, "POST", "/ec2tokens", own, body())
	if r.String("token", "user", "id") != m.UserID || r.String("token", "project", "id") != m.ProjectID {
		t.Errorf("token is %s", r.Raw)
	}
	s.Must(204, "DELETE", "/projects/"+m.ProjectID+"/users/"+m.UserID+"/roles/"+m.RoleID, s.Admin(), nil)
	if r := s.Do("POST", "/ec2tokens", own, body()); r.Status != 401 {
		t.Errorf("without a role: %d", r.Status)
	}
}

func TestSec26OldEC2SignatureIsRefused(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s := New(t, WithClock(c))
	m, own := s.Member("a", "member"), s.ServiceToken()
	k := s.Must(201, "POST", "/users/"+m.UserID+"/credentials/OS-EC2", m.Token, M{"tenant_id": m.ProjectID})
	body := ec2Body(k.String("credential", "access"), k.String("credential", "secret"), c.Now())
	s.Must(200, "POST", "/ec2tokens", own, body)
	c.Advance(16 * time.Minute)
	if r := s.Do("POST", "/ec2tokens", own, body); r.Status != 401 {
		t.Errorf("replay: %d", r.Status)
	}
	c.Advance(-40 * time.Minute)
	if r := s.Do("POST", "/ec2tokens", own, body); r.Status != 401 {
		t.Errorf("from the future: %d", r.Status)
	}
}

func TestSec28ApplicationCredentialsEC2KeyIsNoWider(t *testing.T) {
	s := New(t)
	m, own := s.Member("a", "member"), s.ServiceToken()
	token, _ := appCred(t, s, m, M{"roles": []M{{"name": "reader"}}, "unrestricted": true})
	k := s.Must(201, "POST", "/users/"+m.UserID+"/credentials/OS-EC2", token, M{"tenant_id": m.ProjectID})
	r := s.Must(200, "POST", "/ec2tokens", own, ec2Body(k.String("credential", "access"), k.String("credential", "secret"), clock.System.Now()))
	if roles := r.List("token", "roles"); len(roles) != 1 || roles[0]["name"] != "reader" {
		t.Errorf("roles are %v, want reader only", roles)
	}
}

func TestSec29OnlyServicesTurnSignaturesIntoTokens(t *testing.T) {
	s := New(t)
	m := s.Member("a", "member")
	k := s.Must(201, "POST", "/users/"+m.UserID+"/credentials/OS-EC2", m.Token, M{"tenant_id": m.ProjectID})
	body := ec2Body(k.String("credential", "access"), k.String("credential", "secret"), clock.System.Now())
	if r := s.Do("POST", "/ec2tokens", "", body); r.Status != 401 {
		t.Errorf("without a token: %d", r.Status)
	}
	if r := s.Do("POST", "/ec2tokens", m.Token, body); r.Status != 403 {
		t.Errorf("with a user's token: %d", r.Status)
	}
	body["credentials"].(M)["signature"] = "AAAA"
	if r := s.Do("POST", "/ec2tokens", s.ServiceToken(), body); r.Status != 401 {
		t.Errorf("wrong signature: %d", r.Status)
	}
}
