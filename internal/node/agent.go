package node

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/lifecycle"
	"github.com/hastack/hastack/internal/tlsfiles"
)

// tick is the agent's pace: no collector looks more often.
const tick = time.Second

// retry is how soon a collector that failed looks again.
const retry = 5 * time.Second

// hangs is how much longer than its limit a collector that does not heed its
// context may take until it counts as failed.
const hangs = 5 * time.Second

// Deps are what an agent works with.
type Deps struct {
	Clock   clock.Clock
	Log     *slog.Logger
	Version string
	// Root is the file system of the server; nil means the machine's. Tests
	// give one with a /proc and a /sys of their own.
	Root fs.FS
}

// Agent is the node agent. Make one with [New].
type Agent struct {
	cfg        *Config
	deps       Deps
	tls        *tlsfiles.Files
	started    time.Time
	collectors []Collector
	peers      *peers
	galera     *galera // nil where there is no database
	rabbit     *rabbit // nil where there is no broker

	mu     sync.Mutex // guards the rest
	facts  []Facts    // by index of collectors
	told   []CollectorState
	due    []time.Time
	active []time.Time // since when collector i looks, zero if it does not
}

// New builds the agent; nothing runs yet.
func New(cfg *Config, deps Deps) (*Agent, error) {
	if deps.Root == nil {
		deps.Root = os.DirFS("/")
	}
	files, err := tlsfiles.Open(cfg.TLS, deps.Clock)
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, deps: deps, tls: files, started: deps.Clock.Now()}
	if len(cfg.Peers) > 0 {
		a.peers = newPeers(cfg, deps)
		a.collectors = append(a.collectors, a.peers)
	}
	if cfg.Galera != nil {
		if a.galera, err = newDatabase(cfg, deps, files); err != nil {
			return nil, err
		}
		a.collectors = append(a.collectors, a.galera)
	}
	if cfg.Rabbit != nil {
		a.rabbit = newRabbit(cfg.Rabbit, cfg.Server, deps, a.State)
		a.collectors = append(a.collectors, a.rabbit)
	}
	a.collectors = append(a.collectors, hostCollectors(cfg, deps, files)...)
	n := len(a.collectors)
	a.facts, a.told, a.due, a.active = make([]Facts, n), make([]CollectorState, n), make([]time.Time, n), make([]time.Time, n)
	for i, c := range a.collectors {
		a.told[i].Name = c.Name()
	}
	return a, nil
}

// Run collects and serves until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	parts := []lifecycle.Part{{Name: "collect", Run: a.collect}}
	if a.peers != nil {
		parts = append(parts, lifecycle.Part{Name: "peers", Run: a.peers.run})
	}
	if a.galera != nil {
		parts = append(parts, lifecycle.Part{Name: "database recovery", Run: a.galera.recovery.run})
	}
	if a.rabbit != nil {
		parts = append(parts, lifecycle.Part{Name: "broker", Run: a.rabbit.watch.run})
		if a.rabbit.healer != nil {
			parts = append(parts, lifecycle.Part{Name: "queues", Run: a.rabbit.healer.run})
		}
	}
	listeners, err := a.listen(ctx)
	if err != nil {
		return err
	}
	parts = append(parts, listeners...)
	return lifecycle.Run(ctx, a.deps.Log, parts, func() {
		a.deps.Log.InfoContext(ctx, "node agent runs", "listen", a.cfg.Listen.String(), "collectors", len(a.collectors))
		notifyReady(ctx, a.deps.Log)
	})
}

// collect starts every collector when it is due and feeds systemd's watchdog.
func (a *Agent) collect(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	t := a.deps.Clock.NewTicker(tick)
	defer t.Stop()
	for {
		now := a.deps.Clock.Now()
		for i := range a.collectors {
			if a.take(i, now) {
				wg.Go(func() { a.look(ctx, i) })
			}
		}
		notifyAlive()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
	}
}

// take tells whether collector i is due, and makes it active then. One that
// still looks is not started again.
func (a *Agent) take(i int, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.active[i].IsZero() || now.Before(a.due[i]) {
		return false
	}
	// Half a tick early is on time: tickers are not exact.
	a.active[i], a.due[i] = now, now.Add(a.collectors[i].Every()-tick/2)
	return true
}

// look lets collector i look once.
func (a *Agent) look(ctx context.Context, i int) {
	c := a.collectors[i]
	began := a.deps.Clock.Now()
	lctx, cancel := context.WithTimeout(ctx, limit(c))
	facts, err := collectSafely(lctx, c)
	cancel()
	now := a.deps.Clock.Now()
	told := CollectorState{Name: c.Name(), At: now, Took: now.Sub(began)}
	if err != nil {
		told.Error = err.Error()
	}
	a.mu.Lock()
	was := a.told[i].Error
	a.facts[i], a.told[i], a.active[i] = facts, told, time.Time{}
	if soon := now.Add(retry); err != nil && a.due[i].After(soon) {
		a.due[i] = soon // what was missing may come any moment
	}
	a.mu.Unlock()
	if ctx.Err() == nil && was != told.Error && (was == "" || told.Error == "") {
		if err != nil {
			a.deps.Log.WarnContext(ctx, "collector fails", "collector", c.Name(), "error", told.Error)
		} else {
			a.deps.Log.InfoContext(ctx, "collector works again", "collector", c.Name())
		}
	}
}

// collectSafely turns a panic of one collector into its error: the others'
// facts matter most when one of them meets what nobody thought of.
func collectSafely(ctx context.Context, c Collector) (f Facts, err error) {
	defer func() {
		if p := recover(); p != nil {
			f, err = nil, fmt.Errorf("collector %s broke: %v", c.Name(), p)
		}
	}()
	return c.Collect(ctx)
}

// State is what the agent knows now.
func (a *Agent) State() *State {
	s := &State{Server: a.cfg.Server, Roles: a.cfg.Roles, Version: a.deps.Version, Time: a.deps.Clock.Now(), Started: a.started}
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Collectors = append(s.Collectors, a.told...)
	for i, f := range a.facts {
		if began := a.active[i]; !began.IsZero() && s.Time.Sub(began) > limit(a.collectors[i])+hangs {
			// What it saw before says nothing about now.
			s.Collectors[i].At, s.Collectors[i].Error = s.Time, "has not ended since "+began.Format(time.TimeOnly)
			continue
		}
		if f != nil {
			f(s)
		}
	}
	return s
}

// limit is how long a collector may look.
func limit(c Collector) time.Duration { return max(c.Every(), 3*time.Second) }
