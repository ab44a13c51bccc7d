package audit

import (
	"fmt"
	"slices"
	"strings"
)

type check struct {
	w       *World
	servers map[string]*Server
	ports   map[string]*Port
	busy    map[string]bool
	found   []Finding
}

func (c *check) add(f Finding) { c.found = append(c.found, f) }

// unsettled tells that somebody is working on the server: what it has or lacks
// at this moment says nothing.
func (c *check) unsettled(id string) bool {
	s := c.servers[id]
	return c.busy[id] || s != nil && (s.TaskState != "" || s.Status == "BUILD")
}

// placed tells whether a server in this status holds resources on a host.
func placed(s *Server) bool {
	return s.Host != "" && s.Status != "DELETED" && s.Status != "SHELVED_OFFLOADED" && s.Status != "ERROR"
}

func (c *check) checkServers() {
	allocated := map[string]string{}
	for _, a := range c.w.Allocations {
		allocated[a.Consumer] = a.Host
	}
	for i := range c.w.Servers {
		s := &c.w.Servers[i]
		if c.unsettled(s.ID) || !placed(s) {
			continue
		}
		if c.seen("placement") {
			if host, ok := allocated[s.ID]; !ok {
				c.add(Finding{Kind: "server", ID: s.ID, Host: s.Host, Text: "has no allocation in placement"})
			} else if host != s.Host {
				c.add(Finding{Kind: "server", ID: s.ID, Host: s.Host, Text: "its allocation is on " + host})
			}
		}
		for _, p := range s.PortIDs {
			if port := c.ports[p]; c.seen("neutron") && (port == nil || port.DeviceID != s.ID) {
				c.add(Finding{Kind: "server", ID: s.ID, Host: s.Host, Owner: s.ID, Text: "its port " + p + " is gone or another's"})
			}
		}
		c.checkOnHost(s)
	}
}

// checkOnHost looks for the disk and the process of a settled server.
func (c *check) checkOnHost(s *Server) {
	i := slices.IndexFunc(c.w.Hosts, func(h Host) bool { return h.Name == s.Host })
	if i < 0 || !c.seen("compute "+s.Host) {
		return
	}
	h := &c.w.Hosts[i]
	if !owned(h.Disks, s.ID) {
		c.add(Finding{Kind: "server", ID: s.ID, Host: s.Host, Text: "has no disk on its host"})
	}
	if s.Status == "ACTIVE" && !owned(h.Processes, s.ID) {
		c.add(Finding{Kind: "server", ID: s.ID, Host: s.Host, Text: "is ACTIVE and has no process on its host"})
	}
}

func owned(things []Thing, id string) bool {
	return slices.ContainsFunc(things, func(t Thing) bool { return t.Owner == id })
}

func (c *check) seen(part string) bool { return !slices.Contains(c.w.Unseen, part) }

func (c *check) checkAllocations() {
	if !c.seen("nova") {
		return
	}
	for _, a := range c.w.Allocations {
		if c.servers[a.Consumer] == nil && !c.busy[a.Consumer] {
			c.add(Finding{Kind: "allocation", ID: a.Consumer, Host: a.Host, Text: "belongs to no server", Fixable: true})
		}
	}
}

func (c *check) checkPorts() {
	for i := range c.w.Ports {
		p := &c.w.Ports[i]
		switch {
		case p.DeviceID == "" || !c.seen("nova"):
		case strings.HasPrefix(p.DeviceOwner, "compute:"):
			if c.servers[p.DeviceID] == nil && !c.busy[p.DeviceID] {
				c.add(Finding{Kind: "port", ID: p.ID, Host: p.Host, Owner: p.DeviceID, Text: "its server does not exist", Fixable: true})
			}
		case strings.HasPrefix(p.DeviceOwner, "network:router"):
			if !slices.Contains(c.w.Routers, p.DeviceID) {
				c.add(Finding{Kind: "port", ID: p.ID, Owner: p.DeviceID, Text: "its router does not exist", Fixable: true})
			}
		}
	}
}

