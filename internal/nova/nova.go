package nova

import (
	"embed"
	"log/slog"
	"maps"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/openstack"
	"github.com/hastack/hastack/internal/operation"
)

// Migrations are the goose files of Nova's database.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Config is what an operator may set. The zero value of each field means its
// default.
type Config struct {
	// Host names this machine among those that run nova-conductor: after a
	// restart it takes its own operations up at once. "" waits for the leases.
	Host       string
	Zone       string // availability zone of hosts that no aggregate puts in one: "nova"
	Cell       string // "cell1"
	ConsoleURL string // where browsers find nova-novncproxy, as "http://host:6080/vnc_lite.html"
	// Quota overrides limits of QuotaResources by name.
	Quota map[string]int64
	// ServiceDownAfter is how long a host may be silent: 60 s.
	ServiceDownAfter time.Duration
	// BuildTimeout bounds a boot from its request to ACTIVE or ERROR: 10 min.
	BuildTimeout time.Duration
	// ActionTimeout bounds every other operation on a host: 10 min.
	ActionTimeout time.Duration
	// RecastAfter is how long a host may say nothing of an operation before
	// it is told again: 15 s.
	RecastAfter time.Duration
	// BuildAttempts is on how many hosts a boot is tried: 3.
	BuildAttempts int
	// ConsoleTokenTTL is how long a console URL may be opened: 10 min.
	ConsoleTokenTTL time.Duration
}

func (c Config) withDefaults() Config {
	def(&c.Zone, "nova")
	def(&c.Cell, "cell1")
	def(&c.ConsoleURL, "http://127.0.0.1:6080/vnc_lite.html")
	def(&c.ServiceDownAfter, time.Minute)
	def(&c.BuildTimeout, 10*time.Minute)
	def(&c.ActionTimeout, 10*time.Minute)
	def(&c.RecastAfter, 15*time.Second)
	def(&c.BuildAttempts, 3)
	def(&c.ConsoleTokenTTL, 10*time.Minute)
	quota := QuotaResources()
	maps.Copy(quota, c.Quota)
	c.Quota = quota
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Deps are what Nova's database-side parts run on.
type Deps struct {
	DB      *db.DB
	Bus     bus.Bus
	Clients *openstack.Clients
	Clock   clock.Clock
	Log     *slog.Logger
}

// A Service is Nova's domain on its database: what nova-api, nova-scheduler
// and nova-conductor share. It is safe for concurrent use and owns no
// goroutine; the parts that run are Scheduler and conductor.Conductor.
type Service struct {
	cfg     Config
	db      *db.DB
	bus     bus.Bus
	clients *openstack.Clients
	clock   clock.Clock
	log     *slog.Logger
	ops     *operation.Runner
	runs    atomic.Bool // this process executes operations

	beats    beats
	images   *lookupCache[*imageInfo]
	networks *lookupCache[[]networkInfo]
}

// New makes a service.
func New(cfg Config, d Deps) (*Service, error) {
	s := &Service{
		cfg: cfg.withDefaults(), db: d.DB, bus: d.Bus, clients: d.Clients, clock: d.Clock, log: d.Log,
		images:   newLookupCache[*imageInfo](d.Clock, lookupTTL),
		networks: newLookupCache[[]networkInfo](d.Clock, lookupTTL),
	}
	return s, s.initOperations()
}

// Zone is the availability zone of hosts that are in no other.
func (s *Service) Zone() string { return s.cfg.Zone }

// checkName refuses names that Nova refuses: empty, over 255 characters, with
// white space at an end, or with characters that do not print.
func checkName(what, name string) error {
	switch {
	case name == "" || utf8.RuneCountInString(name) > 255:
		return fault.New(fault.BadRequest, "invalid input for field/attribute name: %s must have 1 to 255 characters", what)
	case strings.TrimSpace(name) != name:
		return fault.New(fault.BadRequest, "invalid input for field/attribute name: %s must not begin or end with white space", what)
	}
	return checkPrintable(what, name)
}

func checkPrintable(what, text string) error {
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return fault.New(fault.BadRequest, "invalid input for %s: it has a character that does not print", what)
		}
	}
	return nil
}

var hostnameForm = regexp.MustCompile(`^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+$`)

var notHostname = regexp.MustCompile(`[^a-z0-9-]`)

// hostnameOf makes a host name of a server's display name, as Nova does.
func hostnameOf(name, id string) string {
	h := strings.NewReplacer("_", "-", " ", "-", ".", "-").Replace(strings.ToLower(name))
	h = strings.Trim(notHostname.ReplaceAllString(h, ""), "-")
	if len(h) > 63 {
		h = strings.TrimRight(h[:63], "-")
	}
	if h == "" {
		return "server-" + id
	}
	return h
}
