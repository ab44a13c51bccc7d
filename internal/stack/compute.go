package stack

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/nova"
	"github.com/hastack/hastack/internal/nova/compute"
	"github.com/hastack/hastack/internal/nova/metadata"
	"github.com/hastack/hastack/internal/nova/novaapi"
	"github.com/hastack/hastack/internal/nova/novncproxy"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
	"github.com/hastack/hastack/internal/nova/virt/fake"
	"github.com/hastack/hastack/internal/nova/virt/qemu"
	"github.com/hastack/hastack/internal/placement"
	"github.com/hastack/hastack/internal/placement/placementapi"
	"github.com/hastack/hastack/internal/policy"
)

func buildPlacement(ctx context.Context, s *Stack) error {
	d, err := s.open(ctx, "placement", schema("placement")...)
	if err != nil {
		return err
	}
	svc, err := placement.New(placement.Config{}, placement.Deps{DB: d, Log: s.log})
	if err != nil {
		return err
	}
	rules, err := policy.New(placement.Rules(), nil)
	if err != nil {
		return err
	}
	s.mount("placement", placementapi.New(svc, placementapi.Config{
		PublicURL: s.cfg.Endpoints["placement"], AuthURL: s.cfg.AuthURL(), Auth: s.auth("placement"), Policy: rules,
		Log: s.log, Metrics: s.metrics,
	}))
	s.authenticates("placement")
	s.run("placement", svc.Run)
	return nil
}

// novaService is the domain that nova-api, nova-conductor and nova-scheduler
// share; one in a process.
func (s *Stack) novaService(ctx context.Context) (*nova.Service, error) {
	if s.nova != nil {
		return s.nova, nil
	}
	d, err := s.open(ctx, "nova", schema("nova")...)
	if err != nil {
		return nil, err
	}
	cfg := nova.Config{Host: s.cfg.Host, ConsoleURL: s.cfg.ConsoleURL() + "/vnc_lite.html"}
	if s.clustered() && !s.simulated() {
		cfg.ServiceDownAfter = serviceDownTime
	}
	s.nova, err = nova.New(cfg, nova.Deps{
		DB: d, Bus: s.bus, Clients: s.service("nova"), Clock: clock.System, Log: s.log,
	})
	return s.nova, err
}

func buildConductor(ctx context.Context, s *Stack) error {
	svc, err := s.novaService(ctx)
	if err != nil {
		return err
	}
	s.authenticates("nova")
	s.run("nova-conductor", nova.NewConductor(svc, s.cfg.Host).Run)
	return nil
}

func buildScheduler(ctx context.Context, s *Stack) error {
	svc, err := s.novaService(ctx)
	if err != nil {
		return err
	}
	s.run("nova-scheduler", nova.NewScheduler(svc, s.cfg.Host).Run)
	return nil
}

func buildNovaAPI(ctx context.Context, s *Stack) error {
	svc, err := s.novaService(ctx)
	if err != nil {
		return err
	}
	api, err := novaapi.New(novaapi.Config{PublicURL: s.cfg.Endpoints["compute"], AuthURL: s.cfg.AuthURL()}, novaapi.Deps{
		Nova: svc, Auth: s.auth("nova"), Clock: clock.System, Log: s.log, Metrics: s.metrics,
	})
	if err != nil {
		return err
	}
	s.mount("compute", api)
	s.authenticates("nova")
	return nil
}

func buildMetadata(_ context.Context, s *Stack) error {
	svc, err := metadata.New(metadata.Config{SharedSecret: s.secrets.MetadataSecret}, rpc.NewConductorClient(s.bus), clock.System, s.log)
	if err != nil {
		return err
	}
	s.mount("metadata", svc)
	return nil
}

func buildCompute(_ context.Context, s *Stack) error {
	hosts := []string{s.cfg.Host}
	if n := s.cfg.Compute.FakeHosts; s.simulated() && n > 1 {
		hosts = nil
		for i := range n {
			hosts = append(hosts, fmt.Sprintf("fake-%04d", i+1))
		}
	}
	for _, host := range hosts {
		driver, err := s.driver(host)
		if err != nil {
			return err
		}
		cfg := compute.Config{
			Host: host, StateDir: s.cfg.StateDir, HostIP: s.cfg.Compute.HostIP, VNCListen: s.cfg.Compute.VNCListen,
			CPURatio: s.cfg.Compute.VCPURatio, MemoryRatio: s.cfg.Compute.RAMRatio, DiskRatio: s.cfg.Compute.DiskRatio,
		}
		if s.tls != nil {
			cfg.VNCTLS = s.tls.Mutual()
		}
		if s.clustered() && !s.simulated() {
			cfg.HeartbeatEvery = heartbeatTime
		}
		agent, err := compute.New(cfg, compute.Deps{Bus: s.bus, Driver: driver, Clients: s.service("nova"), Clock: clock.System, Log: s.log})
		if err != nil {
			return err
		}
		s.run("nova-compute "+host, agent.Run)
	}
	return nil
}

// driver makes the hypervisor driver that the configuration names.
func (s *Stack) driver(host string) (virt.Driver, error) {
	if s.simulated() {
		return fake.New(fake.Config{Dir: filepath.Join(s.cfg.StateDir, "fake", host), Clock: clock.System}), nil
	}
	return qemu.New(qemu.Config{StateDir: s.cfg.StateDir, Accel: s.cfg.Compute.Accel}, clock.System, s.log)
}

func buildNoVNCProxy(_ context.Context, s *Stack) error {
	cfg := novncproxy.Config{Origins: s.consoleOrigins()}
	if s.tls != nil {
		cfg.TLS = s.tls.Client("")
	}
	s.mount("console", novncproxy.New(cfg, s.bus, s.log))
	return nil
}

// consoleOrigins is the host by which browsers know the proxy: behind a load
// balancer its own name is another.
func (s *Stack) consoleOrigins() []string {
	u, err := url.Parse(s.cfg.ConsoleURL())
	if err != nil || u.Host == "" {
		return nil
	}
	return []string{u.Host}
}
