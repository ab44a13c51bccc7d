// Package alarm is the one table of what a cluster raises an alarm for: when,
// how urgent it is, what it says, and where the handbook tells what to do.
//
// [Table] makes the alarms of a cluster from its topology; [Rules] writes them
// for Prometheus. The figures are those of the node agents (doc/ops/metrics.md)
// and the "up" of each scrape. doc/ops/alarms.md has a paragraph for each
// alarm, which a test holds. Deploying the monitors is package deploy's.
//
// An alarm is raised within 30 seconds of its cause and cleared within 60 of
// its end: figures are read every [ScrapeEvery], rules every [EvaluateEvery],
// and none waits longer than its For.
package alarm

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/topology"
)

// How often monitors look. The node agents are cheap to ask; the engines' own
// exporters serve graphs and are asked at half the pace.
const (
	ScrapeEvery    = 5 * time.Second
	EnginesEvery   = 10 * time.Second
	ScrapeTimeout  = 3 * time.Second
	EvaluateEvery  = 5 * time.Second
	RaisedWithin   = 30 * time.Second
	Critical       = "critical" // something does not serve, or the next loss stops it
	Warning        = "warning"  // something is worn or lost, all serves
	handbook       = "doc/ops/alarms.md"
	nodeJob        = "node"
	monitorSection = "monitor"
)

// An Alarm is one thing to be told of.
type Alarm struct {
	// Name is unique, in CamelCase: "BondLegDown".
	Name string
	// Section groups alarms in the handbook: server, network, database, ….
	Section string
	// Expr is true, in Prometheus' language, while there is cause.
	Expr     string
	For      time.Duration
	Severity string
	// Summary is one line with Prometheus' templates for labels and value.
	Summary string
	// Labels are added to those of the expression. MONITOR in them and in
	// Summary stands for the server whose monitor speaks.
	Labels map[string]string
	// Slow alarms are of things that take days or hours and need not be
	// raised within RaisedWithin.
	Slow bool
}

// Anchor is the alarm's heading in the handbook as a link knows it.
func (a *Alarm) Anchor() string {
	var b strings.Builder
	for i, r := range a.Name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Runbook is where the handbook tells what to do.
func (a *Alarm) Runbook() string { return handbook + "#" + a.Anchor() }

// Table are the alarms of a cluster. What a cluster does not have raises none.
func Table(t *topology.Topology) []Alarm {
	var out []Alarm
	for _, section := range []struct {
		name string
		of   func(*topology.Topology) []Alarm
	}{
		{"server", serverAlarms}, {"network", networkAlarms}, {"vip", vipAlarms}, {"service", serviceAlarms},
		{"database", databaseAlarms}, {"bus", busAlarms}, {"keys", keyAlarms}, {monitorSection, monitorAlarms},
	} {
		for _, a := range section.of(t) {
			a.Section = section.name
			out = append(out, a)
		}
	}
	return out
}

// The rule file as Prometheus reads it.
type (
	ruleFile  struct{ Groups []ruleGroup }
	ruleGroup struct {
		Name     string
		Interval string
		Rules    []rule
	}
	rule struct {
		Alert       string
		Expr        string
		For         string `yaml:",omitempty"`
		Labels      map[string]string
		Annotations map[string]string
	}
)

// Rules is the rule file of one monitor.
func Rules(t *topology.Topology, monitor string) ([]byte, error) {
	return rulesOf(Table(t), monitor)
}

func rulesOf(table []Alarm, monitor string) ([]byte, error) {
	var file ruleFile
	for _, a := range table {
		if n := len(file.Groups); n == 0 || file.Groups[n-1].Name != a.Section {
			file.Groups = append(file.Groups, ruleGroup{Name: a.Section, Interval: seconds(EvaluateEvery)})
		}
		g := &file.Groups[len(file.Groups)-1]
		r := rule{Alert: a.Name, Expr: a.Expr, Labels: map[string]string{"severity": a.Severity},
			Annotations: map[string]string{"summary": a.Summary, "runbook": a.Runbook()}}
		if a.For > 0 {
			r.For = seconds(a.For)
		}
		maps.Copy(r.Labels, a.Labels)
		g.Rules = append(g.Rules, r)
	}
	b, err := yaml.Marshal(file)
	if err != nil {
		return nil, fmt.Errorf("write alarm rules: %w", err)
	}
	b = bytes.ReplaceAll(b, []byte("MONITOR"), []byte(monitor))
	return append([]byte("# Written by hastack deploy from its table of alarms; "+handbook+" tells what to do about each.\n"), b...), nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }
