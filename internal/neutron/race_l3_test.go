package neutron_test

import (
	"testing"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/neutron"
	"github.com/hastack/hastack/internal/neutron/neutrontest"
)

// external makes an external network with a subnet.
func external(t testing.TB, s *neutron.Service) *neutron.Network {
	t.Helper()
	n := &neutron.Network{Standard: neutron.Standard{ProjectID: project}, Type: "flat", PhysicalNetwork: "public", External: true}
	if err := s.CreateNetworks(t.Context(), admin, []*neutron.Network{n}); err != nil {
		t.Fatal(err)
	}
	_, err := s.CreateSubnets(t.Context(), admin, []*neutron.SubnetSpec{{Subnet: neutron.Subnet{
		Standard: neutron.Standard{ProjectID: project}, NetworkID: n.ID, CIDR: "203.0.113.0/24", IPVersion: 4,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// routed makes a router between a network's subnet and the outside.
func routed(t testing.TB, s *neutron.Service, ext *neutron.Network, sub *neutron.Subnet) *neutron.Router {
	t.Helper()
	r := &neutron.Router{Standard: neutron.Standard{ProjectID: project}, AdminStateUp: true}
	if err := s.CreateRouter(t.Context(), admin, r, &neutron.GatewayInfo{NetworkID: ext.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddRouterInterface(t.Context(), admin, r.ID, sub.ID, ""); err != nil {
		t.Fatal(err)
	}
	return r
}

func floating(s *neutron.Service, t testing.TB, ext *neutron.Network, port string) error {
	_, err := s.CreateFloatingIP(t.Context(), admin, &neutron.FloatingIPSpec{
		FloatingIP: neutron.FloatingIP{Standard: neutron.Standard{ProjectID: project}, NetworkID: ext.ID}, WantPort: port,
	})
	return err
}

// Of several floating IPs that are to stand for one address at once, one does,
// and the others leave nothing behind.
func TestOneFloatingIPPerFixedAddress(t *testing.T) {
	a := neutrontest.New(t)
	b := neutrontest.New(t, neutrontest.WithDB(a.DB))
	ext := external(t, a.Service)
	n, sub := makeNetwork(t, a.Service, "10.0.0.0/24")
	routed(t, a.Service, ext, sub)
	p, err := makePort(t.Context(), a.Service, n.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	ok := together(t, 8, func(i int) error {
		s := a.Service
		if i%2 == 1 {
			s = b.Service
		}
		return floating(s, t, ext, p.ID)
	})
	fips, err := a.Service.FloatingIPs(t.Context(), admin, neutron.Query{})
	if err != nil || ok != 1 || len(fips) != 1 || fips[0].RouterID == nil {
		t.Errorf("%d succeeded, %d floating ips: %v", ok, len(fips), err)
	}
	problems(t, a.Service)
}

// A router's interface and its gateway cannot go between the look of an
// association and its commit: afterwards either the association stands and so
// does its way, or neither.
func TestAssociationKeepsItsWay(t *testing.T) {
	a := neutrontest.New(t)
	b := neutrontest.New(t, neutrontest.WithDB(a.DB))
	ext := external(t, a.Service)
	for i := range 6 {
		n, sub := makeNetwork(t, a.Service, "10.0.0.0/24")
		r := routed(t, a.Service, ext, sub)
		p, err := makePort(t.Context(), a.Service, n.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		steps := []func() error{
			func() error { return floating(a.Service, t, ext, p.ID) },
			func() error {
				_, err := b.Service.RemoveRouterInterface(t.Context(), admin, r.ID, sub.ID, "")
				return err
			},
		}
		if i%2 == 1 {
			steps[1] = func() error {
				_, err := b.Service.UpdateRouter(t.Context(), admin, r.ID, neutron.RouterPatch{Gateway: &neutron.GatewayInfo{}})
				return err
			}
		}
		ok := together(t, 2, func(i int) error {
			err := steps[i]()
			if fault.Is(err, fault.NotFound) {
				return fault.New(fault.Conflict, "no way: %v", err)
			}
			return err
		})
		if ok != 1 {
			t.Errorf("round %d: %d of association and removal succeeded", i, ok)
		}
	}
	problems(t, a.Service)
}

// A network that is deleted while ports come either goes without them or
// stays with them.
func TestNoPortIsLeftOfADeletedNetwork(t *testing.T) {
	a := neutrontest.New(t)
	b := neutrontest.New(t, neutrontest.WithDB(a.DB))
	for range 5 {
		n, _ := makeNetwork(t, a.Service, "10.0.0.0/24")
		together(t, 4, func(i int) error {
			var err error
			if i == 0 {
				err = b.Service.DeleteNetwork(t.Context(), admin, n.ID, nil)
			} else {
				_, err = makePort(t.Context(), a.Service, n.ID, nil)
			}
			if fault.Is(err, fault.NotFound) {
				return nil
			}
			return err
		})
		ports, err := a.Service.Ports(t.Context(), admin, neutron.Filter("network_id", n.ID))
		if err != nil {
			t.Fatal(err)
		}
		_, gone := a.Service.Network(t.Context(), admin, n.ID)
		if gone != nil && len(ports) > 0 {
			t.Errorf("%d ports of a network that is gone", len(ports))
		}
	}
	problems(t, a.Service)
}
