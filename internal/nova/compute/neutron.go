package compute

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/hastack/hastack/internal/clock"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/virt"
	"github.com/hastack/hastack/internal/openstack"
)

// networkAPI is what the agent needs of Neutron.
type networkAPI interface {
	// Ports lists the ports of a server.
	Ports(ctx context.Context, serverID string) ([]port, error)
	Port(ctx context.Context, id string) (port, error)
	CreatePort(ctx context.Context, attrs map[string]any) (port, error)
	// UpdatePort and DeletePort of a port that is gone are NotFound.
	UpdatePort(ctx context.Context, id string, attrs map[string]any) (port, error)
	DeletePort(ctx context.Context, id string) error
	// GroupIDs turns a project's security group names, or ids, into ids.
	GroupIDs(ctx context.Context, project string, names []string) ([]string, error)
	// VIFs describes ports with their networks, and with floating addresses
	// when floating is set.
	VIFs(ctx context.Context, ports []port, floating bool) ([]rpc.VIF, error)
}

// A port is Neutron's port, as far as the agent reads it.
type port struct {
	ID          string    `json:"id"`
	NetworkID   string    `json:"network_id"`
	MAC         string    `json:"mac_address"`
	DeviceID    string    `json:"device_id"`
	DeviceOwner string    `json:"device_owner"`
	Status      string    `json:"status"`
	HostID      string    `json:"binding:host_id"`
	VIFType     string    `json:"binding:vif_type"`
	FixedIPs    []fixedIP `json:"fixed_ips"`
}

type fixedIP struct {
	SubnetID string `json:"subnet_id"`
	IP       string `json:"ip_address"`
}

type networkView struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	MTU  int    `json:"mtu"`
}

type subnetView struct {
	ID        string   `json:"id"`
	NetworkID string   `json:"network_id"`
	CIDR      string   `json:"cidr"`
	Version   int      `json:"ip_version"`
	Gateway   string   `json:"gateway_ip"`
	DNS       []string `json:"dns_nameservers"`
	DHCP      bool     `json:"enable_dhcp"`
	Mode      string   `json:"ipv6_address_mode"`
	Routes    []struct {
		Destination string `json:"destination"`
		NextHop     string `json:"nexthop"`
	} `json:"host_routes"`
}

// netCacheFor is how long a network's name and subnets are kept: servers come
// in groups, networks rarely change under them, and a change is told anyway.
const netCacheFor = 10 * time.Second

// neutron is networkAPI over Neutron's public API, as the service's user.
type neutron struct {
	clients *openstack.Clients
	clock   clock.Clock

	mu   sync.Mutex // guards nets
	nets map[string]cachedNet
}

type cachedNet struct {
	net     networkView
	subnets []subnetView
	until   time.Time
}

func newNeutron(c *openstack.Clients, clk clock.Clock) *neutron {
	return &neutron{clients: c, clock: clk, nets: map[string]cachedNet{}}
}

// get reads path, which holds its query.
func (n *neutron) get(ctx context.Context, path string, out any) error {
	sc, err := n.clients.Network(ctx)
	if err != nil {
		return err
	}
	_, err = sc.Get(ctx, sc.ServiceURL(path), out, nil)
	return openstack.Fault(err)
}

func (n *neutron) Ports(ctx context.Context, serverID string) ([]port, error) {
	var out struct {
		Ports []port `json:"ports"`
	}
	if err := n.get(ctx, "ports?device_id="+url.QueryEscape(serverID), &out); err != nil {
		return nil, fmt.Errorf("list ports of server %s: %w", serverID, err)
	}
	return out.Ports, nil
}

func (n *neutron) Port(ctx context.Context, id string) (port, error) {
	var out struct {
		Port port `json:"port"`
	}
	err := n.get(ctx, "ports/"+url.PathEscape(id), &out)
	return out.Port, err
}

func (n *neutron) CreatePort(ctx context.Context, attrs map[string]any) (port, error) {
	sc, err := n.clients.Network(ctx)
	if err != nil {
		return port{}, err
	}
	var out struct {
		Port port `json:"port"`
	}
	_, err = sc.Post(ctx, sc.ServiceURL("ports"), map[string]any{"port": attrs}, &out, &gophercloud.RequestOpts{OkCodes: []int{201}})
	return out.Port, openstack.Fault(err)
}

func (n *neutron) UpdatePort(ctx context.Context, id string, attrs map[string]any) (port, error) {
	sc, err := n.clients.Network(ctx)
	if err != nil {
		return port{}, err
	}
	var out struct {
		Port port `json:"port"`
	}
	_, err = sc.Put(ctx, sc.ServiceURL("ports", id), map[string]any{"port": attrs}, &out, &gophercloud.RequestOpts{OkCodes: []int{200}})
	return out.Port, openstack.Fault(err)
}

