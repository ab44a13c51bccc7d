package neutron_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/neutron/neutrontest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

const project = "p0000000000000000000000000000001"

var admin = neutron.Caller{Admin: true, ProjectID: project}

// makeNetwork adds a network with one subnet by the service itself.
func makeNetwork(t testing.TB, s *neutron.Service, cidr string) (*neutron.Network, *neutron.Subnet) {
	t.Helper()
	n := &neutron.Network{Standard: neutron.Standard{ProjectID: project}, AdminStateUp: true, PortSecurityEnabled: true}
	if err := s.CreateNetworks(t.Context(), admin, []*neutron.Network{n}); err != nil {
		t.Fatal(err)
	}
	subs, err := s.CreateSubnets(t.Context(), admin, []*neutron.SubnetSpec{{Subnet: neutron.Subnet{
		Standard: neutron.Standard{ProjectID: project}, NetworkID: n.ID, CIDR: cidr, IPVersion: 4, EnableDHCP: true,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return n, subs[0]
}

func makePort(ctx context.Context, s *neutron.Service, network string, want *[]neutron.FixedIP) (*neutron.Port, error) {
	ports, err := s.CreatePorts(ctx, admin, []*neutron.PortSpec{{
		Port:    neutron.Port{Standard: neutron.Standard{ProjectID: project}, NetworkID: network, AdminStateUp: true, VNICType: "normal"},
		WantIPs: want,
	}})
	if err != nil {
		return nil, err
	}
	return ports[0], nil
}

// together runs n functions at once and returns how many succeeded; any error
// other than a conflict fails the test.
func together(t testing.TB, n int, fn func(i int) error) int {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	ok := 0
	for _, err := range errs {
		switch {
		case err == nil:
			ok++
		case !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.BadRequest):
			t.Error(err)
		}
	}
	return ok
}

// Two server processes give away a small subnet at once: each address goes to
// one port, all addresses go, and those who come too late are told so.
func TestNoAddressIsGivenTwice(t *testing.T) {
	a := neutrontest.New(t)
	b := neutrontest.New(t, neutrontest.WithDB(a.DB))
	n, _ := makeNetwork(t, a.Service, "10.0.0.0/27")
	var mu sync.Mutex
	seen := map[string]string{}
	ok := together(t, 40, func(i int) error {
		s := a.Service
		if i%2 == 1 {
			s = b.Service
		}
		p, err := makePort(t.Context(), s, n.ID, nil)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		ip := p.FixedIPs[0].IP
		if other := seen[ip]; other != "" {
			return fmt.Errorf("%s was given to %s and %s", ip, other, p.ID)
		}
		seen[ip] = p.ID
		return nil
	})
	if ok != 29 { // 32 without network, broadcast and gateway
		t.Errorf("%d ports were made in a subnet of 29 addresses", ok)
	}
	problems(t, a.Service)
}

// Any sequence of creates, updates and deletes keeps the ports' addresses and
// the table of claims the same.
func TestAddressesFollowTheirPorts(t *testing.T) {
	c := neutrontest.New(t)
	rapid.Check(t, func(rt *rapid.T) {
		n, sub := makeNetwork(t, c.Service, "10.0.0.0/28")
		var ports []string
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0, 1:
				var want *[]neutron.FixedIP
				if rapid.Bool().Draw(rt, "chosen") {
					want = &[]neutron.FixedIP{{SubnetID: sub.ID, IP: fmt.Sprintf("10.0.0.%d", rapid.IntRange(2, 14).Draw(rt, "ip"))}}
				}
				if p, err := makePort(t.Context(), c.Service, n.ID, want); err == nil {
					ports = append(ports, p.ID)
				} else if !fault.Is(err, fault.Conflict) {
					rt.Fatal(err)
				}
			case 2:
				if len(ports) > 0 {
					ips := []neutron.FixedIP{{SubnetID: sub.ID}, {SubnetID: sub.ID, IP: fmt.Sprintf("10.0.0.%d", rapid.IntRange(2, 14).Draw(rt, "ip"))}}
					_, err := c.Service.UpdatePort(t.Context(), admin, ports[0], neutron.PortPatch{FixedIPs: &ips})
					if err != nil && !fault.Is(err, fault.Conflict) {
						rt.Fatal(err)
					}
				}
			case 3:
				if len(ports) > 0 {
					if err := c.Service.DeletePort(t.Context(), admin, ports[0], nil); err != nil {
						rt.Fatal(err)
					}
					ports = ports[1:]
				}
			}
		}
		claims := claimsOf(t, c, n.ID)
		list, err := c.Service.Ports(t.Context(), admin, neutron.Filter("network_id", n.ID))
		if err != nil || len(list) != len(ports) {
			rt.Fatalf("%d ports, want %d: %v", len(list), len(ports), err)
		}
		for _, p := range list {
			for _, f := range p.FixedIPs {
				if claims[f.IP] != p.ID {
					rt.Fatalf("%s of port %s is claimed by %q", f.IP, p.ID, claims[f.IP])
				}
				delete(claims, f.IP)
			}
		}
		if len(claims) > 0 {
			rt.Fatalf("claims without a port: %v", claims)
		}
	})
}

func claimsOf(t testing.TB, c *neutrontest.Cloud, network string) map[string]string {
	t.Helper()
	rows, err := c.DB.QueryContext(t.Context(), "SELECT ip_address, port_id FROM ip_allocations WHERE network_id = ?", network)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	out := map[string]string{}
	for rows.Next() {
		var ip, port string
		if err := rows.Scan(&ip, &port); err != nil {
			t.Fatal(err)
		}
		out[ip] = port
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// The first requests of a project come all at once: there is one default group.
func TestDefaultGroupIsMadeOnce(t *testing.T) {
	a := neutrontest.New(t)
	b := neutrontest.New(t, neutrontest.WithDB(a.DB))
	got := make([]string, 12)
	together(t, len(got), func(i int) (err error) {
		s := a.Service
		if i%2 == 1 {
			s = b.Service
		}
		got[i], err = s.DefaultSecurityGroup(t.Context(), project)
		return err
	})
	for _, id := range got {
		if id == "" || id != got[0] {
			t.Fatalf("default groups: %v", got)
		}
	}
	problems(t, a.Service)
}

// The last place in a quota goes to one of those who ask for it at once.
func TestQuotaIsNotOverrun(t *testing.T) {
	c := neutrontest.New(t, neutrontest.WithConfig(neutron.Config{Quotas: map[string]int64{"port": 5}}))
	n, _ := makeNetwork(t, c.Service, "10.0.0.0/24")
	ok := together(t, 12, func(int) error {
		_, err := makePort(t.Context(), c.Service, n.ID, nil)
		var f *fault.Error
		if err != nil && (!errors.As(err, &f) || f.Code != "OverQuota") {
			return fmt.Errorf("refused otherwise: %w", err)
		}
		return err
	})
	if ok != 5 {
		t.Errorf("%d ports with a quota of 5", ok)
	}
	problems(t, c.Service)
}

// Limits that are set at the same moment for the first time: nobody is refused,
// and one of them holds.
func TestLimitsSetAtOnce(t *testing.T) {
	c := neutrontest.New(t)
	for round := range 5 {
		project := fmt.Sprint("project", round)
		together(t, 6, func(i int) error {
			err := c.Service.SetQuotas(t.Context(), project, map[string]int64{"port": int64(100 + i), "network": int64(200 + i)}, true)
			if err != nil {
				t.Errorf("set limits: %v", err)
			}
			return err
		})
		q, err := c.Service.Quotas(t.Context(), project)
		if err != nil {
			t.Fatal(err)
		}
		if q["port"] < 100 || q["port"] > 105 || q["network"] != q["port"]+100 {
			t.Errorf("limits %v are of no single request", q)
		}
	}
}

// Of subnets that overlap and are made at once, one is.
func TestOverlappingSubnetsAreRefusedAtOnce(t *testing.T) {
	c := neutrontest.New(t)
	n, _ := makeNetwork(t, c.Service, "10.0.0.0/24")
	ok := together(t, 6, func(i int) error {
		_, err := c.Service.CreateSubnets(t.Context(), admin, []*neutron.SubnetSpec{{Subnet: neutron.Subnet{
			Standard: neutron.Standard{ProjectID: project}, NetworkID: n.ID, CIDR: fmt.Sprintf("10.9.%d.0/16", i), IPVersion: 4,
		}}})
		return err
	})
	if ok != 1 {
		t.Errorf("%d of six overlapping subnets were made", ok)
	}
}

// Networks get segments of a small range until none is left.
func TestNoSegmentIsGivenTwice(t *testing.T) {
	c := neutrontest.New(t, neutrontest.WithConfig(neutron.Config{VNIMin: 100, VNIMax: 109}))
	var mu sync.Mutex
	seen := map[int]bool{}
	ok := together(t, 14, func(int) error {
		n := &neutron.Network{Standard: neutron.Standard{ProjectID: project}}
		if err := c.Service.CreateNetworks(t.Context(), admin, []*neutron.Network{n}); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if seen[n.SegmentationID] || n.SegmentationID < 100 || n.SegmentationID > 109 {
			return fmt.Errorf("segment %d was given twice", n.SegmentationID)
		}
		seen[n.SegmentationID] = true
		return nil
	})
	if ok != 10 {
		t.Errorf("%d networks in ten segments", ok)
	}
}

// What many delete at once goes once, and gives its quota back once.
func TestDeletedAtOnce(t *testing.T) {
	c := neutrontest.New(t)
	shared, _ := makeNetwork(t, c.Service, "10.0.0.0/24")
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, prepare := range map[string]func(t *testing.T) (remove func(i int) error){
		"port": func(t *testing.T) func(int) error {
			p, err := makePort(t.Context(), c.Service, shared.ID, nil)
			must(t, err)
			return func(int) error { return c.Service.DeletePort(t.Context(), admin, p.ID, nil) }
		},
		"network": func(t *testing.T) func(int) error {
			n, _ := makeNetwork(t, c.Service, "10.1.0.0/24")
			return func(int) error { return c.Service.DeleteNetwork(t.Context(), admin, n.ID, nil) }
		},
		"network and its subnet": func(t *testing.T) func(int) error {
			n, sub := makeNetwork(t, c.Service, "10.1.0.0/24")
			return func(i int) error {
				if i%2 == 0 {
					return c.Service.DeleteSubnet(t.Context(), admin, sub.ID, nil)
				}
				return c.Service.DeleteNetwork(t.Context(), admin, n.ID, nil)
			}
		},
		"security group": func(t *testing.T) func(int) error {
			g := &neutron.SecurityGroup{Standard: neutron.Standard{ProjectID: project}}
			must(t, c.Service.CreateSecurityGroups(t.Context(), admin, []*neutron.SecurityGroup{g}))
			return func(int) error { return c.Service.DeleteSecurityGroup(t.Context(), admin, g.ID, nil) }
		},
		"security group and its rule": func(t *testing.T) func(int) error {
			g := &neutron.SecurityGroup{Standard: neutron.Standard{ProjectID: project}}
			must(t, c.Service.CreateSecurityGroups(t.Context(), admin, []*neutron.SecurityGroup{g}))
			rules, err := c.Service.SecurityGroupRules(t.Context(), admin, neutron.Filter("security_group_id", g.ID))
			must(t, err)
			return func(i int) error {
				if i%2 == 0 {
					return c.Service.DeleteSecurityGroupRule(t.Context(), admin, rules[0].ID)
				}
				return c.Service.DeleteSecurityGroup(t.Context(), admin, g.ID, nil)
			}
		},
		"router": func(t *testing.T) func(int) error {
			r := &neutron.Router{Standard: neutron.Standard{ProjectID: project}}
			must(t, c.Service.CreateRouter(t.Context(), admin, r, nil))
			return func(int) error { return c.Service.DeleteRouter(t.Context(), admin, r.ID, nil) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 4 {
				remove := prepare(t)
				ok := together(t, 6, func(i int) error {
					err := remove(i)
					if fault.Is(err, fault.NotFound) {
						return fault.New(fault.Conflict, "not counted: %v", err)
					}
					return err
				})
				if ok < 1 || ok > 2 || ok > 1 && !strings.Contains(name, " and ") {
					t.Errorf("%d of 6 deleted it", ok)
				}
				for range 6 { // what a conflict has left
					_, _ = remove(0), remove(1)
				}
				problems(t, c.Service)
			}
		})
	}
}

// An agent is deleted while its networks change: none keeps a DHCP server on the
// host that has no agent any more.
func TestNoDHCPServerOutlivesItsAgent(t *testing.T) {
	c := neutrontest.New(t)
	c.Agents("host1", "192.0.2.1")
	c.Agents("host2", "192.0.2.2")
	var subnets []string
	for i := range 4 {
		_, sub := makeNetwork(t, c.Service, fmt.Sprintf("10.0.%d.0/24", i))
		subnets = append(subnets, sub.ID)
	}
	for round := range 8 {
		agents, err := c.Service.Agents(t.Context(), neutron.Query{Filters: map[string][]string{"host": {"host1"}, "agent_type": {rpc.AgentDHCP}}})
		if err != nil || len(agents) != 1 {
			t.Fatal(agents, err)
		}
		together(t, 1+2*len(subnets), func(i int) error {
			if i == len(subnets) {
				return c.Service.DeleteAgent(t.Context(), agents[0].ID)
			}
			on := i >= len(subnets) || round%2 == 0
			_, err := c.Service.UpdateSubnet(t.Context(), admin, subnets[i%len(subnets)], neutron.SubnetPatch{EnableDHCP: &on})
			return err
		})
		problems(t, c.Service)
		c.Agents("host1", "192.0.2.1")
		problems(t, c.Service)
	}
}

// problems fails the test if Neutron's own audit finds anything.
func problems(t testing.TB, s *neutron.Service) {
	t.Helper()
	got, err := s.Audit(t.Context(), rpc.AuditArgs{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got.Problems {
		t.Errorf("audit: %s", p)
	}
}
