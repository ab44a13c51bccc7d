package node

import (
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

// TestOneBadFigureHidesNoOther scrapes a state that has a thing twice and a
// label that is no text.
func TestOneBadFigureHidesNoOther(t *testing.T) {
	a := &Agent{cfg: &Config{Server: "one"}, deps: Deps{Clock: clock.System}, collectors: []Collector{guestCollector{}},
		told: make([]CollectorState, 1), active: make([]time.Time, 1), facts: []Facts{func(s *State) {
			s.Disks = []Disk{{Path: "/", Free: 1}, {Path: "/", Free: 1}, {Path: "/\xff", Free: 2}}
			s.Host = &Host{Load1: 0.5}
		}}}
	rec := httptest.NewRecorder()
	a.handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if body := rec.Body.String(); rec.Code != 200 || !strings.Contains(body, "\nhastack_host_load1 0.5\n") || strings.Count(body, "\nhastack_disk_free_bytes") != 1 {
		t.Errorf("%d:\n%s", rec.Code, body)
	}
}

// TestEveryMetricIsDocumented holds doc/ops/metrics.md and the table together.
func TestEveryMetricIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../doc/ops/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(hastack_[a-z0-9_]+)` \\| ([^|]*) \\| ([^|]*) \\|$")
	said := map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(string(doc), -1) {
		if said[m[1]] != nil {
			t.Errorf("doc/ops/metrics.md has %s twice", m[1])
		}
		said[m[1]] = m[2:]
	}
	names := regexp.MustCompile(`^hastack_[a-z0-9_]+$`)
	var known []string
	for _, m := range Metrics() {
		if !names.MatchString(m.Name) || slices.Contains(known, m.Name) {
			t.Errorf("%s: not a name, or twice", m.Name)
		}
		known = append(known, m.Name)
		labels := strings.Join(m.Labels, ", ")
		switch row := said[m.Name]; {
		case row == nil:
			t.Errorf("doc/ops/metrics.md lacks: | `%s` | %s | %s |", m.Name, labels, m.Help)
		case strings.TrimSpace(row[0]) != labels || strings.TrimSpace(row[1]) != m.Help:
			t.Errorf("doc/ops/metrics.md says something else than: | `%s` | %s | %s |", m.Name, labels, m.Help)
		}
	}
	for name := range said {
		if !slices.Contains(known, name) {
			t.Errorf("doc/ops/metrics.md has %s, which the agent does not export", name)
		}
	}
}
