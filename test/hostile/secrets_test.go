package hostile

import (
	"context"
	"encoding/base64"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// canary is a secret, and the requests that may show it in their answer.
type canary struct {
	what, value string
	shown       []string // "METHOD /path", the beginnings of them
}

// answer is one body that the cloud sent, and to what.
type answer struct{ what, body string }

// TestSec37Sec40NoSecretLeavesTheCloud gives the cloud secrets of every kind,
// in right and wrong requests, and then looks for them in all that it logged at
// its most talkative and in all that it answered.
func TestSec37Sec40NoSecretLeavesTheCloud(t *testing.T) {
	c := start(t)
	var answers []answer
	c.onAnswer = func(r *http.Request, body string) {
		answers = append(answers, answer{r.Method + " " + r.URL.Opaque, body})
	}
	canaries := slices.Concat(c.ownSecrets(), c.identitySecrets(), c.computeSecrets())
	c.wrongRequests()
	time.Sleep(time.Second) // the boot logs too
	log := c.log()
	if !strings.Contains(log, `"level":"DEBUG"`) || !strings.Contains(log, "/v2.1/servers") || len(answers) < 20 {
		t.Fatalf("nothing was looked at: %d bytes of log, %d answers", len(log), len(answers))
	}
	for _, k := range canaries {
		if len(k.value) < 4 {
			t.Fatalf("%s is %q", k.what, k.value)
		}
		for line := range strings.Lines(log) {
			if strings.Contains(line, k.value) {
				t.Errorf("%s is in the log: %s", k.what, line)
				break
			}
		}
		for _, a := range answers {
			may := slices.ContainsFunc(k.shown, func(s string) bool { return strings.HasPrefix(a.what, s) })
			if !may && strings.Contains(a.body, k.value) {
				t.Errorf("%s is in the answer to %s: %s", k.what, a.what, a.body)
			}
		}
	}
}

// ownSecrets are those that the installation made for itself.
func (c *cloud) ownSecrets() []canary {
	raw, err := os.ReadFile(filepath.Join(c.dir, "secrets.yaml"))
	c.check(err)
	secrets := map[string]string{}
	c.check(yaml.Unmarshal(raw, &secrets))
	out := []canary{{what: "admin's token", value: c.token}, {what: "demo's token", value: c.demoToken}}
	for name, value := range secrets {
		out = append(out, canary{what: name, value: value})
	}
	keys, err := filepath.Glob(filepath.Join(c.dir, "fernet-keys", "*"))
	c.check(err)
	for _, k := range keys {
		raw, err := os.ReadFile(k)
		c.check(err)
		out = append(out, canary{what: k, value: strings.TrimSpace(string(raw))})
	}
	return out
}

func (c *cloud) identitySecrets() []canary {
	const id = "/identity/v3"
	user := c.must(201, c.token, "POST", id+"/users", m{"user": m{"name": "canary", "password": "canary-password"}}).text("user", "id")
	c.must(200, c.token, "PATCH", id+"/users/"+user, m{"user": m{"password": "canary-changed"}})
	c.do("", "POST", id+"/users/"+user+"/password", m{"user": m{"original_password": "canary-changed", "password": "canary-own"}})
	me := c.must(200, c.demoToken, "GET", id+"/auth/tokens", nil, "X-Subject-Token", c.demoToken)
	mine, project := me.text("token", "user", "id"), me.text("token", "project", "id")
	creds := id + "/users/" + mine + "/application_credentials"
	c.must(201, c.demoToken, "POST", creds, m{"application_credential": m{"name": "given", "secret": "canary-app-secret"}})
	made := c.must(201, c.demoToken, "POST", creds, m{"application_credential": m{"name": "made"}})
	c.must(200, c.demoToken, "GET", creds, nil)
	auth := m{"auth": m{"identity": m{"methods": []string{"application_credential"}, "application_credential": m{
		"id": made.text("application_credential", "id"), "secret": made.text("application_credential", "secret")}}}}
	token := c.must(201, "", "POST", id+"/auth/tokens", auth).header.Get("X-Subject-Token")
	ec2 := id + "/users/" + mine + "/credentials/OS-EC2"
	key := c.must(201, c.demoToken, "POST", ec2, m{"tenant_id": project})
	c.must(200, c.demoToken, "GET", id+"/users/"+mine, nil)
	c.must(200, c.token, "GET", id+"/users", nil)
	return []canary{
		{what: "user's passwords", value: "canary-password"}, {what: "changed password", value: "canary-changed"}, {what: "own password", value: "canary-own"},
		{"secret of an application credential", "canary-app-secret", []string{"POST " + creds}},
		{"made secret of an application credential", made.text("application_credential", "secret"), []string{"POST " + creds}},
		{what: "token of an application credential", value: token},
		{"EC2 secret", key.text("credential", "secret"), []string{"POST " + ec2, "GET " + ec2, "GET " + id + "/credentials"}},
	}
}

func (c *cloud) computeSecrets() []canary {
	const comp = "/compute/v2.1"
	_, _, _, image := c.content()
	old := []string{"Openstack-Api-Version", "compute 2.60"}
	key := c.must(201, c.token, "POST", comp+"/os-keypairs", m{"keypair": m{"name": "made"}}, old...)
	private := strings.Split(key.text("keypair", "private_key"), "\n")
	if len(private) < 5 {
		c.t.Fatalf("no private key was made: %s", key.body)
	}
	c.must(200, c.token, "GET", comp+"/os-keypairs/made", nil, old...)
	data := base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\necho canary-user-data"))
	body := m{"name": "canary", "flavorRef": "hostile", "imageRef": image, "networks": "none", "user_data": data}
	drawn := c.must(202, c.token, "POST", comp+"/servers", m{"server": body}, old...)
	body["adminPass"] = "canary-admin-pass"
	given := c.must(202, c.token, "POST", comp+"/servers", m{"server": body}, old...).text("server", "id")
	for range 100 {
		if r := c.must(200, c.token, "GET", comp+"/servers/"+given, nil, old...); r.text("server", "status") == "ACTIVE" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.do(c.token, "POST", comp+"/servers/"+given+"/action", m{"rebuild": m{"imageRef": image, "adminPass": "canary-rebuilt"}}, old...)
	c.do(c.token, "POST", comp+"/servers/"+given+"/remote-consoles", m{"remote_console": m{"protocol": "vnc", "type": "novnc"}}, old...)
	c.must(200, c.token, "GET", comp+"/servers/detail", nil, old...)
	c.must(200, c.token, "GET", comp+"/servers/"+given+"/os-instance-actions", nil, old...)
	servers := []string{"GET " + comp + "/servers", "POST " + comp + "/servers/" + given + "/action"}
	create := []string{"POST " + comp + "/servers"}
	return []canary{
		{"private key", private[3], []string{"POST " + comp + "/os-keypairs"}},
		{"drawn adminPass", drawn.text("server", "adminPass"), create}, {"given adminPass", "canary-admin-pass", create},
		{"adminPass of a rebuild", "canary-rebuilt", create}, {"user_data", data, servers}, {what: "decoded user_data", value: "canary-user-data"},
	}
}

// wrongRequests hold secrets where they are refused. All begin with a prefix
// that the passwords above have too.
func (c *cloud) wrongRequests() {
	c.do("", "POST", "/identity/v3/auth/tokens", login{"admin", "canary-password-wrong", "admin"}.body())
	for path, body := range map[string]string{
		"/identity/v3/auth/tokens":      `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": 5, "password": "canary-password"}}}}}`,
		"/identity/v3/users":            `{"user": {"name": "x", "password": {"canary-password": 1}}}`,
		"/identity/v3/credentials":      `{"credential": {"blob": ["canary-password"]}}`,
		"/compute/v2.1/servers":         `{"server": {"name": "x", "adminPass": ["canary-password"], "user_data": "canary-password!"}}`,
		"/compute/v2.1/os-keypairs":     `{"keypair": {"name": "x", "public_key": "canary-password"}}`,
		"/image/v2/images":              `{"name": "x", "disk_format": "raw", "canary`,
		"/network/v2.0/networks":        `{"network": {"name": "x"}, "canary-password": `,
		"/placement/resource_providers": `{"name": {"canary-password": 1}}`,
	} {
		c.do(c.token, "POST", path, body)
		c.do("canary-password-as-token", "GET", path, nil)
		c.do(c.token, "GET", path, nil, "X-Service-Token", "canary-password-as-token")
	}
	c.do(c.token, "GET", "/identity/v3/auth/tokens", nil, "X-Subject-Token", "canary-password-as-token")
}

// TestSec37ServersThatAreAwayAreNamedWithoutTheirPasswords starts with a
// database and a broker that cannot be reached, or whose URL is none.
func TestSec37ServersThatAreAwayAreNamedWithoutTheirPasswords(t *testing.T) {
	bin := os.Getenv("HASTACK_BIN")
	if bin == "" {
		t.Skip("HASTACK_BIN does not name the binary to attack")
	}
	for name, doc := range map[string]m{
		"database away":       {"database": m{"url": "mysql://user:canary-db@127.0.0.1:1/"}},
		"database is none":    {"database": m{"url": "mysql://user:canary-db@[::bad/%zz"}},
		"database is unknown": {"database": m{"url": "oracle://user:canary-db@127.0.0.1/"}},
		"broker away":         {"bus": m{"urls": []string{"amqp://user:canary-mq@127.0.0.1:1/"}}},
		"broker is none":      {"bus": m{"urls": []string{"amqp://user:canary-mq@[::bad/%zz"}}},
		"unknown field":       {"database": m{"url": "sqlite:", "canary-db": "canary-mq"}, "bus": m{"urls": m{"x": "canary-mq"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			conf := filepath.Join(dir, "hastack.yaml")
			write := func(doc m) {
				raw, err := yaml.Marshal(doc)
				if err == nil {
					err = os.WriteFile(conf, raw, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			base := m{"state_dir": dir, "listen": "127.0.0.1:0", "compute": m{"driver": "fake"}, "log": m{"level": "debug"}}
			write(base)
			if out, err := exec.Command(bin, "config", "init", "--state-dir", dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			maps.Copy(doc, base)
			write(doc)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, bin, "serve", "all", "--config", conf, "--state-dir", dir).CombinedOutput()
			if err == nil || len(out) == 0 {
				t.Fatalf("it served, or said nothing: %v %s", err, out)
			}
			if name != "unknown field" && strings.Contains(string(out), "canary-") || strings.Contains(string(out), "canary-mq") {
				t.Errorf("a password is in what it says: %s", out)
			}
			t.Logf("%s", out[:min(len(out), 600)])
		})
	}
}
