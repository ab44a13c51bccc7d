package keystoneapi_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	. "github.com/hastack/hastack/internal/keystone/keystonetest"
)

// logBuffer catches a log at its most talkative.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *logBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestSec37NoSecretLeavesByCatalogueOrErrors(t *testing.T) {
	s := New(t)
	admin := s.Admin()
	svc := s.Must(201, "POST", "/services", admin, M{"service": M{"type": "t"}}).String("service", "id")
	for _, url := range []string{
		"http://x/$(admin_token)s", "http://x/%(password)s", "http://x/$(public_bind_host)s", "http://$(user_id)s.$(connection)s/",
	} {
		if r := s.Do("POST", "/endpoints", admin, M{"endpoint": M{"service_id": svc, "interface": "public", "url": url}}); r.Status != 400 {
			t.Errorf("endpoint url %s: %d", url, r.Status)
		}
	}
	s.Must(201, "POST", "/endpoints", admin, M{"endpoint": M{"service_id": svc, "interface": "public", "url": "http://x/$(user_id)s/%(project_id)s"}})

	const canary = "canary-3f9a"
	user := s.Must(201, "POST", "/users", admin, M{"user": M{"name": "u", "password": canary}}).String("user", "id")
	var out bytes.Buffer
	for _, r := range []*Reply{
		s.Do("GET", "/users/"+user, admin, nil), s.Do("GET", "/users", admin, nil),
		s.Do("GET", "/users?password_hash__startswith=$", admin, nil),
		s.Do("PATCH", "/users/"+user, admin, M{"user": M{"password": canary + "2"}}),
		s.Do("POST", "/users", admin, M{"user": M{"name": "u", "password": canary}}),
		s.Do("POST", "/users", admin, M{"user": M{"password": canary}}),
		s.Do("POST", "/users", admin, `{"user": {"name": "y", "password": ["`+canary+`"]}}`),
		s.Do("POST", "/auth/tokens", "", PasswordAuth("u", canary+"-wrong", nil)),
		s.Do("POST", "/auth/tokens", "", `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": 5, "password": "`+canary+`"}}}}}`),
		s.Do("POST", "/users/"+user+"/password", "", M{"user": M{"password": canary + "3", "original_password": canary}}),
		s.Do("GET", "/auth/catalog", admin, nil),
	} {
		out.Write(r.Raw)
	}
	for _, secret := range []string{canary, "$2a$", AdminPassword, ServicePassword} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in an answer", secret)
		}
	}
}

func TestSec40NoSecretIsLogged(t *testing.T) {
	var log logBuffer
	s := New(t, WithLog(log.logger()))
	admin := s.Admin()
	m := s.Member("someone", "member")
	secrets := []string{AdminPassword, ServicePassword, admin, m.Token, m.Password}
	ac := s.Must(201, "POST", "/users/"+m.UserID+"/application_credentials", m.Token, M{"application_credential": M{"name": "a", "secret": "canary-appcred"}})
	secrets = append(secrets, "canary-appcred")
	ec2 := s.Must(201, "POST", "/users/"+m.UserID+"/credentials/OS-EC2", m.Token, M{"tenant_id": m.ProjectID})
	secrets = append(secrets, ec2.String("credential", "secret"))
	s.Must(201, "POST", "/credentials", m.Token, M{"credential": M{"type": "cert", "blob": "canary-blob"}})
	s.Do("POST", "/auth/tokens", "", PasswordAuth("someone", "canary-wrong", nil))
	s.Do("POST", "/users/"+m.UserID+"/password", "", M{"user": M{"password": "canary-new", "original_password": "canary-old"}})
	s.Do("GET", "/auth/tokens", s.ServiceToken(), nil, "X-Subject-Token", "canary-token")
	s.Do("GET", "/users", "canary-token", nil)
	s.Do("POST", "/auth/tokens", "", `{"auth": "canary-body"`)
	s.Do("GET", "/users/"+m.UserID+"/application_credentials/"+ac.String("application_credential", "id"), m.Token, nil)
	secrets = append(secrets, "canary-")
	text := log.text()
	if !strings.Contains(text, "/v3/auth/tokens") {
		t.Fatal("the log has no requests at all")
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

func TestSec32UnknownLockedAndWrongAreOneAnswer(t *testing.T) {
	s := New(t, WithLockout(3))
	m := s.Member("locked", "member")
	off := s.Member("off", "member")
	s.Must(200, "PATCH", "/users/"+off.UserID, s.Admin(), M{"user": M{"enabled": false}})
	for range 3 {
		s.Do("POST", "/auth/tokens", "", PasswordAuth("locked", "wrong", nil))
	}
	answers := map[string]*Reply{
		"unknown":  s.Do("POST", "/auth/tokens", "", PasswordAuth("nobody", "wrong", nil)),
		"wrong":    s.Do("POST", "/auth/tokens", "", PasswordAuth("admin", "wrong", nil)),
		"locked":   s.Do("POST", "/auth/tokens", "", PasswordAuth("locked", m.Password, nil)),
		"disabled": s.Do("POST", "/auth/tokens", "", PasswordAuth("off", off.Password, nil)),
		"empty":    s.Do("POST", "/auth/tokens", "", PasswordAuth("admin", "", nil)),
		"change":   s.Do("POST", "/users/no-such-user/password", "", M{"user": M{"password": "x", "original_password": "y"}}),
	}
	want := answers["unknown"]
	for name, r := range answers {
		if r.Status != 401 || !bytes.Equal(r.Raw, want.Raw) {
			t.Errorf("%s: %d %s, unknown: %d %s", name, r.Status, r.Raw, want.Status, want.Raw)
		}
	}
}
