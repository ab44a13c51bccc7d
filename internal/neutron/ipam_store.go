package neutron

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

// guesses is how often an address is drawn before the subnet's addresses are
// read: while half of a subnet is free, fifteen of sixteen ports need no more.
const guesses = 4

// takeAddress claims one address for a port. It returns false when another
// port has it.
func takeAddress(ctx context.Context, tx bun.Tx, p *Port, subnetID, ip string) (bool, error) {
	_, err := exec(ctx, tx, "INSERT INTO ip_allocations (subnet_id, ip_address, port_id, network_id) VALUES (?, ?, ?, ?)",
		subnetID, ip, p.ID, p.NetworkID)
	switch {
	case err == nil:
		p.FixedIPs = append(p.FixedIPs, FixedIP{SubnetID: subnetID, IP: ip})
		return true, nil
	case db.IsDuplicate(err):
		return false, nil
	case isForeignKey(err):
		return false, errStale // the subnet went meanwhile; read again
	}
	return false, fmt.Errorf("claim address %s: %w", ip, err)
}

func releaseAddress(ctx context.Context, tx bun.Tx, portID string, f FixedIP) error {
	_, err := exec(ctx, tx, "DELETE FROM ip_allocations WHERE subnet_id = ? AND ip_address = ? AND port_id = ?", f.SubnetID, f.IP, portID)
	return err
}

// allocateFrom gives a port any free address of a subnet; false when none is.
func (s *Service) allocateFrom(ctx context.Context, tx bun.Tx, p *Port, n *Subnet) (bool, error) {
	if n.autoAddressed() && p.DeviceOwner != ownerRouter && p.DeviceOwner != ownerGateway {
		ok, err := takeAddress(ctx, tx, p, n.ID, autoAddress(n, p.MAC).String())
		if err == nil && !ok {
			err = addressInUse(p.NetworkID, autoAddress(n, p.MAC).String())
		}
		return ok, err
	}
	total := poolsSize(n.AllocationPools)
	if total == 0 {
		return false, nil
	}
	for range guesses {
		a, _ := nthAddress(n.AllocationPools, rand.Uint64N(total))
		if ok, err := takeAddress(ctx, tx, p, n.ID, a.String()); ok || err != nil {
			return ok, err
		}
	}
	var used []string
	if err := tx.NewSelect().Table("ip_allocations").Column("ip_address").Where("subnet_id = ?", n.ID).Scan(ctx, &used); err != nil {
		return false, fmt.Errorf("read addresses of subnet %s: %w", n.ID, err)
	}
	taken := make(map[netip.Addr]bool, len(used))
	for _, u := range used {
		if a, err := netip.ParseAddr(u); err == nil {
			taken[a] = true
		}
	}
	for range 64 {
		a, ok := freeAddress(n.AllocationPools, taken, rand.Uint64N(total))
		if !ok {
			return false, nil
		}
		// Another transaction may hold an address that this one cannot see yet.
		if ok, err := takeAddress(ctx, tx, p, n.ID, a.String()); ok || err != nil {
			return ok, err
		}
		taken[a] = true
	}
	return false, nil
}

func autoAddress(n *Subnet, mac string) netip.Addr {
	hw, _ := net.ParseMAC(mac) // checked when the port got it
	var six [6]byte
	copy(six[:], hw)
	return eui64(n.Prefix(), six)
}

// serves tells whether a subnet is meant for a port of this owner.
func (n *Subnet) serves(owner string) bool {
	return len(n.ServiceTypes) == 0 || slices.ContainsFunc(n.ServiceTypes, func(t string) bool {
		return t == owner || strings.HasPrefix(owner, t+":")
	})
}

