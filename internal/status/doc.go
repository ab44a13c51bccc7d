// Package status tells how a cluster is: it asks every server's node agent, the
// cloud's APIs through their virtual address and the alarms of the monitors,
// all at the same time and none longer than a few seconds, and makes of it a
// report of every layer: members, leader or writer, holder of each virtual
// address, quorum, lag, ages of keys, and what is wrong.
//
// collect.go asks; report.go is the model; judge*.go are pure functions from
// what was seen to the model; text.go prints it. What does not answer is shown
// as such: silence is never taken for health.
package status
