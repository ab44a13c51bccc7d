package drill

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Figure is the distribution of a time over the rounds that count.
type Figure struct {
	P50MS int64 `json:"p50_ms"`
	P99MS int64 `json:"p99_ms"`
	MaxMS int64 `json:"max_ms"`
}

func figure(values []int64) Figure {
	return Figure{percentile(values, 50), percentile(values, 99), percentile(values, 100)}
}

// A Summary is one fault, or one kind of faults, in a line.
type Summary struct {
	Name     string `json:"name"`
	Rounds   int    `json:"rounds"`
	Rejected int    `json:"rejected"`
	// Detected is the median over the rounds in which somebody noticed; -1 if
	// nobody did.
	DetectedMS int64 `json:"detected_ms"`
	// Window is the longest of the error windows of a round (reads, writes,
	// after the healing), by first tries, or of a power cut the time until
	// everything was served again; Retry of reads after one repeat.
	Window Figure `json:"window"`
	Retry  Figure `json:"retry_window"`
	Stall  Figure `json:"stall"`

	FailedRetry int   `json:"failed_retry"`
	Acked       int   `json:"acked"`
	Lost        int   `json:"lost"`
	Doubled     int   `json:"doubled"`
	Orphans     int   `json:"orphans"`
	OverlapMS   int64 `json:"vip_overlap_ms"`
	// RaisedMS and ClearedMS are of the first alarm; -1: none was raised, or
	// one did not clear.
	RaisedMS    int64 `json:"alarm_raised_ms"`
	ClearedMS   int64 `json:"alarm_cleared_ms"`
	AlarmWanted bool  `json:"alarm_wanted"`
	// Goal says what was promised, "" if nothing; Met whether it was kept.
	Goal string `json:"goal,omitempty"`
	Met  bool   `json:"met"`
	// Broken are promises that no noise excuses and that were not kept.
	Broken []string `json:"broken,omitempty"`
}

// measured is the window that a round is judged by: where nothing is expected to
// serve before all is up, it begins then.
func (g Goal) measured(r *Round) int64 {
	if g.Serving > 0 {
		return r.ServingMS
	}
	return max(r.WindowMS, r.WriteWindowMS, r.HealWindowMS)
}

// summarise makes one line of rounds.
func summarise(name string, goal Goal, rounds []Round) Summary {
	s := Summary{Name: name, DetectedMS: -1, RaisedMS: -1, ClearedMS: -1}
	var detected, windows, retries, failed, stalls []int64
	for i := range rounds {
		r := &rounds[i]
		s.count(r)
		if r.Rejected != "" {
			s.Rejected++
			continue
		}
		s.Rounds++
		s.FailedRetry += r.FailedRetry
		if r.DetectedMS >= 0 {
			detected = append(detected, r.DetectedMS)
		}
		windows, retries = append(windows, goal.measured(r)), append(retries, r.RetryWindowMS)
		stalls, failed = append(stalls, r.StallMS), append(failed, int64(r.FailedRetry))
	}
	if len(detected) > 0 {
		s.DetectedMS = percentile(detected, 50)
	}
	s.Window, s.Retry, s.Stall = figure(windows), figure(retries), figure(stalls)
	s.judge(goal, windows, failed)
	return s
}

// count adds what counts whether or not the round's times do.
func (s *Summary) count(r *Round) {
	s.Acked += r.Acked
	s.Lost += r.Lost
	s.Doubled += r.Doubled + r.Boots.Doubled
	broke := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !slices.Contains(s.Broken, text) {
			s.Broken = append(s.Broken, text)
		}
	}
	if r.Audit.CleanMS < 0 {
		s.Orphans += len(r.Audit.Findings)
		if r.Audit.Error != "" {
			broke("the auditor did not answer: %s", r.Audit.Error)
		}
		if len(r.Audit.Findings) > 0 {
			broke("the audit found: %s", strings.Join(r.Audit.Findings[:min(3, len(r.Audit.Findings))], "; "))
		}
	}
	if r.Lost > 0 || r.Doubled > 0 || r.Denied > 0 {
		broke("%d acknowledged writes lost, %d doubled, %d refused and done", r.Lost, r.Doubled, r.Denied)
	}
	if r.Boots.Stuck > 0 || r.Boots.Doubled > 0 {
		broke("%d servers stuck, %d doubled", r.Boots.Stuck, r.Boots.Doubled)
	}
	for _, v := range r.VIPs {
		s.OverlapMS = max(s.OverlapMS, v.MaxOverlapMS)
		if v.MaxOverlapMS > maxOverlap.Milliseconds() {
			broke("VIP %s had two holders for more than %v", v.Name, maxOverlap)
		}
	}
	for _, p := range r.Problems {
		broke("%s", p)
	}
	s.countAlarms(r, broke)
	s.AlarmWanted = s.AlarmWanted || r.AlarmWanted
}

