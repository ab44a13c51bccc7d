package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/neutron/dataplane"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// The parts of an Agent.
const (
	PartL2       = "l2"
	PartL3       = "l3"
	PartDHCP     = "dhcp"
	PartMetadata = "metadata"
)

// AllParts is what a host with everything on it runs.
func AllParts() []string { return []string{PartL2, PartL3, PartDHCP, PartMetadata} }

// Config says which host this is and what it runs.
type Config struct {
	Host  string
	Parts []string // AllParts if empty

	// DataPlane names the state directory, bridges and tunnel address.
	DataPlane dataplane.Config

	// MetadataURL is nova-metadata, such as http://127.0.0.1:8775; requests of
	// guests go there signed with MetadataSecret.
	MetadataURL    string
	MetadataSecret config.Secret

	// CheckEvery is how often the machine is looked at for what vanished,
	// HeartbeatEvery how often the server hears of the agents. Zero means the
	// defaults of 2 and 10 seconds. L3HeartbeatEvery is that of the L3 part,
	// zero for the same.
	CheckEvery       time.Duration
	HeartbeatEvery   time.Duration
	L3HeartbeatEvery time.Duration

	// Address is this host's in the management network, Members are those of
	// the cluster's other servers; without them this host counts as connected
	// always (isolation.go).
	Address netip.Addr
	Members []netip.Addr
}

// Deps is what the agent needs of its process.
type Deps struct {
	Bus   bus.Bus
	Clock clock.Clock
	Log   *slog.Logger
	// Transport reaches nova-metadata; nil means http.DefaultTransport.
	Transport http.RoundTripper
}

// An Agent keeps one host's networks as neutron-server says.
type Agent struct {
	cfg   Config
	bus   bus.Bus
	clock clock.Clock
	log   *slog.Logger
	host  *dataplane.Host
	proxy *metadataProxy

	startedAt time.Time
	wake      chan struct{}
	lastBeat  atomic.Int64 // when a heartbeat was last answered, UnixNano
	fenced    atomic.Bool  // this host is isolated, its gateways are off

	mu      sync.Mutex // guards pending and heard
	pending pending
	heard   int64 // latest revision heard of

	// The rest belongs to the loop of Run.
	model    *model
	synced   bool   // a full answer was applied
	again    *dirty // what the last pass did not finish
	reported map[string]string
	routers  map[string]string // last reported status, printed
	badLog   map[string]string // id → problem that was logged
	ready    chan struct{}
	readyOne sync.Once
}

// pending is what woke the loop since it last looked.
type pending struct {
	full    bool
	changed rpc.Changed
	links   bool
}

// New opens the machine and makes what every network needs. It fails with
// dataplane.ErrNotRoot when the process may not configure networks, and with a
// sentence when the machine lacks something or is in the way.
func New(cfg Config, deps Deps) (*Agent, error) {
	if len(cfg.Parts) == 0 {
		cfg.Parts = AllParts()
	}
	if cfg.CheckEvery <= 0 {
		cfg.CheckEvery = 2 * time.Second
	}
	if cfg.HeartbeatEvery <= 0 {
		cfg.HeartbeatEvery = 10 * time.Second
	}
	if cfg.L3HeartbeatEvery <= 0 {
		cfg.L3HeartbeatEvery = cfg.HeartbeatEvery
	}
	if deps.Log == nil {
		deps.Log = slog.Default()
	}
	if deps.Clock == nil {
		deps.Clock = clock.System
	}
	cfg.DataPlane.Log = deps.Log
	host, err := dataplane.NewHost(cfg.DataPlane)
	if err != nil {
		return nil, err
	}
	if err := prepare(host, cfg); err != nil {
		host.Close()
		return nil, err
	}
	a := &Agent{
		cfg: cfg, bus: deps.Bus, clock: deps.Clock, log: deps.Log, host: host,
		startedAt: deps.Clock.Now(), wake: make(chan struct{}, 1),
		model: newModel(), reported: map[string]string{}, routers: map[string]string{},
		badLog: map[string]string{}, ready: make(chan struct{}),
	}
	a.lastBeat.Store(a.startedAt.UnixNano())
	if a.runs(PartMetadata) {
		a.proxy, err = newMetadataProxy(cfg, deps, host)
		if err != nil {
			host.Close()
			return nil, err
		}
	}
	return a, nil
}

// prepare finds out what cannot work before anything is started.
func prepare(host *dataplane.Host, cfg Config) error {
	if slices.Contains(cfg.Parts, PartDHCP) {
		if err := host.CheckDHCP(); err != nil {
			return err
		}
	}
	if err := host.Prepare(); err != nil {
		return fmt.Errorf("prepare the host's network: %w", err)
	}
	return nil
}

func (a *Agent) runs(part string) bool { return slices.Contains(a.cfg.Parts, part) }

