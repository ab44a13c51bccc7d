package firstday

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
)

func (c *content) networks(ctx context.Context) error {
	admin, err := openstack.NewNetworkV2(c.admin, c.opts())
	if err != nil {
		return err
	}
	demo, err := openstack.NewNetworkV2(c.demo, c.opts())
	if err != nil {
		return err
	}
	publicID, err := c.external(ctx, admin)
	if err != nil {
		return err
	}
	subnetID, err := c.private(ctx, demo)
	if err != nil {
		return err
	}
	return c.router(ctx, demo, publicID, subnetID)
}

func (c *content) external(ctx context.Context, sc *gophercloud.ServiceClient) (string, error) {
	found, err := all(ctx, networks.List(sc, networks.ListOpts{Name: Public}), networks.ExtractNetworks)
	if err != nil {
		return "", err
	}
	id := first(found, func(n networks.Network) string { return n.ID })
	if id == "" {
		isExternal := true
		n, err := networks.Create(ctx, sc, flatNetwork{
			external.CreateOptsExt{CreateOptsBuilder: networks.CreateOpts{Name: Public}, External: &isExternal}, "public",
		}).Extract()
		if err != nil {
			return "", fmt.Errorf("create network %s: %w", Public, err)
		}
		id = n.ID
	}
	prefix, err := netip.ParsePrefix(c.cfg.ExternalCIDR)
	if err != nil {
		return "", fmt.Errorf("external network: %w", err)
	}
	gateway := c.cfg.ExternalGateway
	if gateway == "" {
		gateway = prefix.Masked().Addr().Next().String()
	}
	noDHCP := false
	opts := subnets.CreateOpts{
		NetworkID: id, Name: Public + "-subnet", IPVersion: gophercloud.IPv4, CIDR: c.cfg.ExternalCIDR,
		GatewayIP: &gateway, EnableDHCP: &noDHCP,
	}
	if first, last, ok := strings.Cut(c.cfg.ExternalPool, "-"); ok {
		opts.AllocationPools = []subnets.AllocationPool{{Start: strings.TrimSpace(first), End: strings.TrimSpace(last)}}
	}
	_, err = c.subnet(ctx, sc, opts)
	return id, err
}

// flatNetwork asks for a network that is a physical network as it is.
type flatNetwork struct {
	networks.CreateOptsBuilder
	physical string
}

// ToNetworkCreateMap adds the provider attributes.
func (f flatNetwork) ToNetworkCreateMap() (map[string]any, error) {
	m, err := f.CreateOptsBuilder.ToNetworkCreateMap()
	if err != nil {
		return nil, err
	}
	n, ok := m["network"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the body of network %s has no network", Public)
	}
	n["provider:network_type"], n["provider:physical_network"] = "flat", f.physical
	return m, nil
}

func (c *content) private(ctx context.Context, sc *gophercloud.ServiceClient) (string, error) {
	found, err := all(ctx, networks.List(sc, networks.ListOpts{Name: Private, ProjectID: c.projectID}), networks.ExtractNetworks)
	if err != nil {
		return "", err
	}
	id := first(found, func(n networks.Network) string { return n.ID })
	if id == "" {
		n, err := networks.Create(ctx, sc, networks.CreateOpts{Name: Private}).Extract()
		if err != nil {
			return "", fmt.Errorf("create network %s: %w", Private, err)
		}
		id = n.ID
	}
	return c.subnet(ctx, sc, subnets.CreateOpts{
		NetworkID: id, Name: Private + "-subnet", IPVersion: gophercloud.IPv4, CIDR: c.cfg.PrivateCIDR,
	})
}

func (c *content) subnet(ctx context.Context, sc *gophercloud.ServiceClient, opts subnets.CreateOpts) (string, error) {
	found, err := all(ctx, subnets.List(sc, subnets.ListOpts{NetworkID: opts.NetworkID}), subnets.ExtractSubnets)
	if err != nil || len(found) > 0 {
		return first(found, func(s subnets.Subnet) string { return s.ID }), err
	}
	s, err := subnets.Create(ctx, sc, opts).Extract()
	if err != nil {
		return "", fmt.Errorf("create subnet %s: %w", opts.Name, err)
	}
	return s.ID, nil
}

func (c *content) router(ctx context.Context, sc *gophercloud.ServiceClient, publicID, subnetID string) error {
	found, err := all(ctx, routers.List(sc, routers.ListOpts{Name: Router, ProjectID: c.projectID}), routers.ExtractRouters)
	if err != nil {
		return err
	}
	id := first(found, func(r routers.Router) string { return r.ID })
	if id == "" {
		r, err := routers.Create(ctx, sc, routers.CreateOpts{Name: Router, GatewayInfo: &routers.GatewayInfo{NetworkID: publicID}}).Extract()
		if err != nil {
			return fmt.Errorf("create router %s: %w", Router, err)
		}
		id = r.ID
	}
	plugged, err := all(ctx, ports.List(sc, ports.ListOpts{DeviceID: id}), ports.ExtractPorts)
	if err != nil {
		return err
	}
	for _, p := range plugged {
		if slices.ContainsFunc(p.FixedIPs, func(ip ports.IP) bool { return ip.SubnetID == subnetID }) {
			return nil
		}
	}
	_, err = routers.AddInterface(ctx, sc, id, routers.AddInterfaceOpts{SubnetID: subnetID}).Extract()
	if err != nil {
		return fmt.Errorf("connect router %s to %s: %w", Router, Private, err)
	}
	return nil
}

// security lets ping and ssh into servers of the default group.
func (c *content) security(ctx context.Context) error {
	sc, err := openstack.NewNetworkV2(c.demo, c.opts())
	if err != nil {
		return err
	}
	found, err := all(ctx, groups.List(sc, groups.ListOpts{Name: "default", ProjectID: c.projectID}), groups.ExtractGroups)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("project %s has no default security group", Project)
	}
	for _, want := range []rules.CreateOpts{
		{Protocol: rules.ProtocolICMP},
		{Protocol: rules.ProtocolTCP, PortRangeMin: 22, PortRangeMax: 22},
	} {
		want.SecGroupID, want.Direction, want.EtherType = found[0].ID, rules.DirIngress, rules.EtherType4
		want.RemoteIPPrefix = "0.0.0.0/0"
		_, err := rules.Create(ctx, sc, want).Extract()
		if err != nil && !gophercloud.ResponseCodeIs(err, 409) {
			return fmt.Errorf("allow %s into the default group: %w", want.Protocol, err)
		}
	}
	return nil
}