func (n *neutron) DeletePort(ctx context.Context, id string) error {
	sc, err := n.clients.Network(ctx)
	if err != nil {
		return err
	}
	_, err = sc.Delete(ctx, sc.ServiceURL("ports", id), nil)
	return openstack.Fault(err)
}

func (n *neutron) GroupIDs(ctx context.Context, project string, names []string) ([]string, error) {
	var out struct {
		Groups []struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"security_groups"`
	}
	if err := n.get(ctx, "security-groups?fields=id&fields=name&project_id="+url.QueryEscape(project), &out); err != nil {
		return nil, fmt.Errorf("list security groups: %w", err)
	}
	var found []string
	for _, name := range names {
		var hits []string
		for _, g := range out.Groups {
			if g.ID == name {
				hits = []string{g.ID}
				break
			}
			if g.Name == name {
				hits = append(hits, g.ID)
			}
		}
		switch {
		case len(hits) == 0:
			return nil, fault.New(fault.BadRequest, "Unable to find security_group with name or id '%s'", name)
		case len(hits) > 1:
			return nil, fault.New(fault.Conflict, "Multiple security groups found matching '%s'. Use an ID to be more specific.", name)
		}
		if !slices.Contains(found, hits[0]) {
			found = append(found, hits[0])
		}
	}
	return found, nil
}

// describe reads a network and its subnets.
func (n *neutron) describe(ctx context.Context, id string) (cachedNet, error) {
	n.mu.Lock()
	c, ok := n.nets[id]
	n.mu.Unlock()
	if ok && n.clock.Now().Before(c.until) {
		return c, nil
	}
	var net struct {
		Network networkView `json:"network"`
	}
	var subs struct {
		Subnets []subnetView `json:"subnets"`
	}
	if err := n.get(ctx, "networks/"+url.PathEscape(id), &net); err != nil {
		return c, fmt.Errorf("show network %s: %w", id, err)
	}
	if err := n.get(ctx, "subnets?network_id="+url.QueryEscape(id), &subs); err != nil {
		return c, fmt.Errorf("list subnets of network %s: %w", id, err)
	}
	now := n.clock.Now()
	c = cachedNet{net: net.Network, subnets: subs.Subnets, until: now.Add(netCacheFor)}
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, old := range n.nets {
		if now.After(old.until) {
			delete(n.nets, k)
		}
	}
	n.nets[id] = c
	return c, nil
}

func (n *neutron) VIFs(ctx context.Context, ports []port, floating bool) ([]rpc.VIF, error) {
	outside := map[string][]string{} // port and fixed address → floating addresses
	if floating {
		for _, p := range ports {
			var out struct {
				IPs []struct {
					Fixed    string `json:"fixed_ip_address"`
					Floating string `json:"floating_ip_address"`
				} `json:"floatingips"`
			}
			if err := n.get(ctx, "floatingips?port_id="+url.QueryEscape(p.ID), &out); err != nil {
				return nil, fmt.Errorf("list floating addresses of port %s: %w", p.ID, err)
			}
			for _, f := range out.IPs {
				outside[p.ID+f.Fixed] = append(outside[p.ID+f.Fixed], f.Floating)
			}
		}
	}
	vifs := make([]rpc.VIF, 0, len(ports))
	for _, p := range ports {
		c, err := n.describe(ctx, p.NetworkID)
		if err != nil {
			return nil, err
		}
		vifs = append(vifs, vifOf(p, c, outside))
	}
	return vifs, nil
}

func vifOf(p port, c cachedNet, outside map[string][]string) rpc.VIF {
	v := rpc.VIF{PortID: p.ID, MAC: p.MAC, NetworkID: p.NetworkID, NetworkName: c.net.Name, MTU: c.net.MTU,
		Tap: virt.TapName(p.ID), Type: p.VIFType, Active: p.Status == "ACTIVE", Subnets: []rpc.Subnet{}}
	at := map[string]int{}
	for _, f := range p.FixedIPs {
		i, ok := at[f.SubnetID]
		if !ok {
			k := slices.IndexFunc(c.subnets, func(s subnetView) bool { return s.ID == f.SubnetID })
			if k < 0 {
				continue // a subnet made since; the next refresh has it
			}
			i = len(v.Subnets)
			at[f.SubnetID] = i
			v.Subnets = append(v.Subnets, subnetOf(c.subnets[k]))
		}
		v.Subnets[i].Addrs = append(v.Subnets[i].Addrs, rpc.Address{IP: f.IP, Floating: outside[p.ID+f.IP]})
	}
	return v
}

func subnetOf(s subnetView) rpc.Subnet {
	out := rpc.Subnet{ID: s.ID, CIDR: s.CIDR, Version: s.Version, Gateway: s.Gateway, DNS: s.DNS, DHCP: s.DHCP, Mode: s.Mode}
	for _, r := range s.Routes {
		out.Routes = append(out.Routes, rpc.Route{Destination: r.Destination, NextHop: r.NextHop})
	}
	return out
}
