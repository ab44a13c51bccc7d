package drill

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func goodRound(window int64) Round {
	return Round{FaultMS: 3000, HealMS: 6000, EndMS: 12000, DetectedMS: 400, WindowMS: window, Acked: 100,
		Alarms: []Alarm{{"ServerDown{node02}", 3000, 5000}}, AlarmWanted: true,
		Timeline: Timeline{StepMS: 10000, Sent: []int{1, 2}, First: []int{0, 1}, Retry: []int{0, 0}, Latency: []int64{4, 30}}}
}

func reportOf(faults ...Result) *Report {
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	return &Report{Schema: Schema, Cluster: "three", Servers: 3, Lab: true, Version: "test", Started: now, Ended: now.Add(time.Hour), Rules: Rules(),
		Faults: faults}
}

func TestReportOfAGoodRunSaysSo(t *testing.T) {
	r := reportOf(Result{Name: "node01 off", Suite: SuiteSmoke, Kind: KindControl, Rounds: []Round{goodRound(900), goodRound(2900)}})
	if r.Failed() {
		t.Errorf("failed: %+v", r.Faults[0].Summary())
	}
	text := Markdown(r)
	for _, want := range []string{"Every promise was kept", "| met |", "raised 3 s, cleared 5 s", "window p99 ≤ 3s", "0 of 200 acknowledged writes lost"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestAnAlarmIsShownAsInTheRoundThatWaitedForIt(t *testing.T) {
	unwaited := goodRound(100)
	unwaited.AlarmWanted, unwaited.Alarms = false, []Alarm{{"ServerDown{node02}", 7000, -1}}
	for _, rounds := range [][]Round{{unwaited, goodRound(100)}, {goodRound(100), unwaited}} {
		s := summarise("x", goalOf(KindControl), rounds)
		if got := s.alarmText(); got != "raised 3 s, cleared 5 s" || len(s.Broken) > 0 {
			t.Errorf("%q, broken %v", got, s.Broken)
		}
	}
	if s := summarise("x", goalOf(KindControl), []Round{unwaited}); s.alarmText() != "raised 7 s" {
		t.Errorf("nobody waited: %q", s.alarmText())
	}
}

func TestReportTellsBrokenPromises(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(r *Round)
		want  string
	}{
		"window":    {func(r *Round) { r.WriteWindowMS = 3100 }, "NOT MET"},
		"lost":      {func(r *Round) { r.Lost = 1 }, "1 acknowledged writes lost"},
		"doubled":   {func(r *Round) { r.Doubled = 2 }, "2 doubled"},
		"orphans":   {func(r *Round) { r.Audit = Audit{CleanMS: -1, Findings: []string{"tap x"}} }, "the audit found: tap x"},
		"overlap":   {func(r *Round) { r.VIPs = []VIPMove{{Name: "api", MaxOverlapMS: 1001}} }, "two holders"},
		"no alarm":  {func(r *Round) { r.Alarms = nil }, "no alarm was raised"},
		"no clear":  {func(r *Round) { r.Alarms[0].ClearedMS = -1 }, "did not clear"},
		"stuck":     {func(r *Round) { r.Boots.Stuck = 1 }, "1 servers stuck"},
		"unhealthy": {func(r *Round) { r.Problems = []string{"not healthy"} }, "not healthy"},
	} {
		t.Run(name, func(t *testing.T) {
			round := goodRound(100)
			c.spoil(&round)
			// Rejected rounds excuse times only.
			if name != "window" {
				round.Rejected = "noise"
			}
			r := reportOf(Result{Name: "node01 off", Suite: SuiteSmoke, Kind: KindControl, Rounds: []Round{goodRound(100), round}})
			if !r.Failed() || !strings.Contains(Markdown(r), c.want) {
				t.Errorf("no %q in\n%s", c.want, Markdown(r))
			}
		})
	}
}

func TestWhatIsDoneEverywhereIsOneRow(t *testing.T) {
	slow, broken := goodRound(300), goodRound(0)
	slow.Alarms = []Alarm{{"BondLegDown{node02}", 9000, 7000}}
	broken.Problems = []string{"not healthy"}
	cable := func(name string, rounds ...Round) Result {
		return Result{Name: "cable " + name, Suite: SuiteSmoke, Kind: KindCable, Rounds: rounds}
	}
	r := reportOf(
		Result{Name: "switch a down", Suite: SuiteSmoke, Kind: KindSwitch, Rounds: []Round{goodRound(0)}},
		cable("one", goodRound(100)), cable("two", slow, goodRound(0)), cable("three", broken),
		Result{Name: "node01 off", Suite: SuiteSmoke, Kind: KindControl, Rounds: []Round{goodRound(900)}})
	text := Markdown(r)
	var rows []string
	for _, line := range strings.Split(text, "\n") {
		if cells := strings.Split(line, " | "); len(cells) == 12 && strings.HasSuffix(line, "s |") {
			rows = append(rows, strings.Join([]string{cells[0], cells[1], cells[4], cells[6], cells[11]}, " "))
		}
	}
	want := []string{
		"| switch a down 1 0.0 s 100 raised 3 s, cleared 5 s |",
		"| cable, each of 2 3 0.3 s 300 raised 9 s, cleared 7 s |",
		"| cable three 1 0.0 s 100 raised 3 s, cleared 5 s |",
		"| node01 off 1 0.9 s 100 raised 3 s, cleared 5 s |",
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s\n%s", diff, text)
	}
}

func TestFaultWithoutARoundThatCountsIsNeitherKeptNorBroken(t *testing.T) {
	noisy := goodRound(9000)
	noisy.Rejected = "noise"
	r := reportOf(Result{Name: "node01 off", Suite: SuiteSmoke, Kind: KindControl, Rounds: []Round{noisy}})
	if r.Failed() || !r.Unproven() || !strings.Contains(Markdown(r), "could not be judged") {
		t.Errorf("failed %v, unproven %v:\n%s", r.Failed(), r.Unproven(), Markdown(r))
	}
	noisy.Lost = 1
	r = reportOf(Result{Name: "node01 off", Suite: SuiteSmoke, Kind: KindControl, Rounds: []Round{noisy}})
	if !r.Failed() || r.Unproven() {
		t.Error("noise excuses a lost write")
	}
}

func TestAMedianIsJudgedOverTheKind(t *testing.T) {
	fault := func(name string, windows ...int64) Result {
		res := Result{Name: name, Suite: SuiteProcess, Kind: KindBalancer}
		for _, w := range windows {
			res.Rounds = append(res.Rounds, goodRound(w))
		}
		return res
	}
	if r := reportOf(fault("haproxy", 400), fault("another", 500), fault("keepalived", 1100)); r.Failed() {
		t.Error("one slow fault of three is no slow median")
	}
	if r := reportOf(fault("haproxy", 400), fault("another", 1200), fault("keepalived", 1100)); !r.Failed() {
		t.Error("a slow median passed")
	}
}

func TestAPowerCutIsMeasuredFromWhenAllIsUp(t *testing.T) {
	round := goodRound(5000)
	round.HealWindowMS, round.ServingMS = 80_000, 19_000
	r := reportOf(Result{Name: "everything off", Suite: SuitePower, Kind: KindPower, Rounds: []Round{round}})
	if got := r.Totals().WorstMS; got != 19_000 || r.Failed() {
		t.Errorf("worst %d ms, failed %v", got, r.Failed())
	}
	round.ServingMS = 61_000
	if r := reportOf(Result{Name: "everything off", Suite: SuitePower, Kind: KindPower, Rounds: []Round{round}}); !r.Failed() {
		t.Error("61 s passed")
	}
}

func TestMostRoundsDecideOnceAMissIsToBeConfirmed(t *testing.T) {
	slow := goodRound(9000)
	slow.FailedRetry = 2
	slow.Failures = []Failure{{Probe: "list servers", AtMS: 1200, TookMS: 2500, Again: true, Error: "timed out"}}
	for _, kind := range []string{KindControl, KindProcess, KindWriter} {
		res := Result{Name: "node01 off", Suite: SuiteSmoke, Kind: kind, Rounds: []Round{slow}}
		r := &Run{opts: Options{Confirm: 2}}
		if more := r.confirmation(&res); more != 2 || !res.Confirmed {
			t.Fatalf("%s: %d rounds more", kind, more)
		}
		if r.confirmation(&res) != 0 {
			t.Error("confirmed twice")
		}
		if text := Markdown(reportOf(res)); !strings.Contains(text, "NOT MET") || !strings.Contains(text, "1.2 s after the fault, in 2.5 s: list servers failed, and so did its repeat: timed out") {
			t.Errorf("the miss is not told:\n%s", text)
		}
		res.Rounds = append(res.Rounds, goodRound(100), slow)
		if report := reportOf(res); !report.Failed() || strings.Contains(Markdown(report), "| met |") {
			t.Errorf("%s: two slow rounds of three passed", kind)
		}
		res.Rounds[2] = goodRound(100)
		if report := reportOf(res); report.Failed() || !strings.Contains(Markdown(report), "most of them decide") {
			t.Errorf("%s: one slow round of three decided", kind)
		}
	}
	broken := goodRound(9000)
	broken.Lost = 1
	for name, c := range map[string]struct {
		round Round
		more  int
	}{"kept": {goodRound(100), 2}, "broken": {broken, 2}, "not asked for": {slow, 0}} {
		r := &Run{opts: Options{Confirm: c.more}}
		if r.confirmation(&Result{Kind: KindControl, Rounds: []Round{c.round}}) != 0 {
			t.Errorf("%s: rounds were added", name)
		}
	}
}

func TestRejectedRoundsDoNotCountForTimes(t *testing.T) {
	noisy := goodRound(9000)
	noisy.Rejected = "noise"
	s := summarise("x", goalOf(KindControl), []Round{goodRound(100), noisy})
	if s.Window.MaxMS != 100 || s.Rounds != 1 || s.Rejected != 1 || s.Acked != 200 || !s.Met {
		t.Errorf("%+v", s)
	}
	if s := summarise("x", goalOf(KindControl), []Round{noisy}); s.Met {
		t.Error("a goal is met without a round that counts")
	}
}

func TestMergeBringsRoundsTogether(t *testing.T) {
	a := reportOf(Result{Name: "node01 off", Suite: SuiteSmoke, Kind: KindControl, Rounds: []Round{goodRound(1)}})
	b := reportOf(Result{Name: "kill", Suite: SuiteProcess, Kind: KindProcess, Rounds: []Round{goodRound(3)}},
		Result{Name: "node01 off", Suite: SuiteSmoke, Kind: KindControl, Rounds: []Round{goodRound(2)}})
	a.Ledgers, b.Ledgers = []Verdict{{Acked: 500}}, []Verdict{{Acked: 700, Lost: []string{"w"}}}
	a.Checks, b.Checks = []Check{{Name: "no secrets", OK: true}}, []Check{{Name: "no secrets", Findings: []string{"one"}}}
	b.Version = "next"
	for _, r := range []*Report{a, b} {
		dir := t.TempDir()
		if err := Write(dir, r); err != nil {
			t.Fatal(err)
		}
		back, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, back); d != "" {
			t.Errorf("read back: %s", d)
		}
	}
	m, err := Merge([]*Report{a, b})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Faults) != 2 || len(m.Faults[0].Rounds) != 2 || m.Faults[0].Name != "node01 off" || len(m.Parts) != 2 {
		t.Errorf("merged %+v", m.Faults)
	}
	if got := m.Totals(); got.Acked != 1200 || got.Lost != 1 {
		t.Errorf("totals %+v", got)
	}
	if len(m.Checks) != 1 || m.Checks[0].OK || len(m.Checks[0].Findings) != 1 {
		t.Errorf("checks %+v", m.Checks)
	}
	if len(a.Faults[0].Rounds) != 1 || !a.Checks[0].OK {
		t.Error("merging changed what was merged")
	}
	want := []Part{
		{Suites: []string{SuiteSmoke}, Kinds: []string{KindControl}, Faults: 1, Rounds: 1, Version: "test", Started: a.Started, Ended: a.Ended},
		{Suites: []string{SuiteProcess, SuiteSmoke}, Kinds: []string{KindProcess, KindControl}, Faults: 2, Rounds: 2, Version: "next", Started: b.Started, Ended: b.Ended},
	}
	if d := cmp.Diff(want, m.Parts); d != "" {
		t.Errorf("parts: %s", d)
	}
	if text := Markdown(m); !strings.Contains(text, "hastack test, next, 2 runs") || !strings.Contains(text, "| smoke | control server | 1 | 1 | 2026-11-20 10:00 | 60 min |") {
		t.Errorf("versions and times:\n%s", text)
	}
	b.Cluster = "other"
	if _, err := Merge([]*Report{a, b}); err == nil {
		t.Error("reports of two clusters were merged")
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing report was read")
	}
}