// allocateAny gives a port that asks for nothing what the network has: an
// address of one IPv4 subnet, of one stateful IPv6 subnet, and one in each
// subnet where hosts address themselves.
func (s *Service) allocateAny(ctx context.Context, tx bun.Tx, p *Port, subnets []*Subnet) error {
	p.FixedIPs = []FixedIP{}
	type need struct{ wanted, met bool }
	var needs [2]need
	for _, n := range subnets {
		if !n.serves(p.DeviceOwner) {
			continue
		}
		if n.autoAddressed() {
			if !isRouterPort(p.DeviceOwner) {
				if _, err := s.allocateFrom(ctx, tx, p, n); err != nil {
					return err
				}
			}
			continue
		}
		k := &needs[0]
		if n.IPVersion == 6 {
			k = &needs[1]
		}
		if k.wanted = true; k.met {
			continue
		}
		ok, err := s.allocateFrom(ctx, tx, p, n)
		if err != nil {
			return err
		}
		k.met = ok
	}
	if needs[0].wanted && !needs[0].met || needs[1].wanted && !needs[1].met {
		return noMoreAddresses(p.NetworkID)
	}
	if len(subnets) > 0 && len(p.FixedIPs) == 0 && !slices.ContainsFunc(subnets, func(n *Subnet) bool { return n.serves(p.DeviceOwner) }) {
		return badRequest("IpAddressGenerationFailureNoMatchingSubnet",
			"No valid service subnet for the given device owner, network_id: %s, service type: %s.", p.NetworkID, p.DeviceOwner)
	}
	return nil
}

func noMoreAddresses(networkID string) error {
	return conflict("IpAddressGenerationFailure", "No more IP addresses available on network %s.", networkID)
}

