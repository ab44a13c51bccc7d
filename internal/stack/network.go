package stack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/hastack/hastack/internal/audit"
	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/lifecycle"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/neutron/agent"
	"github.com/hastack/hastack/internal/neutron/dataplane"
	"github.com/hastack/hastack/internal/neutron/neutronapi"
)

func buildNeutron(ctx context.Context, s *Stack) error {
	d, err := s.open(ctx, "neutron", schema("neutron")...)
	if err != nil {
		return err
	}
	cfg := neutron.Config{NoAgents: s.simulated()}
	if s.clustered() {
		cfg.AgentDownTime, cfg.FailoverTime = agentDownTime, failoverTime
	}
	svc, err := neutron.New(cfg, neutron.Deps{
		DB: d, Bus: s.bus, Clients: s.service("neutron"), Clock: clock.System, Log: s.log,
	})
	if err != nil {
		return err
	}
	api, err := neutronapi.New(svc, neutronapi.Config{
		PublicURL: s.cfg.Endpoints["network"], AuthURL: s.cfg.AuthURL(), Auth: s.auth("neutron"),
		Log: s.log, Metrics: s.metrics,
	})
	if err != nil {
		return err
	}
	s.mount("network", api)
	s.authenticates("neutron")
	s.run("neutron-server", svc.Run)
	return nil
}

// In a cluster what a dead agent serves is given to another, so that its death
// is seen in seconds; agents say that they live accordingly.
const (
	failoverTime    = 4 * time.Second
	agentDownTime   = 20 * time.Second
	serviceDownTime = 30 * time.Second // nova's hosts, whose heartbeats are written in batches
	heartbeatTime   = 5 * time.Second
	l3HeartbeatTime = time.Second
)

// clustered tells that services are processes of their own, on many machines.
func (s *Stack) clustered() bool { return len(s.cfg.Bus.URLs) > 0 }

// simulated tells that servers are the fake driver's: nothing is plugged.
func (s *Stack) simulated() bool { return s.cfg.Compute.Driver == "fake" }

func buildNetworkAgent(_ context.Context, s *Stack) error {
	return s.networkAgent(s.cfg.Network.Parts)
}

func networkPart(part string) func(context.Context, *Stack) error {
	return func(_ context.Context, s *Stack) error { return s.networkAgent([]string{part}) }
}

func (s *Stack) networkAgent(parts []string) error {
	if s.simulated() {
		return nil
	}
	plane, err := dataPlane(s.cfg)
	if err != nil {
		return err
	}
	cfg := agent.Config{
		Host: s.cfg.Host, Parts: parts, DataPlane: plane,
		MetadataURL: s.cfg.MetadataURL(), MetadataSecret: s.secrets.MetadataSecret,
	}
	if s.clustered() {
		cfg.HeartbeatEvery, cfg.L3HeartbeatEvery = heartbeatTime, l3HeartbeatTime
		if cfg.Address, cfg.Members, err = members(s.cfg); err != nil {
			return err
		}
	}
	a, err := agent.New(cfg, agent.Deps{Bus: s.bus, Clock: clock.System, Log: s.log, Transport: s.shortcut})
	if err != nil {
		return err
	}
	s.probes = append(s.probes, probe{"network agents", func(context.Context) bool {
		select {
		case <-a.Ready():
			return true
		default:
			return false
		}
	}})
	s.parts = append(s.parts, lifecycle.Part{
		Name: "neutron-agent", Run: a.Run,
		Stop: func(context.Context) error { return errors.Join(a.Close()) },
	})
	return s.answerInventory(a)
}

// answerInventory lets the auditor ask what networks have left on this host.
func (s *Stack) answerInventory(a *agent.Agent) error {
	mux := bus.NewMux()
	bus.On(mux, audit.MethodInventory, func(context.Context, struct{}) (*audit.Host, error) {
		inv, err := a.Inventory()
		if err != nil {
			return nil, err
		}
		h := &audit.Host{Name: s.cfg.Host, Taps: things(inv.Taps), Bridges: things(inv.Bridges), DHCP: things(inv.DHCP), Filters: things(inv.Filters)}
		for _, n := range inv.Namespaces {
			h.Namespaces = append(h.Namespaces, audit.Namespace(n))
		}
		return h, nil
	})
	var stop func()
	s.parts = append(s.parts, lifecycle.Part{
		Name: "network inventory",
		Start: func(ctx context.Context) (err error) {
			stop, err = s.bus.Serve(ctx, audit.NetworkTopic, s.cfg.Host, mux.Handle)
			return err
		},
		Stop: func(context.Context) error { stop(); return nil },
	})
	return nil
}

func things(list []dataplane.Thing) []audit.Thing {
	out := make([]audit.Thing, len(list))
	for i, t := range list {
		out[i] = audit.Thing(t)
	}
	return out
}

// members are the address of this server in the management network and those
// of the others.
func members(cfg *config.Config) (self netip.Addr, others []netip.Addr, err error) {
	if cfg.Network.Address == "" {
		return netip.Addr{}, nil, nil
	}
	if self, err = netip.ParseAddr(cfg.Network.Address); err != nil {
		return self, nil, fmt.Errorf("network.address: %w", err)
	}
	for _, m := range cfg.Network.Members {
		a, err := netip.ParseAddr(m)
		if err != nil {
			return self, nil, fmt.Errorf("network.members: %w", err)
		}
		others = append(others, a)
	}
	return self, others, nil
}

// dataPlane is this machine's part of the cloud's networks.
func dataPlane(cfg *config.Config) (dataplane.Config, error) {
	c := dataplane.Config{StateDir: cfg.Path("net")}
	for physical, bridge := range cfg.Network.BridgeMappings {
		m := dataplane.BridgeMapping{PhysicalNetwork: physical, Bridge: bridge}
		if physical == "public" && cfg.Network.ExternalCIDR != "" {
			prefix, err := netip.ParsePrefix(cfg.Network.ExternalCIDR)
			if err != nil {
				return c, fmt.Errorf("network.external_cidr: %w", err)
			}
			m.HostAddress = netip.PrefixFrom(prefix.Masked().Addr().Next(), prefix.Bits())
		}
		c.BridgeMappings = append(c.BridgeMappings, m)
	}
	if cfg.Network.TunnelIP != "" {
		ip, err := netip.ParseAddr(cfg.Network.TunnelIP)
		if err != nil {
			return c, fmt.Errorf("network.tunnel_ip: %w", err)
		}
		c.TunnelIP = ip
	}
	return c, nil
}
