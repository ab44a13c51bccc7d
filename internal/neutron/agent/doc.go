// Package agent is the network side of a host: the L2, L3, DHCP and metadata
// agents of Neutron as parts of one Agent, any of which may also run alone.
//
// One loop does everything that changes the machine: it pulls the desired
// state from neutron-server over the bus (in full at the start, afterwards
// what a notification names), hands it to package dataplane, and reports what
// became of it. Devices that appear and a light check every few seconds wake
// the same loop. While the server or the bus is away nothing on the machine
// changes; nothing is deleted unless the server said that it is gone.
//
// A single object that cannot be configured is reported and tried again; it
// never keeps others from theirs. Read agent.go, then model.go and apply.go.
package agent
