package drill

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

func at(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }

// samplesOf makes a sample every 100 ms that fails from from to to.
func samplesOf(from, to int) *series {
	s := &series{probe: &probe{every: at(100)}}
	for i := 0; i < 5000; i += 100 {
		one := sample{at: at(i), took: at(5)}
		if i >= from && i <= to {
			one.first = errors.New("no")
		}
		s.samples = append(s.samples, one)
	}
	return s
}

func TestWindowReachesFromFirstToLastFailure(t *testing.T) {
	for _, c := range []struct{ from, to, fault, end, want int }{
		{2000, 2600, 1990, 5000, 700},
		{2000, 2000, 1990, 5000, 100}, // one failure is one interval
		{9000, 9000, 0, 5000, 0},
		{1000, 1500, 2000, 5000, 0},    // over before the fault
		{2000, 4900, 1990, 3000, 1000}, // what begins after the end is not of it
	} {
		if got := windowOf(samplesOf(c.from, c.to), at(c.fault), at(c.end), false).length(); got != at(c.want) {
			t.Errorf("failures %d..%d: window %v, want %v", c.from, c.to, got, at(c.want))
		}
	}
}

func TestWindowCountsWhatWasUnderWayFromTheFaultOn(t *testing.T) {
	s := &series{probe: &probe{every: at(100)}, samples: []sample{{at: at(900), took: at(1000), first: errors.New("timeout")}}}
	if got := windowOf(s, at(1000), at(5000), false); got.from != at(1000) || got.length() != 0 && got.failed != 1 {
		t.Errorf("window %+v", got)
	}
	if n := endedBefore([]*series{{probe: &probe{}, samples: s.samples}}, at(1000)); n != 0 {
		t.Errorf("%d requests count as failed before the fault that ended after it", n)
	}
}

func TestRepeatsAreCountedApart(t *testing.T) {
	s := samplesOf(2000, 2600)
	if got := windowOf(s, 0, at(5000), true); got.failed != 0 {
		t.Errorf("%d failed after the repeat, want none", got.failed)
	}
	s.samples[22].second = errors.New("again")
	if got := windowOf(s, 0, at(5000), true); got.failed != 1 || got.length() != at(100) {
		t.Errorf("after the repeat %+v", got)
	}
}

func TestJoinedWindowsCoverAll(t *testing.T) {
	all := []*series{samplesOf(2000, 2300), samplesOf(2500, 3000), samplesOf(9000, 9000)}
	got := joined(all, 0, at(5000), false, func(*probe) bool { return true })
	if got.length() != at(1100) || got.failed != 10 {
		t.Errorf("joined %+v", got)
	}
}

func TestPercentileIsNearestRank(t *testing.T) {
	values := []int64{15, 20, 35, 40, 50}
	for p, want := range map[int]int64{1: 15, 30: 20, 40: 20, 50: 35, 99: 50, 100: 50} {
		if got := percentile(values, p); got != want {
			t.Errorf("p%d = %d, want %d", p, got, want)
		}
	}
	if percentile([]int64{}, 50) != 0 {
		t.Error("percentile of nothing")
	}
}

func TestRejectionRulesAreTheOnesTold(t *testing.T) {
	for _, c := range []struct {
		failed   int
		noise    noise
		rejected bool
	}{
		{0, noise{maxStall, maxStall, maxSteal}, false}, {1, noise{}, true}, {0, noise{stall: maxStall + 1}, true},
		{0, noise{standstill: maxStall + 1}, true}, {0, noise{steal: maxSteal + .01}, true},
	} {
		if got := rejection(window{failed: c.failed}, c.noise); (got != "") != c.rejected {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if n := len(Rules()); n != 3 {
		t.Errorf("%d rules are told, 3 are coded", n)
	}
}

func TestStealIsReadFromTheMachine(t *testing.T) {
	a, b := parseCPU("cpu  100 0 100 800 0 0 0 0 0 0"), parseCPU("cpu  150 0 110 820 0 0 0 20 7 0")
	if got := b.stealSince(a); got != 0.2 {
		t.Errorf("steal %v, want 0.2", got)
	}
}

func TestLedgerSurvivesBeingCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := OpenLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []entry{{"r/a", stateIntent}, {"r/a", stateAcked}, {"r/b", stateIntent}} {
		if err := l.record(e.Name, e.State); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"name":"r/b","sta`); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if l, err = OpenLedger(path); err != nil {
		t.Fatal(err)
	}
	if err := l.record("r/c", stateRefused); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if l, err = OpenLedger(path); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for name, want := range map[string]string{"r/a": stateAcked, "r/b": stateIntent, "r/c": stateRefused} {
		if got := l.entries[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestLedgerJudges(t *testing.T) {
	l := &Ledger{}
	l.entries, l.order = map[string]string{"r/ok": stateAcked, "r/lost": stateAcked, "r/twice": stateUnknown, "r/maybe": stateUnknown,
		"r/no": stateRefused, "r/never": stateUnsent, "other/x": stateAcked}, []string{"r/ok", "r/lost", "r/twice", "r/maybe", "r/no", "r/never", "other/x"}
	v := l.judge(map[string]int{"r/ok": 1, "r/twice": 2, "r/no": 1}, func(n string) bool { return n[:2] == "r/" })
	if v.Acked != 2 || v.Unknown != 2 || len(v.Lost) != 1 || v.Lost[0] != "r/lost" || len(v.Doubled) != 1 || v.Doubled[0] != "r/twice" ||
		len(v.Denied) != 1 || v.Denied[0] != "r/no" || !v.Bad() {
		t.Errorf("verdict %+v", v)
	}
}

func TestVIPHistoryTellsOverlapAndGap(t *testing.T) {
	list := []holding{{0, []string{"a"}}, {at(3100), nil}, {at(3600), []string{"b"}}, {at(9000), []string{"a", "b"}}, {at(9200), []string{"a"}}}
	got := moveOf("api", list, at(3000), at(12000))
	want := VIPMove{Name: "api", Before: "a", After: "a", MovedMS: 600, MaxOverlapMS: 200, MaxGapMS: 500}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestFlattenKeepsWordsFlagsAndMembers(t *testing.T) {
	into := map[string]string{}
	flatten("", map[string]any{"time": "2026-11-20T10:00:00Z", "galera": map[string]any{"state": "Synced", "size": 3.0, "queue": 0.1},
		"units": []any{map[string]any{"name": "haproxy", "active": "active"}}}, into)
	want := map[string]string{"galera.state": "Synced", "galera.size": "3", "units.length": "1", "units[haproxy].name": "haproxy", "units[haproxy].active": "active"}
	if len(into) != len(want) {
		t.Errorf("facts %v", into)
	}
	for k, v := range want {
		if into[k] != v {
			t.Errorf("%s = %q, want %q", k, into[k], v)
		}
	}
}

// A program that comes before the measuring thread keeps it from running, as
// the machine below does when it gives the processor to somebody else.
func TestStandstillIsSeenFromOneProcessor(t *testing.T) {
	if err := exec.Command("chrt", "--fifo", "50", "true").Run(); err != nil {
		t.Skip("this machine gives nobody real-time scheduling: ", err)
	}
	k := startCanary(t.Context(), clock.System)
	time.Sleep(100 * time.Millisecond) // its threads have begun
	err := exec.Command("timeout", "0.3", "chrt", "--fifo", "50", "taskset", "--cpu-list", "0", "sh", "-c", "while :; do :; done").Run()
	if got := k.end().standstill; got < 200*time.Millisecond {
		t.Errorf("a processor was kept for 300 ms, the measure says %v (%v)", got, err)
	}
}
