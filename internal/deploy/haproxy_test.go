package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/topology"
)

func example(t *testing.T, name string) *topology.Topology {
	t.Helper()
	top, err := topology.Load(filepath.Join("../../examples", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func haproxyOf(t *testing.T, top *topology.Topology, server string) string {
	t.Helper()
	b, err := haproxyConfig(top, top.Server(server))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section is the configuration from a header to the next.
func section(t *testing.T, conf, header string) string {
	t.Helper()
	_, rest, ok := strings.Cut(conf, "\n"+header+" from ")
	if !ok {
		t.Fatalf("no section %q", header)
	}
	body, _, _ := strings.Cut(rest, "\n\n")
	return body + "\n"
}

func TestHAProxyAcceptsTheConfigurationOfEveryExample(t *testing.T) {
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed")
	}
	for _, name := range []string{"three", "small", "reference-27"} {
		t.Run(name, func(t *testing.T) {
			top := example(t, name)
			dir, err := cluster.Ensure(t.TempDir(), top)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range top.With(topology.RoleLoadBalancer) {
				cert, key, err := dir.Certificate(s)
				if err != nil {
					t.Fatal(err)
				}
				tmp := t.TempDir()
				pem, ca := filepath.Join(tmp, "hastack.pem"), filepath.Join(tmp, "ca.pem")
				conf := haproxyOf(t, top, s.Name)
				conf = strings.NewReplacer(haproxyPEM, pem, "/etc/hastack/tls/ca.pem", ca, "/run/haproxy/", tmp+"/",
					"    user haproxy\n", "", "    group haproxy\n", "").Replace(conf)
				file := filepath.Join(tmp, "haproxy.cfg")
				for path, content := range map[string][]byte{pem: append(bytes.Clone(cert), key...), ca: dir.CAPEM(), file: []byte(conf)} {
					if err := os.WriteFile(path, content, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				out, err := exec.CommandContext(t.Context(), bin, "-c", "-f", file).CombinedOutput()
				if err != nil || bytes.Contains(out, []byte("WARNING")) {
					t.Errorf("%s: %v\n%s", s.Name, err, out)
				}
			}
		})
	}
}

func TestPublicAddressHasNoInternalService(t *testing.T) {
	conf := haproxyOf(t, example(t, "three"), "node01")
	public, api := section(t, conf, "frontend public"), section(t, conf, "frontend api")
	for _, path := range []string{"/metadata", "/audit"} {
		if strings.Contains(public, path) {
			t.Errorf("%s is on the public address:\n%s", path, public)
		}
		if !strings.Contains(api, path) {
			t.Errorf("%s is not on the api address", path)
		}
	}
	if strings.Contains(public, "3306") || !strings.Contains(conf, "bind 10.3.0.100:3306 ") {
		t.Error("the database must listen on the api address only")
	}
	for _, bind := range regexp.MustCompile(`(?m)^ +bind (\S+)`).FindAllStringSubmatch(conf, -1) {
		switch ip, _, _ := strings.Cut(bind[1], ":"); ip {
		case "10.3.0.100", "203.0.113.100", "10.3.0.11", "127.0.0.1":
		default:
			t.Errorf("binds %s", bind[1])
		}
	}
}

func TestDatabaseHasOneWriterAndKeepsIt(t *testing.T) {
	conf := haproxyOf(t, example(t, "three"), "node02")
	db := section(t, conf, "backend database")
	for _, want := range []string{
		"server node01 10.3.0.11:3306\n", "server node02 10.3.0.12:3306 backup\n", "server node03 10.3.0.13:3306 backup",
		"stick on dst", "nopurge peers hastack", "on-marked-down shutdown-sessions", "check port 9181",
	} {
		if !strings.Contains(db, want) {
			t.Errorf("no %q in\n%s", want, db)
		}
	}
}

func TestConfigurationsOfAllLoadBalancersAreTheSame(t *testing.T) {
	top := example(t, "three")
	own := regexp.MustCompile(`(?m)^    (localpeer|bind 10\.3\.0\.1[123]:|server node0\d( 10\.3\.0\.1\d:8403 .*)?$).*`)
	first := own.ReplaceAllString(haproxyOf(t, top, "node01"), "")
	if second := own.ReplaceAllString(haproxyOf(t, top, "node02"), ""); first != second {
		t.Error("node01 and node02 differ in more than their own names")
	}
	if again := haproxyOf(t, top, "node01"); own.ReplaceAllString(again, "") != first {
		t.Error("the configuration is not the same twice")
	}
}

func TestHAProxyCertificateIsSecret(t *testing.T) {
	top := example(t, "three")
	dir, err := cluster.Ensure(t.TempDir(), top)
	if err != nil {
		t.Fatal(err)
	}
	w, err := wantHAProxy(&Context{Topology: top, Cluster: dir, Clock: clock.System}, top.Server("node01"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range w.Files {
		if private := bytes.Contains(f.Content, []byte("PRIVATE KEY")); private != f.Secret || private && f.Mode != 0o600 {
			t.Errorf("%s: secret %v, mode %o", f.Path, f.Secret, f.Mode)
		}
	}
}
