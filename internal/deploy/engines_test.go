package deploy

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hastack/hastack/internal/topology"
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

// A member that serves is stopped only while enough others do.
func TestAMemberIsSparedOnlyWhileTheOthersServe(t *testing.T) {
	serves, copies, away := member{primary: true, state: 4}, member{primary: true, state: 2}, member{running: true}
	for name, c := range map[string]struct {
		this   member
		others []member
		spared bool
	}{
		"all serve":                     {serves, []member{serves, serves}, true},
		"one gives its data to another": {serves, []member{serves, copies}, true},
		"one of three is away":          {serves, []member{serves, away}, false},
		"it joins the one that serves":  {away, []member{serves, away}, true},
		"it has nobody to join":         {away, []member{away, away}, false},
		"one of five is away":           {serves, []member{serves, serves, serves, away}, true},
		"two of five are away":          {serves, []member{serves, serves, away, away}, false},
	} {
		s := &topology.Server{Name: "node01"}
		c.this.server = s
		members := []*member{&c.this}
		for i := range c.others {
			c.others[i].server = &topology.Server{}
			members = append(members, &c.others[i])
		}
		if err := maySpare(members, s); (err == nil) != c.spared {
			t.Errorf("%s: %v", name, err)
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

// A broker without data asks one of the others that run to forget it.
func TestABrokerWithoutDataIsForgottenFirst(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	top := example(t, "three")
	f, err := rabbitJoinScript(top, top.Server("node03"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := strings.NewReplacer("/var/lib/rabbitmq", dir, "rabbit@node01", "rabbit@127.0.0.2", "rabbit@node02", "rabbit@127.0.0.1", "25672", port).Replace(string(f.Content))
	for name, text := range map[string]string{"join": script, "rabbitmqctl": "#!/bin/sh\necho \"$@\" >>" + dir + "/asked\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	asked := func() string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", filepath.Join(dir, "join"))
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v: %s", err, out)
		}
		b, _ := os.ReadFile(filepath.Join(dir, "asked"))
		return string(b)
	}
	const want = "-q -n rabbit@127.0.0.1 forget_cluster_node rabbit@node03\n"
	if got := asked(); got != want {
		t.Errorf("it asks %q, want %q", got, want)
	}
	if err := os.MkdirAll(filepath.Join(dir, "mnesia", "rabbit@node03"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := asked(); got != want {
		t.Errorf("with data it asks, too: %q", got)
	}
}
