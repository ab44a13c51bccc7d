// Package node is the agent that runs on every server of a cluster and knows
// how that server is: links and the legs of its bonds, virtual addresses,
// units, disks, clock, certificates, engines, and which of the other servers
// it can talk to and in which direction.
//
// The agent only looks; it changes nothing and needs no other part of the
// cluster to be alive. It serves what it knows as JSON (GET /state, for
// hastack status and the drills) and as metrics (GET /metrics, for Prometheus)
// to those who show a certificate of the cluster, and on a database server it
// answers the load balancers whether to write here (GET /galera, without TLS).
//
// A [Collector] looks at one subject; agent.go runs them, each at its own
// pace; state.go is what they fill; metrics.go turns that into figures, one
// table for all, which doc/ops/metrics.md explains. The agent runs on every
// server beside everything else, so a collector reads files and sockets and
// starts no programs where it can be helped.
package node
