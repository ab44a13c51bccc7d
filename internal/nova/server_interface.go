package nova

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/openstack"
)

// attachWait bounds how long a client waits for its interface.
const attachWait = 60 * time.Second

// AttachInterface plugs one more port into a server and returns it. The work
// goes on if the caller leaves.
func (s *Service) AttachInterface(ctx context.Context, r ActionRequest, net rpc.RequestedNetwork) (*rpc.VIF, error) {
	if err := checkLock(r.Server, r.OverrideLock); err != nil {
		return nil, err
	}
	if err := transitions()[ActionAttach].check(r.Server, ActionAttach); err != nil {
		return nil, err
	}
	in := &ServerRequest{Name: "x", MaxCount: 1}
	if net != (rpc.RequestedNetwork{}) {
		in.Networks = []rpc.RequestedNetwork{net}
	}
	if err := in.checkLists(); err != nil {
		return nil, err
	}
	if err := s.checkNetworks(ctx, r.Identity, in); err != nil {
		return nil, err
	}
	if in.NoNetworks {
		return nil, fault.New(fault.BadRequest, "No network to attach was found")
	}
	extra, err := json.Marshal(map[string]any{"network": in.Networks[0]})
	if err != nil {
		return nil, err
	}
	before := r.Server.InfoCache
	op, err := s.startAction(ctx, r, hostTask{Action: ActionAttach, Extra: extra}, nil)
	if err != nil {
		return nil, err
	}
	if err := s.await(ctx, op.ID); err != nil {
		return nil, err
	}
	srv, err := s.Server(ctx, r.Server.ID)
	if err != nil {
		return nil, err
	}
	for i, v := range srv.InfoCache {
		if !slices.ContainsFunc(before, func(b rpc.VIF) bool { return b.PortID == v.PortID }) {
			return &srv.InfoCache[i], nil
		}
	}
	return nil, fault.New(fault.Internal, "the interface was attached but is not there")
}

// await waits for an operation and returns why it failed.
func (s *Service) await(ctx context.Context, opID string) error {
	ctx, cancel := context.WithTimeout(ctx, attachWait)
	defer cancel()
	op, err := s.ops.Await(ctx, opID)
	if err != nil {
		return err
	}
	return op.Err()
}

// DetachInterface unplugs a port. It returns before it is done.
func (s *Service) DetachInterface(ctx context.Context, r ActionRequest, portID string) error {
	if err := checkLock(r.Server, r.OverrideLock); err != nil {
		return err
	}
	if !slices.ContainsFunc(r.Server.InfoCache, func(v rpc.VIF) bool { return v.PortID == portID }) {
		return fault.New(fault.NotFound, "Port id %s could not be found.", portID)
	}
	extra, err := json.Marshal(map[string]any{"port_id": portID})
	if err != nil {
		return err
	}
	_, err = s.startAction(ctx, r, hostTask{Action: ActionDetach, Extra: extra}, nil)
	return err
}

// ExternalEvents hands what Neutron says of ports to the hosts of their servers
// and returns, for each event, the status of Nova's API: 200, 404 for a server
// that is not, 422 for one that has no host yet.
func (s *Service) ExternalEvents(ctx context.Context, events []rpc.ExternalEvent) ([]int, error) {
	codes := make([]int, len(events))
	byHost := map[string][]rpc.ExternalEvent{}
	for i, e := range events {
		srv, err := s.Server(ctx, e.ServerID)
		switch {
		case fault.Is(err, fault.NotFound):
			codes[i] = 404
		case err != nil:
			return nil, err
		case srv.Host == "":
			codes[i] = 422
		default:
			codes[i] = 200
			byHost[srv.Host] = append(byHost[srv.Host], e)
		}
	}
	for host, list := range byHost {
		if err := rpc.NewComputeClient(s.bus, host).ExternalEvents(ctx, rpc.ExternalEventsArgs{Events: list}); err != nil {
			return nil, err
		}
	}
	return codes, nil
}

type sgPort struct {
	ID     string   `json:"id"`
	Groups []string `json:"security_groups"`
}

