package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

type m = map[string]any

// login is what one account of the cloud says to get a token.
type login struct {
	Username string `yaml:"username"`
	Password string `yaml:"password"`
	Project  string `yaml:"project_name"`
}

// cloud is a running cloud with simulated servers.
type cloud struct {
	t           testing.TB
	dir, listen string
	admin, demo login
	token       string // of admin in its project
	demoToken   string

	onAnswer func(req *http.Request, body string) // sees every answer, if set
}

// start runs a new cloud for the length of the test, its log at debug.
func start(t testing.TB) *cloud {
	t.Helper()
	bin := os.Getenv("HASTACK_BIN")
	if bin == "" {
		t.Skip("HASTACK_BIN does not name the binary to attack")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, dir: filepath.Join(t.TempDir(), "state"), listen: l.Addr().String()}
	_ = l.Close()
	run := func(args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, bin, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	up := []string{"up", "--state-dir", c.dir, "--listen", c.listen, "--driver", "fake", "--no-server"}
	run(up...)
	t.Cleanup(func() { run("down", "--state-dir", c.dir) })
	run("down", "--state-dir", c.dir)
	conf := filepath.Join(c.dir, "hastack.yaml")
	raw, err := os.ReadFile(conf)
	c.check(err)
	doc := m{}
	c.check(yaml.Unmarshal(raw, &doc))
	if doc["log"] == nil {
		doc["log"] = m{}
	}
	doc["log"].(m)["level"] = "debug"
	if url := os.Getenv("HASTACK_TEST_MYSQL"); url != "" {
		// SQLite forgives what this refuses.
		doc["database"] = m{"url": url}
	}
	raw, err = yaml.Marshal(doc)
	c.check(err)
	c.check(os.WriteFile(conf, raw, 0o600))
	run(up...)
	c.accounts()
	c.token, c.demoToken = c.login(c.admin), c.login(c.demo)
	return c
}

func (c *cloud) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cloud) accounts() {
	raw, err := os.ReadFile(filepath.Join(c.dir, "clouds.yaml"))
	c.check(err)
	var doc struct {
		Clouds map[string]struct {
			Auth login `yaml:"auth"`
		} `yaml:"clouds"`
	}
	c.check(yaml.Unmarshal(raw, &doc))
	c.admin, c.demo = doc.Clouds["hastack-admin"].Auth, doc.Clouds["hastack-demo"].Auth
}

// log is all that the cloud has logged so far.
func (c *cloud) log() string {
	files, err := filepath.Glob(filepath.Join(c.dir, "log", "*"))
	c.check(err)
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		c.check(err)
		all.Write(b)
	}
	return all.String()
}

func (l login) body() m {
	return m{"auth": m{
		"identity": m{"methods": []string{"password"}, "password": m{"user": m{"name": l.Username, "password": l.Password, "domain": m{"id": "default"}}}},
		"scope":    m{"project": m{"name": l.Project, "domain": m{"id": "default"}}},
	}}
}

func (c *cloud) login(l login) string {
	r := c.do("", "POST", "/identity/v3/auth/tokens", l.body())
	if r.status != http.StatusCreated {
		c.t.Fatalf("login of %s: %d %s", l.Username, r.status, r.body)
	}
	return r.header.Get("X-Subject-Token")
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) get(keys ...string) any {
	var v any
	_ = json.Unmarshal([]byte(r.body), &v)
	for _, k := range keys {
		o, _ := v.(m)
		v = o[k]
	}
	return v
}

func (r reply) text(keys ...string) string { s, _ := r.get(keys...).(string); return s }

// do sends a body as JSON; a string or bytes go as they are. The path is sent
// as it is written, whatever it holds.
func (c *cloud) do(token, method, path string, body any, headers ...string) reply {
	c.t.Helper()
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		rd = strings.NewReader(b)
	case []byte:
		rd = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		c.check(err)
		rd = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+c.listen, rd)
	c.check(err)
	raw, query, _ := strings.Cut(path, "?")
	req.URL.Opaque, req.URL.RawQuery = raw, query
	if rd != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header[http.CanonicalHeaderKey(headers[i])] = []string{headers[i+1]}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		// A server may close on a body that it will not read.
		return reply{header: http.Header{}, body: err.Error()}
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	c.check(err)
	if c.onAnswer != nil {
		c.onAnswer(req, string(out))
	}
	return reply{resp.StatusCode, resp.Header, string(out)}
}

func (c *cloud) must(status int, token, method, path string, body any, headers ...string) reply {
	c.t.Helper()
	r := c.do(token, method, path, body, headers...)
	if r.status != status {
		c.t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
	}
	return r
}

// count is the length of the one list in an answer.
func (c *cloud) count(path string, headers ...string) int {
	c.t.Helper()
	r := c.must(http.StatusOK, c.token, "GET", path, nil, headers...)
	for _, v := range r.get().(m) {
		if list, ok := v.([]any); ok {
			return len(list)
		}
	}
	c.t.Fatalf("%s has no list: %s", path, r.body)
	return 0
}
