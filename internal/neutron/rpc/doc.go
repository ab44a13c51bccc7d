// Package rpc holds what neutron-server and its agents say to each other over
// the bus: the desired state that an agent pulls, the reports it sends back
// and the notification that tells it to pull again.
//
// The server listens on Topic, the agents on AgentTopic. There is no database
// behind any of these types: an agent knows only what the server tells it.
// Read state.go for the desired state, methods.go for the calls.
//
// The protocol is level triggered. A notification only says "these ids
// changed"; the agent then asks for them by id and makes the machine agree.
// Lost, doubled or reordered notifications therefore cost a pull and nothing
// else, and a full pull at start repairs whatever happened in between.
package rpc
