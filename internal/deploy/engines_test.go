package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestDatabaseSurveyIsUnderstood(t *testing.T) {
	for text, want := range map[string]member{
		"primary 3 4 17 / 069f79ba-e5a5-11f1-9012-a6d4f884c11f -1 / agent\n": {primary: true, running: true, size: 3, state: 4, connections: 17, cluster: "069f79ba-e5a5-11f1-9012-a6d4f884c11f", agent: true},
		"waiting / 069f79ba-e5a5-11f1-9012-a6d4f884c11f -1 / alone":          {running: true, cluster: "069f79ba-e5a5-11f1-9012-a6d4f884c11f"},
		"stopped / none / alone\n":                                           {},
	} {
		m, err := parseMember(nil, text)
		if err != nil || *m != want {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
}

// The order to begin a cluster is followed once, and only while it is fresh.
func TestTheOrderToBeginIsUsedUp(t *testing.T) {
	dir := t.TempDir()
	script := strings.NewReplacer("/run/", dir+"/", "/var/lib/mysql", dir+"/data", "install -d -o mysql -g mysql -m 0700", "mkdir").Replace(galeraPrepare)
	file := filepath.Join(dir, "prepare")
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	order, env, state := filepath.Join(dir, "hastack-new-cluster"), filepath.Join(dir, "mariadb-wsrep-new-cluster"), filepath.Join(dir, "data", "grastate.dat")
	run := func() bool {
		t.Helper()
		if out, err := exec.Command("sh", file).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(env)
		return err == nil && strings.Contains(string(b), "--wsrep-new-cluster")
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if run() {
		t.Fatal("it begins a cluster without an order")
	}
	write(state, "uuid: x\nseqno: -1\nsafe_to_bootstrap: 0\n")
	write(order, "")
	if !run() {
		t.Fatal("it does not follow the order")
	}
	if b, err := os.ReadFile(state); err != nil || !bytes.Contains(b, []byte("safe_to_bootstrap: 1")) {
		t.Errorf("%s, %v", b, err)
	}
	if run() {
		t.Fatal("it follows the order twice")
	}
	write(order, "")
	if out, err := exec.Command("touch", "-d", "5 minutes ago", order).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if run() {
		t.Fatal("it follows an old order")
	}
}
