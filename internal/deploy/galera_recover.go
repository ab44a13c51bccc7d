package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

// A DatabasePosition is what the database on one server contains.
type DatabasePosition struct {
	Server   string `json:"server"`
	Position string `json:"position,omitempty"` // UUID:SEQNO
	Serves   bool   `json:"serves"`
	Error    string `json:"error,omitempty"` // why nobody knows
}

// quietAgent keeps the node agent, which would decide for itself, out of the
// way; the socket would start it again.
const quietAgent = "systemctl stop hastack-node.socket hastack-node.service 2>/dev/null || true\n"

// DatabasePositions tells what every member contains. Those that do not serve
// are stopped for it, with their node agents; nothing is changed while any
// member serves.
func DatabasePositions(ctx context.Context, c *Context) ([]DatabasePosition, error) {
	servers := controlServers(c.Topology)
	out := make([]DatabasePosition, len(servers))
	var mu sync.Mutex
	each := func(do func(context.Context, *topology.Server, *DatabasePosition) error) {
		_ = c.Everywhere(ctx, servers, func(ctx context.Context, s *topology.Server) error {
			p := DatabasePosition{Server: s.Name}
			if err := do(ctx, s, &p); err != nil {
				p.Error = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			out[slices.Index(servers, s)] = p
			return nil
		})
	}
	each(func(ctx context.Context, s *topology.Server, p *DatabasePosition) error {
		m, err := surveyMember(ctx, c, s)
		if err == nil {
			p.Serves = m.primary
		}
		return err
	})
	if slices.ContainsFunc(out, func(p DatabasePosition) bool { return p.Serves }) {
		return out, nil
	}
	each(func(ctx context.Context, s *topology.Server, p *DatabasePosition) error {
		b, err := c.Run(ctx, s, quietAgent+"systemctl kill -s KILL mariadb 2>/dev/null || true\n"+galeraPosition, nil)
		p.Position = strings.TrimSpace(string(b))
		return err
	})
	return out, nil
}

// RecoverDatabase begins the cluster anew with what one server contains. What
// others have beyond it is lost; they take over its data when they are there
// again. It refuses while any member serves.
func RecoverDatabase(ctx context.Context, c *Context, from string) error {
	var first *topology.Server
	var others []*topology.Server
	for _, s := range controlServers(c.Topology) {
		if s.Name == from {
			first = s
		} else {
			others = append(others, s)
		}
	}
	if first == nil {
		return fmt.Errorf("%s has no database: the control servers have", from)
	}
	positions, err := DatabasePositions(ctx, c)
	if err != nil {
		return err
	}
	for _, p := range positions {
		switch {
		case p.Serves:
			return fmt.Errorf("the database on %s serves: there is nothing to recover; start the others (systemctl start mariadb)", p.Server)
		case p.Server == from && p.Error != "":
			return fmt.Errorf("the database cannot begin on %s: %s", from, p.Error)
		case p.Server == from && strings.HasPrefix(p.Position, "00000000-"):
			return fmt.Errorf("the database on %s is empty: choose another server, or restore a backup (hastack restore)", from)
		}
	}
	const forget = quietAgent + "systemctl stop mariadb; rm -f /var/lib/mysql/gvwstate.dat /run/hastack-galera-hold"
	reached := map[string]bool{}
	for _, s := range others {
		if _, err := c.Run(ctx, s, forget, nil); err == nil {
			reached[s.Name] = true
		}
	}
	if _, err := c.Run(ctx, first, "rm -f /run/hastack-galera-hold; touch /run/hastack-new-cluster && systemctl start mariadb", nil); err != nil {
		return err
	}
	if err := awaitMember(ctx, c, first, 2*time.Minute); err != nil {
		return err
	}
	return errors.Join(wakeAgent(ctx, c, first), joinOthers(ctx, c, others, reached))
}

// joinOthers starts the members that answer; they take the data of the first.
func joinOthers(ctx context.Context, c *Context, others []*topology.Server, reached map[string]bool) error {
	var errs []error
	for _, s := range others {
		if !reached[s.Name] {
			continue
		}
		_, err := c.Run(ctx, s, "systemctl start mariadb", nil)
		if err == nil {
			err = awaitMember(ctx, c, s, galeraJoinFor)
		}
		errs = append(errs, err, wakeAgent(ctx, c, s))
	}
	return errors.Join(errs...)
}

func wakeAgent(ctx context.Context, c *Context, s *topology.Server) error {
	_, err := c.Run(ctx, s, "for u in hastack-node.socket hastack-node.service; do ! systemctl -q is-enabled $u || systemctl start $u; done", nil)
	return err
}

// ResumeDatabases starts again what DatabasePositions stopped.
func ResumeDatabases(ctx context.Context, c *Context, stopped []DatabasePosition) error {
	var servers []*topology.Server
	for _, p := range stopped {
		if p.Error == "" {
			servers = append(servers, c.Topology.Server(p.Server))
		}
	}
	return c.Everywhere(ctx, servers, func(ctx context.Context, s *topology.Server) error {
		_, err := c.Run(ctx, s, "systemctl reset-failed mariadb 2>/dev/null; systemctl start --no-block mariadb", nil)
		return errors.Join(err, wakeAgent(ctx, c, s))
	})
}
