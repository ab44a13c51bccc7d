package node

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/hastack/hastack/internal/config"
)

// GaleraConfig is how the agent asks the database on its server.
type GaleraConfig struct {
	// Listen is where load balancers ask without TLS whether to write here.
	Listen netip.AddrPort `yaml:"listen"`
	// Socket is MariaDB's.
	Socket string `yaml:"socket"`
	// User and Password may only read the status.
	User     string      `yaml:"user"`
	Password PlainSecret `yaml:"password"`
	// Members are the servers of the cluster, this one among them.
	Members []string `yaml:"members"`
}

func (g *GaleraConfig) validate() error {
	if !g.Listen.IsValid() || g.Socket == "" || g.User == "" {
		return errors.New("listen, socket and user are needed")
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
}

// galera asks the database and answers the load balancers.
type galera struct{ cfg *GaleraConfig }

func newGalera(cfg *GaleraConfig) *galera { return &galera{cfg: cfg} }

func (g *galera) Name() string         { return "galera" }
func (g *galera) Every() time.Duration { return time.Second }

// Collect looks at the status of replication.
func (g *galera) Collect(context.Context) (Facts, error) { return nil, errors.ErrUnsupported }

// ServeHTTP is GET /galera: 200 when new writes may go here, else 503.
func (g *galera) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "not built", http.StatusServiceUnavailable)
}
