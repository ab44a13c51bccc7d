package bench

import (
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	got, err := parseStat("1234 (a (b) c) S 1 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0 9 0 1 1 1")
	if err != nil || got != 3*time.Second {
		t.Errorf("parseStat() = %v, %v, want 3 s", got, err)
	}
	for _, bad := range []string{"", "1 (x) S", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 x 50 0"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("parseStat(%q) succeeded", bad)
		}
	}
}

func TestWriteSaysWhatIsMet(t *testing.T) {
	var b strings.Builder
	err := Write(&b, []Result{
		{Name: "a", Value: 1, Unit: "ms", Target: 2},
		{Name: "b", Value: 3, Unit: "ms", Target: 2},
		{Name: "c", Value: 3, Unit: "/s", Target: 2, Least: true},
		{Name: "d", Value: 3},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range []string{"MEASURED", "at most 2 met", "NOT MET", "at least 2 met", "d 3.00"} {
		if !strings.Contains(strings.Join(strings.Fields(lines[i]), " "), want) {
			t.Errorf("line %d: %q, want %q in it", i, lines[i], want)
		}
	}
}

func TestPercentile(t *testing.T) {
	if p := percentile([]time.Duration{3, 1, 2}, 50); p != 2 {
		t.Errorf("p50 = %d", p)
	}
	if p := percentile([]time.Duration{1}, 95); p != 1 {
		t.Errorf("p95 = %d", p)
	}
	if p := percentile(nil, 50); p != 0 {
		t.Errorf("of nothing = %d", p)
	}
}
