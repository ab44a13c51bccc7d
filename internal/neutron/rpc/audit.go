package rpc

import "time"

// MethodAudit asks neutron-server for all that it holds: AuditArgs → AuditReply.
const MethodAudit = "audit"

// AuditArgs asks for everything; there is nothing to choose yet.
type AuditArgs struct{}

// AuditReply lists what has an owner elsewhere: servers own ports, agents
// serve routers, devices on hosts belong to ports.
type AuditReply struct {
	Ports       []AuditPort       `json:"ports"`
	Routers     []AuditRouter     `json:"routers"`
	FloatingIPs []AuditFloatingIP `json:"floating_ips"`
	// Problems are rows of Neutron's own that lost what they belong to or
	// counters that are off, one sentence each.
	Problems []string `json:"problems,omitempty"`
}

// An AuditPort is a port with its device and the host it is bound to.
type AuditPort struct {
	ID          string    `json:"id"`
	NetworkID   string    `json:"network_id"`
	ProjectID   string    `json:"project_id"`
	DeviceID    string    `json:"device_id"`
	DeviceOwner string    `json:"device_owner"`
	Host        string    `json:"host"`
	MAC         string    `json:"mac_address"`
	Status      string    `json:"status"`
	Revision    int64     `json:"revision"`
	CreatedAt   time.Time `json:"created_at"`
}

// An AuditRouter is a router with the host of its agent, empty for none.
type AuditRouter struct {
	ID        string `json:"id"`
	ProjectID string `json:"project_id"`
	Host      string `json:"host"`
	Status    string `json:"status"`
}

// An AuditFloatingIP is a floating IP with what it stands for.
type AuditFloatingIP struct {
	ID        string `json:"id"`
	ProjectID string `json:"project_id"`
	Address   string `json:"address"`
	PortID    string `json:"port_id"`
	RouterID  string `json:"router_id"`
	Status    string `json:"status"`
}
