package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
)

const history = "069f79ba-e5a5-11f1-9012-a6d4f884c11f"

// A fakeMember is a database server with its agent. What really happens on one
// (the order is used up by the start, a member without an order joins a
// cluster that serves) is played here.
type fakeMember struct {
	all      *fakeCluster
	name     string
	recovery *galeraRecovery

	running, primary, full, empty bool
	uuid                          string
	seqno                         int64
	unreachable                   bool
	unknown                       bool // its position, as while it recovers
	view, ordered                 bool
	state                         string // "" is Synced; in any other it refuses statements
	hold                          string
	starts                        int
	stops                         []time.Time
}

type fakeCluster struct {
	t       *testing.T
	clock   *clock.Fake
	members []*fakeMember
	founded []string
}

func newFakeCluster(t *testing.T, seqnos ...int64) *fakeCluster {
	t.Helper()
	c := &fakeCluster{t: t, clock: clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
	var names []string
	for i := range seqnos {
		names = append(names, fmt.Sprintf("node%02d", i+1))
	}
	for i, n := range names {
		m := &fakeMember{all: c, name: n, running: true, uuid: history, seqno: seqnos[i], view: true}
		m.recovery = &galeraRecovery{
			name: n, members: names, clock: c.clock, log: slog.New(slog.DiscardHandler), host: m,
			own: func(context.Context) (Galera, error) { return m.status(), nil },
			ask: func(_ context.Context, other string) (*Galera, error) { return c.ask(m, other) },
		}
		c.members = append(c.members, m)
	}
	return c
}

func (m *fakeMember) status() Galera {
	if !m.primary {
		return Galera{}
	}
	if m.state != "" {
		return Galera{Primary: true, State: m.state, Size: m.all.serving(), Cluster: m.uuid, Committed: m.seqno}
	}
	return Galera{Ready: true, Primary: true, State: galeraSynced, Size: m.all.serving(), Cluster: m.uuid, Committed: m.seqno}
}

func (c *fakeCluster) serving() (n int) {
	for _, m := range c.members {
		if m.primary {
			n++
		}
	}
	return n
}

func (c *fakeCluster) ask(from *fakeMember, name string) (*Galera, error) {
	for _, m := range c.members {
		if m.name != name {
			continue
		}
		if m.unreachable || from.unreachable {
			return nil, errors.New("no route")
		}
		g := m.status()
		if !g.Primary {
			g.Position, _ = m.position(c.t.Context(), g)
		}
		g.Held, g.HeldSeconds, g.Waits = m.recovery.told()
		m.recovery.mine(&g)
		return &g, nil
	}
	return nil, errors.New("no such server")
}

// step lets every agent look once, in any order, and a second pass.
func (c *fakeCluster) step() {
	for _, i := range rand.Perm(len(c.members)) {
		m := c.members[i]
		if err := m.recovery.step(c.t.Context()); err != nil {
			c.t.Fatalf("%s: %v", m.name, err)
		}
	}
	primaries := map[string]bool{}
	for _, m := range c.members {
		if m.running && !m.primary && !m.unreachable { // joins who serves
			for _, o := range c.members {
				if o.primary && !o.unreachable {
					m.primary, m.uuid, m.seqno, m.view = true, o.uuid, o.seqno, true
				}
			}
		}
		if m.primary {
			primaries[m.uuid] = true
		}
	}
	if len(c.founded) > 1 {
		c.t.Fatalf("the cluster was begun by %v", c.founded)
	}
	c.clock.Advance(time.Second)
}

func (c *fakeCluster) steps(n int) {
	for range n {
		c.step()
	}
}

func (m *fakeMember) position(context.Context, Galera) (string, error) {
	switch {
	case m.unknown || !m.running && m.hold != "":
		return "", nil
	case m.empty:
		return noPosition, nil
	}
	return fmt.Sprintf("%s:%d", m.uuid, m.seqno), nil
}

func (m *fakeMember) room() error {
	if m.full {
		return errors.New("the disk is full")
	}
	return nil
}
func (m *fakeMember) roomy() bool                           { return !m.full }
func (m *fakeMember) stopped(context.Context) (bool, error) { return !m.running, nil }
func (m *fakeMember) stop(_ context.Context, hard bool) error {
	if hard && m.primary {
		m.all.t.Errorf("%s is killed, and the others have to find out", m.name)
	}
	m.running, m.primary, m.state = false, false, ""
	m.stops = append(m.stops, m.all.clock.Now())
	return nil
}

func (m *fakeMember) start(context.Context) error {
	m.running = true
	m.starts++
	if m.ordered {
		m.ordered, m.primary = false, true
		m.all.founded = append(m.all.founded, m.name)
		for _, o := range m.all.members { // two clusters at once would be the end of both
			if o != m && (o.primary || o.running && !o.unreachable) {
				m.all.t.Errorf("%s begins while %s runs", m.name, o.name)
			}
		}
	}
	return nil
}

func (m *fakeMember) forget() error {
	if m.running {
		m.all.t.Errorf("%s forgets its view while it runs", m.name)
	}
	m.view = false
	return nil
}
func (m *fakeMember) order() error             { m.ordered = true; return nil }
func (m *fakeMember) held() string             { return m.hold }
func (m *fakeMember) setHeld(why string) error { m.hold = why; return nil }

func TestTheMemberWithTheMostBegins(t *testing.T) {
	for _, seqnos := range [][]int64{{5, 9, 7}, {7, 5, 9}, {9, 9, 3}, {1}, {3, 4, 5, 8, 7}} {
		c := newFakeCluster(t, seqnos...)
		c.steps(60)
		want := 0
		for i := range seqnos {
			if seqnos[i] > seqnos[want] {
				want = i
			}
		}
		if len(c.founded) != 1 || c.founded[0] != c.members[want].name || c.serving() != len(seqnos) {
			t.Errorf("%v: begun by %v, %d serve", seqnos, c.founded, c.serving())
		}
	}
}

func TestNobodyBeginsWithoutAllMembers(t *testing.T) {
	c := newFakeCluster(t, 5, 9, 7)
	c.members[0].unreachable = true
	c.steps(300)
	if len(c.founded) != 0 {
		t.Fatalf("begun by %v without %s", c.founded, c.members[0].name)
	}
	_, _, waits := c.members[1].recovery.told()
	if !strings.Contains(waits, "node01") || !strings.Contains(waits, "hastack recover database") {
		t.Errorf("it says %q", waits)
	}
	c.members[0].unreachable = false
	c.steps(60)
	if len(c.founded) != 1 || c.serving() != 3 {
		t.Errorf("begun by %v, %d serve", c.founded, c.serving())
	}
}

func TestAnUnknownPositionIsWaitedFor(t *testing.T) {
	c := newFakeCluster(t, 5, 9, 7)
	c.members[1].unknown = true
	c.steps(30)
	if len(c.founded) != 0 {
		t.Fatalf("begun by %v", c.founded)
	}
	c.members[1].unknown = false
	c.steps(60)
	if len(c.founded) != 1 || c.founded[0] != "node02" {
		t.Errorf("begun by %v", c.founded)
	}
}

func TestMembersThatComeBackByThemselvesAreLeftAlone(t *testing.T) {
	c := newFakeCluster(t, 5, 5, 5)
	c.steps(5)
	for _, m := range c.members { // as pc.recovery does
		m.primary = true
	}
	c.steps(60)
	for _, m := range c.members {
		if m.starts != 0 || len(c.founded) != 0 {
			t.Errorf("%s was started %d times, begun by %v", m.name, m.starts, c.founded)
		}
	}
}

func TestAWipedMemberNeverBegins(t *testing.T) {
	c := newFakeCluster(t, 5, 0, 7)
	c.members[1].empty = true
	c.steps(60)
	if len(c.founded) != 1 || c.founded[0] != "node03" || c.serving() != 3 {
		t.Errorf("begun by %v, %d serve", c.founded, c.serving())
	}
}

func TestEmptyMembersWaitForDeploy(t *testing.T) {
	c := newFakeCluster(t, 0, 0, 0)
	for _, m := range c.members {
		m.empty = true
	}
	c.steps(60)
	if len(c.founded) != 0 {
		t.Errorf("begun by %v out of nothing", c.founded)
	}
}

func TestDifferentHistoriesAreForAHuman(t *testing.T) {
	c := newFakeCluster(t, 5, 9, 7)
	c.members[2].uuid = strings.Replace(history, "0", "1", 1)
	c.steps(60)
	_, _, waits := c.members[0].recovery.told()
	if len(c.founded) != 0 || !strings.Contains(waits, "different histories") {
		t.Errorf("begun by %v; it says %q", c.founded, waits)
	}
}

// An agent that dies while it keeps its database still starts it when it is
// back, and everything begins again.
func TestAgentsMayDieAtAnyStep(t *testing.T) {
	for when := range 30 {
		c := newFakeCluster(t, 5, 9, 7)
		c.steps(when)
		m := c.members[when%3]
		old := m.recovery
		m.recovery = &galeraRecovery{name: old.name, members: old.members, clock: old.clock, log: old.log, host: m, own: old.own, ask: old.ask}
		if m.hold != "" {
			m.recovery.release(t.Context())
		}
		c.steps(150)
		if c.serving() != 3 {
			t.Fatalf("agent of %s died at step %d: %d serve", m.name, when, c.serving())
		}
	}
}

func TestAFullDiskTakesTheMemberOutAndBackIn(t *testing.T) {
	c := newFakeCluster(t, 5, 5, 5)
	for _, m := range c.members {
		m.primary = true
	}
	m := c.members[1]
	m.full = true
	c.steps(20)
	if m.running || c.serving() != 2 {
		t.Fatalf("it runs: %v; %d serve", m.running, c.serving())
	}
	m.full = false
	c.steps(5)
	if !m.primary || m.hold != "" {
		t.Errorf("it serves: %v, held for %q", m.primary, m.hold)
	}
}

func TestTheLastMemberStaysInSpiteOfAFullDisk(t *testing.T) {
	c := newFakeCluster(t, 5, 5, 5)
	c.members[0].primary, c.members[0].full = true, true
	c.members[1].unreachable, c.members[2].unreachable = true, true
	c.members[1].running, c.members[2].running = false, false
	c.steps(20)
	if !c.members[0].running {
		t.Error("nobody serves any more")
	}
}
