// Package audit walks the ownership graph of a cloud: server ↔ allocation ↔
// port ↔ disk ↔ QEMU process ↔ tap ↔ bridge and namespace ↔ DHCP server ↔
// quota, and reports everything that has no owner, or an owner without it.
//
// The package looks at a [World], a plain picture that somebody collected;
// [Check] is pure. What is being worked on right now is no finding.
package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A World is what one pass over all services and hosts saw.
type World struct {
	Servers     []Server     `json:"servers"`
	Allocations []Allocation `json:"allocations"`
	Ports       []Port       `json:"ports"`
	Networks    []string     `json:"networks"` // ids
	Routers     []string     `json:"routers"`  // ids
	Hosts       []Host       `json:"hosts"`
	Quotas      []Quota      `json:"quotas"`
	// Problems are sentences of Neutron about its own rows and counters.
	Problems []string `json:"problems,omitempty"`
	// Unseen are parts that did not answer: what they own is not judged.
	Unseen []string `json:"unseen,omitempty"`
}

// A Server is a row of Nova's database.
type Server struct {
	ID        string   `json:"id"`
	ProjectID string   `json:"project_id"`
	Host      string   `json:"host"`
	Status    string   `json:"status"` // as the API shows it
	TaskState string   `json:"task_state"`
	PortIDs   []string `json:"port_ids"`
}

// An Allocation is what a consumer holds of a provider in Placement.
type Allocation struct {
	Consumer string `json:"consumer"`
	Host     string `json:"host"`
}

// A Port is a row of Neutron's database.
type Port struct {
	ID          string `json:"id"`
	NetworkID   string `json:"network_id"`
	DeviceID    string `json:"device_id"`
	DeviceOwner string `json:"device_owner"`
	Host        string `json:"host"`
}

// A Host is what really is on a machine.
type Host struct {
	Name       string      `json:"name"`
	Processes  []Thing     `json:"processes"`  // of servers, by server id
	Disks      []Thing     `json:"disks"`      // of servers, by server id
	Taps       []Thing     `json:"taps"`       // of ports, by port id or its beginning
	Bridges    []Thing     `json:"bridges"`    // of networks, by beginning of id
	Namespaces []Namespace `json:"namespaces"` // of routers and DHCP networks
	DHCP       []Thing     `json:"dhcp"`       // dnsmasq, by network id
	Filters    []Thing     `json:"filters"`    // packet filter entries, by port id or its beginning
	Busy       []string    `json:"busy"`       // servers with work in flight
}

// A Thing belongs to the owner whose id, or beginning of id, it names.
type Thing struct {
	Name  string `json:"name"`
	Owner string `json:"owner"`
}

// A Namespace is a network namespace of a router or of a network's DHCP.
type Namespace struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"` // router or dhcp
	Owner string `json:"owner"`
}

// A Quota is a counter that quotas are checked against, beside the truth.
type Quota struct {
	ProjectID string `json:"project_id"`
	Resource  string `json:"resource"`
	Counted   int64  `json:"counted"`
	Actual    int64  `json:"actual"`
}

// A Finding is something without its owner, or an owner without its thing.
type Finding struct {
	Kind  string `json:"kind"` // allocation, port, disk, process, tap, bridge, namespace, dhcp, filter, server, quota, network
	ID    string `json:"id"`
	Host  string `json:"host,omitempty"`
	Owner string `json:"owner,omitempty"`
	Text  string `json:"text"`
	// Fixable tells that audit --fix removes it.
	Fixable bool `json:"fixable"`
}

func (f Finding) String() string {
	at := ""
	if f.Host != "" {
		at = " on " + f.Host
	}
	return fmt.Sprintf("%s %s%s: %s", f.Kind, f.ID, at, f.Text)
}

// Check reports what does not fit in w, in a stable order.
func Check(w *World) []Finding {
	c := &check{w: w, servers: map[string]*Server{}, ports: map[string]*Port{}, busy: map[string]bool{}}
	for i := range w.Servers {
		c.servers[w.Servers[i].ID] = &w.Servers[i]
	}
	for i := range w.Ports {
		c.ports[w.Ports[i].ID] = &w.Ports[i]
	}
	for _, h := range w.Hosts {
		for _, id := range h.Busy {
			c.busy[id] = true
		}
	}
	c.checkServers()
	c.checkAllocations()
	c.checkPorts()
	for i := range w.Hosts {
		c.checkHost(&w.Hosts[i])
	}
	c.checkQuotas()
	for _, p := range w.Problems {
		c.add(Finding{Kind: "network", ID: "neutron", Text: p})
	}
	slices.SortFunc(c.found, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Host, b.Host), strings.Compare(a.ID, b.ID))
	})
	return c.found
}
