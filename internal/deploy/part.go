package deploy

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/cluster"
	"github.com/hastack/hastack/internal/topology"
)

// A Part is one thing that deploy brings to its servers. Parts run one after
// another in the order of [Parts]; inside a part the servers run in parallel
// unless it is Rolling.
type Part struct {
	Name string
	// Servers are those that the part runs on; none skips it.
	Servers func(t *topology.Topology) []*topology.Server
	// Want says what must be on a server, from the topology and the cluster's
	// secrets only: it must not look at the server or the time.
	Want func(c *Context, s *topology.Server) (*Want, error)
	// Rolling changes one server at a time and waits for Healthy between them,
	// once any server runs the part; a first deploy goes to all at once.
	Rolling bool
	// Healthy is polled after a server was changed, and at the end of the part
	// on all of its servers, until it returns nil or the deadline passes; nil
	// means that running units are enough.
	Healthy func(ctx context.Context, c *Context, s *topology.Server) error
	// Start, if set, replaces the default handling of units (reload of
	// systemd, Then, restart, reload, enable, start) after the files are in
	// place on all servers. changed holds what was planned by server name; it
	// is called only when there is something. It may use [Context.Settle] to
	// do the default handling of one server at the time of its choice.
	Start func(ctx context.Context, c *Context, changed map[string][]Change) error
	// After, if set, runs once the part is healthy everywhere, in every
	// deploy: it must be idempotent and quick when there is nothing to do.
	After func(ctx context.Context, c *Context) error
	// Deadline bounds Healthy; 0 means 90 seconds.
	Deadline time.Duration
}

// Want is the state of one server that one part is responsible for.
type Want struct {
	Packages []string // Debian packages, installed if missing; daemons are not started by that
	Users    []User
	Dirs     []Directory
	Files    []File
	Units    []Unit
	Absent   []string // files that must not be there
}

// A User is a system user with a group of the same name.
type User struct {
	Name   string
	Groups []string // further groups
	Home   string   // "" means /nonexistent
}

// A Directory must be there; it is made with its parents.
type Directory struct {
	Path, Owner, Group string // "" means root
	Mode               os.FileMode
}

// A File has exactly this content. What follows its change happens once for
// all files of the part: Then in order, then Restart, then Reload.
type File struct {
	Path, Owner, Group string // "" means root
	Mode               os.FileMode
	Content            []byte
	Sum                string   // SHA-256 of Content in hex where it is known already
	Link               string   // the file is a symbolic link to this, without content
	Secret             bool     // never show the content or a difference
	Restart            []string // units restarted when it changes, if the part wants them running
	Reload             []string // units reloaded when it changes, unless they are restarted
	Then               []string // shell commands, idempotent: sysctl --system
}

// A Unit is a systemd unit.
type Unit struct {
	Name string // with its suffix: haproxy.service
	// Content is written to /etc/systemd/system if not empty, and the unit is
	// restarted when it changes.
	Content          string
	Enabled, Running bool
	// Elsewhere says that another program (a cluster manager) starts and stops
	// it: Running is not looked at, a due restart happens only if it runs.
	Elsewhere bool
}

// Kinds of changes, in the order in which they are made.
const (
	KindPackage = "package"
	KindUser    = "user"
	KindDir     = "directory"
	KindFile    = "file"
	KindRemove  = "remove"
	KindCommand = "command"
	KindEnable  = "enable"
	KindDisable = "disable"
	KindRestart = "restart"
	KindReload  = "reload"
	KindStart   = "start"
	KindStop    = "stop"
)

// A Change is one thing that differs on one server.
type Change struct {
	Server string `json:"server"`
	Part   string `json:"part"`
	Kind   string `json:"kind"`
	Name   string `json:"name"` // package, path, unit or command
	Detail string `json:"detail,omitempty"`
	// Drift says that the server was changed by something other than deploy.
	Drift bool `json:"drift,omitempty"`
}

// A Context is what the parts of one plan or deploy share.
type Context struct {
	Topology *topology.Topology
	Cluster  *cluster.Dir
	Clock    clock.Clock
	Log      *slog.Logger
	Progress Progress
	// Binary is the file of hastack that is deployed, Release the name of the
	// directory it goes to (version and checksum).
	Binary, Release string
	// Version is what the binary says of itself.
	Version string

	// Complete says that the parts of the plan are all that there are, so that
	// what a server has of others is left from a role that it lost.
	Complete bool

	binary *binary
	// run marks the processes that this deploy starts on servers.
	run string
}

// Progress is told what happens; it is safe for concurrent use.
type Progress interface {
	// Begin says that a part starts, on so many servers.
	Begin(part string, servers int)
	// Server says what a server of the part is doing; done ends its part.
	Server(name, doing string, done bool)
	// End closes the part with what was done.
	End(what string)
}
