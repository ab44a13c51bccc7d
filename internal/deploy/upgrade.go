package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

// upgraded are the parts whose units run Hastack's own binary, in the order in
// which they are brought to one server.
var upgraded = [...]string{"release", "node", "control", "agents"}

// noticeTime is how long load balancers need to see that a server's services
// are back, before the next server's may go.
const noticeTime = 2 * time.Second

// A GoBack runs `upgrade --rollback` of another release's binary: each release
// knows best what its own units need, what it reads in their settings included.
type GoBack func(ctx context.Context, binary string) error

// Upgrade brings the context's binary to all servers, one after another, while
// the cluster serves: the release is laid beside the old one, the databases are
// migrated (additively: both releases work on the result), then each server's
// units are restarted and must be ready and answer real requests before the
// next server's turn. When one is not, all servers go back to the release that
// they ran, and the error says why. Killed at any moment it can be run again, or
// undone with Rollback.
func Upgrade(ctx context.Context, c *Context, back GoBack) error {
	old, err := c.upgrade(ctx)
	if old == nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("stopped between two releases: go on (hastack upgrade with the same binary) or go back (hastack upgrade --rollback): %w", err)
	}
	if backErr := back(ctx, old.Binary); backErr != nil {
		return fmt.Errorf("%w\nand going back did not succeed (%w): try it again with hastack upgrade --rollback", err, backErr)
	}
	return fmt.Errorf("the upgrade was undone, all servers run %s again: %w", old.Release, err)
}

// upgrade is Upgrade but for the way back. When it fails with servers between
// two releases it returns the one to go back to.
func (c *Context) upgrade(ctx context.Context) (old *Context, err error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	move, err := c.planMove(ctx)
	if err != nil {
		return nil, err
	}
	if old, err = c.withRelease(ctx, move.From); err != nil {
		return nil, fmt.Errorf("the release that runs now must be kept to go back to: %w", err)
	}
	if err := c.keepOwn(); err != nil {
		return nil, err
	}
	if err := c.allWell(ctx); err != nil {
		return nil, fmt.Errorf("the cluster is not well, and an upgrade takes a server away at a time: mend it first (hastack status): %w", err)
	}
	if err := saveMove(c.Cluster.Path, move); err != nil {
		return nil, err
	}
	c.progress().Begin("release", len(c.Topology.Servers))
	if err := c.Everywhere(ctx, c.Topology.Servers, c.lay); err != nil {
		return nil, err
	}
	c.progress().End("beside the old one")
	if err := c.migrate(ctx); err != nil {
		return nil, err
	}
	if err := c.moveServers(ctx, c.moveOrder()); err != nil {
		return old, err
	}
	move.Done = true
	return nil, saveMove(c.Cluster.Path, move)
}

// Rollback brings all servers back to the release before the last upgrade, one
// after another, by that release's own binary, and returns its name, or "" when
// back did it. It does not ask whether the cluster is well: it may be why.
func Rollback(ctx context.Context, c *Context, back GoBack) (release string, err error) {
	old, err := c.rollback(ctx)
	if err != nil || old == nil {
		return c.Release, err
	}
	return "", back(ctx, old.Binary)
}

// rollback does it when the context's binary is the release to go back to;
// otherwise it returns that one.
func (c *Context) rollback(ctx context.Context) (old *Context, err error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	move, err := loadMove(c.Cluster.Path)
	if err != nil {
		return nil, err
	}
	if move == nil {
		return nil, errors.New("there was no upgrade of this cluster from this directory: there is nothing to go back to")
	}
	if old, err = c.withRelease(ctx, move.From); err != nil {
		return nil, err
	}
	if old.binary.sum != c.binary.sum {
		return old, nil
	}
	order := old.moveOrder()
	slices.Reverse(order)
	if err := old.moveServers(ctx, order); err != nil {
		return nil, err
	}
	move.Undone = true
	return nil, saveMove(c.Cluster.Path, move)
}

// moveOrder is the control servers and then the others: agents of the old
// release talk to services of the new one, as they do in every deploy.
func (c *Context) moveOrder() []*topology.Server {
	order := c.Topology.With(topology.RoleControl)
	for _, s := range c.Topology.Servers {
		if !s.Has(topology.RoleControl) {
			order = append(order, s)
		}
	}
	return order
}

// moveServers gives servers the context's release, one after another.
func (c *Context) moveServers(ctx context.Context, order []*topology.Server) error {
	for _, s := range order {
		c.progress().Begin(s.Name, 1)
		if err := named(s, c.moveServer(ctx, s)); err != nil {
			return err
		}
		c.progress().End("runs " + c.Release)
	}
	return nil
}

func (c *Context) moveServer(ctx context.Context, s *topology.Server) error {
	changed := false
	for _, p := range Parts() {
		if !slices.Contains(upgraded[:], p.Name) || !slices.Contains(p.Servers(c.Topology), s) {
			continue
		}
		deltas, err := c.look(ctx, p, []*topology.Server{s})
		if err != nil {
			return err
		}
		changed = changed || len(deltas[0].changes) > 0
		if err := c.one(ctx, p, deltas[0], true); err != nil {
			return err
		}
	}
	c.progress().Server(s.Name, "real requests", false)
	if err := exercise(ctx, c, s); err != nil || !changed {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.Clock.After(noticeTime):
		return nil
	}
}

// lay puts the release beside the one that runs, without pointing to it.
func (c *Context) lay(ctx context.Context, s *topology.Server) error {
	p := &Part{Name: "release", Want: func(c *Context, _ *topology.Server) (*Want, error) {
		return &Want{
			Dirs:  []Directory{{Path: releases + c.Release, Mode: 0o755}},
			Files: []File{{Path: releases + c.Release + "/hastack", Mode: 0o755, Content: c.binary.content, Sum: c.binary.sum}},
		}, nil
	}}
	deltas, err := c.look(ctx, p, []*topology.Server{s})
	if err != nil {
		return err
	}
	return c.one(ctx, p, deltas[0], false)
}

// migrate lets the new release bring the databases to its schema.
func (c *Context) migrate(ctx context.Context) error {
	control := c.Topology.With(topology.RoleControl)
	if len(control) == 0 {
		return nil
	}
	s := control[0]
	c.progress().Begin("databases", 1)
	if err := syncDatabases(ctx, c, s, releases+c.Release+"/hastack"); err != nil {
		return err
	}
	c.progress().End("in step")
	return nil
}

// allWell tells whether every service of every server is ready.
func (c *Context) allWell(ctx context.Context) error {
	c.progress().Begin("health", len(c.Topology.Servers))
	err := c.Everywhere(ctx, c.Topology.Servers, func(ctx context.Context, s *topology.Server) error {
		roles := agentRoles(s)
		if s.Has(topology.RoleControl) {
			roles = append(controlRoles(), roles...)
		}
		return waitServicesFor(ctx, c, s, roles, 20*time.Second)
	})
	if err == nil {
		c.progress().End("every service is ready")
	}
	return err
}
