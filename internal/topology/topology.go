// Package topology is the file that describes a cluster: its servers and their
// roles, racks and switches, networks, virtual addresses and engine settings.
//
// Every address derives from a server's host number: the same last octet in
// every network. [Load] reads and checks a file; what is wrong with it is told
// with the line. The types are in this file, the derived facts in derive.go.
package topology

import "net/netip"

// Roles that a server can have.
const (
	RoleControl       = "control"
	RoleNetwork       = "network"
	RoleCompute       = "compute"
	RoleBlockStorage  = "block-storage"
	RoleObjectProxy   = "object-proxy"
	RoleObjectStorage = "object-storage"
	RoleLoadBalancer  = "load-balancer"
	RoleAdmin         = "admin"
)

// Networks that a cluster can have, each for one class of traffic.
const (
	OutOfBand         = "out-of-band"
	External          = "external"
	Management        = "management"
	Tunnel            = "tunnel"
	BlockStorage      = "block-storage"
	ObjectStorage     = "object-storage"
	ObjectReplication = "object-replication"
)

// VIP managers.
const (
	Keepalived = "keepalived"
	Pacemaker  = "pacemaker"
)

// Topology is the whole file.
type Topology struct {
	// Name is the cluster's; it names its directory, its lab and its engines.
	Name string `yaml:"name"`
	// Domain is the DNS suffix of the servers' names.
	Domain string `yaml:"domain"`
	Region string `yaml:"region"`
	// AllowColocation permits compute and control on one server (a
	// hyperconverged cluster) and load balancers on control servers.
	AllowColocation bool `yaml:"allow_colocation"`
	SSH             SSH  `yaml:"ssh"`
	// VIPManager is keepalived or pacemaker.
	VIPManager string              `yaml:"vip_manager"`
	Networks   map[string]*Network `yaml:"networks"`
	Switches   []*Switch           `yaml:"switches"`
	// Hardware are the models that servers name.
	Hardware map[string]*Hardware `yaml:"hardware"`
	Servers  []*Server            `yaml:"servers"`
	VIPs     []*VIP               `yaml:"vips"`
	Engines  Engines              `yaml:"engines"`
	Alarms   Alarms               `yaml:"alarms"`
	Compute  Compute              `yaml:"compute"`
	Lab      Limits               `yaml:"lab"`

	warnings []Problem
}

// SSH is how the servers are reached, always at their management address.
type SSH struct {
	User string `yaml:"user"`
	Port int    `yaml:"port"`
	// Key is the private key's file; "" means the lab's own, or the agent's
	// and the user's default keys.
	Key string `yaml:"key"`
}

// Network is one class of traffic with its own segment.
type Network struct {
	CIDR netip.Prefix `yaml:"cidr"`
	VLAN int          `yaml:"vlan"`
	// Device is the interface that carries the network on a server: a bond
	// with one leg to each switch, or a plain port with one switch.
	Device   string     `yaml:"device"`
	Switches []string   `yaml:"switches"`
	Gateway  netip.Addr `yaml:"gateway"`
	// Floating is the range of the external network that floating IPs and
	// routers take, "first-last".
	Floating string `yaml:"floating"`
}

// Switch is a top-of-rack or out-of-band switch.
type Switch struct {
	Name string `yaml:"name"`
	Rack string `yaml:"rack"`
	// Peer is the other switch of a pair; both are linked.
	Peer  string `yaml:"peer"`
	Model string `yaml:"model"`
	// Host is the switch's host number in the out-of-band network, 0 if none.
	Host int `yaml:"host"`
}

// Hardware is a server model.
type Hardware struct {
	Cores    int      `yaml:"cores"`
	MemoryGB int      `yaml:"memory_gb"`
	Disks    []Disks  `yaml:"disks"`
	NICs     []string `yaml:"nics"`
}

// Disks are equal disks with one use.
type Disks struct {
	Count int    `yaml:"count"`
	GB    int    `yaml:"gb"`
	Kind  string `yaml:"kind"` // ssd or sas
	RAID  string `yaml:"raid"` // "", raid1, raid6
	Use   string `yaml:"use"`  // system, data, ephemeral, volumes, objects
}

// Server is one machine.
type Server struct {
	Name     string   `yaml:"name"`
	Host     int      `yaml:"host"` // last octet of its address in every network
	Rack     string   `yaml:"rack"`
	Roles    []string `yaml:"roles"`
	Hardware string   `yaml:"hardware"`
	Lab      Limits   `yaml:"lab"`

	topology *Topology
}

// VIP is a virtual address that one load balancer holds at a time.
type VIP struct {
	Name    string     `yaml:"name"` // api, object or public
	Network string     `yaml:"network"`
	Address netip.Addr `yaml:"address"`
	// Prefer is the load balancer that holds it at the beginning; "" spreads
	// the VIPs over the load balancers.
	Prefer string `yaml:"prefer"`
}

// Engines are settings of the programs around the services.
type Engines struct {
	MariaDB struct {
		BufferPoolMB int `yaml:"buffer_pool_mb"`
		GcacheMB     int `yaml:"gcache_mb"`
		LogFileMB    int `yaml:"log_file_mb"`
	} `yaml:"mariadb"`
	RabbitMQ struct {
		MemoryMB int `yaml:"memory_mb"`
	} `yaml:"rabbitmq"`
	Memcached struct {
		MemoryMB int `yaml:"memory_mb"`
	} `yaml:"memcached"`
	VRRP struct {
		AdvertMS int `yaml:"advert_ms"`
	} `yaml:"vrrp"`
}

// Alarms is whom to tell of alarms; hastack status shows them in any case.
type Alarms struct {
	// Webhooks are URLs that Alertmanager posts each alarm to, raised and
	// cleared. They may hold a token, so they are kept from other users.
	Webhooks []string `yaml:"webhooks"`
}

// Compute is how servers run on the compute servers.
type Compute struct {
	Driver   string  `yaml:"driver"` // qemu or fake
	Accel    string  `yaml:"accel"`  // auto, kvm or tcg
	CPURatio float64 `yaml:"cpu_allocation_ratio"`
	RAMRatio float64 `yaml:"ram_allocation_ratio"`
}

// Limits bound a lab server; 0 takes the cluster's, then the default.
type Limits struct {
	MemoryMB   int `yaml:"memory_mb"`
	CPUPercent int `yaml:"cpu_percent"` // of one core
}
