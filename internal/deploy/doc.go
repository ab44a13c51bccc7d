// Package deploy brings the servers of a topology to what the topology says,
// over SSH, and tells beforehand what it would change.
//
// A cluster is a list of parts ([Parts], in order). For each part and server,
// Want says from the topology and the cluster's secrets alone what must be on
// the server; observe looks at what is there with one shell script that
// changes nothing; the difference is a list of changes, and those that nobody
// deployed are drift. apply makes the changes: every write is atomic and every
// restart that is due is noted on the server before the file that needs it
// changes, so that a deploy that was killed at any moment can be run again.
//
// Start with part.go (what a part is), then plan.go, apply.go and parts.go.
// Nothing is kept on the operator's machine but the cluster directory (package
// cluster), and no agent is needed on a server.
package deploy
