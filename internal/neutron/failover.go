package neutron

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

const (
	// failoverEvery is how often dead agents are looked for.
	failoverEvery = time.Second
	// pingTimeout bounds the question to an agent that seems dead.
	pingTimeout = time.Second
	// dhcpFailoverAfter is how many down times a DHCP agent may be away before
	// its networks get another: each has a second server, and a server's port
	// costs an address that leases remember.
	dhcpFailoverAfter = 3
)

// hearBeat notes that heartbeats come in.
func (s *Service) hearBeat(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heard.IsZero() || now.Sub(s.heard) > s.cfg.FailoverTime/2 {
		s.hearing = now
	}
	s.heard = now
}

// mayJudge tells whether this process has heard heartbeats for so long without
// a break that an agent it has not heard of is dead. After an outage of the
// bus, of the database or of itself, all of them are late.
func (s *Service) mayJudge(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.heard.IsZero() && now.Sub(s.heard) <= s.cfg.FailoverTime/2 && now.Sub(s.hearing) >= s.cfg.FailoverTime
}

func (s *Service) failoverLoop(ctx context.Context) {
	if s.cfg.FailoverTime <= 0 {
		return
	}
	tick := s.clock.NewTicker(failoverEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C():
		}
		if err := s.FailOver(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "moving the work of dead agents failed", "error", err)
		}
	}
}

// FailOver gives what dead agents serve to living ones, once. It is what the
// loop does, for tests. Several servers may do it at the same time.
func (s *Service) FailOver(ctx context.Context) error {
	now := s.clock.Now()
	if s.cfg.FailoverTime <= 0 || !s.mayJudge(now) {
		return nil
	}
	l3, err := s.deadAgents(ctx, rpc.AgentL3, "router_agents", now.Add(-s.cfg.FailoverTime))
	if err != nil {
		return err
	}
	for _, a := range l3 {
		if s.answers(ctx, a) {
			continue
		}
		if err := s.moveRouters(ctx, a); err != nil {
			return err
		}
	}
	dhcp, err := s.deadAgents(ctx, rpc.AgentDHCP, "network_agents", now.Add(-dhcpFailoverAfter*s.cfg.AgentDownTime))
	if err != nil {
		return err
	}
	for _, a := range dhcp {
		if s.answers(ctx, a) {
			continue
		}
		if err := s.moveNetworks(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// answers asks an agent whose heartbeats are late: one on a busy host is not
// dead, and moving its routers would only hurt them.
func (s *Service) answers(ctx context.Context, a *Agent) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	var reply rpc.Empty
	return s.bus.Call(ctx, bus.Target{Topic: rpc.AgentTopic, Host: a.Host}, rpc.MethodPing, rpc.Empty{}, &reply) == nil
}

// moveRouters gives each router of a dead L3 agent to the one with the fewest.
// If the dead one lives after all, it learns that the router is not its own any
// more with the next thing it hears.
func (s *Service) moveRouters(ctx context.Context, dead *Agent) error {
	routers, err := routerIDsOf(ctx, s.db, dead.ID)
	if err != nil {
		return err
	}
	for _, id := range routers {
		to, err := s.moveRouter(ctx, dead, id)
		if err != nil {
			return err
		}
		if to == "" {
			return nil // nobody is left to take them
		}
		s.log.WarnContext(ctx, "router moved off a dead agent", "router_id", id, "host", dead.Host, "to", to)
	}
	return nil
}

func (s *Service) moveRouter(ctx context.Context, dead *Agent, routerID string) (to string, err error) {
	err = s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		to = ""
		if err := s.lockRouter(ctx, tx, routerID); err != nil {
			return err
		}
		agents, err := s.ready(ctx, tx, rpc.AgentL3)
		if err != nil || len(agents) == 0 {
			return err
		}
		taken, err := takeRouter(ctx, tx, routerID, dead.ID, agents[0].ID)
		if err != nil || !taken {
			return err
		}
		to = agents[0].Host
		return s.bindRouterPorts(ctx, tx, routerID, to, ch)
	})
	return to, err
}

// moveNetworks gives the networks of a dead DHCP agent to agents that do not
// serve them yet. Where there is none, they stay.
func (s *Service) moveNetworks(ctx context.Context, dead *Agent) error {
	nets, err := networkIDsOf(ctx, s.db, dead.ID)
	if err != nil {
		return err
	}
	for _, id := range nets {
		err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
			return s.moveNetwork(ctx, tx, dead, id, ch)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) moveNetwork(ctx context.Context, tx bun.Tx, dead *Agent, networkID string, ch *change) error {
	have, err := s.dhcpAgents(ctx, tx, networkID)
	if err != nil {
		return err
	}
	ready, err := s.ready(ctx, tx, rpc.AgentDHCP)
	if err != nil {
		return err
	}
	spare := 0
	for _, a := range ready {
		if !contains(have, a.ID) {
			spare++
		}
	}
	if spare == 0 || !contains(have, dead.ID) {
		return nil
	}
	if err := dropNetwork(ctx, tx, networkID, dead.ID); err != nil {
		return err
	}
	if err := s.dropDHCPPort(ctx, tx, networkID, dead.Host, ch); err != nil {
		return err
	}
	n, err := s.network(ctx, tx, internal, networkID)
	if err != nil {
		return err
	}
	return s.ensureDHCP(ctx, tx, n, ch)
}

func contains(agents []*Agent, id string) bool {
	for _, a := range agents {
		if a.ID == id {
			return true
		}
	}
	return false
}
