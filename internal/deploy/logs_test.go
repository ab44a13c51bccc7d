package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/logs"
)

func rsyslogConf(t *testing.T, c *Context, server string) string {
	t.Helper()
	w, err := wantLogs(c, c.Topology.Server(server))
	if err != nil {
		t.Fatal(err)
	}
	return string(w.Files[0].Content)
}

func TestRsyslogTakesItsConfiguration(t *testing.T) {
	bin := "/usr/sbin/rsyslogd"
	for _, need := range []string{bin, "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so", "/usr/lib/x86_64-linux-gnu/rsyslog/imjournal.so"} {
		if _, err := os.Stat(need); err != nil {
			t.Skipf("%s is not there (Debian packages rsyslog, rsyslog-gnutls)", need)
		}
	}
	c := contextOf(t, example(t, "reference-27"))
	for _, server := range []string{"admin01", "compute05"} { // one keeps, one does not
		dir := t.TempDir()
		cert, key, err := c.Cluster.Certificate(c.Topology.Server(server))
		if err != nil {
			t.Fatal(err)
		}
		conf := strings.NewReplacer(tlsDir+"/", dir+"/", "/var/spool/rsyslog", dir).Replace(rsyslogConf(t, c, server))
		for name, content := range map[string][]byte{"ca.pem": c.Cluster.CAPEM(), "server.pem": cert, "server-key.pem": key, "rsyslog.conf": []byte(conf)} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.CommandContext(t.Context(), bin, "-N1", "-f", filepath.Join(dir, "rsyslog.conf")).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("error")) {
			t.Errorf("%s: %v\n%s", server, err, out)
		}
	}
}

func TestEveryServerSendsItsLogsToTwo(t *testing.T) {
	c := contextOf(t, example(t, "reference-27"))
	keepers := logs.Servers(c.Topology)
	if len(keepers) != 2 || keepers[0].Rack == keepers[1].Rack {
		t.Fatalf("%v keep the logs", keepers)
	}
	for _, s := range c.Topology.Servers {
		conf := rsyslogConf(t, c, s.Name)
		for _, k := range keepers {
			if !strings.Contains(conf, `target="`+k.Management().String()+`" port="6514"`) {
				t.Errorf("%s does not send to %s", s.Name, k.Name)
			}
		}
		if keeps := strings.Contains(conf, "imtcp"); keeps != (s == keepers[0] || s == keepers[1]) {
			t.Errorf("%s keeps logs: %v", s.Name, keeps)
		}
		if strings.Contains(conf, `streamDriverAuthMode="anon"`) || !strings.Contains(conf, `streamDriverMode="1"`) {
			t.Errorf("%s sends to anybody", s.Name)
		}
	}
}
