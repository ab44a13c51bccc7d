package drill

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"
)

//go:embed report.html
var pageText string

// page is what the template is given.
type page struct {
	*Report
	Totals   Totals
	Headline string
	Good     bool
	Kinds    []Summary
	Rows     []row
}

// row is one fault with the chart of its worst round.
type row struct {
	Summary
	Suite, Note, ChartOf string
	Chart                template.HTML
	Probes               []ProbeResult
	VIPs                 []VIPMove
	Alarms               []Alarm
	Boots                Boots
	DetectedBy           string
	HealthyMS            int64
	LastUnwell           string
}

// HTML is the report as one page that needs nothing but itself.
func HTML(r *Report) ([]byte, error) {
	t, err := template.New("report").Funcs(template.FuncMap{
		"seconds": seconds, "thousands": thousands, "verdict": func(s Summary) string { return strings.Trim(verdict(s), "*") },
		"took":  Part.took,
		"alarm": func(s Summary) string { return s.alarmText() },
		"join":  func(list []string) string { return strings.Join(list, ", ") },
		"bad":   func(s Summary) bool { return len(s.Broken) > 0 || s.Goal != "" && !s.Met },
	}).Parse(pageText)
	if err != nil {
		return nil, fmt.Errorf("the report's template: %w", err)
	}
	p := page{Report: r, Totals: r.Totals(), Headline: TableFooter(r, ""), Good: !r.Failed(), Kinds: r.Kinds()}
	for i := range r.Faults {
		p.Rows = append(p.Rows, rowOf(&r.Faults[i]))
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("write the report's page: %w", err)
	}
	return b.Bytes(), nil
}

func rowOf(f *Result) row {
	out := row{Summary: f.Summary(), Suite: f.Suite, Note: f.Note}
	w := f.worstRound()
	if w < 0 {
		return out
	}
	r := &f.Rounds[w]
	out.ChartOf = fmt.Sprintf("round %d of %d", w+1, len(f.Rounds))
	out.Chart, out.Probes, out.VIPs, out.Boots, out.DetectedBy = chart(r), r.Probes, r.VIPs, r.Boots, r.DetectedBy
	out.HealthyMS, out.LastUnwell = r.HealthyMS, r.LastUnwell
	for i := range f.Rounds {
		if len(f.Rounds[i].Alarms) > 0 {
			out.Alarms = f.Rounds[i].Alarms
			break
		}
	}
	return out
}

// worstRound is the round that counts with the longest window, or the first if
// none counts.
func (f *Result) worstRound() int {
	worst, goal := -1, goalOf(f.Kind)
	for i := range f.Rounds {
		r := &f.Rounds[i]
		if r.Rejected != "" {
			continue
		}
		if worst < 0 || goal.measured(r) > goal.measured(&f.Rounds[worst]) {
			worst = i
		}
	}
	if worst < 0 && len(f.Rounds) > 0 {
		return 0
	}
	return worst
}