// Ready is closed once the first full state of the server is in force.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Inventory lists what is really on the machine, for the audit.
func (a *Agent) Inventory() (*dataplane.Inventory, error) { return a.host.Inventory() }

// Cleanup removes every trace from the machine; Run must have ended.
func (a *Agent) Cleanup(context.Context) error { return a.host.Cleanup() }

// Close lets go of the machine without changing it; Run must have ended.
func (a *Agent) Close() error {
	a.host.Close()
	return nil
}

// Run works until ctx ends. The machine stays as it is then: traffic does not
// need the agent.
func (a *Agent) Run(ctx context.Context) error {
	mux := bus.NewMux()
	bus.On(mux, rpc.MethodChanged, a.changed)
	bus.On(mux, rpc.MethodPing, func(context.Context, rpc.Empty) (rpc.Empty, error) { return rpc.Empty{}, nil })
	stop, err := a.bus.Serve(ctx, rpc.AgentTopic, a.cfg.Host, mux.Handle)
	if err != nil {
		return fmt.Errorf("serve %s: %w", rpc.AgentTopic, err)
	}
	defer stop()
	if err := dataplane.WatchLinks(ctx.Done(), a.linksChanged); err != nil {
		return err
	}
	if a.proxy != nil {
		defer a.proxy.stop()
	}
	var group sync.WaitGroup
	group.Go(func() { a.heartbeats(ctx) })
	group.Go(func() { a.watchIsolation(ctx) })
	a.loop(ctx)
	group.Wait()
	return nil
}

// changed takes a notification: remember and wake, so that a burst of them
// becomes one pull.
func (a *Agent) changed(_ context.Context, c rpc.Changed) (rpc.Empty, error) {
	a.hear(c.Revision)
	if !c.Concerns(a.cfg.Host) {
		return rpc.Empty{}, nil
	}
	a.mu.Lock()
	if c.IsEmpty() {
		a.pending.full = true
	} else {
		a.pending.merge(&c)
	}
	a.mu.Unlock()
	a.nudge()
	return rpc.Empty{}, nil
}

func (a *Agent) linksChanged() {
	a.mu.Lock()
	a.pending.links = true
	a.mu.Unlock()
	a.nudge()
}

func (a *Agent) pullAll() {
	a.mu.Lock()
	a.pending.full = true
	a.mu.Unlock()
	a.nudge()
}

func (a *Agent) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// gather is how long the loop waits for more after it was woken: a boot
// changes its port several times in a row.
const gather = 10 * time.Millisecond

// loop is the only goroutine that changes the machine.
func (a *Agent) loop(ctx context.Context) {
	ticker := a.clock.NewTicker(a.cfg.CheckEvery)
	defer ticker.Stop()
	a.pullAll()
	retry := time.Duration(0)
	for {
		var again <-chan time.Time
		if retry > 0 {
			again = a.clock.After(retry)
		}
		check := false
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
			if !sleep(ctx, a.clock, gather) {
				return
			}
		case <-again:
		case <-ticker.C():
			check = true
		}
		if err := a.step(ctx, check); err != nil && ctx.Err() == nil {
			retry = min(max(2*retry, 200*time.Millisecond), 5*time.Second)
			a.log.Warn("network agent will try again", "error", err, "after", retry)
			continue
		}
		retry = 0
	}
}

func sleep(ctx context.Context, c clock.Clock, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-c.After(d):
		return true
	}
}

// step pulls what is pending, applies it and reports. What could not be pulled
// stays pending.
func (a *Agent) step(ctx context.Context, check bool) error {
	a.mu.Lock()
	p := a.pending
	a.pending = pending{}
	a.mu.Unlock()
	d, err := a.pull(ctx, &p)
	if err != nil {
		a.mu.Lock()
		a.pending.full = a.pending.full || p.full
		a.pending.merge(&p.changed)
		a.mu.Unlock()
		if !a.synced || a.fenced.Load() {
			return err
		}
		d = newDirty() // keep what is known in force
	} else if d.all && a.fenced.CompareAndSwap(true, false) {
		a.log.InfoContext(ctx, "this host is connected again")
	}
	if check {
		a.check(d)
	}
	if p.links || check {
		d.l2 = true
	}
	if a.again != nil {
		d.merge(a.again)
		a.again = nil
	}
	applyErr := a.apply(ctx, d)
	if applyErr != nil {
		a.again = d // or what was not reported would never be
	}
	return errors.Join(err, applyErr)
}

func (p *pending) merge(c *rpc.Changed) {
	p.changed.Networks = union(p.changed.Networks, c.Networks)
	p.changed.Ports = union(p.changed.Ports, c.Ports)
	p.changed.Routers = union(p.changed.Routers, c.Routers)
	p.changed.SecurityGroups = union(p.changed.SecurityGroups, c.SecurityGroups)
	p.changed.Revision = max(p.changed.Revision, c.Revision)
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}
