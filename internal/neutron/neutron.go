package neutron

import (
	"context"
	"embed"
	"log/slog"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/openstack"
)

// Migrations are the goose files of Neutron's database, under "migrations".
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Config is what an operator may decide. The zero value is a working cloud on
// one host: VXLAN networks and one flat network on "public".
type Config struct {
	// TenantNetworkType is the type of networks whose creator names none.
	TenantNetworkType string
	// VNIMin and VNIMax bound the VXLAN identifiers given out.
	VNIMin, VNIMax int
	// FlatNetworks are the physical networks that may carry a flat network.
	FlatNetworks []string
	// VLANRanges are the VLAN tags given out per physical network.
	VLANRanges map[string]VLANRange
	// MTU is that of the physical networks; VXLAN takes 50 off.
	MTU int
	// DHCPAgentsPerNetwork is how many DHCP servers a network gets.
	DHCPAgentsPerNetwork int
	// AgentDownTime is after how long without a heartbeat an agent is dead.
	AgentDownTime time.Duration
	// FailoverTime is that of L3 agents: what a dead one served is given to
	// another. 0 means that routers and DHCP servers stay where they are, as is
	// right on one machine.
	FailoverTime time.Duration
	// AvailabilityZone is that of all agents that name none.
	AvailabilityZone string
	// DNSDomain ends the names in dns_assignment.
	DNSDomain string
	// NoAgents makes a bound port ACTIVE at once: for API tests and simulated
	// hosts, where nobody plugs anything.
	NoAgents bool
	// Quotas replaces the default limits; -1 is unlimited.
	Quotas map[string]int64
}

// A VLANRange is a range of VLAN tags, both ends included.
type VLANRange struct{ Min, Max int }

func (c Config) withDefaults() Config {
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set(&c.VNIMin, 1)
	set(&c.VNIMax, 1<<24-1)
	set(&c.MTU, 1500)
	set(&c.DHCPAgentsPerNetwork, 2)
	if c.TenantNetworkType == "" {
		c.TenantNetworkType = typeVXLAN
	}
	if c.FlatNetworks == nil {
		c.FlatNetworks = []string{"public"}
	}
	if c.AgentDownTime == 0 {
		c.AgentDownTime = 75 * time.Second
	}
	if c.AvailabilityZone == "" {
		c.AvailabilityZone = "nova"
	}
	if c.DNSDomain == "" {
		c.DNSDomain = "openstacklocal."
	}
	return c
}

// Deps are the engines Neutron stands on. Clients may be nil: Nova is then not
// told of plugged ports.
type Deps struct {
	DB      *db.DB
	Bus     bus.Bus
	Clients *openstack.Clients
	Clock   clock.Clock
	Log     *slog.Logger
}

// Service is neutron-server without its HTTP face. It is safe for concurrent
// use and holds no state that another process would miss: several may run.
type Service struct {
	cfg     Config
	db      *db.DB
	bus     bus.Bus
	clients *openstack.Clients
	clock   clock.Clock
	log     *slog.Logger

	notifier *notifier
	events   chan struct{} // wakes the sender of Nova events
	schedule chan struct{} // wakes the search for work without an agent

	// groups remembers default security groups, which never change their id;
	// beats remembers the last written heartbeat of each agent.
	mu     sync.Mutex
	groups map[string]string
	beats  map[string]heartbeat
	// hearing is when this process began to hear heartbeats without a break,
	// heard when it heard the last: without them it cannot say who is dead.
	hearing, heard time.Time
}

// New makes the service; Run starts its background work.
func New(cfg Config, d Deps) (*Service, error) {
	if d.Clock == nil {
		d.Clock = clock.System
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		cfg: cfg.withDefaults(), db: d.DB, bus: d.Bus, clients: d.Clients, clock: d.Clock, log: d.Log,
		events:   make(chan struct{}, 1),
		schedule: make(chan struct{}, 1),
		groups:   map[string]string{},
		beats:    map[string]heartbeat{},
	}
	s.notifier = newNotifier()
	return s, nil
}

// Config returns the configuration with its defaults filled in.
func (s *Service) Config() Config { return s.cfg }

// Run serves the agents and sends what is due to Nova until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	stop, err := s.serveBus(ctx)
	if err != nil {
		return err
	}
	defer stop()
	// A process that died between a commit and its notification told nobody:
	// agents compare revisions, and those that are behind pull.
	rev, err := s.revision(ctx, s.db)
	if err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "revision could not be read at start", "error", err)
	}
	s.notifier.add(&change{all: true, revision: rev})
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context){s.notifyLoop, s.novaLoop, s.scheduleLoop, s.failoverLoop} {
		wg.Go(func() { loop(ctx) })
	}
	<-ctx.Done()
	wg.Wait()
	return nil
}
