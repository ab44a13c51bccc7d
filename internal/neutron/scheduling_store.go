package neutron

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

func (s *Service) dhcpAgents(ctx context.Context, idb bun.IDB, networkID string) ([]*Agent, error) {
	out := []*Agent{}
	err := idb.NewSelect().Model(&out).Where("id IN (SELECT na.agent_id FROM network_agents na WHERE na.network_id = ?)", networkID).
		Order("host").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read dhcp agents of network %s: %w", networkID, err)
	}
	return out, nil
}

// orphanRouters have no agent although one could take them.
func (s *Service) orphanRouters(ctx context.Context) ([]string, error) {
	ready, err := s.ready(ctx, s.db, rpc.AgentL3)
	if err != nil || len(ready) == 0 {
		return nil, err
	}
	var out []string
	err = s.db.NewSelect().Table("routers").Column("id").
		Where("NOT EXISTS (SELECT 1 FROM router_agents ra WHERE ra.router_id = routers.id)").Scan(ctx, &out)
	return out, err
}

// orphanNetworks have fewer DHCP servers than they should, although there is
// an agent that could take them.
func (s *Service) orphanNetworks(ctx context.Context) ([]string, error) {
	ready, err := s.ready(ctx, s.db, rpc.AgentDHCP)
	if err != nil || len(ready) == 0 {
		return nil, err
	}
	var out []string
	err = s.db.NewSelect().Table("subnets").ColumnExpr("DISTINCT network_id").
		Where("enable_dhcp = ?", true).
		Where("(SELECT COUNT(*) FROM network_agents na WHERE na.network_id = subnets.network_id) < ?",
			min(s.cfg.DHCPAgentsPerNetwork, len(ready))).Scan(ctx, &out)
	return out, err
}

// unscheduleAgent takes everything from an agent that it has by now. What it is
// given meanwhile keeps its row from being deleted.
func (s *Service) unscheduleAgent(ctx context.Context, tx bun.Tx, a *Agent, ch *change) error {
	nets, err := networkIDsOf(ctx, tx, a.ID)
	if err != nil {
		return err
	}
	for _, id := range nets {
		if err := dropNetwork(ctx, tx, id, a.ID); err != nil {
			return err
		}
		if err := s.dropDHCPPort(ctx, tx, id, a.Host, ch); err != nil {
			return err
		}
	}
	routers, err := routerIDsOf(ctx, tx, a.ID)
	if err != nil {
		return err
	}
	ch.routers = append(ch.routers, routers...)
	_, err = exec(ctx, tx, "DELETE FROM router_agents WHERE agent_id = ?", a.ID)
	return err
}

func (s *Service) dropDHCPPort(ctx context.Context, tx bun.Tx, networkID, host string, ch *change) error {
	var id string
	err := tx.QueryRowContext(ctx, "SELECT id FROM ports WHERE device_id = ? AND device_owner = ?", DHCPDeviceID(host, networkID), ownerDHCP).Scan(&id)
	if db.IsNoRows(err) {
		return nil
	}
	if err != nil {
		return err
	}
	ch.ports, ch.networks = append(ch.ports, id), append(ch.networks, networkID)
	return s.deletePortRows(ctx, tx, networkID, []string{id})
}

// AddNetworkToAgent lets a DHCP agent serve a network besides those it has.
func (s *Service) AddNetworkToAgent(ctx context.Context, agentID, networkID string) error {
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		a, err := s.agent(ctx, tx, agentID)
		if err != nil {
			return err
		}
		n, err := s.network(ctx, tx, internal, networkID)
		if err != nil {
			return err
		}
		if a.Type != rpc.AgentDHCP {
			return conflict("InvalidDHCPAgent", "Agent %s is not a valid DHCP Agent or has been disabled.", agentID)
		}
		err = giveNetwork(ctx, tx, networkID, agentID)
		if db.IsDuplicate(err) {
			return conflict("NetworkHostedByDHCPAgent", "The network %s has been already hosted by the DHCP Agent %s.", networkID, agentID)
		}
		if err != nil {
			return err
		}
		return s.ensureDHCP(ctx, tx, n, ch)
	})
}

// RemoveNetworkFromAgent takes a network from a DHCP agent.
func (s *Service) RemoveNetworkFromAgent(ctx context.Context, agentID, networkID string) error {
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		a, err := s.agent(ctx, tx, agentID)
		if err != nil {
			return err
		}
		n, err := exec(ctx, tx, "DELETE FROM network_agents WHERE network_id = ? AND agent_id = ?", networkID, agentID)
		if err != nil {
			return err
		}
		if n == 0 {
			return conflict("NetworkNotHostedByDhcpAgent", "The network %s is not hosted by the DHCP agent %s.", networkID, agentID)
		}
		return s.dropDHCPPort(ctx, tx, networkID, a.Host, ch)
	})
}

