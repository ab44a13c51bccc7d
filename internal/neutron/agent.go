package neutron

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// An Agent is a part of Neutron that runs on a host, known by its heartbeats.
type Agent struct {
	bun.BaseModel `bun:"table:agents"`

	ID               string         `bun:"id,pk"`
	Type             string         `bun:"agent_type"`
	Binary           string         `bun:"binary_name"`
	Topic            string         `bun:"topic"`
	Host             string         `bun:"host"`
	AvailabilityZone string         `bun:"availability_zone"`
	AdminStateUp     bool           `bun:"admin_state_up"`
	Description      string         `bun:"description"`
	Configurations   map[string]any `bun:"configurations"`
	TunnelIP         string         `bun:"tunnel_ip"`
	BridgeMappings   Lines          `bun:"bridge_mappings"`
	CreatedAt        time.Time      `bun:"created_at"`
	StartedAt        time.Time      `bun:"started_at"`
	HeartbeatAt      time.Time      `bun:"heartbeat_timestamp"`
}

// An AgentPatch holds the attributes of an agent to change; nil leaves one.
type AgentPatch struct {
	AdminStateUp *bool
	Description  *string
}

// heartbeat remembers what was last written for an agent, so that a heartbeat
// that says nothing new costs no write.
type heartbeat struct {
	at      time.Time
	said    string
	adminUp bool
}

// Alive tells that the agent was heard of lately.
func (s *Service) Alive(a *Agent) bool {
	return s.clock.Now().Sub(a.HeartbeatAt) < s.downTime(a.Type)
}

// downTime is after how long without a heartbeat an agent of the type is dead.
func (s *Service) downTime(agentType string) time.Duration {
	if agentType == rpc.AgentL3 && s.cfg.FailoverTime > 0 {
		return s.cfg.FailoverTime
	}
	return s.cfg.AgentDownTime
}

// Heartbeat takes note of an agent. The row is written when the agent says
// something new or a third of the time has passed after which it would count
// as dead.
func (s *Service) Heartbeat(ctx context.Context, args rpc.HeartbeatArgs) (rpc.HeartbeatReply, error) {
	if args.Host == "" || args.AgentType == "" || len(args.Host) > 255 || len(args.AgentType) > 64 {
		return rpc.HeartbeatReply{}, badRequest(codeInvalid, "heartbeat without host or type")
	}
	said, err := json.Marshal(args)
	if err != nil {
		return rpc.HeartbeatReply{}, err
	}
	key, now := args.AgentType+"\n"+args.Host, s.clock.Now()
	s.mu.Lock()
	last := s.beats[key]
	s.mu.Unlock()
	if last.said != string(said) || now.Sub(last.at) > s.downTime(args.AgentType)/3 {
		up, fresh, err := s.writeHeartbeat(ctx, args, now)
		if err != nil {
			return rpc.HeartbeatReply{}, err
		}
		last = heartbeat{at: now, said: string(said), adminUp: up}
		s.mu.Lock()
		s.beats[key] = last
		s.mu.Unlock()
		if fresh {
			s.wakeScheduler()
		}
	}
	rev, err := s.revision(ctx, s.db)
	if err == nil {
		s.hearBeat(now)
	}
	return rpc.HeartbeatReply{AdminUp: last.adminUp, Revision: rev}, err
}

// writeHeartbeat updates the agent's row or adds it. fresh tells that the
// agent is new or was thought dead.
func (s *Service) writeHeartbeat(ctx context.Context, args rpc.HeartbeatArgs, now time.Time) (adminUp, fresh bool, err error) {
	err = s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		a, err := s.agentOn(ctx, tx, args.AgentType, args.Host)
		if err != nil {
			return err
		}
		isNew := a == nil
		if isNew {
			a = &Agent{
				ID: ids.UUID(), Type: args.AgentType, Host: args.Host, AdminStateUp: true, CreatedAt: now,
				AvailabilityZone: s.cfg.AvailabilityZone, Topic: topicOf(args.AgentType),
			}
		}
		fresh = isNew || now.Sub(a.HeartbeatAt) >= s.downTime(a.Type)
		// A new tunnel address or bridge moves everybody's forwarding entries.
		if a.TunnelIP != args.TunnelIP || !isNew && !slices.Equal(a.BridgeMappings, sortedSet(args.BridgeMappings)) {
			ch.all, fresh = true, true
		}
		a.Binary, a.StartedAt, a.HeartbeatAt = args.Binary, args.StartedAt.UTC().Truncate(time.Microsecond), now
		a.TunnelIP, a.BridgeMappings = args.TunnelIP, sortedSet(args.BridgeMappings)
		if a.Configurations = args.Configurations; a.Configurations == nil {
			a.Configurations = map[string]any{}
		}
		if a.StartedAt.IsZero() {
			a.StartedAt = now
		}
		adminUp = a.AdminStateUp
		if isNew {
			return insert(ctx, tx, a)
		}
		return saveAgent(ctx, tx, a)
	})
	return adminUp, fresh, err
}

func topicOf(agentType string) string {
	switch agentType {
	case rpc.AgentL3:
		return "l3_agent"
	case rpc.AgentDHCP:
		return "dhcp_agent"
	}
	return "N/A"
}

// Agent returns one agent.
func (s *Service) Agent(ctx context.Context, id string) (*Agent, error) {
	return s.agent(ctx, s.db, id)
}

// Agents lists agents. They belong to the cloud, not to a project.
func (s *Service) Agents(ctx context.Context, q Query) ([]*Agent, error) {
	return s.agents(ctx, q)
}

// UpdateAgent changes what an operator may say of an agent. One that is taken
// down gets nothing new; what it serves stays.
func (s *Service) UpdateAgent(ctx context.Context, id string, p AgentPatch) (*Agent, error) {
	var out *Agent
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		a, err := s.agent(ctx, tx, id)
		if err != nil {
			return err
		}
		set(&a.AdminStateUp, p.AdminStateUp)
		set(&a.Description, p.Description)
		out = a
		return saveAgentSettings(ctx, tx, a)
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	delete(s.beats, out.Type+"\n"+out.Host)
	s.mu.Unlock()
	s.wakeScheduler()
	return out, nil
}

// DeleteAgent forgets an agent; what it served is given to others. One that
// still sends heartbeats comes back as a new agent.
func (s *Service) DeleteAgent(ctx context.Context, id string) error {
	a, err := s.agent(ctx, s.db, id)
	if err != nil {
		return err
	}
	err = s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		if err := s.unscheduleAgent(ctx, tx, a, ch); err != nil {
			return err
		}
		err := removeRow(ctx, tx, "agents", id, agentNotFound)
		if isForeignKey(err) {
			return errStale
		}
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.beats, a.Type+"\n"+a.Host)
	s.mu.Unlock()
	s.wakeScheduler()
	return nil
}

// AvailabilityZones are the zones of the agents that serve a resource,
// "network" or "router", and whether one of them is alive.
func (s *Service) AvailabilityZones(ctx context.Context) (map[string]map[string]bool, error) {
	agents, err := s.agents(ctx, Query{})
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]bool{"network": {}, "router": {}}
	for _, a := range agents {
		kind := map[string]string{rpc.AgentDHCP: "network", rpc.AgentL3: "router"}[a.Type]
		if kind != "" {
			out[kind][a.AvailabilityZone] = out[kind][a.AvailabilityZone] || a.AdminStateUp
		}
	}
	return out, nil
}
