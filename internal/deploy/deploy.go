package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

const (
	// defaultDeadline bounds how long a part may take to become healthy.
	defaultDeadline = 90 * time.Second
	healthEvery     = 500 * time.Millisecond
	// sickAfter is how long a server may take to say that it is well before
	// it is changed first.
	sickAfter = 20 * time.Second
)

// changeOrder is the order in which changes are made and told.
var changeOrder = [...]string{KindPackage, KindUser, KindDir, KindFile, KindRemove, KindCommand, KindDisable, KindEnable, KindStop, KindRestart, KindReload, KindStart}

// Plan tells what a deploy of the parts would change. It changes nothing.
func Plan(ctx context.Context, c *Context, parts []*Part) ([]Change, error) {
	var changes []Change
	for _, p := range parts {
		servers := p.Servers(c.Topology)
		if len(servers) == 0 {
			continue
		}
		c.progress().Begin(p.Name, len(servers))
		deltas, err := c.look(ctx, p, servers)
		if err != nil {
			return nil, err
		}
		n := 0
		for _, d := range deltas {
			changes = append(changes, d.changes...)
			n += len(d.changes)
		}
		c.progress().End(counted(n, "change"))
	}
	found, err := findStale(ctx, c, parts)
	for _, st := range found {
		changes = append(changes, st.changes...)
	}
	return changes, err
}

// Deploy brings the parts to their servers, one part after another, and
// returns what it changed. A part that fails on a server stops the parts
// after it; the servers that it does not concern are left as they were.
func Deploy(ctx context.Context, c *Context, parts []*Part) ([]Change, error) {
	var changes []Change
	for _, p := range parts {
		servers := p.Servers(c.Topology)
		if len(servers) == 0 {
			continue
		}
		c.progress().Begin(p.Name, len(servers))
		made, err := c.bring(ctx, p, servers)
		changes = append(changes, made...)
		if err != nil {
			return changes, fmt.Errorf("%s: %w", p.Name, err)
		}
		c.progress().End(summary(made))
	}
	made, err := c.retireAll(ctx, parts)
	changes = append(changes, made...)
	if err != nil || len(changes) == 0 {
		return changes, err
	}
	return changes, c.stillHealthy(ctx, parts)
}

