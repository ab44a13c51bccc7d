package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
)

// GaleraConfig is how the agent asks the database on its server.
type GaleraConfig struct {
	// Socket is MariaDB's.
	Socket string `yaml:"socket"`
	// User and Password may only read the status.
	User     string      `yaml:"user"`
	Password PlainSecret `yaml:"password"`
	// Members are the servers of the cluster, this one among them.
	Members []string `yaml:"members"`
}

func (g *GaleraConfig) validate() error {
	if g.Socket == "" || g.User == "" {
		return errors.New("socket and user are needed")
	}
	return nil
}

// PlainSecret is a secret that is written in clear into a configuration file,
// which only root may read; everywhere else it prints as stars.
type PlainSecret struct{ config.Secret }

// MarshalYAML gives the text: the file is where it belongs.
func (p PlainSecret) MarshalYAML() (any, error) { return p.Reveal(), nil }

// Galera is the database server as it sees itself.
type Galera struct {
	Ready   bool   `json:"ready"`   // wsrep_ready: it takes statements
	Primary bool   `json:"primary"` // part of the component with quorum
	State   string `json:"state"`   // Synced, Donor/Desynced, Joining, …
	Size    int    `json:"size"`    // of its component
	Members int    `json:"members"` // that there should be
	// ReceiveQueue and SendQueue are write sets that wait, FlowControl the part
	// of the time that replication was paused since the last look.
	ReceiveQueue int     `json:"receive_queue"`
	SendQueue    int     `json:"send_queue"`
	FlowControl  float64 `json:"flow_control"`
	Cluster      string  `json:"cluster"`   // state UUID
	Committed    int64   `json:"committed"` // last committed sequence number
	// Flush is innodb_flush_log_at_trx_commit; anything but 1 loses writes.
	Flush       int `json:"flush"`
	Connections int `json:"connections"`

	// Position is "UUID:SEQNO", what the data here contains, while the database
	// does not serve; "" when it serves, and when nobody knows.
	Position string `json:"position,omitempty"`
	// Held names the member for whom this one keeps still, so that it can
	// begin the cluster again, and HeldSeconds is for how much longer.
	Held        string `json:"held,omitempty"`
	HeldSeconds int    `json:"held_seconds,omitempty"`
	// Waits says what keeps the database from coming back by itself.
	Waits string `json:"waits,omitempty"`
}

// Limits of the look at the database. A load balancer gives the whole answer
// 700 ms. Late is not dead: on a busy machine a healthy database may miss an
// answer; one that has been silent for galeraLate is what its fellows expel.
// galeraAsked is how often a load balancer asks: what lies further between two
// looks is a time in which this agent did not run, and no silence.
const (
	galeraAsked   = 500 * time.Millisecond
	galeraAnswers = 500 * time.Millisecond
	galeraCached  = 100 * time.Millisecond
	galeraLate    = 1500 * time.Millisecond
)

// galera asks the database and answers the load balancers.
type galera struct {
	cfg      *GaleraConfig
	clock    clock.Clock
	db       *statusDB
	ask      func(ctx context.Context) (Galera, error)
	host     galeraHost
	recovery *galeraRecovery

	look sync.Mutex // one look at a time
	mu   sync.Mutex // guards last, at, why, good and late
	last Galera
	at   time.Time
	why  error     // last is not known
	good time.Time // its silence counts from here; zero once it refused
	late bool      // the last look ran into its limit, and others follow it

	paused     int64 // for FlowControl, guarded by look
	pausedSeen time.Time
}

func newGalera(cfg *GaleraConfig, deps Deps, host galeraHost, recovery *galeraRecovery) (*galera, error) {
	pool, err := openStatus(cfg)
	if err != nil {
		return nil, err
	}
	g := &galera{cfg: cfg, clock: deps.Clock, db: pool, host: host, recovery: recovery}
	g.ask = g.askDatabase
	return g, nil
}

func (g *galera) Name() string         { return "galera" }
func (g *galera) Every() time.Duration { return time.Second }

