package drill

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// TableHeader is the head of the live table.
func TableHeader() string {
	return fmt.Sprintf("%-38s %9s %13s %8s %5s %8s  %s", "fault", "detected", "error window", "acked", "lost", "orphans", "alarm")
}

// TableRow is the line of one fault.
func TableRow(s Summary) string {
	return fmt.Sprintf("%s %9s %13s %8s %5d %8d  %s", pad(s.Name, 38), seconds(s.DetectedMS), s.windowText(), thousands(s.Acked), s.Lost, s.Orphans, s.alarmText())
}

// windowText is the worst window of one round, or the median and the worst.
func (s *Summary) windowText() string {
	switch {
	case s.Rounds == 0:
		return "rejected"
	case s.Rounds == 1:
		return seconds(s.Window.MaxMS)
	}
	return fmt.Sprintf("%s ≤%s", seconds(s.Window.P50MS), seconds(s.Window.MaxMS))
}

func (s *Summary) alarmText() string {
	switch {
	case s.RaisedMS < 0 && s.AlarmWanted:
		return "NOT RAISED"
	case s.RaisedMS < 0:
		return "–"
	case !s.AlarmWanted:
		return "raised " + whole(s.RaisedMS) // whether it cleared was not waited for
	case s.ClearedMS < 0:
		return fmt.Sprintf("raised %s, not cleared", whole(s.RaisedMS))
	}
	return fmt.Sprintf("raised %s, cleared %s", whole(s.RaisedMS), whole(s.ClearedMS))
}

// TableFooter sums up.
func TableFooter(r *Report, where string) string {
	t := r.Totals()
	parts := []string{plural(t.Faults, "fault"), plural(t.Rounds, "round")}
	if t.Rejected > 0 {
		parts = append(parts, fmt.Sprintf("%d rejected", t.Rejected))
	}
	parts = append(parts, fmt.Sprintf("%d of %s acknowledged writes lost", t.Lost, thousands(t.Acked)))
	if t.Doubled > 0 {
		parts = append(parts, fmt.Sprintf("%d doubled", t.Doubled))
	}
	parts = append(parts, plural(t.Orphans, "orphan"), "worst window "+seconds(t.WorstMS))
	if where != "" {
		parts = append(parts, "report: "+where)
	}
	return strings.Join(parts, " · ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(n) + " " + what + "s"
}

// seconds shows milliseconds; -1 is never.
func seconds(v int64) string {
	if v < 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f s", float64(v)/1000)
}

func whole(v int64) string { return fmt.Sprintf("%d s", (v+500)/1000) }

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// pad fills or cuts to a width in characters.
func pad(s string, width int) string {
	n := utf8.RuneCountInString(s)
	if n > width {
		return string([]rune(s)[:width-1]) + "…"
	}
	return s + strings.Repeat(" ", width-n)
}