func (c *check) checkHost(h *Host) {
	if c.seen("nova") {
		c.serverThings(h, "process", h.Processes, true)
		c.serverThings(h, "disk", h.Disks, false)
	}
	if !c.seen("neutron") {
		return
	}
	for _, t := range h.Taps {
		switch p := c.portOf(t.Owner); {
		case p == nil:
			c.add(Finding{Kind: "tap", ID: t.Name, Host: h.Name, Owner: t.Owner, Text: "its port does not exist", Fixable: true})
		case p.Host != "" && p.Host != h.Name && !c.unsettled(p.DeviceID):
			c.add(Finding{Kind: "tap", ID: t.Name, Host: h.Name, Owner: t.Owner, Text: "its port is on " + p.Host})
		}
	}
	for _, t := range h.Filters {
		if !c.knownPort(t.Owner) {
			c.add(Finding{Kind: "filter", ID: t.Name, Host: h.Name, Owner: t.Owner, Text: "its port does not exist"})
		}
	}
	for _, t := range h.Bridges {
		if !begins(c.w.Networks, t.Owner) {
			c.add(Finding{Kind: "bridge", ID: t.Name, Host: h.Name, Owner: t.Owner, Text: "its network does not exist"})
		}
	}
	for _, t := range h.DHCP {
		if !begins(c.w.Networks, t.Owner) {
			c.add(Finding{Kind: "dhcp", ID: t.Name, Host: h.Name, Owner: t.Owner, Text: "its network does not exist"})
		}
	}
	for _, n := range h.Namespaces {
		owners, what := c.w.Networks, "network"
		if n.Kind == "router" {
			owners, what = c.w.Routers, "router"
		}
		if !begins(owners, n.Owner) {
			c.add(Finding{Kind: "namespace", ID: n.Name, Host: h.Name, Owner: n.Owner, Text: "its " + what + " does not exist"})
		} else if at := c.servedOn(n); len(at) > 0 && !slices.Contains(at, h.Name) {
			// Two gateways or DHCP servers with one address is what this would be.
			c.add(Finding{Kind: "namespace", ID: n.Name, Host: h.Name, Owner: n.Owner, Text: "its " + what + " is served on " + strings.Join(at, ", ")})
		}
	}
}

// serverThings reports what belongs to no server of this host.
func (c *check) serverThings(h *Host, kind string, things []Thing, runs bool) {
	for _, t := range things {
		s := c.servers[t.Owner]
		switch {
		case c.unsettled(t.Owner):
		case s == nil:
			c.add(Finding{Kind: kind, ID: t.Name, Host: h.Name, Owner: t.Owner, Text: "its server does not exist", Fixable: true})
		case s.Host != h.Name:
			c.add(Finding{Kind: kind, ID: t.Name, Host: h.Name, Owner: t.Owner, Text: "its server is on " + s.Host, Fixable: true})
		case runs && s.Status == "SHUTOFF":
			c.add(Finding{Kind: kind, ID: t.Name, Host: h.Name, Owner: t.Owner, Text: "its server is SHUTOFF"})
		}
	}
}

// servedOn are the hosts of the ports of a router, or of a network's DHCP
// servers; none if no port is bound.
func (c *check) servedOn(n Namespace) []string {
	var at []string
	for i := range c.w.Ports {
		p := &c.w.Ports[i]
		mine := n.Kind == "router" && p.DeviceID == n.Owner || n.Kind == "dhcp" && p.DeviceOwner == "network:dhcp" && p.NetworkID == n.Owner
		if mine && p.Host != "" && !slices.Contains(at, p.Host) {
			at = append(at, p.Host)
		}
	}
	slices.Sort(at)
	return at
}

func (c *check) knownPort(owner string) bool { return c.portOf(owner) != nil }

// portOf is the port whose id is owner or begins with it.
func (c *check) portOf(owner string) *Port {
	if p := c.ports[owner]; p != nil || owner == "" {
		return p
	}
	for id, p := range c.ports {
		if strings.HasPrefix(id, owner) {
			return p
		}
	}
	return nil
}

// begins tells whether one of ids is owner or begins with it.
func begins(ids []string, owner string) bool {
	return owner != "" && slices.ContainsFunc(ids, func(id string) bool { return strings.HasPrefix(id, owner) })
}

func (c *check) checkQuotas() {
	for _, q := range c.w.Quotas {
		if q.Counted != q.Actual {
			c.add(Finding{Kind: "quota", ID: q.Resource, Owner: q.ProjectID,
				Text: fmt.Sprintf("%d are counted and %d exist", q.Counted, q.Actual), Fixable: true})
		}
	}
}
