package nova

import (
	"context"
	"encoding/base64"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// Conductor is nova-conductor: it runs the operations and is the database of
// everything that has none. Any number may run.
type Conductor struct {
	nova *Service
	host string
}

var _ rpc.Conductor = (*Conductor)(nil)

// NewConductor makes a conductor for the machine of that name.
func NewConductor(s *Service, host string) *Conductor { return &Conductor{s, host} }

// pruneEvery is how often rows past their time are removed.
const pruneEvery = 10 * time.Minute

// Run serves until ctx ends.
func (c *Conductor) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.nova.ops.Run(ctx) })
	g.Go(func() error {
		m := bus.NewMux()
		rpc.RegisterConductor(m, c)
		bus.On(m, methodWake, c.wake)
		stop, err := c.nova.bus.Serve(ctx, rpc.TopicConductor, c.host, m.Handle)
		if err != nil {
			return err
		}
		defer stop()
		c.nova.runs.Store(true)
		defer c.nova.runs.Store(false)
		return c.nova.beat(ctx, c.host, BinaryConductor)
	})
	g.Go(func() error { return c.every(ctx, pruneEvery, "prune", c.nova.Prune) })
	g.Go(func() error { return c.every(ctx, flushEvery, "write heartbeats", c.nova.flushBeats) })
	g.Go(func() error { return c.every(ctx, cleanupEvery, "clean up hosts", c.nova.castCleanups) })
	return g.Wait()
}

// cleanupEvery is how soon a host that was away is told what to remove.
const cleanupEvery = 15 * time.Second

// every does a small work again and again until ctx ends. Any number of
// conductors may: it is idempotent.
func (c *Conductor) every(ctx context.Context, pause time.Duration, what string, work func(context.Context) error) error {
	t := c.nova.clock.NewTicker(pause)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C():
		}
		if err := work(ctx); err != nil && ctx.Err() == nil {
			c.nova.log.WarnContext(ctx, "conductor's periodic work", "what", what, "error", err)
		}
	}
}

func (c *Conductor) wake(_ context.Context, list []string) (struct{}, error) {
	for _, id := range list {
		c.nova.ops.Wake(id)
	}
	return struct{}{}, nil
}

// ServerInfo implements rpc.Conductor: steps 15 to 17 of a boot.
func (c *Conductor) ServerInfo(ctx context.Context, in rpc.ServerInfoArgs) (*rpc.ServerSpec, error) {
	return c.nova.serverInfo(ctx, in)
}

// Report implements rpc.Conductor.
func (c *Conductor) Report(ctx context.Context, in rpc.ReportArgs) error {
	return c.nova.report(ctx, in)
}

// Progress implements rpc.Conductor.
func (c *Conductor) Progress(ctx context.Context, in rpc.ProgressArgs) (*rpc.ProgressReply, error) {
	return c.nova.progressOf(ctx, in)
}

// Finish implements rpc.Conductor.
func (c *Conductor) Finish(ctx context.Context, in rpc.FinishArgs) error {
	return c.nova.Finish(ctx, in)
}

// UpdateNetworks implements rpc.Conductor.
func (c *Conductor) UpdateNetworks(ctx context.Context, in rpc.UpdateNetworksArgs) error {
	set := map[string]any{}
	setNetworks(set, in.Networks)
	_, err := updateServer(ctx, c.nova.db, in.ServerID, c.nova.clock.Now(), set, "host = ?", in.Host)
	return err
}

// HostServers implements rpc.Conductor.
func (c *Conductor) HostServers(ctx context.Context, in rpc.HostArgs) (*rpc.HostServersReply, error) {
	return c.nova.hostServers(ctx, in.Host)
}

// ReportHost implements rpc.Conductor.
func (c *Conductor) ReportHost(ctx context.Context, in rpc.HostReport) error {
	if in.Host == "" {
		return fault.New(fault.BadRequest, "a host report names no host")
	}
	return c.nova.reportHost(ctx, in)
}

// PowerSync implements rpc.Conductor.
func (c *Conductor) PowerSync(ctx context.Context, in rpc.PowerSyncArgs) error {
	for _, ch := range in.Changes {
		if err := c.nova.powerChanged(ctx, in.Host, ch); err != nil {
			return err
		}
	}
	return nil
}

// AuditServers implements rpc.Conductor.
func (c *Conductor) AuditServers(ctx context.Context, in rpc.HostArgs) (*rpc.AuditServersReply, error) {
	list, err := c.nova.AuditServers(ctx, in.Host)
	if err != nil {
		return nil, err
	}
	out := &rpc.AuditServersReply{Servers: []rpc.AuditServer{}}
	for _, a := range list {
		out.Servers = append(out.Servers, a.AuditServer)
	}
	return out, nil
}

// ServerMetadata implements rpc.Conductor.
func (c *Conductor) ServerMetadata(ctx context.Context, in rpc.ServerMetadataArgs) (*rpc.ServerSpec, error) {
	srv, err := c.nova.Server(ctx, in.ServerID)
	if err != nil {
		return nil, err
	}
	if in.ProjectID != "" && srv.ProjectID != in.ProjectID {
		return nil, serverNotFound(in.ServerID)
	}
	return srv.spec(), nil
}

// ConsoleTarget implements rpc.Conductor.
func (c *Conductor) ConsoleTarget(ctx context.Context, in rpc.ConsoleTargetArgs) (*rpc.ConsoleTarget, error) {
	return c.nova.consoleTarget(ctx, in.Token)
}

// spec is rpcSpec with the user data decoded; it was checked when it came.
func (s *Server) spec() *rpc.ServerSpec {
	data, err := base64.StdEncoding.DecodeString(s.UserData)
	if err != nil {
		data = nil
	}
	return s.rpcSpec(data)
}
