package audit

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/services"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/agents"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/placement/v1/resourceproviders"
	"github.com/gophercloud/gophercloud/v2/pagination"
	"golang.org/x/sync/errgroup"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/fault"
	neutronrpc "github.com/hastack/hastack/internal/neutron/rpc"
	novarpc "github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/openstack"
)

// The bus topic and method by which a network host answers what is on it.
const (
	NetworkTopic    = "audit-network"
	MethodInventory = "inventory"
)

// A Collector pictures a cloud by its public APIs and its hosts by the bus.
type Collector struct {
	Clients *openstack.Clients // of a user who sees every project
	Bus     bus.Bus
	Log     *slog.Logger
	// NetworkHosts tells that hosts run network agents that answer on
	// NetworkTopic; simulated hosts do not.
	NetworkHosts bool
}

// Collect looks at everything. A part that does not answer is named in Unseen
// and is no error; only a cancelled ctx is.
func (c *Collector) Collect(ctx context.Context) (*World, error) {
	w := &World{}
	for _, part := range []struct {
		name string
		see  func(context.Context, *World) error
	}{
		// Owners are pictured last: what appears meanwhile has its owner then.
		{"placement", c.allocations},
		{"hosts", c.hosts},
		{"neutron", c.network},
		{"neutron's rows", c.problems},
		{"nova", c.servers},
	} {
		if err := part.see(ctx, w); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			c.Log.WarnContext(ctx, "audit cannot see a part", "part", part.name, "error", err)
			w.Unseen = append(w.Unseen, part.name)
		}
	}
	return w, nil
}

// pages collects every page of a list.
func pages[T any](ctx context.Context, p pagination.Pager, extract func(pagination.Page) ([]T, error)) ([]T, error) {
	page, err := p.AllPages(ctx)
	if err != nil {
		return nil, openstack.Fault(err)
	}
	return extract(page)
}

func (c *Collector) allocations(ctx context.Context, w *World) error {
	sc, err := c.Clients.Placement(ctx)
	if err != nil {
		return err
	}
	providers, err := pages(ctx, resourceproviders.List(sc, nil), resourceproviders.ExtractResourceProviders)
	if err != nil {
		return fmt.Errorf("list providers: %w", err)
	}
	for _, p := range providers {
		held, err := resourceproviders.GetAllocations(ctx, sc, p.UUID).Extract()
		if err != nil {
			return fmt.Errorf("allocations of %s: %w", p.Name, openstack.Fault(err))
		}
		for consumer := range held.Allocations {
			w.Allocations = append(w.Allocations, Allocation{Consumer: consumer, Host: p.Name})
		}
	}
	return nil
}

// hostTimeout bounds the question to one host: a dead one must not keep the
// others waiting.
const hostTimeout = 10 * time.Second