// NetworksOfAgent are the networks a DHCP agent serves.
func (s *Service) NetworksOfAgent(ctx context.Context, agentID string) ([]*Network, error) {
	nets := []*Network{}
	err := s.selectNetworks(s.db, internal, &nets).
		Where("network.id IN (SELECT na.network_id FROM network_agents na WHERE na.agent_id = ?)", agentID).Scan(ctx)
	return nets, err
}

// AgentsOfNetwork are the DHCP agents that serve a network.
func (s *Service) AgentsOfNetwork(ctx context.Context, networkID string) ([]*Agent, error) {
	return s.dhcpAgents(ctx, s.db, networkID)
}

// AgentsOfRouter are the L3 agents that serve a router: one, or none yet.
func (s *Service) AgentsOfRouter(ctx context.Context, routerID string) ([]*Agent, error) {
	out := []*Agent{}
	err := s.db.NewSelect().Model(&out).Where("id IN (SELECT ra.agent_id FROM router_agents ra WHERE ra.router_id = ?)", routerID).Scan(ctx)
	return out, err
}

// RoutersOfAgent are the routers an L3 agent serves.
func (s *Service) RoutersOfAgent(ctx context.Context, agentID string) ([]*Router, error) {
	out := []*Router{}
	err := s.db.NewSelect().Model(&out).Where("id IN (SELECT ra.router_id FROM router_agents ra WHERE ra.agent_id = ?)", agentID).Scan(ctx)
	return out, err
}

// AddRouterToAgent gives a router without an agent to this one.
func (s *Service) AddRouterToAgent(ctx context.Context, agentID, routerID string) error {
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		if err := s.lockRouter(ctx, tx, routerID); err != nil {
			return err
		}
		a, err := s.agent(ctx, tx, agentID)
		if err != nil {
			return err
		}
		if a.Type != rpc.AgentL3 || !a.AdminStateUp {
			return conflict("InvalidL3Agent", "Agent %s is not a L3 Agent or has been disabled.", agentID)
		}
		err = giveRouter(ctx, tx, routerID, agentID)
		if db.IsDuplicate(err) {
			return conflict("RouterHostedByL3Agent", "The router %s has been already hosted by the L3 Agent %s.", routerID, agentID)
		}
		if err != nil {
			return err
		}
		return s.bindRouterPorts(ctx, tx, routerID, a.Host, ch)
	})
}

// RemoveRouterFromAgent takes a router from its agent; it stays without one
// until an operator or the next look for such routers gives it another.
func (s *Service) RemoveRouterFromAgent(ctx context.Context, agentID, routerID string) error {
	return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		n, err := exec(ctx, tx, "DELETE FROM router_agents WHERE router_id = ? AND agent_id = ?", routerID, agentID)
		if err != nil {
			return err
		}
		if n == 0 {
			return conflict("RouterNotHostedByL3Agent", "The router %s is not hosted by L3 agent %s.", routerID, agentID)
		}
		return s.bindRouterPorts(ctx, tx, routerID, "", ch)
	})
}

func giveRouter(ctx context.Context, tx bun.Tx, routerID, agentID string) error {
	_, err := exec(ctx, tx, "INSERT INTO router_agents (router_id, agent_id) VALUES (?, ?)", routerID, agentID)
	return err
}

func giveNetwork(ctx context.Context, tx bun.Tx, networkID, agentID string) error {
	_, err := exec(ctx, tx, "INSERT INTO network_agents (network_id, agent_id) VALUES (?, ?)", networkID, agentID)
	if isForeignKey(err) { // the agent has just been deleted
		return errStale
	}
	return err
}

// keepNetwork holds a network's agent as it is until the transaction ends; it is
// stale when the network was taken from the agent meanwhile.
func keepNetwork(ctx context.Context, tx bun.Tx, networkID, agentID string) error {
	n, err := db.Hold(ctx, tx, "network_agents", "network_id = ? AND agent_id = ?", networkID, agentID)
	if err == nil && n == 0 {
		return errStale
	}
	return err
}

// hostOfRouter is the host of a router's agent; no row means no agent.
func hostOfRouter(ctx context.Context, tx bun.Tx, routerID string) (string, error) {
	var host string
	err := tx.QueryRowContext(ctx, "SELECT a.host FROM router_agents ra JOIN agents a ON a.id = ra.agent_id WHERE ra.router_id = ?", routerID).Scan(&host)
	return host, err
}

// dhcpPorts are the ports of one DHCP server: one, or none yet.
func dhcpPorts(ctx context.Context, tx bun.Tx, deviceID string) ([]*Port, error) {
	ports := []*Port{}
	err := tx.NewSelect().Model(&ports).Where("device_id = ? AND device_owner = ?", deviceID, ownerDHCP).Scan(ctx)
	return ports, err
}