func TestReadTakesACompressedReport(t *testing.T) {
	r := reportOf(Result{Name: "node01 off", Suite: SuiteSmoke, Kind: KindControl, Rounds: []Round{goodRound(1)}})
	dir := t.TempDir()
	if err := Write(dir, r); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, jsonFile)
	if out, err := exec.Command("gzip", plain).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	back, err := Read(plain + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, back); d != "" {
		t.Errorf("read back: %s", d)
	}
	if err := os.Rename(plain+".gz", plain); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(plain); err == nil {
		t.Error("compressed bytes were read as JSON")
	}
}

func TestPageNeedsNothingButItself(t *testing.T) {
	evil := goodRound(100)
	evil.Probes = []ProbeResult{{Name: "list", Error: "<script>alert(1)</script>"}}
	r := reportOf(Result{Name: "node01 off", Suite: SuiteSmoke, Kind: KindControl, Rounds: []Round{evil}})
	b, err := HTML(r)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if m := regexp.MustCompile(`(?i)(src|href)=|url\(|@import|https?://`).FindString(text); m != "" {
		t.Errorf("the page refers to something: %q", m)
	}
	for _, want := range []string{"<svg", `class="mark fault"`, `class="mark alarm"`, "&lt;script&gt;", "Every promise was kept"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if strings.Contains(text, "<script>") {
		t.Error("an error text became part of the page")
	}
}

func TestTableIsAligned(t *testing.T) {
	s := summarise("controller02 off (db writer), with a name that is too long", Goal{}, []Round{goodRound(2200)})
	row := TableRow(s)
	if !strings.Contains(row, "…") || !strings.Contains(row, "2.2 s") || !strings.Contains(row, "raised 3 s, cleared 5 s") {
		t.Error(row)
	}
	if thousands(1234567) != "1,234,567" || thousands(12) != "12" || plural(1, "orphan") != "1 orphan" {
		t.Error("numbers")
	}
}
