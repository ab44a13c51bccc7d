package neutron

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// scheduleEvery is how often work without an agent is looked for when nothing
// happens; an agent that appears starts a look at once.
const scheduleEvery = 15 * time.Second

// DHCPDeviceID is the device_id of the port of a host's DHCP server.
func DHCPDeviceID(host, networkID string) string {
	return "dhcp" + uuid.NewSHA1(uuid.NameSpaceDNS, []byte(host)).String() + "-" + networkID
}

// scheduleRouter gives a router to the L3 agent with the fewest, and returns
// its host; empty while there is no agent.
func (s *Service) scheduleRouter(ctx context.Context, tx bun.Tx, routerID string) (string, error) {
	agents, err := s.ready(ctx, tx, rpc.AgentL3)
	if err != nil || len(agents) == 0 {
		return "", err
	}
	err = giveRouter(ctx, tx, routerID, agents[0].ID)
	if db.IsDuplicate(err) {
		return "", errStale
	}
	return agents[0].Host, err
}

// routerHost is the host of a router's agent, after giving it one if need be.
func (s *Service) routerHost(ctx context.Context, tx bun.Tx, routerID string) (string, error) {
	host, err := hostOfRouter(ctx, tx, routerID)
	if db.IsNoRows(err) {
		return s.scheduleRouter(ctx, tx, routerID)
	}
	return host, err
}

// bindRouterPorts moves a router's ports to the host of its agent.
func (s *Service) bindRouterPorts(ctx context.Context, tx bun.Tx, routerID, host string, ch *change) error {
	ports, err := s.portsOfRouter(ctx, tx, routerID)
	if err != nil {
		return err
	}
	for _, p := range ports {
		net, err := s.network(ctx, tx, internal, p.NetworkID)
		if err != nil {
			return err
		}
		p.Host = host
		if err := s.bind(ctx, tx, p, net); err != nil {
			return err
		}
		if err := s.casPort(ctx, tx, p); err != nil {
			return err
		}
		ch.ports = append(ch.ports, p.ID)
	}
	ch.routers = append(ch.routers, routerID)
	return nil
}

// ensureDHCP sees that a network has its DHCP servers, each with a port that
// has an address in every subnet with DHCP; or none if no subnet has DHCP.
func (s *Service) ensureDHCP(ctx context.Context, tx bun.Tx, net *Network, ch *change) error {
	subnets, err := s.subnetsOf(ctx, tx, net.ID)
	if err != nil {
		return err
	}
	subnets = slices.DeleteFunc(subnets, func(n *Subnet) bool { return !n.EnableDHCP })
	agents, err := s.dhcpAgents(ctx, tx, net.ID)
	if err != nil {
		return err
	}
	if len(subnets) > 0 && len(agents) < s.cfg.DHCPAgentsPerNetwork {
		if agents, err = s.addDHCPAgents(ctx, tx, net.ID, agents); err != nil {
			return err
		}
	}
	ch.networks = append(ch.networks, net.ID)
	for _, a := range agents {
		if err := s.ensureDHCPPort(ctx, tx, net, a, subnets, ch); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) addDHCPAgents(ctx context.Context, tx bun.Tx, networkID string, have []*Agent) ([]*Agent, error) {
	ready, err := s.ready(ctx, tx, rpc.AgentDHCP)
	if err != nil {
		return nil, err
	}
	for _, a := range ready {
		if len(have) >= s.cfg.DHCPAgentsPerNetwork {
			break
		}
		if slices.ContainsFunc(have, func(h *Agent) bool { return h.ID == a.ID }) {
			continue
		}
		err := giveNetwork(ctx, tx, networkID, a.ID)
		if db.IsDuplicate(err) {
			return nil, errStale
		}
		if err != nil {
			return nil, err
		}
		have = append(have, a)
	}
	return have, nil
}

func (s *Service) ensureDHCPPort(ctx context.Context, tx bun.Tx, net *Network, a *Agent, subnets []*Subnet, ch *change) error {
	// Who takes the network from the agent takes the port as well.
	if err := keepNetwork(ctx, tx, net.ID, a.ID); err != nil {
		return err
	}
	ports, err := dhcpPorts(ctx, tx, DHCPDeviceID(a.Host, net.ID))
	if err != nil {
		return err
	}
	var want []FixedIP
	for _, n := range subnets {
		want = append(want, FixedIP{SubnetID: n.ID})
	}
	switch {
	case len(subnets) == 0 && len(ports) == 0:
		return nil
	case len(subnets) == 0:
		ch.ports = append(ch.ports, ports[0].ID)
		return s.deletePortRows(ctx, tx, net.ID, []string{ports[0].ID})
	case len(ports) == 0:
		off := false
		p, err := s.addPort(ctx, tx, internal, &PortSpec{
			Port: Port{
				Standard: Standard{ProjectID: net.ProjectID}, NetworkID: net.ID, DeviceID: DHCPDeviceID(a.Host, net.ID), DeviceOwner: ownerDHCP,
				AdminStateUp: true, Host: a.Host, VNICType: "normal",
			},
			WantIPs: &want, PortSecurityOn: &off,
		}, net, subnets)
		if err == nil {
			ch.ports = append(ch.ports, p.ID)
		}
		return err
	}
	p := ports[0]
	if slices.Equal(subnetsOfPort(p), subnetIDsOf(want)) {
		return nil
	}
	if err := s.reallocate(ctx, tx, p, subnets, want); err != nil {
		return err
	}
	ch.ports = append(ch.ports, p.ID)
	return s.casPort(ctx, tx, p)
}

func subnetIDsOf(ips []FixedIP) []string {
	out := make([]string, 0, len(ips))
	for _, f := range ips {
		out = append(out, f.SubnetID)
	}
	return out
}

// ScheduleNow gives routers and networks that have no agent to those that
// live. It is what the loop does, for tests and for an operator's request.
func (s *Service) ScheduleNow(ctx context.Context) error {
	routers, err := s.orphanRouters(ctx)
	if err != nil {
		return err
	}
	for _, id := range routers {
		err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
			if err := s.lockRouter(ctx, tx, id); err != nil {
				return err
			}
			host, err := s.routerHost(ctx, tx, id)
			if err != nil || host == "" {
				return err
			}
			return s.bindRouterPorts(ctx, tx, id, host, ch)
		})
		if err != nil {
			return err
		}
	}
	nets, err := s.orphanNetworks(ctx)
	if err != nil {
		return err
	}
	for _, id := range nets {
		err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
			n, err := s.network(ctx, tx, internal, id)
			if err != nil {
				return err
			}
			return s.ensureDHCP(ctx, tx, n, ch)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) wakeScheduler() {
	select {
	case s.schedule <- struct{}{}:
	default:
	}
}

func (s *Service) scheduleLoop(ctx context.Context) {
	tick := s.clock.NewTicker(scheduleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.schedule:
		case <-tick.C():
		}
		if err := s.ScheduleNow(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "scheduling of routers and networks failed", "error", err)
		}
	}
}
