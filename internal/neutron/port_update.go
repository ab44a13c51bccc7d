package neutron

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/failpoint"
)

// UpdatePort changes a port and returns it as it is then.
func (s *Service) UpdatePort(ctx context.Context, c Caller, id string, patch PortPatch) (*Port, error) {
	if err := failpoint.At(ctx, "neutron.port.update.before-effect"); err != nil {
		return nil, err
	}
	var out *Port
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		p, err := s.port(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if patch.Revision != nil && *patch.Revision != p.RevisionNumber {
			return revisionConflict(*patch.Revision, id)
		}
		host := p.Host
		if err := s.patchPort(ctx, tx, c, p, patch, ch); err != nil {
			return err
		}
		if host != "" && host != p.Host {
			// The host it leaves has to see that the network may be gone too.
			ch.networks = append(ch.networks, p.NetworkID)
		}
		err = s.casPort(ctx, tx, p)
		if db.IsDuplicate(err) {
			return conflict("MacAddressInUse", "Unable to complete operation for network %s. The mac address %s is in use.", p.NetworkID, p.MAC)
		}
		ch.ports = append(ch.ports, id)
		out = p
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, failpoint.At(ctx, "neutron.port.update.after-effect")
}

func (s *Service) patchPort(ctx context.Context, tx bun.Tx, c Caller, p *Port, patch PortPatch, ch *change) error {
	set(&p.Name, patch.Name)
	set(&p.Description, patch.Description)
	set(&p.DNSName, patch.DNSName)
	set(&p.DNSDomain, patch.DNSDomain)
	set(&p.AdminStateUp, patch.AdminStateUp)
	set(&p.PortSecurityEnabled, patch.PortSecurityOn)
	set(&p.Trusted, patch.Trusted)
	set(&p.VNICType, patch.VNICType)
	set(&p.Profile, patch.Profile)
	if isRouterPort(p.DeviceOwner) {
		moved := patch.DeviceOwner != nil && *patch.DeviceOwner != p.DeviceOwner || patch.DeviceID != nil && *patch.DeviceID != p.DeviceID
		if moved || patch.FixedIPs != nil && p.DeviceOwner != ownerRouter {
			return conflict("PortInUse", "Unable to complete operation on port %s: it belongs to a router.", p.ID)
		}
	}
	set(&p.DeviceOwner, patch.DeviceOwner)
	if patch.DeviceID != nil {
		p.DeviceID = *patch.DeviceID
		if err := s.checkDevice(ctx, tx, c, p); err != nil {
			return err
		}
	}
	if patch.AllowedAddressPairs != nil {
		p.AllowedAddressPairs = slices.Clone(*patch.AllowedAddressPairs)
	}
	if patch.ExtraDHCPOpts != nil {
		if err := checkDHCPOpts(slices.Clone(*patch.ExtraDHCPOpts)); err != nil {
			return err
		}
		p.ExtraDHCPOpts = mergeDHCPOpts(p.ExtraDHCPOpts, *patch.ExtraDHCPOpts)
	}
	if err := s.patchAddresses(ctx, tx, p, patch); err != nil {
		return err
	}
	if patch.SecurityGroups != nil {
		if err := s.replaceGroups(ctx, tx, p, *patch.SecurityGroups, ch); err != nil {
			return err
		}
	}
	if err := s.patchBinding(ctx, tx, p, patch); err != nil {
		return err
	}
	return checkPort(p)
}

func (s *Service) replaceGroups(ctx context.Context, tx bun.Tx, p *Port, want []string, ch *change) error {
	ch.groups = append(ch.groups, p.SecurityGroups...) // those it leaves
	if err := s.setGroups(ctx, tx, p, want); err != nil {
		return err
	}
	if err := unlinkGroups(ctx, tx, p.ID); err != nil {
		return err
	}
	err := s.linkGroups(ctx, tx, p)
	if isForeignKey(err) {
		return errStale
	}
	return err
}

// patchAddresses changes MAC and addresses together, since an address may
// follow from the MAC.
func (s *Service) patchAddresses(ctx context.Context, tx bun.Tx, p *Port, patch PortPatch) error {
	newMAC := p.MAC
	if patch.MAC != nil {
		mac, err := parseMAC("mac_address", *patch.MAC)
		if err != nil {
			return err
		}
		newMAC = mac
	}
	if newMAC != p.MAC && p.Host != "" && strings.HasPrefix(p.DeviceOwner, ownerComputePrefix) {
		return conflict("PortBound", "Unable to complete operation on port %s, port is already bound, port type: %s, old_mac %s, new_mac %s.",
			p.ID, p.VIFType, p.MAC, newMAC)
	}
	if newMAC == p.MAC && patch.FixedIPs == nil {
		return nil
	}
	subnets, err := s.subnetsOf(ctx, tx, p.NetworkID)
	if err != nil {
		return err
	}
	want := slices.Clone(p.FixedIPs)
	if patch.FixedIPs != nil {
		want = slices.Clone(*patch.FixedIPs)
	}
	if newMAC != p.MAC {
		p.MAC = newMAC
		for i, w := range want {
			j := slices.IndexFunc(subnets, func(n *Subnet) bool { return n.ID == w.SubnetID && n.autoAddressed() })
			if j >= 0 && !isRouterPort(p.DeviceOwner) {
				want[i].IP = autoAddress(subnets[j], newMAC).String()
			}
		}
	}
	before := p.FixedIPs
	if err := s.reallocate(ctx, tx, p, subnets, want); err != nil {
		return err
	}
	return s.checkLostAddresses(ctx, tx, p, before)
}

// checkLostAddresses refuses to take an address from a port while a floating
// IP stands for it.
func (s *Service) checkLostAddresses(ctx context.Context, tx bun.Tx, p *Port, before []FixedIP) error {
	for _, f := range before {
		if slices.Contains(p.FixedIPs, f) {
			continue
		}
		used, err := hasFloatingIP(ctx, tx, p.ID, f.IP)
		if err != nil {
			return err
		}
		if used {
			return conflict("FixedIPsInUse", "Fixed IP %s of port %s has a floating IP.", f.IP, p.ID)
		}
		if p.DeviceOwner == ownerRouter {
			if err := unlinkRouterSubnet(ctx, tx, p.ID, f.SubnetID); err != nil {
				return err
			}
		}
	}
	if p.DeviceOwner != ownerRouter {
		return nil
	}
	return s.linkRouterSubnets(ctx, tx, p)
}

// patchBinding moves a port to a host, or off one. A change of host makes the
// port DOWN until the new host reports it.
func (s *Service) patchBinding(ctx context.Context, tx bun.Tx, p *Port, patch PortPatch) error {
	if patch.Host == nil || *patch.Host == p.Host && p.VIFType != vifFailed {
		return nil
	}
	p.Host = *patch.Host
	net, err := s.network(ctx, tx, internal, p.NetworkID)
	if err != nil {
		return fmt.Errorf("bind port %s: %w", p.ID, err)
	}
	return s.bind(ctx, tx, p, net)
}

// DeletePort removes a port. Floating IPs that stand for it are freed; a port
// that serves a router goes only with the router's interface.
func (s *Service) DeletePort(ctx context.Context, c Caller, id string, revision *int64) error {
	if err := failpoint.At(ctx, "neutron.port.delete.before-effect"); err != nil {
		return err
	}
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		p, err := s.port(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if revision != nil && *revision != p.RevisionNumber {
			return revisionConflict(*revision, id)
		}
		if isRouterPort(p.DeviceOwner) {
			return conflict("ServicePortInUse",
				"Port %s cannot be deleted directly via the port API: has device owner %s.", id, p.DeviceOwner)
		}
		if err := s.freeFloatingIPsOf(ctx, tx, p, ch); err != nil {
			return err
		}
		if err := s.noteDeleted(ctx, tx, p, ch); err != nil {
			return err
		}
		// What named the port is gone with it, so its network and groups are told.
		ch.ports, ch.networks = append(ch.ports, id), append(ch.networks, p.NetworkID)
		ch.groups = append(ch.groups, p.SecurityGroups...)
		return s.deletePortRows(ctx, tx, p.NetworkID, []string{id})
	})
	if err != nil {
		return err
	}
	return failpoint.At(ctx, "neutron.port.delete.after-effect")
}