// allocateGiven gives a port the addresses that were asked for, by subnet, by
// address or by both.
func (s *Service) allocateGiven(ctx context.Context, tx bun.Tx, p *Port, subnets []*Subnet, want []FixedIP) error {
	p.FixedIPs = []FixedIP{}
	wants, err := matchSubnets(p, subnets, want)
	if err != nil {
		return err
	}
	for _, w := range wants {
		if err := s.allocateOne(ctx, tx, p, w); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) allocateOne(ctx context.Context, tx bun.Tx, p *Port, w wantedIP) error {
	if w.ip == "" {
		ok, err := s.allocateFrom(ctx, tx, p, w.subnet)
		if err == nil && !ok {
			return noMoreAddresses(p.NetworkID)
		}
		return err
	}
	ok, err := takeAddress(ctx, tx, p, w.subnet.ID, w.ip)
	if err == nil && !ok {
		return addressInUse(p.NetworkID, w.ip)
	}
	return err
}

// A wantedIP is an address to give from a subnet; an empty one is any.
type wantedIP struct {
	subnet *Subnet
	ip     string
}

// matchSubnets finds the subnet of each address asked for, and refuses what
// the network cannot give.
func matchSubnets(p *Port, subnets []*Subnet, want []FixedIP) ([]wantedIP, error) {
	if len(want) > maxFixedIPs {
		return nil, invalid("Exceeded maximum amount of fixed ips per port")
	}
	out := make([]wantedIP, 0, len(want))
	for _, w := range want {
		var addr netip.Addr
		if w.IP != "" {
			var err error
			if addr, err = netip.ParseAddr(w.IP); err != nil || addr.Zone() != "" {
				return nil, badRequest(codeBadRequest, "Invalid input for fixed_ips. Reason: '%s' is not a valid IP address.", w.IP)
			}
		}
		i := slices.IndexFunc(subnets, func(n *Subnet) bool {
			if w.SubnetID != "" {
				return n.ID == w.SubnetID
			}
			return addr.IsValid() && n.Prefix().Contains(addr)
		})
		switch {
		case i < 0 && w.SubnetID != "":
			return nil, invalid("Failed to create port on network %s, because fixed_ips included invalid subnet %s", p.NetworkID, w.SubnetID)
		case i < 0 && w.IP == "":
			return nil, invalid("IP allocation requires subnet_id or ip_address")
		case i < 0:
			return nil, badRequest("InvalidIpForNetwork", "IP address %s is not a valid IP for any of the subnets on the specified network.", w.IP)
		}
		n := subnets[i]
		ip := ""
		if addr.IsValid() {
			ip = addr.String()
			if n.autoAddressed() && !isRouterPort(p.DeviceOwner) && addr != autoAddress(n, p.MAC) {
				return nil, badRequest("AllocationOnAutoAddressSubnet",
					"IPv6 address %s can not be directly assigned to a port on subnet %s since the subnet is configured for automatic addresses", ip, n.ID)
			}
			if !usable(n.Prefix(), addr) {
				return nil, badRequest("InvalidIpForSubnet", "IP address %s is not a valid IP for the specified subnet.", ip)
			}
		}
		if slices.ContainsFunc(out, func(o wantedIP) bool { return ip != "" && o.ip == ip && o.subnet == n }) {
			return nil, badRequest(codeBadRequest, "Invalid input for fixed_ips. Reason: Duplicate IP address '%s'.", ip)
		}
		out = append(out, wantedIP{n, ip})
	}
	return out, nil
}

// reallocate changes a port's addresses to those asked for and keeps every
// address that is in both: one that names its address first, then one that
// leaves the choice within its subnet.
func (s *Service) reallocate(ctx context.Context, tx bun.Tx, p *Port, subnets []*Subnet, want []FixedIP) error {
	wants, err := matchSubnets(p, subnets, want)
	if err != nil {
		return err
	}
	have := p.FixedIPs
	kept := make([]FixedIP, len(wants))
	keep := func(i int, match func(FixedIP) bool) {
		if j := slices.IndexFunc(have, match); j >= 0 {
			kept[i] = have[j]
			have = slices.Delete(slices.Clone(have), j, j+1)
		}
	}
	for i, w := range wants {
		if w.ip != "" {
			keep(i, func(f FixedIP) bool { return f.SubnetID == w.subnet.ID && f.IP == w.ip })
		}
	}
	for i, w := range wants {
		if w.ip == "" {
			keep(i, func(f FixedIP) bool { return f.SubnetID == w.subnet.ID })
		}
	}
	for _, f := range have {
		if err := releaseAddress(ctx, tx, p.ID, f); err != nil {
			return err
		}
	}
	p.FixedIPs = []FixedIP{}
	for i, w := range wants {
		if kept[i].IP != "" {
			p.FixedIPs = append(p.FixedIPs, kept[i])
			continue
		}
		if err := s.allocateOne(ctx, tx, p, w); err != nil {
			return err
		}
	}
	return nil
}

// addToAutoPorts gives the ports of a network their address in a new subnet
// whose hosts address themselves: they will use it whether asked or not.
func (s *Service) addToAutoPorts(ctx context.Context, tx bun.Tx, n *Subnet) error {
	if !n.autoAddressed() {
		return nil
	}
	ports := []*Port{}
	err := tx.NewSelect().Model(&ports).Where("network_id = ?", n.NetworkID).
		Where("device_owner NOT IN (?)", bun.List([]string{ownerRouter, ownerGateway, ownerFloatingIP})).Scan(ctx)
	if err != nil {
		return fmt.Errorf("read ports of network %s: %w", n.NetworkID, err)
	}
	for _, p := range ports {
		if _, err := s.allocateFrom(ctx, tx, p, n); err != nil {
			return err
		}
		if err := s.casPort(ctx, tx, p); err != nil {
			return err
		}
	}
	return nil
}

// usedAddresses are the addresses taken on networks, by subnet.
func (s *Service) usedAddresses(ctx context.Context, networkIDs []string) (map[string][]string, error) {
	out := map[string][]string{}
	if len(networkIDs) == 0 {
		return out, nil
	}
	rows, err := s.db.QueryContext(ctx, "SELECT subnet_id, ip_address FROM ip_allocations WHERE network_id IN (?)", bun.List(networkIDs))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var subnet, ip string
		if err := rows.Scan(&subnet, &ip); err != nil {
			return nil, err
		}
		out[subnet] = append(out[subnet], ip)
	}
	return out, rows.Err()
}
