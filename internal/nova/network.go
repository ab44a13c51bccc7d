package nova

import (
	"context"
	"fmt"
	"net/url"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/openstack"
)

type networkInfo struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	ProjectID string   `json:"project_id"`
	Shared    bool     `json:"shared"`
	External  bool     `json:"router:external"`
	Subnets   []string `json:"subnets"`
}

// projectNetworks are the networks that the user sees in Neutron.
func (s *Service) projectNetworks(ctx context.Context, id *authtoken.Identity) ([]networkInfo, error) {
	return s.networks.get(id.ProjectID, func() ([]networkInfo, error) {
		clients, err := s.clients.ForUser(ctx, id)
		if err != nil {
			return nil, err
		}
		sc, err := clients.Network(ctx)
		if err != nil {
			return nil, err
		}
		var out struct {
			Networks []networkInfo `json:"networks"`
		}
		q := "?fields=id&fields=name&fields=project_id&fields=shared&fields=router:external&fields=subnets"
		if _, err := sc.Get(ctx, sc.ServiceURL("networks")+q, &out, nil); err != nil {
			return nil, fmt.Errorf("list networks: %w", openstack.Fault(err))
		}
		return out.Networks, nil
	})
}

// checkNetworks checks the networks and ports of a request, and resolves
// "auto" or nothing to the one network that the project has.
func (s *Service) checkNetworks(ctx context.Context, id *authtoken.Identity, in *ServerRequest) error {
	if in.NoNetworks {
		return nil
	}
	all, err := s.projectNetworks(ctx, id)
	if err != nil {
		return err
	}
	if len(in.Networks) == 0 {
		return defaultNetwork(id, all, in)
	}
	seen := map[string]bool{}
	for _, n := range in.Networks {
		if n.PortID != "" {
			if seen[n.PortID] {
				return fault.New(fault.BadRequest, "port %s is named twice", n.PortID)
			}
			seen[n.PortID] = true
			if err := s.checkPort(ctx, id, n.PortID); err != nil {
				return err
			}
			continue
		}
		if err := checkNetwork(id, all, n); err != nil {
			return err
		}
	}
	return nil
}

func defaultNetwork(id *authtoken.Identity, all []networkInfo, in *ServerRequest) error {
	var usable []networkInfo
	for _, n := range all {
		if !n.External && (n.ProjectID == id.ProjectID || n.Shared) {
			usable = append(usable, n)
		}
	}
	switch {
	case len(usable) > 1:
		return fault.New(fault.Conflict, "Multiple possible networks found, use a Network ID to be more specific.")
	case len(usable) == 1:
		in.Networks = []rpc.RequestedNetwork{{NetworkID: usable[0].ID}}
	case in.AutoNetwork:
		return fault.New(fault.BadRequest, "Unable to automatically allocate a network for project %s", id.ProjectID)
	default:
		in.NoNetworks = true
	}
	return nil
}

func checkNetwork(id *authtoken.Identity, all []networkInfo, want rpc.RequestedNetwork) error {
	for _, n := range all {
		if n.ID != want.NetworkID {
			continue
		}
		switch {
		case n.External && !n.Shared && n.ProjectID != id.ProjectID && !id.IsAdmin():
			return fault.New(fault.Forbidden, "It is not allowed to create an interface on external network %s", n.ID)
		case len(n.Subnets) == 0 && want.FixedIP == "":
			return fault.New(fault.BadRequest, "Network %s requires a subnet in order to boot instances on.", n.ID)
		}
		return nil
	}
	return fault.New(fault.BadRequest, "Network %s could not be found.", want.NetworkID)
}

type portInfo struct {
	ID        string           `json:"id"`
	NetworkID string           `json:"network_id"`
	DeviceID  string           `json:"device_id"`
	ProjectID string           `json:"project_id"`
	FixedIPs  []map[string]any `json:"fixed_ips"`
	MAC       string           `json:"mac_address"`
	Status    string           `json:"status"`
}

func (s *Service) checkPort(ctx context.Context, id *authtoken.Identity, portID string) error {
	if !ids.IsUUID(portID) {
		return fault.New(fault.BadRequest, "port %q is not a UUID", portID)
	}
	clients, err := s.clients.ForUser(ctx, id)
	if err != nil {
		return err
	}
	sc, err := clients.Network(ctx)
	if err != nil {
		return err
	}
	var out struct {
		Port portInfo `json:"port"`
	}
	if _, err := sc.Get(ctx, sc.ServiceURL("ports", url.PathEscape(portID)), &out, nil); err != nil {
		err = openstack.Fault(err)
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.BadRequest, "Port id %s could not be found.", portID)
		}
		return err
	}
	switch p := out.Port; {
	case p.DeviceID != "":
		return fault.New(fault.Conflict, "Port %s is still in use.", portID)
	case p.ProjectID != id.ProjectID && !id.IsAdmin():
		return fault.New(fault.BadRequest, "Port %s not usable for instance.", portID)
	case len(p.FixedIPs) == 0:
		return fault.New(fault.BadRequest, "Port %s requires a FixedIP in order to be used.", portID)
	}
	return nil
}

// serverPorts lists the ports that Neutron binds to a server.
func (s *Service) serverPorts(ctx context.Context, serverID string) ([]portInfo, error) {
	sc, err := s.clients.Network(ctx)
	if err != nil {
		return nil, err
	}
	var out struct {
		Ports []portInfo `json:"ports"`
	}
	if _, err := sc.Get(ctx, sc.ServiceURL("ports")+"?device_id="+serverID, &out, nil); err != nil {
		return nil, openstack.Fault(err)
	}
	return out.Ports, nil
}

// releasePorts gives back every port of a server that has no host to do it:
// those Nova made are deleted, those of the user are only unbound. preserve
// names the user's.
func (s *Service) releasePorts(ctx context.Context, serverID string, preserve map[string]bool) error {
	ports, err := s.serverPorts(ctx, serverID)
	if err != nil {
		return err
	}
	if len(ports) == 0 {
		return nil
	}
	sc, err := s.clients.Network(ctx)
	if err != nil {
		return err
	}
	for _, p := range ports {
		if preserve[p.ID] {
			body := map[string]any{"port": map[string]any{"device_id": "", "device_owner": "", "binding:host_id": ""}}
			_, err = sc.Put(ctx, sc.ServiceURL("ports", p.ID), body, nil, okCodes(200))
		} else {
			_, err = sc.Delete(ctx, sc.ServiceURL("ports", p.ID), nil)
		}
		if err = openstack.Fault(err); err != nil && !fault.Is(err, fault.NotFound) {
			return fmt.Errorf("release port %s: %w", p.ID, err)
		}
	}
	return nil
}