// stillHealthy looks at all parts once more: a later part may have upset an
// earlier one.
func (c *Context) stillHealthy(ctx context.Context, parts []*Part) error {
	c.progress().Begin("health", len(c.Topology.Servers))
	for _, p := range parts {
		if err := c.healthy(ctx, p, p.Servers(c.Topology)); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	c.progress().End("every part is well")
	return nil
}

// look finds the difference on all servers of a part.
func (c *Context) look(ctx context.Context, p *Part, servers []*topology.Server) ([]*delta, error) {
	deltas := make([]*delta, len(servers))
	index := map[string]int{}
	for i, s := range servers {
		index[s.Name] = i
	}
	err := c.Everywhere(ctx, servers, func(ctx context.Context, s *topology.Server) error {
		w, err := p.Want(c, s)
		if err == nil {
			err = w.check(p.Name)
		}
		if err != nil {
			return err
		}
		h, err := observe(ctx, c, p, s, w)
		if err != nil {
			return err
		}
		d := diff(p.Name, s, w, h)
		slices.SortStableFunc(d.changes, func(a, b Change) int {
			return cmp.Compare(slices.Index(changeOrder[:], a.Kind), slices.Index(changeOrder[:], b.Kind))
		})
		deltas[index[s.Name]] = d
		return nil
	})
	return deltas, err
}

// bring makes one part so on its servers.
func (c *Context) bring(ctx context.Context, p *Part, servers []*topology.Server) ([]Change, error) {
	deltas, err := c.look(ctx, p, servers)
	if err != nil {
		return nil, err
	}
	changed := map[string][]Change{}
	var work []*delta
	var made []Change
	for _, d := range deltas {
		if len(d.changes) > 0 || len(d.records) > 0 {
			work = append(work, d)
		}
		if len(d.changes) > 0 {
			changed[d.server.Name] = d.changes
			made = append(made, d.changes...)
		}
	}
	switch {
	case len(work) == 0:
	case p.Start != nil:
		err = c.start(ctx, p, work, changed)
	case p.Rolling && running(deltas):
		err = c.roll(ctx, p, work)
	default:
		err = c.each(ctx, work, func(ctx context.Context, d *delta) error { return c.one(ctx, p, d, false) })
	}
	if err == nil {
		err = c.healthy(ctx, p, servers)
	}
	if err == nil && p.After != nil {
		err = p.After(ctx, c)
	}
	return made, err
}

// running tells whether the part already runs somewhere.
func running(deltas []*delta) bool {
	return slices.ContainsFunc(deltas, func(d *delta) bool {
		return slices.ContainsFunc(d.want.Units, func(u Unit) bool { return d.have.units[u.Name].active })
	})
}

func (c *Context) each(ctx context.Context, work []*delta, do func(context.Context, *delta) error) error {
	by := map[string]*delta{}
	var servers []*topology.Server
	for _, d := range work {
		by[d.server.Name] = d
		servers = append(servers, d.server)
	}
	return c.Everywhere(ctx, servers, func(ctx context.Context, s *topology.Server) error { return do(ctx, by[s.Name]) })
}

// start writes the files everywhere and leaves the units to the part.
func (c *Context) start(ctx context.Context, p *Part, work []*delta, changed map[string][]Change) error {
	err := c.each(ctx, work, func(ctx context.Context, d *delta) error {
		if len(d.changes) == 0 {
			return nil
		}
		c.progress().Server(d.server.Name, "files", false)
		return c.write(ctx, p, d)
	})
	if err == nil && len(changed) > 0 {
		err = p.Start(ctx, c, changed)
	}
	if err != nil {
		return err
	}
	return c.each(ctx, work, func(ctx context.Context, d *delta) error {
		defer c.progress().Server(d.server.Name, "", true)
		return c.finish(ctx, p, d)
	})
}

// roll changes one server after another: first those where the part is not
// well, so that no more than one member is ever missing by deploy's doing.
func (c *Context) roll(ctx context.Context, p *Part, work []*delta) error {
	sick := map[string]bool{}
	var mu sync.Mutex
	_ = c.each(ctx, work, func(ctx context.Context, d *delta) error {
		ctx, cancel := context.WithTimeout(ctx, sickAfter)
		defer cancel()
		if !running([]*delta{d}) || p.Healthy != nil && p.Healthy(ctx, c, d.server) != nil {
			mu.Lock()
			sick[d.server.Name] = true
			mu.Unlock()
		}
		return nil
	})
	slices.SortStableFunc(work, func(a, b *delta) int {
		switch {
		case sick[a.server.Name] == sick[b.server.Name]:
			return 0
		case sick[a.server.Name]:
			return -1
		}
		return 1
	})
	for _, d := range work {
		if err := named(d.server, c.one(ctx, p, d, true)); err != nil {
			return err
		}
	}
	return nil
}

// one brings the part to one server, and waits until it is healthy if asked.
func (c *Context) one(ctx context.Context, p *Part, d *delta, wait bool) error {
	if len(d.changes) > 0 {
		c.progress().Server(d.server.Name, "files", false)
		if err := c.write(ctx, p, d); err != nil {
			return err
		}
		c.progress().Server(d.server.Name, "units", false)
		if err := c.Settle(ctx, d.server, d.changes); err != nil {
			return err
		}
		if wait {
			if err := c.healthy(ctx, p, []*topology.Server{d.server}); err != nil {
				return err
			}
		}
	}
	defer c.progress().Server(d.server.Name, "", true)
	return c.finish(ctx, p, d)
}

// healthy waits until the part is well on the servers.
func (c *Context) healthy(ctx context.Context, p *Part, servers []*topology.Server) error {
	if p.Healthy == nil {
		return nil
	}
	deadline := p.Deadline
	if deadline == 0 {
		deadline = defaultDeadline
	}
	return c.Everywhere(ctx, servers, func(ctx context.Context, s *topology.Server) error {
		ctx, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		var last error
		for {
			err := p.Healthy(ctx, c, s)
			if err == nil {
				return nil
			}
			if ctx.Err() == nil || last == nil {
				last = err
			}
			c.progress().Server(s.Name, "waits until it is healthy", false)
			select {
			case <-ctx.Done():
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					return fmt.Errorf("not healthy after %s: %w", deadline, last)
				}
				return ctx.Err()
			case <-c.Clock.After(healthEvery):
			}
		}
	})
}

// summary is what was done in one part, in few words.
func summary(made []Change) string {
	if len(made) == 0 {
		return "as it should be"
	}
	var out []string
	for _, kind := range changeOrder {
		n := 0
		for _, ch := range made {
			if ch.Kind == kind {
				n++
			}
		}
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, kind))
		}
	}
	return strings.Join(out, ", ")
}

func counted(n int, what string) string {
	switch n {
	case 0:
		return "no " + what
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
