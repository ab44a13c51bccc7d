// Package neutron is the network service: networks, subnets, ports, routers,
// floating IPs, security groups, and the agents that make them real.
//
// The server changes rows and nothing else. Every change is one transaction
// that also raises the state's revision; after the commit agents are told
// which ids changed, pull what those have become, and make their host agree.
// There is nothing to resume after a crash: an agent that missed a message
// sees from the revision in its next heartbeat's reply that it is behind.
//
//	neutron.go            Config, Deps, Service, Run
//	network.go subnet.go port*.go router*.go floatingip.go securitygroup*.go rbac.go
//	                      the resources: rules in *.go, SQL in *_store.go
//	ipam.go ipam_store.go addresses: pure arithmetic, and claims by unique key
//	agent.go scheduling.go failover.go
//	                      agents, which of them serves what, and what of one that died
//	sync*.go server.go    what agents pull and report; types in package rpc
//	notify.go             telling agents of changes
//	novaevents.go         telling Nova of plugged ports, by rows that wait
//	query*.go             filters, sorting and keyset pages of all lists
//	quota.go policy.go    limits; every rule with its default
//
// A port is DOWN until the agent of its host reports it up, then ACTIVE; ERROR
// if the agent could not configure it; DOWN again when it is unbound or moves.
//
// In a cluster a router moves off a dead agent within seconds; VRRP and
// distributed routers are not done, nor are subnet pools, address groups and
// scopes, QoS, trunks and port forwarding; their URLs answer 501.
package neutron
