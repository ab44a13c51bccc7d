package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hastack.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSec37SecretsCannotBePrinted(t *testing.T) {
	s := config.NewSecret("swordfish")
	holder := struct{ Password config.Secret }{s}
	j, _ := json.Marshal(holder)
	y, _ := yaml.Marshal(holder)
	for _, out := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", holder, holder, holder, s, s), string(j), string(y)} {
		if strings.Contains(out, "swordfish") {
			t.Errorf("secret shows in %q", out)
		}
	}
}

func TestLoadRefusesWhatCannotWork(t *testing.T) {
	for text, says := range map[string]string{
		"state_dri: /x":                                  "state_dri",
		"state_dir: relative":                            "state_dir",
		"compute: {driver: xen}":                         "compute.driver",
		"database: {url: 'postgres://x'}":                "database.url",
		"identity: {bcrypt_cost: 31}":                    "bcrypt_cost",
		"compute: {cpu_allocation_ratio: 0}":             "cpu_allocation_ratio",
		"endpoints: {identity: 'not a url'}":             "endpoints.identity",
		"internal_endpoints: {images: 'http://x/'}":      "internal_endpoints.images",
		"tls: {cert: /c}":                                "tls needs",
		"drain_seconds: 100":                             "drain_seconds",
		"image: {peers: ['https://a'], self: https://b}": "image.self",
	} {
		if _, err := config.Load(write(t, text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want an error naming %s", text, err, says)
		}
	}
}

func TestDatabaseURLIsPerService(t *testing.T) {
	c, err := config.Load(write(t, "state_dir: /s\ndatabase: {url: 'mysql://u:p@h:3306/'}"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.DatabaseURL("nova"); err != nil || got != "mysql://u:p@h:3306/nova" {
		t.Error(got, err)
	}
	if got, err := config.Default("/s", "127.0.0.1:1").DatabaseURL("nova"); err != nil || got != "sqlite:///s/db/nova.db" {
		t.Error(got, err)
	}
}

func TestPasswordsComeFromTheSecretsFile(t *testing.T) {
	c, err := config.Load(write(t, "database: {url: 'mysql://10.0.0.1:3306/'}\nbus: {urls: ['amqps://hastack@10.0.0.2:5671/', 'amqp://a:b@h/']}"))
	if err != nil {
		t.Fatal(err)
	}
	s := &config.Secrets{DatabasePassword: config.NewSecret("d/b"), BusPassword: config.NewSecret("r@b")}
	if err := c.AddSecrets(s); err != nil {
		t.Fatal(err)
	}
	if got, err := c.DatabaseURL("nova"); err != nil || got != "mysql://nova:d%2Fb@10.0.0.1:3306/nova" {
		t.Error(got, err)
	}
	if a, b := c.Bus.URLs[0].Reveal(), c.Bus.URLs[1].Reveal(); a != "amqps://hastack:r%40b@10.0.0.2:5671/" || b != "amqp://a:b@h/" {
		t.Error(a, b)
	}
}

func TestAgentHostsHaveNoDatabase(t *testing.T) {
	c, err := config.Load(write(t, "database: {url: ''}"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DatabaseURL("keystone"); err == nil || !strings.Contains(err.Error(), "keystone needs a database") {
		t.Error(err)
	}
}

func TestInternalEndpointsFallBackToPublicOnes(t *testing.T) {
	c, err := config.Load(write(t, "internal_endpoints: {identity: 'https://10.0.0.9/identity'}"))
	if err != nil {
		t.Fatal(err)
	}
	if c.InternalAuthURL() != "https://10.0.0.9/identity/v3" || c.AuthURL() != "http://127.0.0.1:5000/identity/v3" ||
		c.InternalURL("image") != c.Endpoints["image"] {
		t.Error(c.InternalAuthURL(), c.AuthURL(), c.InternalURL("image"))
	}
}

func TestSecretsAreMadeOnceAndPrivate(t *testing.T) {
	dir := t.TempDir()
	a, err := config.EnsureSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := config.EnsureSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if a.AdminPassword.Reveal() != b.AdminPassword.Reveal() || len(a.AdminPassword.Reveal()) < 20 {
		t.Error("the secrets changed or are short")
	}
	st, err := os.Stat(filepath.Join(dir, config.SecretsFile))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}
