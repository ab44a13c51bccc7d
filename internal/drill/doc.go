// Package drill makes faults on purpose and measures what users of the cloud
// see of them.
//
// A [Fault] is made, held and healed, once a round, while probes run: reads and
// writes through the virtual addresses, servers that boot and go, pings to a
// floating IP, watchers of VIP holders, alarms and layers. What the writers were
// told is in a [Ledger] outside the cloud and is read back at the end. The
// outcome is a [Report] in Markdown, JSON and HTML.
//
// How a figure is defined is said once, in doc/ops/drills.md, and coded in
// window.go (error windows, percentiles) and reject.go (which rounds do not
// count). Files: fault.go what a fault is; suites_*.go the faults; cloud.go and
// probe.go the client and its fixed rate; reads.go, writer.go, boot.go, reach.go
// the probes; vips.go, alarms.go, layers.go the watchers; round.go and run.go
// one round and all; report*.go, chart.go what is written.
//
// It drives the cluster from outside and imports no service. It does not judge
// services that are not built: their servers run bare, and the report says so.
package drill
