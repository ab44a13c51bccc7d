package rpc

import "time"

// A HostReport is the heartbeat of a host's agent. Resources is set at the
// agent's start and when something changed; otherwise the report only renews
// the service's lease.
type HostReport struct {
	Host      string         `json:"host"`
	StartedAt time.Time      `json:"started_at"`
	Version   int            `json:"version"` // of the agent's messages
	Zone      string         `json:"zone,omitempty"`
	Resources *HostResources `json:"resources,omitempty"`
}

// HostResources is what os-hypervisors shows of a host.
type HostResources struct {
	ProviderID        string   `json:"provider_id"` // resource provider, also the hypervisor's id
	HypervisorType    string   `json:"hypervisor_type"`
	HypervisorVersion int      `json:"hypervisor_version"`
	Hostname          string   `json:"hostname"`
	HostIP            string   `json:"host_ip"`
	Arch              string   `json:"arch"`
	CPUModel          string   `json:"cpu_model"`
	CPUFeatures       []string `json:"cpu_features,omitempty"`
	VCPUs             int      `json:"vcpus"`
	MemoryMB          int      `json:"memory_mb"`
	DiskGB            int      `json:"disk_gb"`
	MemoryMBUsed      int      `json:"memory_mb_used"`
	DiskGBUsed        int      `json:"disk_gb_used"`
	VCPUsUsed         int      `json:"vcpus_used"`
	RunningServers    int      `json:"running_servers"`
	Accel             string   `json:"accel"` // kvm, tcg or fake
	Traits            []string `json:"traits,omitempty"`
}

// A HostServer is a server that should exist on a host, with the operation
// that is in flight on it there, if any.
type HostServer struct {
	Spec ServerSpec  `json:"spec"`
	Op   *InFlightOp `json:"op,omitempty"`
}

// An InFlightOp is an operation that a restarted agent must take up again. Args
// is the body of the message (ServerOp, RebootArgs, …) of method Method.
type InFlightOp struct {
	ID     string `json:"id"`
	Method string `json:"method"`
	Args   []byte `json:"args,omitempty"`
}

// A PowerChange is something that happened to a server by itself: its guest
// shut down, or its QEMU died.
type PowerChange struct {
	ServerID   string    `json:"server_id"`
	PowerState int       `json:"power_state"`
	At         time.Time `json:"at"`
	Reason     string    `json:"reason"`
}

// An AuditServer is a server that the database places on a host.
type AuditServer struct {
	ID        string   `json:"id"`
	VMState   string   `json:"vm_state"`
	TaskState string   `json:"task_state,omitempty"`
	PortIDs   []string `json:"port_ids,omitempty"`
}

// A HostAudit is what really is on a host.
type HostAudit struct {
	Host      string         `json:"host"`
	Processes []AuditProcess `json:"processes"`
	Disks     []AuditDisk    `json:"disks"`
	Taps      []AuditTap     `json:"taps"`
	// Busy are servers with work in flight on the host: they are not findings.
	Busy []string `json:"busy,omitempty"`
}

// An AuditProcess is a hypervisor process with the server that it runs.
type AuditProcess struct {
	PID      int    `json:"pid"`
	ServerID string `json:"server_id"`
}

// An AuditDisk is a server's directory on the host.
type AuditDisk struct {
	ServerID string `json:"server_id"`
	Path     string `json:"path"`
	Bytes    int64  `json:"bytes"`
}

// An AuditTap is a tap device made for a port.
type AuditTap struct {
	Name     string `json:"name"`
	PortID   string `json:"port_id,omitempty"` // empty when no server's state names it
	ServerID string `json:"server_id,omitempty"`
}
