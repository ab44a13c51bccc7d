package agent_test

import (
	"strings"
	"testing"
	"time"

	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

func TestGuestMakesItsIPv6AddressFromTheRoutersAdvertisement(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	const own, other = "fd00:1::f816:3eff:fe00:a", "fd00:1::f816:3eff:fe00:b"
	v6 := func(ip string) rpc.FixedIP {
		return rpc.FixedIP{SubnetID: "six", IP: ip, PrefixLen: 64, Gateway: "fd00:1::1"}
	}
	six := rpc.SubnetState{ID: "six", CIDR: "fd00:1::/64", IPVersion: 6, GatewayIP: "fd00:1::1", EnableDHCP: true, RAMode: "slaac", AddressMode: "slaac"}
	c := newCloud(t)
	st := withRouter(privateNetwork(false))
	st.Networks[0].Subnets = append(st.Networks[0].Subnets, six)
	for i := range st.Ports {
		switch st.Ports[i].ID {
		case portA:
			st.Ports[i].FixedIPs = append(st.Ports[i].FixedIPs, v6(own))
		case portB:
			st.Ports[i].FixedIPs = append(st.Ports[i].FixedIPs, v6(other))
		}
	}
	in := rule("ingress", "ipv6-icmp")
	in.EtherType = "IPv6"
	out := rule("egress", "")
	out.EtherType, out.ID = "IPv6", "egress6"
	st.SecurityGroups[0].Rules = append(st.SecurityGroups[0].Rules, in, out)
	st.Routers[0].Interfaces = append(st.Routers[0].Interfaces, rpc.RouterPort{
		PortID: portV6, NetworkID: private, MAC: "fa:16:3e:00:00:61", MTU: 1450, FixedIPs: []rpc.FixedIP{v6("fd00:1::1")}, Subnets: []rpc.SubnetState{six},
	})
	qr6 := port(portV6, private, "network:router_interface", "fa:16:3e:00:00:61", "10.1.0.250")
	qr6.FixedIPs = []rpc.FixedIP{v6("fd00:1::1")}
	st.Ports = append(st.Ports, qr6)
	c.state = st
	c.start(t.TempDir())
	a, b := dt.NewGuest(t, "", "vm-a", portA, macA), dt.NewGuest(t, "", "vm-b", portB, macB)
	for _, g := range []*dt.Guest{a, b} {
		dt.Eventually(t, "port is up", 5*time.Second, func() bool { return c.portStatus(g.PortID) == "up" })
	}
	dt.Eventually(t, "address from the advertisement", 20*time.Second, func() bool {
		return strings.Contains(a.Run("ip", "-6", "addr"), own) && strings.Contains(b.Run("ip", "-6", "addr"), other)
	})
	dt.Eventually(t, "default route from the advertisement", 5*time.Second, func() bool {
		return strings.Contains(a.Run("ip", "-6", "route"), "default via fe80::f816:3eff:fe00:61")
	})
	a.ExpectPing("fd00:1::1")
	a.ExpectPing(other)
	a.Run("ip", "-6", "addr", "add", "fd00:1::bad/64", "dev", "eth0", "nodad")
	if _, err := dt.Run(a.NS, "ping", "-n", "-c", "1", "-W", "1", "-I", "fd00:1::bad", other); err == nil {
		t.Error("a foreign IPv6 address left the port")
	}
}
