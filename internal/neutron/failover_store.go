package neutron

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// deadAgents are those of a type that serve something and were not heard of
// since a time.
func (s *Service) deadAgents(ctx context.Context, agentType, table string, since time.Time) ([]*Agent, error) {
	out := []*Agent{}
	err := s.db.NewSelect().Model(&out).Where("agent_type = ? AND heartbeat_timestamp <= ?", agentType, since).
		Where("EXISTS (SELECT 1 FROM ? l WHERE l.agent_id = agent.id)", bun.Ident(table)).Order("host").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read dead agents: %w", err)
	}
	return out, nil
}

func routerIDsOf(ctx context.Context, idb bun.IDB, agentID string) ([]string, error) {
	var out []string
	err := idb.NewSelect().Table("router_agents").Column("router_id").Where("agent_id = ?", agentID).Order("router_id").Scan(ctx, &out)
	return out, err
}

func networkIDsOf(ctx context.Context, idb bun.IDB, agentID string) ([]string, error) {
	var out []string
	err := idb.NewSelect().Table("network_agents").Column("network_id").Where("agent_id = ?", agentID).Order("network_id").Scan(ctx, &out)
	return out, err
}

// takeRouter moves a router from an agent to another; false if somebody was
// faster, or the agent came back to life.
func takeRouter(ctx context.Context, tx bun.Tx, routerID, from, to string) (bool, error) {
	n, err := exec(ctx, tx, "UPDATE router_agents SET agent_id = ? WHERE router_id = ? AND agent_id = ?", to, routerID, from)
	return n == 1, err
}

func dropNetwork(ctx context.Context, tx bun.Tx, networkID, agentID string) error {
	_, err := exec(ctx, tx, "DELETE FROM network_agents WHERE network_id = ? AND agent_id = ?", networkID, agentID)
	return err
}