// ServerSecurityGroups lists the security groups of a server's ports.
func (s *Service) ServerSecurityGroups(ctx context.Context, r ActionRequest) ([]SecurityGroup, error) {
	groups, ports, err := s.portGroups(ctx, r)
	if err != nil {
		return nil, err
	}
	out := []SecurityGroup{}
	for _, g := range groups {
		if slices.ContainsFunc(ports, func(p sgPort) bool { return slices.Contains(p.Groups, g.ID) }) {
			out = append(out, g)
		}
	}
	return out, nil
}

func (s *Service) portGroups(ctx context.Context, r ActionRequest) ([]SecurityGroup, []sgPort, error) {
	clients, err := s.clients.ForUser(ctx, r.Identity)
	if err != nil {
		return nil, nil, err
	}
	sc, err := clients.Network(ctx)
	if err != nil {
		return nil, nil, err
	}
	var groups struct {
		List []SecurityGroup `json:"security_groups"`
	}
	if _, err := sc.Get(ctx, sc.ServiceURL("security-groups")+"?project_id="+r.Server.ProjectID, &groups, nil); err != nil {
		return nil, nil, openstack.Fault(err)
	}
	var ports struct {
		List []sgPort `json:"ports"`
	}
	if _, err := sc.Get(ctx, sc.ServiceURL("ports")+"?device_id="+r.Server.ID, &ports, nil); err != nil {
		return nil, nil, openstack.Fault(err)
	}
	return groups.List, ports.List, nil
}

// ChangeSecurityGroup adds a group, by name or id, to all ports of a server or
// takes it off them.
func (s *Service) ChangeSecurityGroup(ctx context.Context, r ActionRequest, name string, add bool) error {
	if err := checkLock(r.Server, r.OverrideLock); err != nil {
		return err
	}
	groups, ports, err := s.portGroups(ctx, r)
	if err != nil {
		return err
	}
	var found []SecurityGroup
	for _, g := range groups {
		if g.ID == name || g.Name == name {
			found = append(found, g)
		}
	}
	switch {
	case len(found) == 0:
		return fault.New(fault.NotFound, "Security group %s not found.", name)
	case len(found) > 1:
		return fault.New(fault.Conflict, "Multiple security groups found matching '%s'. Use an ID to be more specific.", name)
	case len(ports) == 0:
		return fault.New(fault.BadRequest, "instance %s has no port to apply a security group to", r.Server.ID)
	}
	if err := s.putPortGroups(ctx, r, ports, found[0].ID, add); err != nil {
		return err
	}
	names := slices.DeleteFunc(slices.Clone(r.Server.SecurityGroups), func(n string) bool { return n == found[0].Name || n == found[0].ID })
	if add {
		names = append(names, found[0].Name)
	}
	_, err = updateServer(ctx, s.db, r.Server.ID, s.clock.Now(), map[string]any{"security_groups": asJSON(names)}, "")
	return err
}

func (s *Service) putPortGroups(ctx context.Context, r ActionRequest, ports []sgPort, groupID string, add bool) error {
	clients, err := s.clients.ForUser(ctx, r.Identity)
	if err != nil {
		return err
	}
	sc, err := clients.Network(ctx)
	if err != nil {
		return err
	}
	changed := false
	for _, p := range ports {
		has := slices.Contains(p.Groups, groupID)
		if has == add {
			continue
		}
		changed = true
		list := append(slices.Clone(p.Groups), groupID)
		if !add {
			list = slices.DeleteFunc(slices.Clone(p.Groups), func(g string) bool { return g == groupID })
		}
		body := map[string]any{"port": map[string]any{"security_groups": list}}
		if _, err := sc.Put(ctx, sc.ServiceURL("ports", p.ID), body, nil, okCodes(200)); err != nil {
			return openstack.Fault(err)
		}
	}
	if !changed && !add {
		return fault.New(fault.NotFound, "Security group %s is not associated with the instance %s", groupID, r.Server.ID)
	}
	return nil
}
