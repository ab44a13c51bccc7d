package drill

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/topology"
)

// A layerWatch asks the node agents what they see and notices the first change
// after the fault. It knows no layer by name: every fact of an agent that held
// still before the fault counts, so that a new engine needs no change here.
type layerWatch struct {
	clock   clock.Clock
	zero    time.Time
	every   time.Duration
	ask     func(ctx context.Context, s *topology.Server) (map[string]string, error)
	skip    []string // servers that are hit: what they say does not count
	mu      sync.Mutex
	faultAt time.Duration
	before  map[string]string // fact to value
	noise   map[string]bool   // facts that changed without a fault
	first   time.Duration
	what    string
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// layerEvery is the pause between two questions to one agent, and layerShare per
// server when that is longer: in a lab the watch takes its time from the same
// processors as the cluster, so that many servers are asked less often.
const (
	layerEvery = 200 * time.Millisecond
	layerShare = 15 * time.Millisecond
)

func watchLayers(ctx context.Context, t *Target, zero time.Time, skip []string, ask func(ctx context.Context, s *topology.Server) (map[string]string, error)) *layerWatch {
	ctx, cancel := context.WithCancel(ctx)
	w := &layerWatch{clock: t.Clock, zero: zero, ask: ask, skip: skip, faultAt: -1, first: -1,
		every:  max(layerEvery, time.Duration(len(t.Topology.Servers))*layerShare),
		before: map[string]string{}, noise: map[string]bool{}, stop: cancel}
	for _, s := range t.Topology.Servers {
		if !slices.Contains(skip, s.Name) {
			w.wg.Go(func() { w.loop(ctx, s) })
		}
	}
	return w
}

// loop asks until somebody has noticed the fault: the cluster heals undisturbed.
func (w *layerWatch) loop(ctx context.Context, s *topology.Server) {
	for !w.noticed() {
		try, cancel := context.WithTimeout(ctx, time.Second)
		facts, err := w.ask(try, s)
		cancel()
		if err == nil {
			w.note(s.Name, facts)
		}
		if sleep(ctx, w.clock, w.every) != nil {
			return
		}
	}
}

func (w *layerWatch) note(server string, facts map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, value := range facts {
		fact := server + ": " + key
		old, known := w.before[fact]
		switch {
		case w.faultAt < 0:
			if known && old != value {
				w.noise[fact] = true
			}
			w.before[fact] = value
		case w.first < 0 && !w.noise[fact] && (!known || old != value):
			w.first = w.clock.Now().Sub(w.zero)
			w.what = fmt.Sprintf("%s %s → %s", fact, short(old), short(value))
		}
	}
}

func short(s string) string {
	if s == "" {
		return "(none)"
	}
	return s[:min(len(s), 40)]
}

func (w *layerWatch) noticed() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.first >= 0 }

func (w *layerWatch) fault(at time.Duration) { w.mu.Lock(); w.faultAt = at; w.mu.Unlock() }

// end returns when somebody noticed, -1 if nobody did, and what it was.
func (w *layerWatch) end() (time.Duration, string) {
	w.stop()
	w.wg.Wait()
	return w.first, w.what
}

// facts are what the node agent of a server sees.
func (t *Target) facts(ctx context.Context, s *topology.Server) (map[string]string, error) {
	var state any
	if err := getJSON(ctx, t.HTTP, fmt.Sprintf("https://%s:9180/state", s.Management()), &state); err != nil {
		return nil, err
	}
	facts := map[string]string{}
	flatten("", state, facts)
	return facts, nil
}

// flatten writes the words, flags and lengths of lists of a JSON value.
func flatten(path string, v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			flatten(path+"."+k, x, into)
		}
	case []any:
		into[strings.TrimPrefix(path, ".")+".length"] = fmt.Sprint(len(v))
		for i, x := range v {
			flatten(fmt.Sprintf("%s[%s]", path, label(x, i)), x, into)
		}
	case string:
		// A load balancer shows that a check is under way with a star.
		v = strings.TrimPrefix(v, "* ")
		if _, err := time.Parse(time.RFC3339Nano, v); err != nil {
			into[strings.TrimPrefix(path, ".")] = v
		}
	case bool:
		into[strings.TrimPrefix(path, ".")] = fmt.Sprint(v)
	case float64:
		// Numbers move by themselves, but for those that count members.
		if strings.HasSuffix(path, "size") || strings.HasSuffix(path, "members") {
			into[strings.TrimPrefix(path, ".")] = fmt.Sprint(v)
		}
	}
}

// label is the name of a list's element, its position if it has none.
func label(v any, i int) string {
	if m, ok := v.(map[string]any); ok {
		if name, ok := m["name"].(string); ok {
			return name
		}
	}
	return fmt.Sprint(i)
}