// hosts asks every host that runs nova-compute or network agents, several at a
// time. One that does not answer is unseen, and nothing of it is judged.
func (c *Collector) hosts(ctx context.Context, w *World) error {
	runs, err := c.hostNames(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex // guards w
	var g errgroup.Group
	g.SetLimit(8)
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		g.Go(func() error {
			h, unseen := c.host(ctx, name, runs[name])
			mu.Lock()
			defer mu.Unlock()
			w.Unseen = append(w.Unseen, unseen...)
			if h != nil {
				w.Hosts = append(w.Hosts, *h)
			}
			return nil
		})
	}
	err = g.Wait()
	slices.SortFunc(w.Hosts, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(w.Unseen)
	return err
}

// hostParts are what runs on a host.
type hostParts struct{ compute, network bool }

func (c *Collector) hostNames(ctx context.Context) (map[string]hostParts, error) {
	runs := map[string]hostParts{}
	sc, err := c.Clients.Compute(ctx)
	if err != nil {
		return nil, err
	}
	list, err := pages(ctx, services.List(sc, services.ListOpts{Binary: "nova-compute"}), services.ExtractServices)
	if err != nil {
		return nil, fmt.Errorf("list compute services: %w", err)
	}
	for _, s := range list {
		// On a host of both, the agents may be of a kind that does not answer.
		runs[s.Host] = hostParts{compute: true, network: c.NetworkHosts}
	}
	if !c.NetworkHosts {
		return runs, nil
	}
	if sc, err = c.Clients.Network(ctx); err != nil {
		return nil, err
	}
	agentList, err := pages(ctx, agents.List(sc, agents.ListOpts{}), agents.ExtractAgents)
	if err != nil {
		return nil, fmt.Errorf("list network agents: %w", err)
	}
	for _, a := range agentList {
		runs[a.Host] = hostParts{compute: runs[a.Host].compute, network: true}
	}
	return runs, nil
}

// host pictures one host; nil if the part that it is known by did not answer.
func (c *Collector) host(ctx context.Context, name string, runs hostParts) (h *Host, unseen []string) {
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	h = &Host{Name: name}
	if runs.compute {
		if err := c.computeHost(ctx, h); err != nil {
			c.Log.WarnContext(ctx, "audit cannot see a host", "host", name, "error", err)
			return nil, []string{"compute " + name}
		}
	}
	if runs.network {
		if err := c.networkHost(ctx, h); err != nil && !fault.Is(err, fault.NotFound) {
			c.Log.WarnContext(ctx, "audit cannot see a network host", "host", name, "error", err)
			unseen = append(unseen, "network "+name)
		}
	}
	return h, unseen
}

func (c *Collector) computeHost(ctx context.Context, h *Host) error {
	on, err := novarpc.NewComputeClient(c.Bus, h.Name).Audit(ctx, novarpc.AuditArgs{})
	if err != nil {
		return err
	}
	h.Busy = on.Busy
	for _, p := range on.Processes {
		h.Processes = append(h.Processes, Thing{Name: fmt.Sprint(p.PID), Owner: p.ServerID})
	}
	for _, d := range on.Disks {
		h.Disks = append(h.Disks, Thing{Name: d.Path, Owner: d.ServerID})
	}
	for _, t := range on.Taps {
		h.Taps = append(h.Taps, Thing{Name: t.Name, Owner: strings.TrimPrefix(t.Name, "tap")})
	}
	return nil
}

// networkHost adds what the network agents of a host see to it.
func (c *Collector) networkHost(ctx context.Context, h *Host) error {
	var seen Host
	if err := c.Bus.Call(ctx, bus.Target{Topic: NetworkTopic, Host: h.Name}, MethodInventory, struct{}{}, &seen); err != nil {
		return err
	}
	h.Bridges, h.Namespaces, h.DHCP, h.Filters = seen.Bridges, seen.Namespaces, seen.DHCP, seen.Filters
	known := map[string]bool{}
	for _, t := range h.Taps {
		known[t.Name] = true
	}
	for _, t := range seen.Taps {
		if !known[t.Name] {
			h.Taps = append(h.Taps, t)
		}
	}
	return nil
}

func (c *Collector) network(ctx context.Context, w *World) error {
	sc, err := c.Clients.Network(ctx)
	if err != nil {
		return err
	}
	plist, err := pages(ctx, ports.List(sc, nil), extractPorts)
	if err != nil {
		return fmt.Errorf("list ports: %w", err)
	}
	w.Ports = plist
	nets, err := pages(ctx, networks.List(sc, nil), networks.ExtractNetworks)
	if err != nil {
		return fmt.Errorf("list networks: %w", err)
	}
	for _, n := range nets {
		w.Networks = append(w.Networks, n.ID)
	}
	rs, err := pages(ctx, routers.List(sc, nil), routers.ExtractRouters)
	if err != nil {
		return fmt.Errorf("list routers: %w", err)
	}
	for _, r := range rs {
		w.Routers = append(w.Routers, r.ID)
	}
	return nil
}

// extractPorts reads ports with the host that they are bound to.
func extractPorts(p pagination.Page) ([]Port, error) {
	var list []struct {
		ports.Port
		HostID string `json:"binding:host_id"`
	}
	if err := ports.ExtractPortsInto(p, &list); err != nil {
		return nil, err
	}
	out := make([]Port, len(list))
	for i, x := range list {
		out[i] = Port{ID: x.ID, NetworkID: x.NetworkID, DeviceID: x.DeviceID, DeviceOwner: x.DeviceOwner, Host: x.HostID}
	}
	return out, nil
}

// novaView is what nova-api tells an auditor.
type novaView struct {
	Servers []struct {
		ID        string   `json:"id"`
		ProjectID string   `json:"project_id"`
		Host      string   `json:"host"`
		VMState   string   `json:"vm_state"`
		TaskState string   `json:"task_state"`
		PortIDs   []string `json:"port_ids"`
		InFlight  bool     `json:"in_flight"`
		Cleanup   bool     `json:"cleanup"`
	} `json:"servers"`
	// Quota has, by project/resource, what is counted and what there is.
	Quota map[string][2]int64 `json:"quota"`
}

// statuses are the states that the check tells apart.
var statuses = map[string]string{"active": "ACTIVE", "stopped": "SHUTOFF", "error": "ERROR", "building": "BUILD", "deleted": "DELETED"}

func (c *Collector) servers(ctx context.Context, w *World) error {
	sc, err := c.Clients.Compute(ctx)
	if err != nil {
		return err
	}
	var view novaView
	if _, err := sc.Get(ctx, sc.ServiceURL("hastack-audit"), &view, nil); err != nil {
		return fmt.Errorf("ask nova: %w", openstack.Fault(err))
	}
	for _, v := range view.Servers {
		status := statuses[v.VMState]
		if status == "" {
			status = v.VMState
		}
		task := v.TaskState
		if task == "" && (v.InFlight || v.Cleanup) {
			task = "busy"
		}
		w.Servers = append(w.Servers, Server{ID: v.ID, ProjectID: v.ProjectID, Host: v.Host, Status: status, TaskState: task, PortIDs: v.PortIDs})
	}
	for key, n := range view.Quota {
		project, resource, _ := strings.Cut(key, "/")
		w.Quotas = append(w.Quotas, Quota{ProjectID: project, Resource: resource, Counted: n[0], Actual: n[1]})
	}
	return nil
}

// problems adds what Neutron finds wrong among its own rows and counters.
func (c *Collector) problems(ctx context.Context, w *World) error {
	var reply neutronrpc.AuditReply
	err := c.Bus.Call(ctx, bus.Target{Topic: neutronrpc.Topic}, neutronrpc.MethodAudit, neutronrpc.AuditArgs{}, &reply)
	w.Problems = reply.Problems
	return err
}
