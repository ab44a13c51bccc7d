package neutron

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/failpoint"
	"github.com/hastack/hastack/internal/fault"
)

// CreatePorts adds ports with their addresses, all or none.
func (s *Service) CreatePorts(ctx context.Context, c Caller, specs []*PortSpec) ([]*Port, error) {
	if err := failpoint.At(ctx, "neutron.port.create.before-effect"); err != nil {
		return nil, err
	}
	var out []*Port
	err := s.withDefaultGroups(ctx, specs, func() error {
		out = nil
		return s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
			out = out[:0]
			nets := map[string]*Network{}
			subnets := map[string][]*Subnet{}
			for _, spec := range specs {
				net, err := s.portNetwork(ctx, tx, c, spec, nets, subnets)
				if err != nil {
					return err
				}
				p, err := s.addPort(ctx, tx, c, spec, net, subnets[net.ID])
				if err != nil {
					return err
				}
				out = append(out, p)
				ch.ports = append(ch.ports, p.ID)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return out, failpoint.At(ctx, "neutron.port.create.after-effect")
}

// withDefaultGroups finds or makes the default groups of the ports' projects
// before the transaction, and once more if one turns out to have been deleted.
func (s *Service) withDefaultGroups(ctx context.Context, specs []*PortSpec, fn func() error) error {
	var err error
	for range 2 {
		for _, spec := range specs {
			if spec.WantGroups != nil || IsNetworkOwner(spec.DeviceOwner) {
				continue
			}
			if spec.defaultGroup, err = s.DefaultSecurityGroup(ctx, spec.ProjectID); err != nil {
				return err
			}
		}
		if err = fn(); !isForeignKey(err) {
			return err
		}
		for _, spec := range specs {
			s.forgetDefault(spec.ProjectID)
		}
	}
	return conflict(codeConflict, "A security group of the port was deleted meanwhile")
}

func (s *Service) portNetwork(ctx context.Context, tx bun.Tx, c Caller, spec *PortSpec, nets map[string]*Network, subnets map[string][]*Subnet) (*Network, error) {
	if net := nets[spec.NetworkID]; net != nil {
		return net, nil
	}
	net, err := s.network(ctx, tx, c, spec.NetworkID)
	if err != nil {
		return nil, err
	}
	if err := net.usableBy(c); err != nil {
		return nil, err
	}
	nets[net.ID] = net
	if len(net.SubnetIDs) > 0 {
		subnets[net.ID], err = s.subnetsOf(ctx, tx, net.ID)
	}
	return net, err
}

// addPort writes one port: its quota, its addresses, its groups and itself.
func (s *Service) addPort(ctx context.Context, tx bun.Tx, c Caller, spec *PortSpec, net *Network, subnets []*Subnet) (*Port, error) {
	p := spec.Port // a copy: the transaction may run again
	now := s.clock.Now()
	p.ID, p.RevisionNumber, p.CreatedAt, p.UpdatedAt = newID(spec.ID), 1, now, now
	p.Tags, p.SecurityGroups = sortedSet(p.Tags), Lines{}
	p.AllowedAddressPairs, p.ExtraDHCPOpts = slices.Clone(p.AllowedAddressPairs), mergeDHCPOpts(nil, p.ExtraDHCPOpts)
	generated := p.MAC == ""
	if generated {
		p.MAC = newMAC()
	} else {
		mac, err := parseMAC("mac_address", p.MAC)
		if err != nil {
			return nil, err
		}
		p.MAC = mac
	}
	p.PortSecurityEnabled = net.PortSecurityEnabled && !IsNetworkOwner(p.DeviceOwner)
	set(&p.PortSecurityEnabled, spec.PortSecurityOn)
	if err := s.portGroups(ctx, tx, &p, spec.WantGroups, spec.defaultGroup); err != nil {
		return nil, err
	}
	if err := checkPort(&p); err != nil {
		return nil, err
	}
	if err := s.checkDevice(ctx, tx, c, &p); err != nil {
		return nil, err
	}
	if err := s.bind(ctx, tx, &p, net); err != nil {
		return nil, err
	}
	if p.ProjectID != "" {
		if err := s.reserve(ctx, tx, p.ProjectID, quotaPort, 1); err != nil {
			return nil, err
		}
	}
	var err error
	if spec.WantIPs == nil {
		err = s.allocateAny(ctx, tx, &p, subnets)
	} else {
		err = s.allocateGiven(ctx, tx, &p, subnets, *spec.WantIPs)
	}
	if err != nil {
		return nil, err
	}
	return &p, s.insertPort(ctx, tx, &p, generated)
}

func (s *Service) insertPort(ctx context.Context, tx bun.Tx, p *Port, generated bool) error {
	if p.VIFDetails == nil {
		p.VIFDetails = map[string]any{}
	}
	if p.Profile == nil {
		p.Profile = map[string]any{}
	}
	err := insert(ctx, tx, p)
	switch {
	case db.IsDuplicate(err) && generated:
		return errStale // once in sixteen million: begin again with another MAC
	case db.IsDuplicate(err):
		return conflict("MacAddressInUse", "Unable to complete operation for network %s. The mac address %s is in use.", p.NetworkID, p.MAC)
	case isForeignKey(err):
		return networkNotFound(p.NetworkID)
	case err != nil:
		return fmt.Errorf("insert port: %w", err)
	}
	return s.linkGroups(ctx, tx, p)
}

// portGroups settles the security groups of a new port: those asked for, or
// the project's default group where the port is filtered at all.
func (s *Service) portGroups(ctx context.Context, tx bun.Tx, p *Port, want *[]string, defaultGroup string) error {
	if want != nil {
		return s.setGroups(ctx, tx, p, *want)
	}
	if !p.PortSecurityEnabled || defaultGroup == "" {
		return nil
	}
	p.SecurityGroups = Lines{defaultGroup}
	return nil
}

// setGroups checks that the groups belong to the port's project: even an
// administrator, and so Nova, cannot hang another project's group on a port.
func (s *Service) setGroups(ctx context.Context, tx bun.Tx, p *Port, want []string) error {
	groups := sortedSet(want)
	if len(groups) > maxPortGroups {
		return badRequest(codeBadRequest, "Invalid input for security_groups. Reason: more than %d groups.", maxPortGroups)
	}
	if len(groups) > 0 {
		have, err := groupsOfProject(ctx, tx, p.ProjectID, groups)
		if err != nil {
			return err
		}
		for _, id := range groups {
			if !slices.Contains(have, id) {
				return securityGroupNotFound(id)
			}
		}
	}
	p.SecurityGroups = groups
	return nil
}

// checkDevice refuses to plug a port into a device of another project: its
// router, or a device that the other project has ports on (CVE-2014-0056).
func (s *Service) checkDevice(ctx context.Context, tx bun.Tx, c Caller, p *Port) error {
	if c.Admin || p.DeviceID == "" {
		return nil
	}
	foreign, err := isDeviceOfOthers(ctx, tx, p)
	if err != nil || !foreign {
		return err
	}
	return conflict("DeviceIDNotOwnedByTenant",
		"The following device_id %s is not owned by your tenant or matches another tenants router.", p.DeviceID)
}

// addressInUse is the answer to a request for an address that a port has.
func addressInUse(net, ip string) error {
	return fault.New(fault.Conflict, "Unable to complete operation for network %s. The IP address %s is in use.", net, ip).
		WithCode("IpAddressInUse")
}
