package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/services"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/agents"

	"github.com/hastack/hastack/internal/openstack"
	"github.com/hastack/hastack/internal/topology"
)

// Remove takes a server out of a running cluster: nothing new is placed on it,
// its agents and memberships are forgotten, its units are stopped and disabled.
// It can be run again after it was cut off. With force it goes on where guests
// would be lost, a quorum would become even, or the server does not answer.
//
// The topology file still names the server afterwards: the operator takes it
// out and deploys, which tells the other members.
func Remove(ctx context.Context, c *Context, s *topology.Server, force bool) error {
	if err := mayRemove(c.Topology, s, force); err != nil {
		return err
	}
	c.progress().Begin("reach", 1)
	_, reach := c.Cluster.SSH(ctx, s)
	if reach != nil && !force {
		return fmt.Errorf("%w; to remove it as it is, lost, say --force", reach)
	}
	c.progress().End(map[bool]string{true: "it answers", false: "it does not answer, and is taken as lost"}[reach == nil])
	clients := openstack.New(openstack.Config{
		AuthURL: c.Cluster.InternalURL() + "/identity/v3", Username: "admin", Password: c.Cluster.Secrets.AdminPassword,
		Project: "admin", Domain: "Default", Region: c.Topology.Region, Transport: c.Cluster.HTTPClient(30 * time.Second).Transport,
	})
	if s.Has(topology.RoleCompute) {
		c.progress().Begin("compute", 1)
		if err := drainCompute(ctx, clients, s, force); err != nil {
			return err
		}
		c.progress().End("disabled, empty")
	}
	if reach == nil {
		c.progress().Begin("units", 1)
		if err := c.retire(ctx, s); err != nil {
			return err
		}
		c.progress().End("stopped and disabled")
	}
	c.progress().Begin("forget", 1)
	if err := forget(ctx, c, clients, s); err != nil {
		return err
	}
	c.progress().End("agents and memberships")
	return nil
}

// mayRemove keeps an operator from removing what the cluster stands on.
func mayRemove(t *topology.Topology, s *topology.Server, force bool) error {
	for _, role := range s.Roles {
		if len(t.With(role)) == 1 {
			return fmt.Errorf("%s is the only server with the role %s: give the role to another first", s.Name, role)
		}
	}
	left := len(t.With(topology.RoleControl)) - 1
	if s.Has(topology.RoleControl) && left%2 == 0 && !force {
		return fmt.Errorf("without %s there are %d control servers, an even quorum that one more loss can stop: "+
			"deploy its successor right after this and say --force", s.Name, left)
	}
	return nil
}

// drainCompute disables the hypervisor and refuses while guests are on it.
func drainCompute(ctx context.Context, clients *openstack.Clients, s *topology.Server, force bool) error {
	compute, err := clients.Compute(ctx)
	if err != nil {
		return err
	}
	list, err := novaServices(ctx, compute, s)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(v services.Service) bool { return v.Binary == "nova-compute" })
	if i < 0 {
		return nil
	}
	if list[i].Status != "disabled" {
		_, err := services.Update(ctx, withVersion(compute), list[i].ID, services.UpdateOpts{
			Status: services.ServiceDisabled, DisabledReason: "hastack node remove",
		}).Extract()
		if err != nil {
			return fmt.Errorf("disable nova-compute on %s: %w", s.Name, openstack.Fault(err))
		}
	}
	pages, err := servers.List(compute, servers.ListOpts{AllTenants: true, Host: s.Name}).AllPages(ctx)
	if err != nil {
		return fmt.Errorf("list the servers on %s: %w", s.Name, openstack.Fault(err))
	}
	guests, err := servers.ExtractServers(pages)
	if err != nil {
		return err
	}
	if len(guests) > 0 && !force {
		var names []string
		for _, g := range guests {
			names = append(names, g.Name+" ("+g.ID+")")
		}
		return fmt.Errorf("%s is disabled now and gets nothing new, but %s on it: %s; move or delete them and run this again, or lose them with --force",
			s.Name, counted(len(guests), "server")+" are", strings.Join(names, ", "))
	}
	return nil
}

