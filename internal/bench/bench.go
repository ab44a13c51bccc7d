// Package bench measures a cloud from outside, through its public APIs: CPU and
// latency per operation, boots per second, and what a boot costs in statements,
// commits, messages and internal calls.
//
// The measured process runs beside the client, on the same processors; its CPU
// time is read from /proc, so that the client's own does not count. Durability
// is what the cloud runs with: always on. Start with Run; the cases are in
// cases.go.
package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
)

// Config says which cloud to measure. It should be an idle one with the fake
// driver: the cases leave servers, ports and providers behind.
type Config struct {
	AuthURL  string // http://127.0.0.1:5000/identity/v3
	User     string // an admin
	Password config.Secret
	PID      int    // of the process that serves everything
	Scale    int    // percent of the usual number of repetitions; zero means 100
	Only     string // run only cases whose name contains this
	Progress func(name string)
}

// A Result is one measured figure.
type Result struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Target float64 `json:"target,omitempty"` // zero if there is none
	Least  bool    `json:"least,omitempty"`  // the target is a minimum
}

// Met tells whether the result reaches its target; one without always does.
func (r Result) Met() bool {
	switch {
	case r.Target == 0:
		return true
	case r.Least:
		return r.Value >= r.Target
	}
	return r.Value <= r.Target
}

// Run measures everything and returns the figures in order. An operation that
// fails ends it: figures of a cloud that refuses are worth nothing.
func Run(ctx context.Context, cfg Config) ([]Result, error) {
	if cfg.Scale == 0 {
		cfg.Scale = 100
	}
	b := &run{cfg: cfg, clock: clock.System, api: newClient(cfg.AuthURL)}
	if err := b.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare the cloud: %w", err)
	}
	for _, c := range cases {
		if !strings.Contains(c.name, cfg.Only) {
			continue
		}
		if cfg.Progress != nil {
			cfg.Progress(c.name)
		}
		if err := c.measure(b, ctx); err != nil {
			return b.results, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return b.results, nil
}

// Write prints results as a table, or as JSON.
func Write(w io.Writer, results []Result, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MEASURED\tVALUE\t\tGOAL\t")
	for _, r := range results {
		goal, verdict := "", ""
		if r.Target != 0 {
			word := "at most"
			if r.Least {
				word = "at least"
			}
			goal, verdict = fmt.Sprintf("%s %g", word, r.Target), "met"
			if !r.Met() {
				verdict = "NOT MET"
			}
		}
		fmt.Fprintf(t, "%s\t%.2f\t%s\t%s\t%s\n", r.Name, r.Value, r.Unit, goal, verdict)
	}
	return t.Flush()
}

// run is the state of one Run.
type run struct {
	cfg     Config
	clock   clock.Clock
	api     *client
	results []Result

	project, flavor, image, network string
	servers                         []string
}

func (b *run) times(n int) int { return max(n*b.cfg.Scale/100, 5) }

func (b *run) add(name string, value float64, unit string, target float64) {
	b.results = append(b.results, Result{Name: name, Value: value, Unit: unit, Target: target})
}

func (b *run) addLeast(name string, value float64, unit string, target float64) {
	b.results = append(b.results, Result{Name: name, Value: value, Unit: unit, Target: target, Least: true})
}

// cost runs f n times one after the other and adds CPU and median time of one.
func (b *run) cost(ctx context.Context, name string, n int, target float64, f func(i int) error) error {
	for i := range 3 { // first uses fill caches
		if err := f(-1 - i); err != nil {
			return err
		}
	}
	before, err := cpu(b.cfg.PID)
	if err != nil {
		return err
	}
	took := make([]time.Duration, 0, n)
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := b.clock.Now()
		if err := f(i); err != nil {
			return err
		}
		took = append(took, b.clock.Now().Sub(start))
	}
	after, err := cpu(b.cfg.PID)
	if err != nil {
		return err
	}
	b.add(name+", CPU", ms(after-before)/float64(n), "ms", target)
	b.add(name+", p50", ms(percentile(took, 50)), "ms", 0)
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func percentile(list []time.Duration, p int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)*p/100, len(list)-1)]
}
