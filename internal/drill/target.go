package drill

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/topology"
)

// Lab is what drills need of a lab; *lab.Lab is one.
type Lab interface {
	Cut(ctx context.Context, target string) error
	Heal(ctx context.Context, target string) error
	HealAll(ctx context.Context) error
	Drop(ctx context.Context, from, to, network string, percent int) error
	Undrop(ctx context.Context, from, to, network string) error
	Kill(ctx context.Context, server string) error
	PowerOff(ctx context.Context) error
	Start(ctx context.Context, server string) error
	Freeze(ctx context.Context, server string) error
	Thaw(ctx context.Context, server string) error
	WaitSSH(ctx context.Context, server string) error
	// NetNS is the path of the server's network namespace.
	NetNS(server string) string
}

// Shell runs a script on a server as root; stdin may be empty.
type Shell func(ctx context.Context, server *topology.Server, script, stdin string) ([]byte, error)

// A Target is the cluster that is drilled.
type Target struct {
	Topology *topology.Topology
	Access   Access
	// Lab is nil for a staging cluster, whose cables and power nobody here has.
	Lab   Lab
	Shell Shell
	// HTTP speaks to node agents and monitors as the operator.
	HTTP *http.Client
	// Healthy tells what is not well, nil if nothing is.
	Healthy func(ctx context.Context) error
	// Audit returns the auditor's findings; nil asks the cloud's own auditor.
	Audit func(ctx context.Context) ([]string, error)
	// Upgrade and Rollback are of the upgrade suite; nil if there is nothing
	// to upgrade to.
	Upgrade, Rollback func(ctx context.Context) error
	// DatabaseSecrets are what no agent may have.
	DatabaseSecrets []config.Secret
	Clock           clock.Clock
	Log             *slog.Logger
}

// errNeedsLab is of a fault that only a lab can make.
var errNeedsLab = errors.New("this fault needs a lab (hastack lab up): a staging cluster's cables and power are not ours")

// on runs a script on the named server, with a deadline.
func (t *Target) on(ctx context.Context, server, script string) ([]byte, error) {
	return t.within(ctx, 20*time.Second, server, script)
}

func (t *Target) within(ctx context.Context, d time.Duration, server, script string) ([]byte, error) {
	s := t.Topology.Server(server)
	if s == nil {
		return nil, errors.New("no server is named " + server)
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return t.Shell(ctx, s, script, "")
}
