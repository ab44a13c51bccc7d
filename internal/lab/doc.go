// Package lab makes the servers of a topology on one machine: each a
// systemd-nspawn machine with real systemd and sshd in a network namespace of
// its own, wired with two legs to bridges that stand for the switches.
//
// Everything of a lab has a name that follows from the lab's, so that [Down]
// finds it whatever became of the process that made it: namespaces
// hl-NAME.SERVER, hl-NAME.fabric (the switches) and hl-NAME (the operator's
// seat, which is also the Internet), control groups hl-NAME, and the directory
// STATE/labs/NAME. The overlay of a server is mounted in a mount namespace that
// only its processes have, so it goes with them.
//
// Read lab.go first (what can be done), then fabric.go (the wiring), server.go
// (the power), fabricd.go (the stand-in for bonding) and root.go (the shared
// root). Package drill drives a lab through these calls.
//
// Not the same as metal: the servers share one kernel, one clock and one page
// cache. A killed server loses its processes, memory, network state and mounts,
// but what it wrote without fsync is in the host's page cache and is still there
// when it starts again.
package lab