// Collect looks at the status of replication, and at the position of a
// database that does not serve.
func (g *galera) Collect(ctx context.Context) (Facts, error) {
	seen, err := g.status(ctx)
	if !seen.Primary {
		position, perr := g.host.position(ctx, seen)
		seen.Position = position
		err = errors.Join(err, perr)
	}
	seen.Held, seen.HeldSeconds, seen.Waits = g.recovery.told()
	if g.recovery.mine(&seen) {
		err = nil // it is down because this agent wants it so
	}
	return func(s *State) { s.Galera = &seen }, err
}

// status is what the database says, not older than galeraCached, or what is
// known of one that is late: nobody waits for its answers. With an error the
// rest is zero.
func (g *galera) status(ctx context.Context) (Galera, error) {
	if s, err, ok := g.recent(); ok {
		return s, err
	}
	g.look.Lock()
	defer g.look.Unlock()
	if s, err, ok := g.recent(); ok { // another looked meanwhile
		return s, err
	}
	if g.lookNow(ctx) {
		go g.chase(context.WithoutCancel(ctx))
	}
	s, err, _ := g.recent()
	return s, err
}

// chase looks at a late database until it answers or refuses.
func (g *galera) chase(ctx context.Context) {
	for late := true; late; {
		<-g.clock.After(galeraCached)
		g.look.Lock()
		late = g.lookNow(ctx)
		g.look.Unlock()
	}
}

// lookNow asks the database and tells whether the answer is late. Called with
// g.look held.
func (g *galera) lookNow(ctx context.Context) (late bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), galeraAnswers)
	defer cancel()
	began := g.clock.Now()
	seen, err := g.ask(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	ended := g.clock.Now()
	deaf := max(0, began.Sub(g.at)-galeraAsked) + max(0, ended.Sub(began)-galeraAnswers)
	g.at, g.why = ended, err
	g.late = errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case err == nil:
		seen.Members = len(g.cfg.Members)
		g.last, g.good = seen, g.at
	case !g.late: // a dead one refuses, and is believed at once
		g.good = time.Time{}
	case !g.good.IsZero():
		g.good = g.good.Add(deaf)
	}
	return g.late
}

func (g *galera) recent() (Galera, error, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Now()
	heard := g.at.Add(galeraCached + galeraAnswers) // a look beyond its limit hears no more
	if heard.After(now) {
		heard = now
	}
	if g.late && heard.Sub(g.good) < galeraLate {
		return g.last, nil, true
	}
	age := now.Sub(g.at)
	known := g.late || age >= 0 && age < galeraCached
	if g.why != nil {
		return Galera{Members: len(g.cfg.Members)}, g.why, known
	}
	return g.last, nil, known
}

// States of a member, wsrep_local_state_comment.
const (
	galeraSynced = "Synced"
	galeraDonor  = "Donor/Desynced" // gives another a copy
)

// InSync tells that the member has all that the cluster has, and takes statements.
func (s *Galera) InSync() bool { return s.Ready && s.State == galeraSynced }

// writable tells why new writes may not go to this member; nil when they may.
// A donor serves: the copy that it gives away does not stop it.
func (s *Galera) writable() error {
	switch {
	case !s.Primary:
		return errors.New("no quorum")
	case !s.Ready:
		return errors.New("not ready")
	case s.State != galeraSynced && s.State != galeraDonor:
		return fmt.Errorf("state %s", s.State)
	case s.Flush != 1:
		return fmt.Errorf("innodb_flush_log_at_trx_commit is %d, which loses acknowledged writes", s.Flush)
	}
	return nil
}

// ServeHTTP is GET /galera: 200 when new writes may go here, else 503.
func (g *galera) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, err := g.status(r.Context())
	if err == nil {
		err = s.writable()
	}
	if err == nil {
		err = g.host.room()
	}
	w.Header().Set("Content-Type", "text/plain")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintf(w, "not here: %v\n", err)
		return
	}
	_, _ = fmt.Fprintln(w, "write here")
}
