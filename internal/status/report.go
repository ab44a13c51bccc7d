package status

import (
	"time"
)

// A Report is the state of a cluster. Counts come in pairs: how many there are
// in order, of how many there should be.
type Report struct {
	Cluster string    `json:"cluster"`
	Region  string    `json:"region"`
	Time    time.Time `json:"time"`
	Healthy bool      `json:"healthy"`

	Servers   []Server  `json:"servers"`
	API       API       `json:"api"`
	Database  Database  `json:"database"`
	Bus       Bus       `json:"bus"`
	Cache     Count     `json:"cache"`
	Balancers Balancers `json:"balancers"`
	VIPs      []VIP     `json:"vips"`
	Network   Network   `json:"network"`
	Compute   Compute   `json:"compute"`
	Keys      Keys      `json:"keys"`
	Links     Count     `json:"links"` // legs
	Units     Count     `json:"units"`
	Peers     Peers     `json:"peers"`
	Clock     Clock     `json:"clock"`
	Audit     *Audit    `json:"audit"` // nil: no verdict is known
	Alarms    Alarms    `json:"alarms"`
	Problems  []Problem `json:"problems"`
}

// Count is how many are in order, and how many there should be.
type Count struct {
	Good int `json:"good"`
	Of   int `json:"of"`
}

func (c *Count) add(good bool) {
	c.Of++
	if good {
		c.Good++
	}
}

// Server is one server of the topology.
type Server struct {
	Name    string   `json:"name"`
	Roles   []string `json:"roles"`
	Answers bool     `json:"answers"`
	Error   string   `json:"error,omitempty"`
	Version string   `json:"version,omitempty"`
	// Uptime is 0 if unknown.
	Uptime time.Duration `json:"uptime"`
}

// API is the services behind the virtual addresses.
type API struct {
	// Ready is the instances of services on control servers.
	Ready Count `json:"ready"`
	// Through tells which virtual address was asked and how it answered.
	Through string        `json:"through"`
	Answers bool          `json:"answers"`
	Took    time.Duration `json:"took"`
	Error   string        `json:"error,omitempty"`
	// Rates are of the last hour, from Prometheus; nil if it did not tell.
	Rates *Rates `json:"rates"`
}

// Rates are how the APIs answered over a time.
type Rates struct {
	P50    time.Duration `json:"p50"`
	P99    time.Duration `json:"p99"`
	Errors float64       `json:"errors"` // part of answers that are 5xx
}

// Database is the cluster of MariaDB.
type Database struct {
	Synced  Count            `json:"synced"`
	Quorum  bool             `json:"quorum"`
	Writer  string           `json:"writer"` // "" if unknown or not agreed
	Lag     int              `json:"lag"`    // write sets that wait somewhere
	Members []DatabaseMember `json:"members"`
}

// DatabaseMember is one server of the database.
type DatabaseMember struct {
	Server string `json:"server"`
	State  string `json:"state"`
	Size   int    `json:"size"`
	Queue  int    `json:"queue"`
}

// Bus is the cluster of RabbitMQ.
type Bus struct {
	Running  Count `json:"running"`
	Quorum   bool  `json:"quorum"`
	Queues   int   `json:"queues"`
	Unsynced int   `json:"unsynced"`
	Depth    int   `json:"depth"`
	// Unwell names what a look at the queues and their members found wrong.
	Unwell []string `json:"unwell,omitempty"`
}

// Balancers are the load balancers.
type Balancers struct {
	Up      Count  `json:"up"`
	Manager string `json:"manager"`
	// Quorum is pacemaker's; true where keepalived needs none.
	Quorum bool `json:"quorum"`
}

// VIP is a virtual address.
type VIP struct {
	Name    string   `json:"name"`
	Address string   `json:"address"`
	Holders []string `json:"holders"` // one, when all is well
	Prefer  string   `json:"prefer,omitempty"`
}

// Network is what Neutron says.
type Network struct {
	Known   bool  `json:"known"`
	Routers int   `json:"routers"`
	DHCP    int   `json:"dhcp"` // networks with DHCP
	Agents  Count `json:"agents"`
}

// Compute is what Nova says.
type Compute struct {
	Known    bool    `json:"known"`
	Hosts    Count   `json:"hosts"`
	Disabled int     `json:"disabled"`
	Services Count   `json:"services"` // scheduler and conductor
	Servers  int     `json:"servers"`
	RAM      float64 `json:"ram"` // part of what may be promised
	// Essential are hosts whose servers would not fit on the others.
	Essential []string `json:"essential"`
}

// Keys are token keys and certificates.
type Keys struct {
	FernetRotated time.Time `json:"fernet_rotated,omitzero"`
	FernetAgree   bool      `json:"fernet_agree"`
	FirstExpiry   time.Time `json:"first_expiry,omitzero"`
	FirstFile     string    `json:"first_file"` // server: file
}

// Peers is who hears whom on the management network, each direction of two
// servers that both answer counted by itself.
type Peers struct {
	Hear  Count         `json:"hear"`
	Worst time.Duration `json:"worst"` // round trip
}

// Clock is how far the servers' clocks are off.
type Clock struct {
	Synchronised Count         `json:"synchronised"`
	Worst        time.Duration `json:"worst"` // largest offset, without sign
	Server       string        `json:"server"`
}

// Audit is the last verdict.
type Audit struct {
	At       time.Time `json:"at"`
	Leader   string    `json:"leader"`
	Findings int       `json:"findings"`
	Unseen   int       `json:"unseen"`
}

// Alarms are those that the monitors say are firing.
type Alarms struct {
	Known  bool    `json:"known"`
	From   string  `json:"from"` // the monitor that told
	Firing []Alarm `json:"firing"`
}

// Alarm is one that fires.
type Alarm struct {
	Name    string    `json:"name"`
	Server  string    `json:"server,omitempty"`
	Summary string    `json:"summary"`
	Since   time.Time `json:"since"`
	Runbook string    `json:"runbook,omitempty"`
}

// Problem is one thing that is wrong.
type Problem struct {
	Where   string    `json:"where"` // a server, or a layer
	Alarm   string    `json:"alarm"` // that it is, or would be
	Text    string    `json:"text"`
	Since   time.Time `json:"since,omitzero"`
	Runbook string    `json:"runbook"` // file and anchor
}
