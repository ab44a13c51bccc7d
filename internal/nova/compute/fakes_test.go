package compute

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
	"github.com/hastack/hastack/internal/nova/virt/fake"
	"github.com/hastack/hastack/internal/nova/virt/imagecache"
)

// cloud is the neighbours of one agent: a conductor with a few servers, a
// Neutron with ports, a Glance with one image, a Placement.
type cloud struct {
	mu       sync.Mutex
	specs    map[string]*rpc.ServerSpec
	current  map[string]string // server → operation
	finished map[string]rpc.FinishArgs
	steps    []rpc.Step
	tasks    []string
	power    []rpc.PowerChange
	networks map[string][]rpc.VIF
	hostOps  []rpc.HostServer
	reports  []rpc.HostReport
	down     error // what the conductor answers instead

	ports    map[string]port
	creates  int
	nextIP   int
	failPort error

	uploads map[string]string
	gone    []string

	inventories int
}

func newCloud() *cloud {
	return &cloud{specs: map[string]*rpc.ServerSpec{}, current: map[string]string{}, finished: map[string]rpc.FinishArgs{},
		networks: map[string][]rpc.VIF{}, ports: map[string]port{}, uploads: map[string]string{}}
}

func (c *cloud) check(server, op string) error {
	if c.down != nil {
		return c.down
	}
	if c.specs[server] == nil {
		return fault.New(fault.NotFound, "no server %s", server)
	}
	if op != "" && c.current[server] != op {
		return fault.New(fault.Conflict, "operation %s is not current", op)
	}
	return nil
}

func (c *cloud) ServerInfo(_ context.Context, in rpc.ServerInfoArgs) (*rpc.ServerSpec, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.check(in.ServerID, in.OpID); err != nil {
		return nil, err
	}
	c.note(in.TaskState, in.Steps)
	spec := *c.specs[in.ServerID]
	return &spec, nil
}

func (c *cloud) note(task string, steps []rpc.Step) {
	c.steps = append(c.steps, steps...)
	if task != "" {
		c.tasks = append(c.tasks, task)
	}
}

func (c *cloud) Report(_ context.Context, in rpc.ReportArgs) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.check(in.ServerID, in.OpID); err != nil {
		return err
	}
	c.note(in.TaskState, in.Steps)
	return nil
}

func (c *cloud) Progress(_ context.Context, in rpc.ProgressArgs) (*rpc.ProgressReply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &rpc.ProgressReply{}
	for _, id := range in.OpIDs {
		live := false
		for _, cur := range c.current {
			live = live || cur == id
		}
		if !live {
			out.Lost = append(out.Lost, id)
		}
	}
	return out, nil
}

func (c *cloud) Finish(_ context.Context, in rpc.FinishArgs) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.check(in.ServerID, in.OpID); err != nil && !in.Result.Deleted {
		return err
	}
	c.note("", in.Steps)
	c.finished[in.OpID] = in
	delete(c.current, in.ServerID)
	if in.Result.Networks != nil && c.specs[in.ServerID] != nil {
		c.specs[in.ServerID].Networks = in.Result.Networks
	}
	return nil
}

func (c *cloud) UpdateNetworks(_ context.Context, in rpc.UpdateNetworksArgs) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.networks[in.ServerID] = in.Networks
	return nil
}

func (c *cloud) HostServers(context.Context, rpc.HostArgs) (*rpc.HostServersReply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &rpc.HostServersReply{Servers: c.hostOps}, c.down
}

func (c *cloud) ReportHost(_ context.Context, in rpc.HostReport) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports = append(c.reports, in)
	return c.down
}

func (c *cloud) PowerSync(_ context.Context, in rpc.PowerSyncArgs) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.power = append(c.power, in.Changes...)
	return nil
}

func (c *cloud) AuditServers(context.Context, rpc.HostArgs) (*rpc.AuditServersReply, error) {
	return &rpc.AuditServersReply{}, nil
}

func (c *cloud) ServerMetadata(context.Context, rpc.ServerMetadataArgs) (*rpc.ServerSpec, error) {
	return nil, fault.New(fault.NotFound, "not asked here")
}

func (c *cloud) ConsoleTarget(context.Context, rpc.ConsoleTargetArgs) (*rpc.ConsoleTarget, error) {
	return nil, fault.New(fault.NotFound, "not asked here")
}

