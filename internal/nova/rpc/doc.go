// Package rpc holds the messages between nova-conductor, nova-compute,
// nova-metadata and nova-novncproxy, and their typed clients.
//
// Hypervisor-side processes have no database: everything they know about a
// server they ask of the conductor (Conductor), and everything that shall
// happen on a host the conductor tells that host's agent (Compute). The bus
// may deliver a message twice, late or out of order, so every message that
// changes something carries the operation's id: the receiver joins a running
// operation and ignores one that is no longer current.
//
// Read server.go first (what a host is told about a server), then conductor.go
// and compute.go (who serves what). A boot costs three calls: ServerInfo (which
// also sets task_state networking), Report (spawning) and Finish.
package rpc
