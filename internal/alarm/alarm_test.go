package alarm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/topology"
)

func three(t *testing.T) *topology.Topology {
	t.Helper()
	topo, err := topology.Load("../../examples/three.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// everything is a cluster that has every alarm.
func everything(t *testing.T) *topology.Topology {
	t.Helper()
	topo := three(t)
	topo.VIPManager = topology.Pacemaker
	return topo
}

func TestEveryAlarmIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Table(everything(t)) {
		if seen[a.Name] || a.Name == "" || a.Expr == "" || a.Summary == "" || a.Section == "" {
			t.Errorf("%q is there twice or lacks something: %+v", a.Name, a)
		}
		seen[a.Name] = true
		if a.Severity != Critical && a.Severity != Warning {
			t.Errorf("%s: severity %q", a.Name, a.Severity)
		}
		// The figure is at most one scrape and its time-out old, then the rule
		// runs, and once more after For.
		if worst := ScrapeEvery + ScrapeTimeout + a.For + EvaluateEvery; !a.Slow && worst > RaisedWithin {
			t.Errorf("%s: raised after %s, more than %s", a.Name, worst, RaisedWithin)
		}
	}
}

// The figures that alarms look at are those that the node agent documents.
func TestAlarmsLookAtFiguresThatThereAre(t *testing.T) {
	doc, err := os.ReadFile("../../doc/ops/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range Table(everything(t)) {
		for _, m := range regexp.MustCompile(`hastack_[a-z0-9_]+`).FindAllString(a.Expr, -1) {
			if !strings.Contains(string(doc), "`"+m+"`") {
				t.Errorf("%s looks at %s, which no server has", a.Name, m)
			}
		}
	}
}

func TestHandbookTellsOfEveryAlarm(t *testing.T) {
	b, err := os.ReadFile("../../" + handbook)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, p := range strings.Split(string(b), "\n### ")[1:] {
		head, body, _ := strings.Cut(p, "\n")
		body, _, _ = strings.Cut(body, "\n## ")
		parts[strings.ReplaceAll(head, " ", "-")] = body
	}
	for _, a := range Table(everything(t)) {
		body, ok := parts[a.Anchor()]
		delete(parts, a.Anchor())
		switch {
		case !ok:
			t.Errorf("doc/ops/alarms.md has no paragraph \"### %s\" for %s", strings.ReplaceAll(a.Anchor(), "-", " "), a.Name)
		case !strings.Contains(body, "`"+a.Name+"`, "+a.Severity):
			t.Errorf("doc/ops/alarms.md: %s does not begin with `%s`, %s", a.Anchor(), a.Name, a.Severity)
		case !strings.Contains(body, "**Do:**"):
			t.Errorf("doc/ops/alarms.md: %s does not say what to do", a.Anchor())
		}
	}
	for head := range parts {
		t.Errorf("doc/ops/alarms.md tells of %q, which is no alarm", head)
	}
}

func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian package prometheus)")
	}
	return path
}

func TestPrometheusTakesTheRules(t *testing.T) {
	tool := promtool(t)
	for _, name := range []string{"three", "small", "reference-27"} {
		topo, err := topology.Load("../../examples/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		b, err := Rules(topo, "node01")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "rules.yml")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(tool, "check", "rules", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestEveryAlarmIsRaisedAndCleared plays each cause to Prometheus: figures of a
// healthy cluster for two minutes, then the cause for a while, then health.
// The alarm must fire 30 seconds (less the time that a scrape takes) after the
// cause began and be gone 60 seconds after it ended.
func TestEveryAlarmIsRaisedAndCleared(t *testing.T) {
	tool := promtool(t)
	table := Table(everything(t))
	told := map[string]bool{}
	bySection := map[string][]promTest{} // few rules beside few tests: all rules are run for each test
	for _, c := range cases() {
		told[c.alarm] = true
		i := slices.IndexFunc(table, func(a Alarm) bool { return a.Name == c.alarm })
		if i < 0 {
			t.Errorf("%s is no alarm", c.alarm)
			continue
		}
		bySection[table[i].Section] = append(bySection[table[i].Section], c.test(table[i]))
	}
	for _, a := range table {
		if !told[a.Name] {
			t.Errorf("no case shows that %s is raised and cleared", a.Name)
		}
	}
	for section, tests := range bySection {
		t.Run(section, func(t *testing.T) {
			rules, err := rulesOf(slices.DeleteFunc(slices.Clone(table), func(a Alarm) bool { return a.Section != section }), "node01")
			if err != nil {
				t.Fatal(err)
			}
			b, err := yaml.Marshal(promTests{RuleFiles: []string{"rules.yml"}, EvaluationInterval: "5s", Tests: tests})
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for name, content := range map[string][]byte{"rules.yml": rules, "tests.yml": b} {
				if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := exec.CommandContext(t.Context(), tool, "test", "rules", filepath.Join(dir, "tests.yml")).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, bytes.TrimSpace(out))
			}
		})
	}
}

func TestAnchorsAreReadable(t *testing.T) {
	a := Alarm{Name: "BondLegDown"}
	if a.Anchor() != "bond-leg-down" || a.Runbook() != "doc/ops/alarms.md#bond-leg-down" {
		t.Error(a.Runbook())
	}
}

func TestRulesNameTheirMonitor(t *testing.T) {
	b, err := Rules(three(t), "node02")
	if err != nil || !strings.Contains(string(b), "server: node02") || strings.Contains(string(b), "MONITOR") {
		t.Errorf("%v\n%s", err, b)
	}
	if RaisedWithin != 30*time.Second {
		t.Error("what is promised changed")
	}
}
