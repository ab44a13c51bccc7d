// Package dataplane makes a Linux machine look the way neutron-server says:
// bridges, taps, VXLAN devices, packet filters, DHCP servers, routers and
// metadata proxies. It decides nothing; package agent pulls the state and
// calls it, and there is no database and no bus here.
//
// Names are those operators of Neutron know: brq<network>, tap<port>,
// vx-<vni>, qdhcp-<network> and qrouter-<router> namespaces with ns-, qr- and
// qg- devices. Every device, namespace and nft table carries the tag of the
// state directory it belongs to, so that two clouds on one machine leave each
// other alone and nothing foreign is ever touched.
//
// All executors are level triggered: they compare what is there with what is
// wanted and change the difference, so an agent's restart adopts what it
// finds without losing a packet.
//
// Everything happens in the network namespace the process was started in.
// Read host.go first, then l2.go, firewall.go, dhcp.go and router.go.
package dataplane
