package status

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"sync"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/hastack/hastack/internal/openstack"
)

func escape(q string) string { return url.QueryEscape(q) }

// plain takes the method and the URL off an error: who reads it knows them.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		if u.Timeout() {
			return errors.New("no answer in time")
		}
		err = u.Err
	}
	if s, ok := errors.AsType[*os.SyscallError](err); ok {
		return s.Err
	}
	return err
}

// askCloud asks the services as the cloud's admin.
func (s *Source) askCloud(ctx context.Context) Cloud {
	c := Cloud{Through: s.through}
	if s.clients == nil {
		c.Err = errors.New("the topology has no VIP named api")
		return c
	}
	began := s.clock.Now()
	// The version document needs no token: it shows the way through the load
	// balancer without the price of a password.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.through+"/identity/v3", nil)
	if err != nil {
		c.Err = err
		return c
	}
	resp, err := s.http.Do(req)
	if err != nil {
		c.Err = plain(err)
		return c
	}
	_ = resp.Body.Close()
	c.Took = s.clock.Now().Sub(began)
	if resp.StatusCode != http.StatusOK {
		c.Err = errors.New(resp.Status)
		return c
	}
	if _, c.Err = s.clients.Token(ctx, false); c.Err != nil {
		return c
	}
	var both sync.WaitGroup
	both.Go(func() { c.Network, c.NetworkErr = s.askNetwork(ctx) })
	both.Go(func() { c.Compute, c.ComputeErr = s.askCompute(ctx) })
	both.Wait()
	return c
}

func fetch(ctx context.Context, sc *gophercloud.ServiceClient, path string, out any) error {
	_, err := sc.Get(ctx, sc.ServiceURL(path), out, nil) //nolint:bodyclose // gophercloud closes it
	return openstack.Fault(err)
}

func (s *Source) askNetwork(ctx context.Context) (*NetworkAnswer, error) {
	sc, err := s.clients.Network(ctx)
	if err != nil {
		return nil, err
	}
	var agents struct {
		Agents []struct {
			Type  string `json:"agent_type"`
			Host  string `json:"host"`
			Alive bool   `json:"alive"`
			Up    bool   `json:"admin_state_up"`
		} `json:"agents"`
	}
	var routers struct {
		Routers []struct{ ID string } `json:"routers"`
	}
	var subnets struct {
		Subnets []struct {
			Network string `json:"network_id"`
		} `json:"subnets"`
	}
	err = errors.Join(fetch(ctx, sc, "agents", &agents), fetch(ctx, sc, "routers?fields=id", &routers),
		fetch(ctx, sc, "subnets?enable_dhcp=true&fields=network_id", &subnets))
	if err != nil {
		return nil, err
	}
	n := &NetworkAnswer{Routers: len(routers.Routers)}
	for _, a := range agents.Agents {
		n.Agents = append(n.Agents, Agent{Kind: a.Type, Host: a.Host, Up: a.Alive, Enabled: a.Up})
	}
	networks := map[string]bool{}
	for _, x := range subnets.Subnets {
		networks[x.Network] = true
	}
	n.DHCP = len(networks)
	return n, nil
}

func (s *Source) askCompute(ctx context.Context) (*ComputeAnswer, error) {
	sc, err := s.clients.Compute(ctx)
	if err != nil {
		return nil, err
	}
	var services struct {
		Services []struct {
			Binary string `json:"binary"`
			Host   string `json:"host"`
			State  string `json:"state"`
			Status string `json:"status"`
		} `json:"services"`
	}
	var hypervisors struct {
		Hypervisors []struct {
			Name    string `json:"hypervisor_hostname"`
			Servers int    `json:"running_vms"`
			Memory  int    `json:"memory_mb"`
			Used    int    `json:"memory_mb_used"`
		} `json:"hypervisors"`
	}
	err = errors.Join(fetch(ctx, sc, "os-services", &services), fetch(ctx, sc, "os-hypervisors/detail", &hypervisors))
	if err != nil {
		return nil, err
	}
	c := &ComputeAnswer{}
	for _, x := range services.Services {
		c.Services = append(c.Services, Agent{Kind: x.Binary, Host: x.Host, Up: x.State == "up", Enabled: x.Status != "disabled"})
	}
	for _, h := range hypervisors.Hypervisors {
		c.Hosts = append(c.Hosts, ComputeHost{Name: h.Name, Servers: h.Servers, MemoryMB: h.Memory, UsedMB: h.Used})
	}
	return c, nil
}
