package node

import "time"

// State is what an agent knows of its server, the answer of GET /state. A part
// that is nil or empty does not concern the server, or is unknown: then
// Collectors says why.
type State struct {
	Server  string    `json:"server"`
	Roles   []string  `json:"roles"`
	Version string    `json:"version"`
	Time    time.Time `json:"time"`    // the server's clock
	Started time.Time `json:"started"` // of the agent

	Collectors   []CollectorState `json:"collectors"`
	Host         *Host            `json:"host,omitempty"`
	Links        []Device         `json:"links,omitempty"`
	VIPs         []VIP            `json:"vips,omitempty"`
	Units        []Unit           `json:"units,omitempty"`
	Services     []Service        `json:"services,omitempty"`
	Disks        []Disk           `json:"disks,omitempty"`
	Clock        *Clock           `json:"clock,omitempty"`
	Certificates []Certificate    `json:"certificates,omitempty"`
	Fernet       *Fernet          `json:"fernet,omitempty"`
	HAProxy      *HAProxy         `json:"haproxy,omitempty"`
	Pacemaker    *Pacemaker       `json:"pacemaker,omitempty"`
	Memcached    *Memcached       `json:"memcached,omitempty"`
	Galera       *Galera          `json:"galera,omitempty"`
	Rabbit       *Rabbit          `json:"rabbit,omitempty"`
	Guests       *int             `json:"guests,omitempty"` // QEMU processes
	Peers        []Peer           `json:"peers,omitempty"`
	Audit        *Audit           `json:"audit,omitempty"`
}

// CollectorState tells how a collector fares.
type CollectorState struct {
	Name  string        `json:"name"`
	At    time.Time     `json:"at"`   // when it last ended
	Took  time.Duration `json:"took"` // nanoseconds
	Error string        `json:"error,omitempty"`
}

// Host is the machine itself.
type Host struct {
	Uptime          time.Duration `json:"uptime"`
	BootID          string        `json:"boot_id"`
	CPUs            int           `json:"cpus"`
	Load1           float64       `json:"load1"`
	MemoryTotal     int64         `json:"memory_total"` // bytes
	MemoryAvailable int64         `json:"memory_available"`
	SwapUsed        int64         `json:"swap_used"`
}

// Device is an interface that carries a network: a bond or a plain port.
type Device struct {
	Name    string    `json:"name"`
	Network string    `json:"network"`
	Present bool      `json:"present"`
	Up      bool      `json:"up"` // at least one leg has carrier
	Since   time.Time `json:"since"`
	Legs    []Leg     `json:"legs"`
}

// Leg is a device's cable to one switch.
type Leg struct {
	Name    string    `json:"name"`
	Switch  string    `json:"switch"`
	Carrier bool      `json:"carrier"`
	Active  bool      `json:"active"`  // carries the device's traffic
	Changes int64     `json:"changes"` // of the carrier since boot
	Since   time.Time `json:"since"`
}

// VIP is a virtual address that this server may hold.
type VIP struct {
	Name    string    `json:"name"`
	Address string    `json:"address"`
	Held    bool      `json:"held"`
	Since   time.Time `json:"since"`
}

// Unit is a systemd unit that should run here.
type Unit struct {
	Name     string    `json:"name"`
	Active   string    `json:"active"` // active, activating, inactive, failed, …
	Sub      string    `json:"sub"`
	Restarts int       `json:"restarts"` // by systemd, since the unit was last started by hand
	Since    time.Time `json:"since"`
}

// Service is one of Hastack's own on this server.
type Service struct {
	Name    string    `json:"name"`
	Ready   bool      `json:"ready"`
	Waiting []string  `json:"waiting,omitempty"` // what it says it awaits
	Error   string    `json:"error,omitempty"`   // why it could not be asked
	Since   time.Time `json:"since"`
}

// Disk is a file system.
type Disk struct {
	Path       string `json:"path"`
	Size       int64  `json:"size"` // bytes
	Free       int64  `json:"free"` // for those who are not root
	Inodes     int64  `json:"inodes"`
	FreeInodes int64  `json:"free_inodes"`
	ReadOnly   bool   `json:"read_only"`
}

// Clock is the server's clock against its time source.
type Clock struct {
	Synchronised bool          `json:"synchronised"`
	Source       string        `json:"source,omitempty"`
	Stratum      int           `json:"stratum"`
	Offset       time.Duration `json:"offset"` // positive: this clock is fast
}

// Certificate is one in a PEM file.
type Certificate struct {
	File    string    `json:"file"`
	Subject string    `json:"subject"`
	Expires time.Time `json:"expires"`
	Error   string    `json:"error,omitempty"` // why it cannot be used
}

// Fernet are the keys that tokens are made with.
type Fernet struct {
	Keys    int       `json:"keys"`
	Rotated time.Time `json:"rotated"` // when the newest was put there
	// Primary tells whether servers agree: a fingerprint of the key that new
	// tokens are made with, never the key.
	Primary string `json:"primary"`
}

// HAProxy is the load balancer on this server.
type HAProxy struct {
	Backends []Backend `json:"backends"`
	// Writer is the database server that new connections go to.
	Writer string `json:"writer,omitempty"`
}

// Backend is a group of servers behind the load balancer.
type Backend struct {
	Name     string          `json:"name"`
	Up       bool            `json:"up"`
	Sessions int             `json:"sessions"`
	Queue    int             `json:"queue"`
	Errors   int64           `json:"errors"` // connections and answers that failed
	Requests int64           `json:"requests"`
	Failed   int64           `json:"failed"` // answers 5xx
	Servers  []BackendServer `json:"servers"`
}

// BackendServer is a member of a backend as the load balancer sees it.
type BackendServer struct {
	Name     string `json:"name"`
	Status   string `json:"status"` // UP, DOWN, MAINT, DRAIN, NOLB, …
	Check    string `json:"check,omitempty"`
	Backup   bool   `json:"backup"`
	Sessions int    `json:"sessions"`

	id int // the load balancer's number for it
}

// Pacemaker is the cluster manager as this server sees it.
type Pacemaker struct {
	Quorate   bool              `json:"quorate"`
	DC        string            `json:"dc"`
	Online    []string          `json:"online"`
	Offline   []string          `json:"offline,omitempty"`
	Resources map[string]string `json:"resources"` // name → server that runs it
	Failed    []string          `json:"failed,omitempty"`
}

// Memcached is the cache on this server.
type Memcached struct {
	Answers     bool  `json:"answers"`
	Items       int64 `json:"items"`
	Bytes       int64 `json:"bytes"`
	LimitBytes  int64 `json:"limit_bytes"`
	Evictions   int64 `json:"evictions"`
	Connections int64 `json:"connections"`
}

// Peer is another server as this one sees it over the management network.
type Peer struct {
	Name string `json:"name"`
	// Hears tells that the peer's beats arrive here, Heard that the peer says
	// that ours arrive there.
	Hears bool          `json:"hears"`
	Heard bool          `json:"heard"`
	RTT   time.Duration `json:"rtt"`
	Since time.Time     `json:"since"`
}

// OneWay tells that the peer is heard but does not hear us.
func (p *Peer) OneWay() bool { return p.Hears && !p.Heard }

// Audit is the last verdict of the auditor on this server.
type Audit struct {
	At       time.Time `json:"at"`
	Leader   string    `json:"leader"`
	Findings int       `json:"findings"`
	Unseen   int       `json:"unseen"`
}
