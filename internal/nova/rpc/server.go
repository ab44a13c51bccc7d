package rpc

import "time"

// A ServerSpec is all that a host must know to make, keep and remove a server.
type ServerSpec struct {
	ID               string            `json:"id"`
	OpID             string            `json:"op_id,omitempty"`
	InstanceName     string            `json:"instance_name"` // "instance-0000002a"
	Name             string            `json:"name"`
	Hostname         string            `json:"hostname"`
	ProjectID        string            `json:"project_id"`
	UserID           string            `json:"user_id"`
	RequestID        string            `json:"request_id,omitempty"`
	ReservationID    string            `json:"reservation_id,omitempty"`
	LaunchIndex      int               `json:"launch_index,omitempty"`
	Host             string            `json:"host"`
	AvailabilityZone string            `json:"availability_zone"`
	VMState          string            `json:"vm_state"`
	TaskState        string            `json:"task_state,omitempty"`
	PowerState       int               `json:"power_state"`
	Flavor           Flavor            `json:"flavor"`
	Image            Image             `json:"image"`
	Key              Key               `json:"key"`
	UserData         []byte            `json:"user_data,omitempty"` // decoded, at most 64 KiB
	Metadata         map[string]string `json:"metadata,omitempty"`
	Tags             []string          `json:"tags,omitempty"`
	Files            []File            `json:"files,omitempty"` // personality, before microversion 2.57
	ConfigDrive      bool              `json:"config_drive,omitempty"`
	NoNetworks       bool              `json:"no_networks,omitempty"` // networks: "none"
	// Requested is what the user asked for. Empty with NoNetworks false means
	// "auto": the one network of the project.
	Requested      []RequestedNetwork `json:"requested,omitempty"`
	SecurityGroups []string           `json:"security_groups,omitempty"` // names or ids; empty means default
	Networks       []VIF              `json:"networks,omitempty"`        // what is known of its ports so far
	CreatedAt      time.Time          `json:"created_at"`
	LaunchedAt     *time.Time         `json:"launched_at,omitempty"`
}

// A Flavor is the size of a server as it was when the server was made.
type Flavor struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	VCPUs       int               `json:"vcpus"`
	MemoryMB    int               `json:"memory_mb"`
	RootGB      int               `json:"root_gb"` // 0: as large as the image
	EphemeralGB int               `json:"ephemeral_gb,omitempty"`
	SwapMB      int               `json:"swap_mb,omitempty"`
	ExtraSpecs  map[string]string `json:"extra_specs,omitempty"`
}

// An Image names the image of a root disk, with the properties that it had
// when the server was made (hw_disk_bus, hw_machine_type, …).
type Image struct {
	ID         string            `json:"id"`
	Name       string            `json:"name,omitempty"`
	MinDiskGB  int               `json:"min_disk,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
}

// A Key is the public half of the key pair given to a server.
type Key struct {
	Name      string `json:"name,omitempty"`
	Type      string `json:"type,omitempty"` // ssh or x509
	PublicKey string `json:"public_key,omitempty"`
}

// A File is put into the config drive for the guest to copy.
type File struct {
	Path     string `json:"path"`
	Contents []byte `json:"contents"`
}

// A RequestedNetwork is one entry of "networks" in POST /servers. A PortID is
// a port of the user, which the server's end does not delete.
type RequestedNetwork struct {
	NetworkID string `json:"network_id,omitempty"`
	PortID    string `json:"port_id,omitempty"`
	FixedIP   string `json:"fixed_ip,omitempty"`
	Tag       string `json:"tag,omitempty"`
}

// A VIF is one network interface of a server: the cached answer of Neutron
// from which Nova shows addresses and builds metadata.
type VIF struct {
	PortID      string   `json:"port_id"`
	MAC         string   `json:"mac"`
	NetworkID   string   `json:"network_id"`
	NetworkName string   `json:"network_name"`
	MTU         int      `json:"mtu"`
	Tap         string   `json:"tap"`
	Type        string   `json:"type,omitempty"` // binding:vif_type
	Subnets     []Subnet `json:"subnets"`
	Tag         string   `json:"tag,omitempty"`
	Active      bool     `json:"active"`
	// Preserve marks a port that the user made: it is unbound, not deleted.
	Preserve bool `json:"preserve,omitempty"`
}

// A Subnet is the part of a VIF that lies in one subnet.
type Subnet struct {
	ID      string    `json:"id"`
	CIDR    string    `json:"cidr"`
	Version int       `json:"version"`
	Gateway string    `json:"gateway,omitempty"`
	DNS     []string  `json:"dns,omitempty"`
	DHCP    bool      `json:"dhcp"`
	Mode    string    `json:"ipv6_mode,omitempty"` // ipv6_address_mode
	Routes  []Route   `json:"routes,omitempty"`
	Addrs   []Address `json:"addrs"`
}

// A Route is a host route of a subnet.
type Route struct {
	Destination string `json:"destination"`
	NextHop     string `json:"next_hop"`
}

// An Address is a fixed address with the floating addresses that lead to it.
type Address struct {
	IP       string   `json:"ip"`
	Floating []string `json:"floating,omitempty"`
}

// Power states, with the numbers of Nova's API.
const (
	PowerNoState   = 0
	PowerRunning   = 1
	PowerPaused    = 3
	PowerShutdown  = 4
	PowerCrashed   = 6
	PowerSuspended = 7
)
