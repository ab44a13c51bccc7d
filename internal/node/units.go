package node

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/hastack/hastack/internal/clock"
)

// manager is what the collector asks of systemd.
type manager interface {
	ListUnitsByNamesContext(ctx context.Context, units []string) ([]dbus.UnitStatus, error)
	GetUnitTypePropertyContext(ctx context.Context, unit, unitType, name string) (*dbus.Property, error)
	Close()
}

// unitCollector asks systemd for the states of units, over its private socket:
// starting systemctl would cost a hundred times as much.
type unitCollector struct {
	units    []string
	clock    clock.Clock
	log      *slog.Logger
	connect  func(ctx context.Context) (manager, error)
	conn     manager
	since    since
	restarts map[string]int
	rounds   int
}

// restartRounds is how many looks go by between two at the restarts of a unit
// whose state stays the same.
const restartRounds = 5

func newUnitCollector(units []string, deps Deps) *unitCollector {
	return &unitCollector{
		units: units, clock: deps.Clock, log: deps.Log, since: since{}, restarts: map[string]int{},
		connect: func(ctx context.Context) (manager, error) {
			// The connection outlives the look, whose context ends with it.
			return dbus.NewSystemdConnectionContext(context.WithoutCancel(ctx))
		},
	}
}

func (*unitCollector) Name() string         { return "units" }
func (*unitCollector) Every() time.Duration { return 2 * time.Second }

// Collect asks for all units at once.
func (c *unitCollector) Collect(ctx context.Context) (Facts, error) {
	if c.conn == nil {
		conn, err := c.connect(ctx)
		if err != nil {
			return nil, fmt.Errorf("connect to systemd: %w", err)
		}
		c.conn = conn
	}
	list, err := c.conn.ListUnitsByNamesContext(ctx, c.units)
	if err != nil {
		// systemd was restarted, or hangs: begin again the next time.
		c.conn.Close()
		c.conn = nil
		return nil, fmt.Errorf("ask systemd: %w", err)
	}
	now := c.clock.Now()
	units := make([]Unit, 0, len(list))
	for i, u := range list {
		x := Unit{Name: u.Name, Active: u.ActiveState, Sub: u.SubState}
		if u.LoadState == "not-found" {
			x.Active, x.Sub = "missing", ""
		}
		var changed bool
		x.Since, changed = c.since.of(u.Name, x.Active, now)
		if changed {
			c.log.WarnContext(ctx, "unit changed", "unit", u.Name, "active", x.Active, "sub", x.Sub)
		}
		_, known := c.restarts[u.Name]
		if !known || changed || (c.rounds+i)%restartRounds == 0 {
			c.countRestarts(ctx, u.Name)
		}
		x.Restarts = c.restarts[u.Name]
		units = append(units, x)
	}
	c.rounds++
	return func(s *State) { s.Units = units }, nil
}

func (c *unitCollector) countRestarts(ctx context.Context, unit string) {
	// Only services count restarts; a target or a timer has none.
	p, err := c.conn.GetUnitTypePropertyContext(ctx, unit, "Service", "NRestarts")
	if err != nil {
		c.restarts[unit] = 0
		return
	}
	n, _ := p.Value.Value().(uint32)
	c.restarts[unit] = int(n)
}
