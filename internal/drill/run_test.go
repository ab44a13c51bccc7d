package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

// liar is a cloud that keeps rows, and its word only as long as it is told to.
type liar struct {
	mu    sync.Mutex
	rows  map[string][]string // kind to names
	mode  string              // "", lose, double, down
	since time.Time           // when it got the mode
	down  time.Duration       // how long it was down
	seq   int
}

func (l *liar) set(mode string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.mode == "down" {
		l.down += now.Sub(l.since)
	}
	l.mode, l.since = mode, now
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mode == "down" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	kind := r.URL.Path
	var in map[string]map[string]any
	var image struct{ Name string }
	if r.Method == http.MethodPost {
		var raw json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&raw)
		_ = json.Unmarshal(raw, &in)
		_ = json.Unmarshal(raw, &image)
	}
	switch {
	case kind == "/identity/v3/auth/tokens":
		w.Header().Set("X-Subject-Token", "t")
		_, _ = w.Write([]byte(`{"token":{"project":{"id":"p"},"user":{"id":"u"}}}`))
	case r.Method == http.MethodPost:
		name := image.Name
		for _, body := range in {
			for _, key := range []string{"name", "blob"} {
				if n, ok := body[key].(string); ok {
					name = n
				}
			}
		}
		l.write(kind, name)
		_, _ = w.Write([]byte(`{}`))
	default:
		_, _ = w.Write(l.list(kind, r.URL.Query()))
	}
}

func (l *liar) write(kind, name string) {
	l.seq++
	lie := l.seq%7 == 0
	switch {
	case l.mode == "lose" && lie:
	case l.mode == "double" && lie:
		l.rows[kind] = append(l.rows[kind], name, name)
	default:
		l.rows[kind] = append(l.rows[kind], name)
	}
}

func (l *liar) list(kind string, q url.Values) []byte {
	key := map[string]string{"/network/v2.0/security-groups": "security_groups", "/compute/v2.1/os-server-groups": "server_groups",
		"/identity/v3/credentials": "credentials", "/image/v2/images": "images"}[kind]
	if key == "" || q.Get("limit") == "5" {
		return []byte(`{}`)
	}
	list := []map[string]string{}
	for i, n := range l.rows[kind] {
		list = append(list, map[string]string{"id": fmt.Sprint(i), "name": n, "blob": n})
	}
	b, _ := json.Marshal(map[string]any{key: list})
	return b
}

