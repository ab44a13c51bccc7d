// Package nova is the compute service's domain and everything of it that uses
// its database: nova-api's methods, nova-scheduler and nova-conductor. The HTTP
// front is in novaapi, filters and weighers in scheduler, messages in rpc, and
// what runs on a hypervisor (no database there) in compute, virt, metadata and
// novncproxy.
//
// Where to look:
//
//	nova.go                    Config, Deps, Service
//	server.go, server_state.go the server and its state machine
//	server_create.go           POST /servers up to the durable record
//	server_boot.go             the conductor's part of the boot, as an operation
//	schedule.go                nova-scheduler: candidates, filters, claim
//	server_action.go           every other action: a state check, a
//	                           compare-and-set and an operation of one host step
//	server_delete.go           deletion, in any state
//	operations.go              the kinds of operations; how hosts are told
//	conductor.go, conductor_host.go  what hosts ask of the conductor
//	image.go, network.go, placement.go  the neighbours, by their HTTP APIs
//
// A server goes
//
//	POST → building ─ scheduling → networking → block_device_mapping → spawning ─→ active
//	          │                                                                      │
//	          └──────────────────→ error ←──────────── a failed rebuild ─────────────┤
//	                                 │        stop/start, pause/unpause,             │
//	                                 │        suspend/resume, reboot, rebuild ←──────┘
//	                                 └────────────→ deleted ←─ from everywhere
//
// Every task_state belongs to an operation with an owner, a lease and a
// deadline (servers.op_id names it), and every change that an operation makes
// compares that column: an operation that lost its turn, and a host that was
// left behind, change nothing. There is no state that needs reset-state.
//
// Not built: resize, migrate, evacuate, shelve, rescue, volumes; they answer
// 501. Cells are a column.
package nova
