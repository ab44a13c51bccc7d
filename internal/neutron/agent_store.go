package neutron

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

func agentColumns() columns {
	return columns{
		"id":                {name: "id"},
		"agent_type":        {name: "agent_type"},
		"binary":            {name: "binary_name"},
		"topic":             {name: "topic"},
		"host":              {name: "host"},
		"availability_zone": {name: "availability_zone"},
		"admin_state_up":    {name: "admin_state_up", kind: colBool},
		"description":       {name: "description"},
		"alive":             {kind: colSpecial, apply: func(q *bun.SelectQuery, _ []string) (*bun.SelectQuery, error) { return q, nil }},
	}
}

func (s *Service) agent(ctx context.Context, idb bun.IDB, id string) (*Agent, error) {
	a := new(Agent)
	err := idb.NewSelect().Model(a).Where("id = ?", id).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, agentNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read agent %s: %w", id, err)
	}
	return a, nil
}

func (s *Service) agents(ctx context.Context, query Query) ([]*Agent, error) {
	out := []*Agent{}
	q, err := s.selection(ctx, s.db, s.db.NewSelect().Model(&out), Agents, query)
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	return out, nil
}

// agentOn is the agent of a type on a host, nil if there is none.
func (s *Service) agentOn(ctx context.Context, idb bun.IDB, agentType, host string) (*Agent, error) {
	a := new(Agent)
	err := idb.NewSelect().Model(a).Where("agent_type = ? AND host = ?", agentType, host).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read agent of %s: %w", host, err)
	}
	return a, nil
}

// ready are the living agents of a type that may get work, least loaded first.
func (s *Service) ready(ctx context.Context, idb bun.IDB, agentType string) ([]*Agent, error) {
	table := "router_agents"
	if agentType == rpc.AgentDHCP {
		table = "network_agents"
	}
	out := []*Agent{}
	err := idb.NewSelect().Model(&out).
		Where("agent_type = ? AND admin_state_up = ? AND heartbeat_timestamp > ?", agentType, true, s.clock.Now().Add(-s.downTime(agentType))).
		OrderExpr("(SELECT COUNT(*) FROM ? l WHERE l.agent_id = agent.id), host", bun.Ident(table)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	return out, nil
}

// hostReaches tells whether a host can plug ports of a network. Only a
// physical network may be out of reach; a host that has no agent yet gets the
// benefit of the doubt, since the agent may still be starting.
func (s *Service) hostReaches(ctx context.Context, tx bun.Tx, host string, net *Network) (bool, error) {
	if net.PhysicalNetwork == "" {
		return true, nil
	}
	a, err := s.agentOn(ctx, tx, rpc.AgentL2, host)
	if err != nil || a == nil {
		return err == nil, err
	}
	return slices.Contains(a.BridgeMappings, net.PhysicalNetwork), nil
}

func saveAgent(ctx context.Context, tx bun.Tx, a *Agent) error {
	_, err := tx.NewUpdate().Model(a).WherePK().Exec(ctx)
	return err
}

// saveAgentSettings writes what an operator decides, and leaves what the agent
// itself says to its heartbeats.
func saveAgentSettings(ctx context.Context, tx bun.Tx, a *Agent) error {
	_, err := exec(ctx, tx, "UPDATE agents SET admin_state_up = ?, description = ? WHERE id = ?", a.AdminStateUp, a.Description, a.ID)
	return err
}
