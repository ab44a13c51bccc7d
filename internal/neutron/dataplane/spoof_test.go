package dataplane_test

import (
	"bytes"
	"testing"
	"time"

	dt "github.com/hastack/hastack/internal/neutron/dataplane/dataplanetest"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

const (
	ll1 = "fe80::f816:3eff:fe00:1"
	ll2 = "fe80::f816:3eff:fe00:2"
)

// openGroup lets everything in, so that only anti-spoofing can stop a frame.
func openState() *rpc.SecurityGroupRule { r := rule("ingress", ""); return &r }

func spoofPair(t *testing.T) (a, b *dt.Guest, wa, wb *dt.Wire) {
	t.Helper()
	h := newHost(t, dataplaneConfig())
	a, b = pair(t)
	v6 := rule("ingress", "")
	v6.EtherType, v6.ID = "IPv6", "in6"
	reconcile(t, h, pairState(*openState(), v6))
	a.ExpectPing("10.1.0.12")
	return a, b, dt.NewWire(t, a), dt.NewWire(t, b)
}

func TestSec49ForgedFramesDoNotLeaveThePort(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	_, b, wa, wb := spoofPair(t)
	mark := []byte("forged-frame-marker")
	all := "ff02::1"
	hopByHop := []byte{58, 0, 5, 2, 0, 0, 1, 0}
	frag := []byte{58, 0, 0, 0, 0, 0, 0, 1}
	na := icmp6(ll1, all, append(advertisement(ll2, mac1), mark...))
	ra := icmp6(ll1, all, append(routerAdvertisement(), mark...))
	cases := map[string][]byte{
		"another MAC":            ether(mac2, mac3, 0x0800, ipv4(1, "10.1.0.11", "10.1.0.12", echo(mark))),
		"another IPv4 address":   ether(mac2, mac1, 0x0800, ipv4(1, "10.1.0.99", "10.1.0.12", echo(mark))),
		"no IPv4 address":        ether(mac2, mac1, 0x0800, ipv4(1, "0.0.0.0", "10.1.0.12", echo(mark))),
		"another IPv6 address":   ether(mac2, mac1, 0x86dd, ipv6(17, "fd00::bad", ll2, nil, udp(9, 9, mark))),
		"a DHCP server":          ether(mac2, mac1, 0x0800, ipv4(17, "10.1.0.11", "10.1.0.12", udp(67, 68, mark))),
		"a DHCPv6 server":        ether(mac2, mac1, 0x86dd, ipv6(17, ll1, ll2, nil, udp(547, 546, mark))),
		"a router advertisement": ether("33:33:00:00:00:01", mac1, 0x86dd, ipv6(58, ll1, all, nil, ra)),
		"a router advertisement behind an extension header": ether("33:33:00:00:00:01", mac1, 0x86dd, ipv6(0, ll1, all, hopByHop, ra)),
		"a router advertisement in a fragment":              ether("33:33:00:00:00:01", mac1, 0x86dd, ipv6(44, ll1, all, frag, ra)),
		"a neighbour's advertisement":                       ether("33:33:00:00:00:01", mac1, 0x86dd, ipv6(58, ll1, all, nil, na)),
		"an advertisement behind an extension header":       ether("33:33:00:00:00:01", mac1, 0x86dd, ipv6(0, ll1, all, hopByHop, na)),
		"a VLAN tag":                    ether(mac2, mac1, 0x8100, append([]byte{0, 5, 8, 0}, ipv4(1, "10.1.0.11", "10.1.0.12", echo(mark))...)),
		"a service VLAN tag":            ether(mac2, mac1, 0x88a8, append([]byte{0, 5, 8, 0}, ipv4(1, "10.1.0.11", "10.1.0.12", echo(mark))...)),
		"PPPoE":                         ether(mac2, mac1, 0x8864, append([]byte{0x11, 0, 0, 1, 0, 40, 0, 0x21}, mark...)),
		"an unknown protocol":           ether(mac2, mac1, 0x88b5, mark),
		"a forged ARP reply":            ether(mac2, mac1, 0x0806, append(arp(2, mac1, "10.1.0.99", mac2, "10.1.0.12"), mark...)),
		"an ARP reply with another MAC": ether(mac2, mac1, 0x0806, append(arp(2, mac3, "10.1.0.11", mac2, "10.1.0.12"), mark...)),
	}
	for name, frame := range cases {
		wb.Drain()
		wa.Send(frame)
		if wb.Receives(150*time.Millisecond, func(f []byte) bool { return bytes.Contains(f, mark) }) {
			t.Errorf("%s left the port", name)
		}
	}
	// The same wire carries what is the guest's own.
	for name, frame := range map[string][]byte{
		"its own ping": ether(mac2, mac1, 0x0800, ipv4(1, "10.1.0.11", "10.1.0.12", echo(mark))),
		"its own ARP":  ether(broadcast, mac1, 0x0806, append(arp(1, mac1, "10.1.0.11", "00:00:00:00:00:00", "10.1.0.12"), mark...)),
		"its own advertisement": ether("33:33:00:00:00:01", mac1, 0x86dd,
			ipv6(58, ll1, all, nil, icmp6(ll1, all, append(advertisement(ll1, mac1), mark...)))),
	} {
		wb.Drain()
		wa.Send(frame)
		if !wb.Receives(time.Second, func(f []byte) bool { return bytes.Contains(f, mark) }) {
			t.Errorf("%s did not arrive", name)
		}
	}
	if out := b.Run("ip", "neigh"); bytes.Contains([]byte(out), []byte("10.1.0.99")) {
		t.Errorf("the neighbour learnt a forged address:\n%s", out)
	}
}

func TestSec49BridgeLearnsNothingFromForgedFrames(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	_, _, wa, _ := spoofPair(t)
	wa.Send(ether(broadcast, mac4, 0x0800, ipv4(17, "10.1.0.44", "255.255.255.255", udp(9, 9, nil))))
	time.Sleep(50 * time.Millisecond)
	if out := dt.Must(t, "", "bridge", "fdb"); bytes.Contains([]byte(out), []byte(mac4)) {
		t.Errorf("the bridge learnt a forged MAC:\n%s", out)
	}
}

func TestAllowedAddressPairsAndDisabledPortSecurity(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	h := newHost(t, dataplaneConfig())
	a, b := pair(t)
	a.Run("ip", "addr", "add", "10.1.0.50/24", "dev", "eth0")
	st := pairState(*openState())
	reconcile(t, h, st)
	from := func(src string) bool {
		_, err := dt.Run(a.NS, "ping", "-n", "-c", "1", "-W", "1", "-I", src, "10.1.0.12")
		return err == nil
	}
	if from("10.1.0.50") {
		t.Error("an address that is not the port's was let through")
	}
	st.Ports[port1].AddressPairs = []rpc.AddressPair{{IP: "10.1.0.48/30"}}
	reconcile(t, h, st)
	if !from("10.1.0.50") {
		t.Error("an allowed address pair was not let through")
	}
	for _, pairs := range [][]rpc.AddressPair{
		{{IP: "0.0.0.0/0"}, {IP: "::/0"}}, {{IP: "10.0.0.0/9"}, {IP: "10.1.0.50", MAC: mac4}, {IP: "fd00::/61"}, {IP: "10.1.0.50"}},
	} {
		st.Ports[port1].AddressPairs = pairs
		if res := reconcile(t, h, st); len(res.Bad) != 0 || !from("10.1.0.50") {
			t.Errorf("pairs %v: bad %v", pairs, res.Bad)
		}
	}
	st.Ports[port1].AddressPairs = nil
	st.Ports[port1].PortSecurity = false
	st.Ports[port1].SecurityGroups = nil
	reconcile(t, h, st)
	if !from("10.1.0.50") {
		t.Error("a port without port security was filtered")
	}
	b.ExpectPing("10.1.0.11")
}

func TestSec50RulesStayWhenDeviceOwnerLooksLikeNetwork(t *testing.T) {
	if !dt.Isolate(t) {
		return
	}
	h := newHost(t, dataplaneConfig())
	a, _ := pair(t)
	st := pairState()
	reconcile(t, h, st)
	for _, owner := range []string{"network:", "network:mine", "network:dhcp2", "Network:dhcp", ""} {
		st.Ports[port2].DeviceOwner = owner
		reconcile(t, h, st)
		a.ExpectNoPing("10.1.0.12")
	}
}
