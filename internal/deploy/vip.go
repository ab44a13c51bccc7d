package deploy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hastack/hastack/internal/topology"
)

// Scripts of the VIP managers on a load balancer.
const (
	vipCheckScript = "/usr/lib/hastack/vip-check"
	vipLeftScript  = "/usr/lib/hastack/vip-left"
	vipFlushScript = "/usr/lib/hastack/vip-flush"
)

// vipPart moves the virtual addresses between the load balancers, by
// keepalived or by pacemaker as the topology says.
func vipPart() *Part {
	return &Part{
		Name: "vip",
		Servers: func(t *topology.Topology) []*topology.Server {
			if len(t.VIPs) == 0 {
				return nil
			}
			return t.With(topology.RoleLoadBalancer)
		},
		Want:  wantVIPManager,
		After: loadPacemaker,
	}
}

func wantVIPManager(c *Context, s *topology.Server) (*Want, error) {
	switch c.Topology.VIPManager {
	case topology.Keepalived:
		return wantKeepalived(c, s)
	case topology.Pacemaker:
		return wantPacemaker(c, s)
	default:
		return nil, fmt.Errorf("vip_manager %q is not known: it is keepalived or pacemaker", c.Topology.VIPManager)
	}
}

// vipHolders are the load balancers in the order in which they take the i-th
// virtual address: the preferred one first. Without a preference the addresses
// are spread, and every server that takes over gets its fair share.
func vipHolders(t *topology.Topology, i int) []*topology.Server {
	all := t.With(topology.RoleLoadBalancer)
	if len(all) == 0 {
		return nil
	}
	first := i % len(all)
	if p := t.Server(t.VIPs[i].Prefer); p != nil {
		first = max(slices.Index(all, p), 0)
	}
	return append(slices.Clone(all[first:]), all[:first]...)
}

// vipDevice is the interface of a server that carries a network's addresses.
func vipDevice(t *topology.Topology, _ *topology.Server, network string) string {
	return t.Networks[network].Device
}

// vipLegs are the interfaces that lead to a network; with all of them down an
// address of it must not be on the server.
func vipLegs(s *topology.Server, network string) []string {
	var legs []string
	for _, l := range s.Links() {
		if l.Network == network {
			legs = append(legs, l.Leg)
		}
	}
	return legs
}

// vipScripts are what both VIP managers call.
func vipScripts(t *topology.Topology, s *topology.Server) []File {
	var flush strings.Builder
	flush.WriteString(`#!/bin/sh
# Takes every virtual address off this server, whoever put it there, and ends
# the connections that were made to it.
`)
	for _, v := range t.VIPs {
		fmt.Fprintf(&flush, "ip address del %s/32 dev %s 2>/dev/null\n", v.Address, vipDevice(t, s, v.Network))
	}
	for _, v := range t.VIPs {
		fmt.Fprintf(&flush, "%s %s\n", vipLeftScript, v.Address)
	}
	flush.WriteString("exit 0\n")
	return []File{
		{Path: vipCheckScript, Mode: 0o755, Content: []byte(vipCheck)},
		{Path: vipLeftScript, Mode: 0o755, Content: []byte(vipLeft)},
		{Path: vipFlushScript, Mode: 0o755, Content: []byte(flush.String())},
	}
}

// vipCheck asks HAProxy over loopback; no program is started for it but the
// shell.
var vipCheck = fmt.Sprintf(`#!/bin/bash
# Succeeds if HAProxy answers within four seconds.
exec 3<>/dev/tcp/127.0.0.1/%d || exit 1
printf 'GET /alive HTTP/1.0\r\n\r\n' >&3 || exit 1
read -r -t 4 line <&3 && [[ $line == *" 200 "* ]]
`, haproxyAlivePort)

// vipLeft ends connections to an address that has left. Both ends of a
// connection from this server to the address are here with the address as
// their own, so nobody else could ever answer them: without this they would
// hang until a timeout.
const vipLeft = `#!/bin/sh
# vip-left ADDRESS: end this server's connections from and to the address.
ss -K -t src "$1" >/dev/null 2>&1
exit 0
`