// drillLiar runs one fault of a second, during which the cloud has the mode. It
// runs once: a noisy machine gets no second round, with lies of its own.
func drillLiar(t *testing.T, mode string) (*liar, *Report, string) {
	t.Helper()
	l := &liar{rows: map[string][]string{}}
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	top := &topology.Topology{Name: "liar"}
	target := &Target{Topology: top, Clock: clock.System, HTTP: server.Client(),
		Access:  Access{Public: server.URL, API: server.URL, User: "admin", Password: config.NewSecret("x"), Project: "admin"},
		Healthy: func(context.Context) error { return nil },
		Audit:   func(context.Context) ([]string, error) { return nil, nil }}
	dir := t.TempDir()
	fault := &Fault{Name: "a " + mode, Suite: SuiteProcess, Kind: KindProcess, Hold: time.Second, Once: true,
		Inject: func(context.Context) error { l.set(mode); return nil },
		Heal:   func(context.Context) error { l.set(""); return nil }}
	if mode == "down" {
		fault.Inject = func(context.Context) error {
			l.set(mode)
			time.AfterFunc(1500*time.Millisecond, func() { l.set("") }) // longer than a repeat waits, on a busy machine too
			return nil
		}
	}
	r, err := Do(t.Context(), target, []*Fault{fault}, Options{Rounds: 1, Dir: dir, WriteEvery: 60 * time.Millisecond, NoBoots: true, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	return l, r, dir
}

func TestLostWriteIsReported(t *testing.T) {
	t.Parallel()
	_, r, dir := drillLiar(t, "lose")
	if round := r.Faults[0].Rounds[0]; round.Lost == 0 || round.Doubled != 0 || !r.Failed() || len(r.Ledgers[0].Lost) != round.Lost {
		t.Errorf("lost %d, doubled %d, ledger %+v", round.Lost, round.Doubled, r.Ledgers)
	}
	b, err := os.ReadFile(filepath.Join(dir, markdownFile))
	if err != nil || !strings.Contains(string(b), "acknowledged writes lost") || strings.Contains(string(b), "Every promise was kept") {
		t.Errorf("the report does not tell: %v\n%s", err, b)
	}
}

func TestDoubledWriteIsReported(t *testing.T) {
	t.Parallel()
	_, r, _ := drillLiar(t, "double")
	if round := r.Faults[0].Rounds[0]; round.Doubled == 0 || round.Lost != 0 || !r.Failed() {
		t.Errorf("lost %d, doubled %d", round.Lost, round.Doubled)
	}
}

func TestOutageIsMeasuredAndHonestCloudIsNotBlamed(t *testing.T) {
	t.Parallel()
	l, r, _ := drillLiar(t, "down")
	round := r.Faults[0].Rounds[0]
	if round.Lost+round.Doubled+round.Denied != 0 || round.Acked == 0 {
		t.Errorf("lost %d doubled %d denied %d of %d", round.Lost, round.Doubled, round.Denied, round.Acked)
	}
	// Probes see the edges of an outage within an interval, and what the machine
	// keeps the prober from it tells itself.
	if off := round.WindowMS - ms(l.down); off < -200-round.StallProber || off > 400+round.StallProber || round.FailedFirst == 0 {
		t.Errorf("an outage of %v was measured as %d ms with %d failures", l.down, round.WindowMS, round.FailedFirst)
	}
	if n := len(round.Failures); n == 0 || n > 2*failuresKept || round.Failures[0].Error == "" || round.Failures[n-1].AtMS < round.Failures[0].AtMS {
		t.Errorf("the failures were kept as %+v", round.Failures)
	}
	if judged := round.Rejected == ""; round.FailedRetry == 0 || r.Failed() != judged {
		t.Errorf("%d reads failed after the repeat; the drill failed: %v; the round was rejected: %q", round.FailedRetry, r.Failed(), round.Rejected)
	}
}

func TestSpoiledBaselineRejectsTheRound(t *testing.T) {
	t.Parallel()
	all := []*series{{probe: &probe{every: time.Second}, samples: []sample{{at: time.Second, took: time.Millisecond, first: errors.New("no")}}}}
	if endedBefore(all, 3*time.Second) != 1 {
		t.Error("a failure of the baseline was not seen")
	}
}

func TestProberKeepsItsRateWhileTheCloudStalls(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var begun int
	p := &probe{name: "stall", every: 20 * time.Millisecond, timeout: 300 * time.Millisecond, lanes: 4,
		try: func(ctx context.Context, _, attempt int) error {
			mu.Lock()
			if attempt == 0 {
				begun++
			}
			mu.Unlock()
			<-ctx.Done()
			return ctx.Err()
		}}
	run := startProbes(t.Context(), clock.System, []*probe{p})
	time.Sleep(250 * time.Millisecond)
	s := run.end()[0]
	if begun != 4 || len(s.samples) != 4 || s.skipped == 0 {
		t.Errorf("%d begun, %d samples, %d skipped; want 4 in flight at most and the rest counted", begun, len(s.samples), s.skipped)
	}
	for _, one := range s.samples {
		if one.first == nil || one.second == nil {
			t.Error("a request that timed out twice counts as a success")
		}
	}
}

func TestWriteIsNotRepeatedOnceItWasSent(t *testing.T) {
	t.Parallel()
	l, err := OpenLedger(filepath.Join(t.TempDir(), "l"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	s := &session{}
	w := &writer{run: "r", ledger: l, kinds: writeKinds(), cloud: newCloud(Access{}, server.URL, s)}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := w.write(ctx, w.cloud, w.kinds[0], "r/hung", 0); !errors.Is(err, errNoRepeat) || l.entries["r/hung"] != stateUnknown {
		t.Errorf("%v, ledger %q", err, l.entries["r/hung"])
	}
	gone := newCloud(Access{}, "http://127.0.0.1:1", s)
	if err := w.write(t.Context(), gone, w.kinds[0], "r/unsent", 0); errors.Is(err, errNoRepeat) || l.entries["r/unsent"] != stateUnsent {
		t.Errorf("%v, ledger %q", err, l.entries["r/unsent"])
	}
}