// withVersion is the client with the microversion in which services have UUIDs.
func withVersion(compute *gophercloud.ServiceClient) *gophercloud.ServiceClient {
	v := *compute
	v.Microversion = "2.53"
	return &v
}

// novaServices are Nova's services on the server: nova-compute, and the
// scheduler and conductor of a control server.
func novaServices(ctx context.Context, compute *gophercloud.ServiceClient, s *topology.Server) ([]services.Service, error) {
	pages, err := services.List(withVersion(compute), services.ListOpts{Host: s.Name}).AllPages(ctx)
	if err != nil {
		return nil, fmt.Errorf("list Nova's services on %s: %w", s.Name, openstack.Fault(err))
	}
	return services.ExtractServices(pages)
}

// retireScript stops what deploy started and makes the server nobody's. The
// units come from the notes that deploy left there.
const retireScript = `set -u; export LC_ALL=C
cd ` + stateDir + ` 2>/dev/null || exit 0
units=$(sed -n 's/^unit \([^\t]*\)\t.*/\1/p' *.records | grep -v -e '^chrony' -e '^rsyslog' | sort -u)
for group in "$(systemctl list-units --plain --no-legend 'hastack-*' | awk '{ print $1 }')" "$units"; do
  [ -n "$group" ] || continue
  systemctl disable -q $group 2>/dev/null
  systemctl stop $group </dev/null || exit 1
done
rm -f /etc/systemd/system/hastack-*
systemctl daemon-reload
rm -rf /etc/hastack ` + stateDir + `
`

func (c *Context) retire(ctx context.Context, s *topology.Server) error {
	_, err := c.Run(ctx, s, retireScript, nil)
	return err
}

// forget deletes what the cluster keeps of a server.
func forget(ctx context.Context, c *Context, clients *openstack.Clients, s *topology.Server) error {
	network, err := clients.Network(ctx)
	if err != nil {
		return err
	}
	pages, err := agents.List(network, agents.ListOpts{Host: s.Name}).AllPages(ctx)
	if err != nil {
		return fmt.Errorf("list the network agents of %s: %w", s.Name, openstack.Fault(err))
	}
	list, err := agents.ExtractAgents(pages)
	if err != nil {
		return err
	}
	for _, a := range list {
		if err := agents.Delete(ctx, network, a.ID).ExtractErr(); err != nil && !gophercloud.ResponseCodeIs(err, 404) {
			return fmt.Errorf("delete %s of %s: %w", a.AgentType, s.Name, openstack.Fault(err))
		}
	}
	compute, err := clients.Compute(ctx)
	if err != nil {
		return err
	}
	nova, err := novaServices(ctx, compute, s)
	if err != nil {
		return err
	}
	for _, v := range nova {
		if err := services.Delete(ctx, withVersion(compute), v.ID).ExtractErr(); err != nil && !gophercloud.ResponseCodeIs(err, 404) {
			return fmt.Errorf("delete %s of %s: %w", v.Binary, s.Name, openstack.Fault(err))
		}
	}
	if s.Has(topology.RoleControl) {
		return forgetMember(ctx, c, s)
	}
	return nil
}

// forgetMember tells the brokers that a member does not come back. Galera
// members that have left are forgotten by themselves.
func forgetMember(ctx context.Context, c *Context, s *topology.Server) error {
	const script = `export LC_ALL=C; rabbitmqctl -q cluster_status --formatter json | grep -q '"%[1]s"' || exit 0
exec rabbitmqctl -q forget_cluster_node %[1]s`
	var errs []error
	for _, other := range c.Topology.With(topology.RoleControl) {
		if other.Name == s.Name {
			continue
		}
		_, err := c.Run(ctx, other, fmt.Sprintf(script, rabbitNode(s)), nil)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("forget the broker of %s: %w", s.Name, errors.Join(errs...))
}
