package neutron

import (
	"context"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
)

// NetworkAvailability tells how many addresses of a network are taken.
type NetworkAvailability struct {
	Network *Network
	Subnets []SubnetAvailability
}

// SubnetAvailability counts the addresses of a subnet. Pools of IPv6 are wider
// than 64 bits.
type SubnetAvailability struct {
	Subnet            *Subnet
	InSubnet, InPools *big.Int
	Used, UsedInPools int
}

// Availability counts addresses of the networks that q selects; ipVersion "4"
// or "6" leaves out subnets of the other.
func (s *Service) Availability(ctx context.Context, c Caller, q Query, ipVersion string) ([]NetworkAvailability, error) {
	nets, err := s.networks(ctx, s.db, c, q)
	if err != nil {
		return nil, err
	}
	netIDs := make([]string, 0, len(nets))
	for _, n := range nets {
		netIDs = append(netIDs, n.ID)
	}
	subnets, err := s.subnetsOf(ctx, s.db, netIDs...)
	if err != nil {
		return nil, err
	}
	used, err := s.usedAddresses(ctx, netIDs)
	if err != nil {
		return nil, err
	}
	byNet := map[string][]SubnetAvailability{}
	for _, n := range subnets {
		if ipVersion != "" && ipVersion != fmt.Sprint(n.IPVersion) {
			continue
		}
		byNet[n.NetworkID] = append(byNet[n.NetworkID], countSubnet(n, used[n.ID]))
	}
	out := make([]NetworkAvailability, 0, len(nets))
	for _, n := range nets {
		out = append(out, NetworkAvailability{Network: n, Subnets: byNet[n.ID]})
	}
	return out, nil
}

func countSubnet(n *Subnet, used []string) SubnetAvailability {
	first, last := usableRange(n.Prefix())
	a := SubnetAvailability{Subnet: n, InSubnet: exactSize(Pool{first, last}), InPools: new(big.Int), Used: len(used)}
	for _, p := range n.AllocationPools {
		a.InPools.Add(a.InPools, exactSize(p))
	}
	for _, u := range used {
		ip, err := netip.ParseAddr(u)
		if err == nil && slices.ContainsFunc(n.AllocationPools, func(p Pool) bool { return p.Contains(ip) }) {
			a.UsedInPools++
		}
	}
	return a
}

// exactSize is the number of addresses of a pool of any size.
func exactSize(p Pool) *big.Int {
	hi, lo := sub128(p.End, p.Start)
	n := new(big.Int).SetUint64(hi)
	n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(lo))
	return n.Add(n, big.NewInt(1))
}
