// Package scheduler chooses hosts for servers. It is pure: it reads host
// states and a request, and returns an order and an explanation; it talks to
// nobody and keeps nothing. Who gathers the states and claims the choice is
// nova.Scheduler.
//
// Start with Select; each filter and weigher has its own file.
package scheduler

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// A Host is one hypervisor as the scheduler sees it. Capacity figures are what
// Placement reports: inventory after the allocation ratio, less the usage.
type Host struct {
	Name         string // the host of its nova-compute service
	Hypervisor   string // hypervisor_hostname, what az:host:node names last
	ProviderID   string
	FreeVCPUs    int
	FreeMemoryMB int
	FreeDiskGB   int

	Up             bool
	Disabled       bool
	DisabledReason string

	Zone       string
	Aggregates []Aggregate
	// Capabilities are what extra specs of the scope "capabilities:" test.
	Capabilities map[string]string
	Arch         string
	Type         string // hypervisor type: QEMU, fake
	Servers      int
	GroupMembers int // servers of the request's group that are on this host
}

// An Aggregate is the part of a host aggregate that filters read.
type Aggregate struct {
	Name     string
	Metadata map[string]string
}

// A Request is one server that wants a host.
type Request struct {
	ServerID   string // only breaks ties, so that equal hosts fill evenly
	VCPUs      int
	MemoryMB   int
	DiskGB     int
	ExtraSpecs map[string]string
	ImageProps map[string]string

	Zone      string
	ForceHost string // az:host, for administrators
	ForceNode string // az:host:node
	Exclude   map[string]bool

	SameHosts      map[string]bool // nil: no such hint
	DifferentHosts map[string]bool

	GroupPolicy string
	MaxPerHost  int // of an anti-affinity group; 0 means 1
	GroupSize   int // members that have a host already
}

// A Filter says whether a host may take the server and, if not, why in words
// that the owner of the server may read: no host names, no other projects.
type Filter struct {
	Name string
	Pass func(h *Host, r *Request) (bool, string)
}

// Filters are all filters in the order of their cost.
func Filters() []Filter {
	return []Filter{
		{"ComputeFilter", passCompute},
		{"RetryFilter", passRetry},
		{"AvailabilityZoneFilter", passZone},
		{"ForcedHostFilter", passForced},
		{"SameHostFilter", passSameHost},
		{"DifferentHostFilter", passDifferentHost},
		{"ImagePropertiesFilter", passImage},
		{"ComputeCapabilitiesFilter", passCapabilities},
		{"AggregateInstanceExtraSpecsFilter", passAggregateSpecs},
		{"ServerGroupAffinityFilter", passAffinity},
		{"ServerGroupAntiAffinityFilter", passAntiAffinity},
		{"NumInstancesFilter", passNumInstances},
	}
}

// Removal is what one filter did.
type Removal struct {
	Filter  string `json:"filter"`
	Removed int    `json:"removed"`
	Left    int    `json:"left"`
	Reason  string `json:"reason,omitempty"` // of the first host it removed
}

// An Explanation tells why a request found the hosts it found. Everything in
// it but NearestHost may be shown to the owner of the server.
type Explanation struct {
	Candidates  int       `json:"candidates"` // hosts with room, by Placement
	Filters     []Removal `json:"filters"`
	NearestMiss string    `json:"nearest_miss,omitempty"`
	NearestHost string    `json:"nearest_host,omitempty"` // administrators only
}

// Select returns the hosts that may take the server, best first, and how it
// came to that.
func Select(hosts []Host, r *Request) ([]*Host, Explanation) {
	ex := Explanation{Candidates: len(hosts)}
	left := make([]*Host, len(hosts))
	for i := range hosts {
		left[i] = &hosts[i]
	}
	for _, f := range Filters() {
		before := len(left)
		var reason string
		left = slices.DeleteFunc(left, func(h *Host) bool {
			ok, why := f.Pass(h, r)
			if !ok {
				if reason == "" {
					reason = why
				}
				// A later filter overwrites: who passed more came nearer.
				ex.NearestMiss, ex.NearestHost = f.Name+": "+why, h.Name
			}
			return !ok
		})
		if removed := before - len(left); removed > 0 {
			ex.Filters = append(ex.Filters, Removal{f.Name, removed, len(left), reason})
		}
		if len(left) == 0 {
			return nil, ex
		}
	}
	ex.NearestMiss, ex.NearestHost = "", ""
	order(left, r)
	return left, ex
}

// Text is the explanation for the owner of the server.
func (e *Explanation) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d host(s) had room", e.Candidates)
	for _, f := range e.Filters {
		fmt.Fprintf(&b, "; %s removed %d (%d left)", f.Filter, f.Removed, f.Left)
	}
	if e.NearestMiss != "" {
		fmt.Fprintf(&b, "; nearest miss: %s", e.NearestMiss)
	}
	return b.String()
}

// order sorts by weight, heaviest first; equal weights are put in an order
// that depends on the server, so that many equal hosts fill evenly without a
// random source.
func order(hosts []*Host, r *Request) {
	weights := weigh(hosts, r)
	tie := make(map[*Host]uint64, len(hosts))
	for _, h := range hosts {
		f := fnv.New64a()
		f.Write([]byte(r.ServerID))
		f.Write([]byte(h.Name))
		// FNV alone keeps names that differ in the last letter close together.
		tie[h] = (f.Sum64() ^ f.Sum64()>>33) * 0xff51afd7ed558ccd
	}
	slices.SortStableFunc(hosts, func(a, b *Host) int {
		return cmp.Or(cmp.Compare(weights[b], weights[a]), cmp.Compare(tie[a], tie[b]))
	})
}
