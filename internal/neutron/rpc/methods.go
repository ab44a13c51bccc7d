package rpc

import (
	"slices"
	"time"
)

// The topics of the bus.
const (
	Topic      = "neutron-server" // served by neutron-server
	AgentTopic = "neutron-agent"  // served by every agent process, by host
)

// The methods that neutron-server answers.
const (
	MethodSyncHost       = "sync_host"       // SyncHostArgs → HostState
	MethodPortsStatus    = "ports_status"    // PortsStatusArgs → Empty
	MethodRouterStatus   = "router_status"   // RouterStatusArgs → Empty
	MethodHeartbeat      = "heartbeat"       // HeartbeatArgs → HeartbeatReply
	MethodMetadataLookup = "metadata_lookup" // MetadataLookupArgs → MetadataLookupReply
)

// MethodChanged is the one notification: a fanout on AgentTopic with Changed.
const MethodChanged = "changed"

// MethodPing asks one agent whether it lives: a call to its host on AgentTopic.
const MethodPing = "ping" // Empty → Empty

// Empty is the reply of a call that only confirms.
type Empty struct{}

// SyncHostArgs asks for the desired state of a host.
type SyncHostArgs struct {
	Host  string   `json:"host"`
	Kinds []string `json:"kinds"`
	// Since is the Revision of the last HostState seen, 0 for none. With Only
	// nil the server may answer Unchanged when nothing happened since.
	Since int64 `json:"since,omitempty"`
	// Only limits the answer to these ids. A server may answer Full instead.
	// A port id brings its network, its groups and, as the others might need
	// new entries, its network's Peers and DHCP state. A network id brings the
	// network, its Peers and its DHCP state.
	Only *Changed `json:"only,omitempty"`
}

// Changed names what changed. Ids of deleted things are listed too. All empty
// means "anything may have changed": pull in full.
type Changed struct {
	Networks       []string `json:"networks,omitempty"`
	Ports          []string `json:"ports,omitempty"`
	Routers        []string `json:"routers,omitempty"`
	SecurityGroups []string `json:"security_groups,omitempty"`
	// Hosts limits who has to pull; empty means every host.
	Hosts    []string `json:"hosts,omitempty"`
	Revision int64    `json:"revision"`
}

// IsEmpty tells that nothing is named, which asks for a full pull.
func (c *Changed) IsEmpty() bool {
	return len(c.Networks)+len(c.Ports)+len(c.Routers)+len(c.SecurityGroups) == 0
}

// Concerns tells whether host has to act on the notification.
func (c *Changed) Concerns(host string) bool {
	if len(c.Hosts) == 0 {
		return true
	}
	return slices.Contains(c.Hosts, host)
}

// PortsStatusArgs reports ports whose device appeared and is plugged and
// filtered (Up), or disappeared (Down). The server makes them ACTIVE or DOWN
// if they are still bound to Host, and tells nova-compute. Repeats are normal.
type PortsStatusArgs struct {
	Host  string   `json:"host"`
	Up    []string `json:"up,omitempty"`
	Down  []string `json:"down,omitempty"`
	Error []string `json:"error,omitempty"` // quarantined: could not be configured
}

// RouterStatusArgs reports what became of routers and their floating IPs.
type RouterStatusArgs struct {
	Host    string         `json:"host"`
	Routers []RouterStatus `json:"routers"`
}

// A RouterStatus is the outcome of configuring one router: ACTIVE or ERROR,
// with the floating IPs that are in force, or could not be set.
type RouterStatus struct {
	RouterID    string            `json:"router_id"`
	Status      string            `json:"status"`
	FloatingIPs map[string]string `json:"floating_ips,omitempty"` // id → ACTIVE, DOWN or ERROR
}

// The agent types of HeartbeatArgs.AgentType, as the agents API shows them.
const (
	AgentL2       = "Linux bridge agent"
	AgentL3       = "L3 agent"
	AgentDHCP     = "DHCP agent"
	AgentMetadata = "Metadata agent"
)

// The binaries of HeartbeatArgs.Binary.
const (
	BinaryL2       = "neutron-linuxbridge-agent"
	BinaryL3       = "neutron-l3-agent"
	BinaryDHCP     = "neutron-dhcp-agent"
	BinaryMetadata = "neutron-metadata-agent"
)

// HeartbeatArgs says that an agent lives. The server writes a row only when
// something changed or the row grows stale.
type HeartbeatArgs struct {
	Host           string         `json:"host"`
	AgentType      string         `json:"agent_type"`
	Binary         string         `json:"binary"`
	StartedAt      time.Time      `json:"started_at"`
	TunnelIP       string         `json:"tunnel_ip,omitempty"`
	BridgeMappings []string       `json:"bridge_mappings,omitempty"` // physical networks this host reaches
	Configurations map[string]any `json:"configurations,omitempty"`  // shown by the agents API
}

// HeartbeatReply tells the agent whether an administrator disabled it, and the
// server's revision: an agent that is behind pulls, so even a lost
// notification is made good within one heartbeat.
type HeartbeatReply struct {
	AdminUp  bool  `json:"admin_up"`
	Revision int64 `json:"revision"`
}

// MetadataLookupArgs asks whose server has Address. Exactly one of NetworkID
// and RouterID is set: the namespace that the request came from.
type MetadataLookupArgs struct {
	NetworkID string `json:"network_id,omitempty"`
	RouterID  string `json:"router_id,omitempty"`
	Address   string `json:"address"`
}

// MetadataLookupReply names the server behind the address. No match is a
// fault.NotFound.
type MetadataLookupReply struct {
	PortID     string `json:"port_id"`
	InstanceID string `json:"instance_id"` // the port's device_id
	ProjectID  string `json:"project_id"`  // the port's project
}
