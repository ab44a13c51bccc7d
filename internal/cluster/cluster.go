// Package cluster is the directory on the operator's machine that makes a
// cluster this operator's: its topology, its secrets, its certificate
// authority and the pinned host keys; and the ways to its servers, SSH and
// HTTPS with client certificates.
//
// Everything in the directory is made once and atomically, so that a deploy
// that was killed finds it again. It is readable by its owner only. Start with
// [Ensure] and [Open]; ca.go has the certificates, ssh.go the connections.
package cluster

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

// A Dir is an open cluster directory. It is safe for concurrent use.
type Dir struct {
	Path     string
	Topology *topology.Topology
	Secrets  *Secrets
}

// Secrets are what the parts of one cluster share: those of every cloud, and
// the engines' own.
type Secrets struct {
	config.Secrets `yaml:",inline"`
	// DatabaseRoot is root@localhost's password in MariaDB, DatabaseService
	// the password of the services' users (one user a service, of its name),
	// DatabaseMonitor that of the node agents' user hastack_monitor.
	DatabaseRoot    config.Secret `yaml:"database_root"`
	DatabaseService config.Secret `yaml:"database_service"`
	DatabaseMonitor config.Secret `yaml:"database_monitor"`
	// Replication is the password of the state transfers between members.
	Replication config.Secret `yaml:"replication"`
	// RabbitPassword is the user hastack's, ErlangCookie the members' own.
	RabbitPassword config.Secret `yaml:"rabbit_password"`
	ErlangCookie   config.Secret `yaml:"erlang_cookie"`
	// VRRPPassword authenticates adverts; only its first 8 characters count.
	VRRPPassword config.Secret `yaml:"vrrp_password"`
	// StatsPassword opens HAProxy's statistics, CorosyncKey is corosync's
	// authkey, PacemakerPassword the user hacluster's.
	StatsPassword     config.Secret `yaml:"stats_password"`
	CorosyncKey       config.Secret `yaml:"corosync_key"`
	PacemakerPassword config.Secret `yaml:"pacemaker_password"`
}

// Open opens an existing cluster directory.
func Open(dir string) (*Dir, error) { return nil, errors.ErrUnsupported }

// Ensure opens the directory for a topology and makes what is missing.
func Ensure(dir string, t *topology.Topology) (*Dir, error) { return nil, errors.ErrUnsupported }

// Certificate is the server's, issued by the cluster's authority. It is kept,
// and renewed when less than 30 days remain or the server's names differ.
func (d *Dir) Certificate(server *topology.Server) (certPEM, keyPEM []byte, err error) {
	return nil, nil, errors.ErrUnsupported
}

// CAPEM is the certificate of the cluster's authority.
func (d *Dir) CAPEM() []byte { return nil }

// HTTPClient makes a client that trusts the cluster's authority and shows the
// operator's certificate.
func (d *Dir) HTTPClient(timeout time.Duration) *http.Client { return nil }

// A Conn is an SSH connection to one server, shared by all who ask for it.
type Conn struct{}

// Run runs a POSIX shell script as root and returns its standard output. The
// error names the server and ends with the last lines of standard error. When
// ctx ends the connection's channel is closed.
func (c *Conn) Run(ctx context.Context, script string, stdin io.Reader) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

// SSH is the connection to a server; it is made when there is none. The host
// key is pinned in known_hosts the first time.
func (d *Dir) SSH(ctx context.Context, s *topology.Server) (*Conn, error) {
	return nil, errors.ErrUnsupported
}