func (s *Summary) countAlarms(r *Round, broke func(string, ...any)) {
	if len(r.Alarms) == 0 {
		if r.AlarmWanted {
			broke("no alarm was raised")
		}
		return
	}
	cleared := int64(0)
	for _, a := range r.Alarms {
		if a.ClearedMS < 0 {
			cleared = -1
			break
		}
		cleared = max(cleared, a.ClearedMS)
	}
	// shown is the first round that waited for them, or else the first that had any
	if s.RaisedMS < 0 || r.AlarmWanted && !s.AlarmWanted {
		s.RaisedMS, s.ClearedMS = r.Alarms[0].RaisedMS, cleared
	}
	if r.AlarmWanted && cleared < 0 {
		broke("an alarm did not clear")
	}
}

// maxOverlap is how long a VIP may have two holders.
const maxOverlap = time.Second

// Kinds are the lines of the kinds of faults that have goals, in the goals'
// order.
func (r *Report) Kinds() []Summary {
	var out []Summary
	for _, g := range Goals() {
		var rounds []Round
		missed := false
		for i := range r.Faults {
			f := &r.Faults[i]
			if f.Kind != g.Kind {
				continue
			}
			g.Usual = g.Usual || f.Confirmed
			rounds = append(rounds, f.Rounds...)
			s := f.Summary()
			missed = missed || s.missed()
		}
		if len(rounds) > 0 {
			s := summarise(g.Kind, g, rounds)
			s.Met = s.Met && !missed
			out = append(out, s)
		}
	}
	return out
}

// rows are the lines of the table of a suite's faults. What is done at each of
// many places of one kind, and kept every promise, is one line.
func (r *Report) rows(suite string) []Summary {
	var lines [][]*Result
	at := map[string]int{} // the line of a kind
	for i := range r.Faults {
		f := &r.Faults[i]
		if f.Suite != suite {
			continue
		}
		s := f.Summary()
		if slices.Contains(everywhere, f.Kind) && len(s.Broken) == 0 && !s.missed() && !s.unproven() {
			if l, ok := at[f.Kind]; ok {
				lines[l] = append(lines[l], f)
				continue
			}
			at[f.Kind] = len(lines)
		}
		lines = append(lines, []*Result{f})
	}
	out := make([]Summary, 0, len(lines))
	for _, faults := range lines {
		out = append(out, together(faults))
	}
	return out
}

// everywhere are the kinds of faults that are made at every place there is.
var everywhere = []string{KindCable, KindBoot}

// together is one line for many faults of a kind, its alarm the slowest of theirs.
func together(faults []*Result) Summary {
	if len(faults) == 1 {
		return faults[0].Summary()
	}
	kind := faults[0].Kind
	var rounds []Round
	raised, cleared := int64(-1), int64(-1)
	for _, f := range faults {
		s := f.Summary()
		rounds = append(rounds, f.Rounds...)
		raised, cleared = max(raised, s.RaisedMS), max(cleared, s.ClearedMS)
	}
	s := summarise(fmt.Sprintf("%s, each of %d", kind, len(faults)), goalOf(kind), rounds)
	s.RaisedMS, s.ClearedMS = raised, cleared
	return s
}

// Totals are the sums over everything.
type Totals struct {
	Faults, Rounds, Rejected              int
	Acked, Lost, Doubled, Denied, Orphans int
	WorstMS                               int64
	Broken                                int // faults, or else kinds of faults, with a broken promise or a missed goal
	Unproven                              int // faults with a goal and no round that counts
}

// Totals sums up the report. What the ledgers say at the very end outranks the
// sums of the rounds.
func (r *Report) Totals() Totals {
	var t Totals
	for i := range r.Faults {
		s := r.Faults[i].Summary()
		t.Faults++
		t.Rounds += s.Rounds
		t.Rejected += s.Rejected
		t.Acked += s.Acked
		t.Lost += s.Lost
		t.Doubled += s.Doubled
		t.Orphans += s.Orphans
		t.WorstMS = max(t.WorstMS, s.Window.MaxMS)
		switch {
		case len(s.Broken) > 0 || s.missed():
			t.Broken++
		case s.unproven():
			t.Unproven++
		}
	}
	for _, k := range r.Kinds() {
		if k.missed() && t.Broken == 0 { // by the median: no fault by itself did
			t.Broken = 1
		}
	}
	var l Totals
	for _, v := range r.Ledgers {
		l.Acked += v.Acked
		l.Lost += len(v.Lost)
		l.Doubled += len(v.Doubled)
		l.Denied += len(v.Denied)
	}
	t.Acked, t.Lost, t.Doubled, t.Denied = max(t.Acked, l.Acked), max(t.Lost, l.Lost), max(t.Doubled, l.Doubled), l.Denied
	return t
}

// Unproven tells whether no promise was broken, but one could not be judged
// because every round of its fault was rejected.
func (r *Report) Unproven() bool { return !r.Failed() && r.Totals().Unproven > 0 }

// Failed tells whether the cloud broke a promise.
func (r *Report) Failed() bool {
	t := r.Totals()
	for _, c := range r.Checks {
		if !c.OK {
			return true
		}
	}
	return t.Broken > 0 || t.Lost > 0 || t.Doubled > 0 || t.Denied > 0
}