func (c *cloud) Ports(_ context.Context, server string) ([]port, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []port
	for _, p := range c.ports {
		if p.DeviceID == server {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b port) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
	return out, nil
}

func (c *cloud) Port(_ context.Context, id string) (port, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.ports[id]
	if !ok {
		return p, fault.New(fault.NotFound, "no port %s", id)
	}
	return p, nil
}

func (c *cloud) addPort(p port) port {
	c.nextIP++
	if p.ID == "" {
		p.ID = ids.UUID()
	}
	p.MAC, p.Status = fmt.Sprintf("fa:16:3e:00:00:%02x", c.nextIP), "DOWN"
	p.FixedIPs = []fixedIP{{SubnetID: "s-" + p.NetworkID, IP: fmt.Sprintf("10.0.0.%d", c.nextIP)}}
	c.ports[p.ID] = p
	return p
}

func (c *cloud) CreatePort(_ context.Context, attrs map[string]any) (port, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.creates++
	if c.failPort != nil {
		return port{}, c.failPort
	}
	return c.addPort(port{NetworkID: attrs["network_id"].(string), DeviceID: attrs["device_id"].(string),
		DeviceOwner: attrs["device_owner"].(string), HostID: attrs["binding:host_id"].(string)}), nil
}

func (c *cloud) UpdatePort(_ context.Context, id string, attrs map[string]any) (port, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.ports[id]
	if !ok {
		return p, fault.New(fault.NotFound, "no port %s", id)
	}
	p.DeviceID, p.DeviceOwner, p.HostID = attrs["device_id"].(string), attrs["device_owner"].(string), attrs["binding:host_id"].(string)
	c.ports[id] = p
	return p, nil
}

func (c *cloud) DeletePort(_ context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.ports[id]; !ok {
		return fault.New(fault.NotFound, "no port %s", id)
	}
	delete(c.ports, id)
	return nil
}

func (c *cloud) GroupIDs(_ context.Context, _ string, names []string) ([]string, error) {
	return names, nil
}

func (c *cloud) VIFs(_ context.Context, ports []port, _ bool) ([]rpc.VIF, error) {
	var out []rpc.VIF
	for _, p := range ports {
		net := cachedNet{net: networkView{ID: p.NetworkID, Name: "net", MTU: 1450}, subnets: []subnetView{{ID: "s-" + p.NetworkID, CIDR: "10.0.0.0/24", Version: 4}}}
		out = append(out, vifOf(p, net, nil))
	}
	return out, nil
}

func (c *cloud) Image(_ context.Context, id string) (imagecache.Image, error) {
	if id == "missing" {
		return imagecache.Image{}, fault.New(fault.NotFound, "No image found with ID %s", id)
	}
	return imagecache.Image{ID: id, Name: "img", Status: "active", DiskFormat: "qcow2"}, nil
}

func (c *cloud) Data(context.Context, string) (io.ReadCloser, error) {
	return nil, fault.New(fault.Internal, "the fake driver needs no data")
}

func (c *cloud) Upload(_ context.Context, id, format string, _ int, _ string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == "full" {
		return fault.New(fault.TooLarge, "image storage quota exceeded")
	}
	c.uploads[id] = format
	return nil
}

func (c *cloud) Discard(_ context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = append(c.gone, id)
	return nil
}

func (c *cloud) Ensure(_ context.Context, name string) (provider, error) {
	return provider{ID: ids.UUID(), Name: name}, nil
}

func (c *cloud) SetInventory(_ context.Context, p provider, _ inventory) (provider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inventories++
	return p, nil
}

func (c *cloud) SetTraits(_ context.Context, p provider, _ []string) (provider, error) { return p, nil }

// tapped makes the fake driver claim that its interfaces are taps, so that the
// agent waits for Neutron.
type tapped struct{ *fake.Driver }

func (t tapped) Capabilities() virt.Capabilities {
	c := t.Driver.Capabilities()
	c.NeedsTap = true
	return c
}

func newAgent(t *testing.T, c *cloud, d virt.Driver) *Agent {
	t.Helper()
	a, err := New(Config{Host: "h1", StateDir: t.TempDir(), VIFPlugTimeout: 2 * time.Second},
		Deps{Conductor: c, Driver: d, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a.network, a.images, a.placement = c, c, c
	return a
}

// server puts a server with one network into the cloud, with a current operation.
func (c *cloud) server() (*rpc.ServerSpec, rpc.ServerOp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &rpc.ServerSpec{ID: ids.UUID(), InstanceName: "instance-00000001", Name: "one", Hostname: "one", ProjectID: ids.Hex(),
		Flavor: rpc.Flavor{Name: "tiny", VCPUs: 1, MemoryMB: 64, RootGB: 1}, Image: rpc.Image{ID: ids.UUID()},
		Requested: []rpc.RequestedNetwork{{NetworkID: "n1"}}, VMState: "building"}
	c.specs[s.ID] = s
	return s, c.op(s.ID)
}

// op makes a new current operation; callers hold mu or are alone.
func (c *cloud) op(server string) rpc.ServerOp {
	op := rpc.ServerOp{OpID: ids.UUID(), ServerID: server}
	c.current[server] = op.OpID
	return op
}
