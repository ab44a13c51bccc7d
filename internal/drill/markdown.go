package drill

import (
	"fmt"
	"strings"
)

const minute = "2006-01-02 15:04"

// Markdown is the report as text with tables.
func Markdown(r *Report) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	t := r.Totals()
	p("# Drills of %s", r.Cluster)
	p("")
	p("%s, %s to %s, hastack %s, %s.", plural(r.Servers, "server"), r.Started.Format(minute), r.Ended.Format(minute), strings.Join(r.Versions(), ", "), plural(len(r.Made()), "run"))
	p("")
	p("**%s**", TableFooter(r, ""))
	p("")
	switch {
	case r.Unproven():
		p("No promise was broken; %s could not be judged, as every round was rejected.", plural(t.Unproven, "fault"))
	case !r.Failed():
		p("Every promise was kept.")
	default:
		p("%s broke a promise or missed a goal; see below.", plural(t.Broken, "fault"))
	}
	p("")
	markdownKinds(p, r)
	markdownFaults(p, r)
	markdownChecks(p, r)
	markdownParts(p, r)
	p("## How it was measured")
	p("")
	p("An error window reaches from the start of the first failing request to the start of the last one, plus one interval of the probe, by first tries;")
	p("of a round the longest of reads, writes and what failed after the healing. A round's times are rejected when:")
	p("")
	for _, rule := range r.Rules {
		p("- %s", rule)
	}
	p("")
	p("%d of %d rounds were rejected. Lost and doubled writes, orphans and VIPs with two holders count in rejected rounds too.", t.Rejected, t.Rounds+t.Rejected)
	for _, n := range r.Notes {
		p("")
		p("%s", n)
	}
	if len(r.Bare) > 0 {
		p("")
		p("Bare servers, whose services do not exist yet: %s.", strings.Join(r.Bare, ", "))
	}
	return b.String()
}

func markdownKinds(p func(string, ...any), r *Report) {
	kinds := r.Kinds()
	if len(kinds) == 0 {
		return
	}
	p("| kind of fault | promised | rounds | window p50 | p99 | max | reads failed after a repeat | verdict |")
	p("| --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, s := range kinds {
		w := s.Window
		p("| %s | %s | %d | %s | %s | %s | %d | %s |", s.Name, s.Goal, s.Rounds, seconds(w.P50MS), seconds(w.P99MS), seconds(w.MaxMS), s.FailedRetry, verdict(s))
	}
	p("")
}

func verdict(s Summary) string {
	switch {
	case s.Rounds == 0:
		return "no round counts"
	case s.Goal == "":
		return ""
	case s.Met:
		return "met"
	}
	return "**NOT MET**"
}

func markdownFaults(p func(string, ...any), r *Report) {
	p("| fault | rounds | detected | window p50 | max | stall max | acked | lost | doubled | orphans | VIP overlap | alarm |")
	p("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, suite := range Suites() {
		rows := r.rows(suite)
		if len(rows) > 0 {
			p("| **%s** | | | | | | | | | | | |", suite)
		}
		for i := range rows {
			s := &rows[i]
			rounds := fmt.Sprint(s.Rounds)
			if s.Rejected > 0 {
				rounds += fmt.Sprintf(" (+%d rejected)", s.Rejected)
			}
			p("| %s | %s | %s | %s | %s | %s | %s | %d | %d | %d | %s | %s |", cell(s.Name), rounds, seconds(s.DetectedMS), seconds(s.Window.P50MS),
				seconds(s.Window.MaxMS), seconds(s.Stall.MaxMS), thousands(s.Acked), s.Lost, s.Doubled, s.Orphans, seconds(s.OverlapMS), s.alarmText())
		}
	}
	p("")
	for i := range r.Faults {
		s := r.Faults[i].Summary()
		for _, text := range s.Broken {
			p("- **%s**: %s", s.Name, text)
		}
		if s.missed() {
			markdownMissed(p, &r.Faults[i], s)
		}
		if r.Faults[i].Confirmed {
			p("- %s: rounds were added after a missed goal, and most of them decide", s.Name)
		}
		if r.Faults[i].Note != "" {
			p("- %s: %s", s.Name, r.Faults[i].Note)
		}
	}
	p("")
}

// markdownMissed tells of a missed goal and of the requests that made its worst
// round.
func markdownMissed(p func(string, ...any), f *Result, s Summary) {
	p("- **%s**: promised %s; the worst window was %s, %s failed after a repeat", s.Name, s.Goal, seconds(s.Window.MaxMS), plural(s.FailedRetry, "read"))
	if w := f.worstRound(); w >= 0 {
		for _, x := range f.Rounds[w].Failures {
			again := ""
			if x.Again {
				again = ", and so did its repeat"
			}
			p("  - %s after the fault, in %s: %s failed%s: %s", seconds(x.AtMS), seconds(x.TookMS), x.Probe, again, cell(x.Error))
		}
	}
}

func markdownParts(p func(string, ...any), r *Report) {
	p("| run | faults of the kinds | faults | rounds | begun (UTC) | took |")
	p("| --- | --- | --- | --- | --- | --- |")
	for _, part := range r.Made() {
		p("| %s | %s | %d | %d | %s | %s |", strings.Join(part.Suites, ", "), strings.Join(part.Kinds, ", "), part.Faults, part.Rounds, part.Started.Format(minute), part.took())
	}
	p("")
}

// took is how long a run took, in minutes.
func (p Part) took() string { return fmt.Sprintf("%.0f min", p.Ended.Sub(p.Started).Minutes()) }

func markdownChecks(p func(string, ...any), r *Report) {
	for _, c := range r.Checks {
		if c.OK {
			p("- %s: yes", c.Name)
			continue
		}
		p("- **%s: NO**", c.Name)
		for _, f := range c.Findings {
			p("  - %s", f)
		}
	}
	if len(r.Checks) > 0 {
		p("")
	}
}

// cell keeps a text inside its cell.
func cell(s string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s) }
