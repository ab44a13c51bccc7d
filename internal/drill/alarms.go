package drill

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/topology"
)

// An alarmWatch polls the monitors for firing alarms, for one round.
type alarmWatch struct {
	clock    clock.Clock
	zero     time.Time
	monitors func(ctx context.Context) (map[string]bool, error)
	mu       sync.Mutex // guards all below
	before   map[string]bool
	faultAt  time.Duration
	healAt   time.Duration
	seen     map[string]*Alarm
	current  map[string]bool
	asked    bool // a monitor has answered
	stop     context.CancelFunc
	done     chan struct{}
}

func watchAlarms(ctx context.Context, c clock.Clock, zero time.Time, ask func(ctx context.Context) (map[string]bool, error)) *alarmWatch {
	ctx, cancel := context.WithCancel(ctx)
	w := &alarmWatch{clock: c, zero: zero, monitors: ask, before: map[string]bool{}, faultAt: -1, healAt: -1,
		seen: map[string]*Alarm{}, stop: cancel, done: make(chan struct{})}
	go w.loop(ctx)
	return w
}

func (w *alarmWatch) loop(ctx context.Context) {
	defer close(w.done)
	for {
		firing, err := w.monitors(ctx)
		if err == nil {
			w.note(firing)
		}
		if sleep(ctx, w.clock, time.Second) != nil {
			return
		}
	}
}

// note takes one answer of the monitors.
func (w *alarmWatch) note(firing map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now().Sub(w.zero)
	w.current, w.asked = firing, true
	if w.faultAt < 0 {
		for a := range firing {
			w.before[a] = true
		}
		return
	}
	for a := range firing {
		if w.before[a] {
			continue
		}
		if w.seen[a] == nil {
			w.seen[a] = &Alarm{Name: a, RaisedMS: ms(now - w.faultAt), ClearedMS: -1}
		}
		w.seen[a].ClearedMS = -1
	}
	for name, a := range w.seen {
		if !firing[name] && a.ClearedMS < 0 && w.healAt >= 0 {
			a.ClearedMS = max(ms(now-w.healAt), 0)
		}
	}
}

func (w *alarmWatch) fault(at time.Duration) { w.mu.Lock(); w.faultAt = at; w.mu.Unlock() }
func (w *alarmWatch) heal(at time.Duration)  { w.mu.Lock(); w.healAt = at; w.mu.Unlock() }

// raised tells whether one of the wanted alarms was raised.
func (w *alarmWatch) raised(wanted []string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.seen {
		if slices.ContainsFunc(wanted, func(x string) bool { return x == anyAlarm || alarmName(name) == x }) {
			return true
		}
	}
	return false
}

// silent tells whether nothing fires that did not fire before the fault.
func (w *alarmWatch) silent() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for a := range w.current {
		if !w.before[a] {
			return false
		}
	}
	return true
}

// answered tells whether a monitor has answered at all.
func (w *alarmWatch) answered() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.asked }

func (w *alarmWatch) end() []Alarm {
	w.stop()
	<-w.done
	var out []Alarm
	for _, a := range w.seen {
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b Alarm) int {
		return cmp.Or(cmp.Compare(a.RaisedMS, b.RaisedMS), strings.Compare(a.Name, b.Name))
	})
	return out
}

// alarmName is the rule's name of "Rule{server}".
func alarmName(s string) string { name, _, _ := strings.Cut(s, "{"); return name }

// askMonitors returns what fires on any monitor that answers.
func (t *Target) askMonitors(ctx context.Context) (map[string]bool, error) {
	firing := map[string]bool{}
	var last error
	answered := false
	for _, m := range t.Topology.Monitors() {
		list, err := t.askMonitor(ctx, m)
		if err != nil {
			last = err
			continue
		}
		answered = true
		for _, a := range list {
			firing[a] = true
		}
	}
	if !answered {
		return nil, fmt.Errorf("no monitor answers: %w", last)
	}
	return firing, nil
}

func (t *Target) askMonitor(ctx context.Context, m *topology.Server) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
	defer cancel()
	var out struct {
		Data struct {
			Alerts []struct {
				State  string            `json:"state"`
				Labels map[string]string `json:"labels"`
			} `json:"alerts"`
		} `json:"data"`
	}
	if err := getJSON(ctx, t.HTTP, fmt.Sprintf("https://%s:9090/api/v1/alerts", m.Management()), &out); err != nil {
		return nil, err
	}
	var list []string
	for _, a := range out.Data.Alerts {
		if a.State != "firing" {
			continue
		}
		name := a.Labels["alertname"]
		if where := cmp.Or(a.Labels["server"], a.Labels["instance"]); where != "" {
			name += "{" + where + "}"
		}
		list = append(list, name)
	}
	return list, nil
}

func getJSON(ctx context.Context, c *http.Client, url string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(out)
}
