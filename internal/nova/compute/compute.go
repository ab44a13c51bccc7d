// Package compute is nova-compute: the agent that runs servers on one host.
//
// It takes operations from the bus (rpc.Compute), does them with a virt.Driver,
// Glance and Neutron, and tells the conductor how they ended. It has no
// database: what should exist it asks the conductor, what does exist it asks
// the driver. Every operation can be repeated, and a restarted agent takes up
// what it left.
//
// Read ops.go for how an operation runs once and ends in a Finish, build.go for
// steps 13 to 28 of a boot, recover.go for what happens after a restart.
package compute

import (
	"context"
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/keylock"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
	"github.com/hastack/hastack/internal/nova/virt/imagecache"
	"github.com/hastack/hastack/internal/openstack"
)

// Config is what an operator sets of a host's agent.
type Config struct {
	Host     string // the name of the host in the whole cloud
	Zone     string // availability zone it reports; default nova
	HostIP   string // shown by os-hypervisors; default 127.0.0.1
	StateDir string // images are cached in StateDir/images
	// VNCListen is where the relay to the screens listens, "address:port"; port
	// 0 takes a free one. Default 127.0.0.1:0.
	VNCListen string
	// VNCTLS encrypts the relay and says whom it lets connect; nil carries
	// screens in the clear, which is right on loopback only.
	VNCTLS *tls.Config
	// VIFPlugTimeout bounds the wait for Neutron to wire a port. Default 60 s.
	VIFPlugTimeout time.Duration
	// ShutdownGrace is how long a guest may take to shut down. Default 30 s.
	ShutdownGrace  time.Duration
	HeartbeatEvery time.Duration // default 10 s
	// LeaveStopped leaves servers stopped that ran when the machine went down;
	// otherwise they are started again.
	LeaveStopped bool
	MaxBuilds    int64 // at once; default 8
	// CPURatio, MemoryRatio and DiskRatio overcommit the host. Default 16, 1, 1.
	CPURatio, MemoryRatio, DiskRatio float64
	ReservedMemoryMB                 int
	ReservedDiskGB                   int
	ImageCacheBytes                  int64 // default 20 GiB
}

// Deps are the neighbours of an agent.
type Deps struct {
	Bus       bus.Bus
	Conductor rpc.Conductor // nil: one over Bus
	Driver    virt.Driver
	Clients   *openstack.Clients
	Clock     clock.Clock
	Log       *slog.Logger
}

// Agent is the nova-compute of one host. Make it with New.
type Agent struct {
	cfg       Config
	bus       bus.Bus
	conductor rpc.Conductor
	driver    virt.Driver
	needs     virt.Capabilities
	clock     clock.Clock
	log       *slog.Logger

	network   networkAPI
	images    imageAPI
	placement placementAPI
	cache     *imagecache.Cache // nil when the driver needs no image

	started time.Time
	locks   *keylock.Locks // one operation at a time per server
	builds  *semaphore.Weighted
	plugs   *plugs
	relay   *relay
	stopped chan struct{} // closed when Run ends
	found   []string      // servers that were here at the start, until they are compared

	mu      sync.Mutex // guards what follows
	ops     map[string]*running
	booting map[string]bool // servers whose guests this agent is starting by itself
	report  reported
}

var _ rpc.Compute = (*Agent)(nil)

// New makes an agent; Run starts it.
func New(cfg Config, d Deps) (*Agent, error) {
	if cfg.Host == "" {
		return nil, fault.New(fault.BadRequest, "compute: the host has no name")
	}
	cfg.defaults()
	if d.Conductor == nil {
		d.Conductor = rpc.NewConductorClient(d.Bus)
	}
	a := &Agent{cfg: cfg, bus: d.Bus, conductor: d.Conductor, driver: d.Driver, needs: d.Driver.Capabilities(),
		clock: d.Clock, log: d.Log.With(slog.String("host", cfg.Host)),
		network: newNeutron(d.Clients, d.Clock), images: &glance{clients: d.Clients}, placement: &placement{clients: d.Clients},
		started: d.Clock.Now(), locks: keylock.New(), builds: semaphore.NewWeighted(cfg.MaxBuilds), plugs: newPlugs(),
		stopped: make(chan struct{}), ops: map[string]*running{}, booting: map[string]bool{}}
	if a.needs.NeedsImage {
		var err error
		a.cache, err = imagecache.New(filepath.Join(cfg.StateDir, "images"), cfg.ImageCacheBytes, d.Clock, d.Driver.Bases)
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (c *Config) defaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	ratio := func(r *float64, v float64) {
		if *r == 0 {
			*r = v
		}
	}
	def(&c.VIFPlugTimeout, time.Minute)
	def(&c.ShutdownGrace, 30*time.Second)
	def(&c.HeartbeatEvery, 10*time.Second)
	ratio(&c.CPURatio, 16)
	ratio(&c.MemoryRatio, 1)
	ratio(&c.DiskRatio, 1)
	if c.MaxBuilds == 0 {
		c.MaxBuilds = 8
	}
	if c.Zone == "" {
		c.Zone = "nova"
	}
	if c.HostIP == "" {
		c.HostIP = "127.0.0.1"
	}
	if c.VNCListen == "" {
		c.VNCListen = "127.0.0.1:0"
	}
}

// Run takes over what is on the host, serves until ctx ends, and leaves the
// guests running.
func (a *Agent) Run(ctx context.Context) error {
	defer close(a.stopped)
	have, err := a.driver.Recover(ctx)
	if err != nil {
		return err
	}
	for _, in := range have {
		a.found = append(a.found, in.ID)
	}
	if a.relay, err = listenRelay(ctx, a.cfg.VNCListen, a.cfg.VNCTLS, a.clock, a.log); err != nil {
		return err
	}
	defer a.relay.close()
	mux := bus.NewMux()
	rpc.RegisterCompute(mux, a)
	stop, err := a.bus.Serve(ctx, rpc.TopicCompute, a.cfg.Host, mux.Handle)
	if err != nil {
		return err
	}
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { a.watchDriver(ctx); return nil })
	g.Go(func() error {
		if a.join(ctx) == nil { // only the end of ctx makes it give up
			a.beat(ctx)
		}
		return nil
	})
	return g.Wait()
}

// retry calls f until it succeeds or ctx ends, with growing pauses.
func (a *Agent) retry(ctx context.Context, what string, f func() error) error {
	pause := 200 * time.Millisecond
	for {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.log.WarnContext(ctx, "not done yet, trying again", slog.String("what", what), slog.Any("error", err))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.clock.After(pause):
		}
		pause = min(2*pause, 10*time.Second)
	}
}
