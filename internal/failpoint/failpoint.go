// Package failpoint names the places where a test or a drill may make a crash,
// a hang, an error, a delay or a lost reply happen.
//
// Code writes failpoint.At(ctx, "nova.boot.claim.after-effect") and returns the
// error if there is one. While nothing is armed that costs one atomic load. The
// environment arms points at the first use (HASTACK_FAILPOINTS), tests do with
// Arm. This is the one package whose state is global: a crash has to reach
// every layer without being passed through it.
package failpoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrDropped is what At returns at a point armed with "drop": the caller did
// its work and must now behave as if the reply had been lost on the way.
var ErrDropped = errors.New("failpoint: reply dropped")

// ErrInjected is what At returns, wrapped with the point's name, at a point
// armed with "error".
var ErrInjected = errors.New("failpoint: injected error")

// Env is the variable that arms points: name=action[;name=action...].
const Env = "HASTACK_FAILPOINTS"

// CrashCode is the exit code of a crash, that of a process killed with -9.
const CrashCode = 137

type action struct {
	kind  string // crash, hang, error, drop, delay
	delay time.Duration
	text  string // of an error
	skip  int    // hits that pass before the first that acts
	left  int    // hits that still act; negative means all
}

type registry struct {
	armed atomic.Bool
	mu    sync.Mutex
	at    map[string]*action
	hits  map[string]int
	trace bool
}

var points = load()

// load reads the environment. An unreadable value ends the process: a drill
// whose fault is not armed would report a success that means nothing.
func load() *registry {
	r := &registry{at: map[string]*action{}, hits: map[string]int{}}
	if err := r.arm(os.Getenv(Env)); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Env, err)
		os.Exit(2)
	}
	return r
}

// At does what is armed at name: nothing (nil), the end of the process, a wait
// (until ctx ends), or an error to return. A name that ends in "*" when armed
// matches every point that starts so.
func At(ctx context.Context, name string) error {
	if !points.armed.Load() {
		return nil
	}
	return points.hit(ctx, name)
}

// Arm arms points as the environment does, on top of what is armed:
// "a.b=crash;c.d=delay:200ms". Actions: crash, hang, error[:text], drop,
// delay:DURATION. An action may end in "@N", which lets N hits pass first, and
// in "#N", which acts on N hits only: "error#1" fails once.
func Arm(spec string) error { return points.arm(spec) }

// Disarm takes the named points away; without names, all of them, the trace too.
func Disarm(names ...string) { points.disarm(names...) }

// Trace starts (or restarts) to note every point that is passed, armed or not.
func Trace() {
	points.mu.Lock()
	defer points.mu.Unlock()
	points.trace = true
	points.hits = map[string]int{}
	points.armed.Store(true)
}

// Passed lists the points passed since Trace, sorted: the rows of a crash
// matrix are taken from a run that went well.
func Passed() []string {
	points.mu.Lock()
	defer points.mu.Unlock()
	var names []string
	for n := range points.hits {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (r *registry) arm(spec string) error {
	parsed := map[string]*action{}
	for part := range strings.SplitSeq(spec, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, what, ok := strings.Cut(part, "=")
		if !ok || name == "" {
			return fmt.Errorf("%q is not name=action", part)
		}
		a, err := parse(what)
		if err != nil {
			return fmt.Errorf("point %s: %w", name, err)
		}
		parsed[name] = a
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(r.at, parsed)
	r.armed.Store(len(r.at) > 0 || r.trace)
	return nil
}

func parse(what string) (*action, error) {
	a := &action{left: -1}
	var err error
	if what, a.left, err = cutCount(what, "#", -1); err != nil {
		return nil, err
	}
	if what, a.skip, err = cutCount(what, "@", 0); err != nil {
		return nil, err
	}
	kind, arg, _ := strings.Cut(what, ":")
	a.kind = kind
	switch kind {
	case "crash", "hang", "drop":
		if arg != "" {
			return nil, fmt.Errorf("%s takes no argument", kind)
		}
	case "error":
		a.text = arg
	case "delay":
		if a.delay, err = time.ParseDuration(arg); err != nil {
			return nil, fmt.Errorf("delay: %w", err)
		}
	default:
		return nil, fmt.Errorf("unknown action %q (crash, hang, error, delay:200ms, drop)", kind)
	}
	return a, nil
}

func cutCount(what, sep string, none int) (string, int, error) {
	i := strings.LastIndex(what, sep)
	if i < 0 {
		return what, none, nil
	}
	n, err := strconv.Atoi(what[i+1:])
	if err != nil || n < 0 {
		return "", 0, fmt.Errorf("%q is not a count", what[i:])
	}
	return what[:i], n, nil
}

func (r *registry) disarm(names ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(names) == 0 {
		r.at, r.hits, r.trace = map[string]*action{}, map[string]int{}, false
	}
	for _, n := range names {
		delete(r.at, n)
	}
	r.armed.Store(len(r.at) > 0 || r.trace)
}

// take returns what to do at name now, and counts the hit.
func (r *registry) take(name string) *action {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trace {
		r.hits[name]++
	}
	a := r.at[name]
	if a == nil {
		for pattern, candidate := range r.at {
			if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(name, prefix) {
				a = candidate
				break
			}
		}
	}
	if a == nil || a.left == 0 {
		return nil
	}
	if a.skip > 0 {
		a.skip--
		return nil
	}
	if a.left > 0 {
		a.left--
	}
	return a
}

func (r *registry) hit(ctx context.Context, name string) error {
	a := r.take(name)
	if a == nil {
		return nil
	}
	switch a.kind {
	case "crash":
		os.Exit(CrashCode) // no deferred call runs: as if killed here
	case "hang":
		<-ctx.Done()
		return ctx.Err()
	case "drop":
		return fmt.Errorf("%s: %w", name, ErrDropped)
	case "delay":
		select {
		case <-time.After(a.delay):
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
	if a.text != "" {
		return fmt.Errorf("%s: %w: %s", name, ErrInjected, a.text)
	}
	return fmt.Errorf("%s: %w", name, ErrInjected)
}
