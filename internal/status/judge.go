package status

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hastack/hastack/internal/alarm"
	"github.com/hastack/hastack/internal/node"
	"github.com/hastack/hastack/internal/topology"
)

// Seen is what there was to see. A part that did not answer is nil, with the
// reason beside it.
type Seen struct {
	Time   time.Time
	Nodes  map[string]Node // by server
	Cloud  Cloud
	Alarms Alarms
}

// Node is what a server's agent said.
type Node struct {
	State *node.State
	Err   error
}

// judge makes a report of what was seen.
type judge struct {
	t *topology.Topology
	s *Seen
	r *Report
}

// Judge makes a report of what was seen of a cluster.
func Judge(t *topology.Topology, s *Seen) *Report {
	j := &judge{t: t, s: s, r: &Report{Cluster: t.Name, Region: t.Region, Time: s.Time, Problems: []Problem{}}}
	for _, look := range []func(){
		j.servers, j.vips, j.balancers, j.database, j.bus, j.services, j.units, j.links, j.peers, j.network, j.compute,
		j.keys, j.hosts, j.clocks, j.audit, j.alarms,
	} {
		look()
	}
	j.r.Healthy = len(j.r.Problems) == 0
	return j.r
}

// problem adds one. like is the name of the alarm that it is, or would be.
func (j *judge) problem(where, like string, at time.Time, format string, args ...any) {
	j.r.Problems = append(j.r.Problems, Problem{
		Where: where, Alarm: like, Text: line(fmt.Sprintf(format, args...)), Since: at, Runbook: (&alarm.Alarm{Name: like}).Runbook(),
	})
}

// state is what a server's agent said, nil if it did not.
func (j *judge) state(s *topology.Server) *node.State { return j.s.Nodes[s.Name].State }

func (j *judge) servers() {
	for _, s := range j.t.Servers {
		n := j.s.Nodes[s.Name]
		x := Server{Name: s.Name, Roles: s.Roles, Answers: n.State != nil}
		switch {
		case n.State != nil:
			x.Version = n.State.Version
			if n.State.Host != nil {
				x.Uptime = n.State.Host.Uptime
			}
		case n.Err != nil:
			x.Error = n.Err.Error()
		default:
			x.Error = "was not asked"
		}
		if !x.Answers {
			j.silent(s, x.Error)
		}
		j.r.Servers = append(j.r.Servers, x)
	}
	j.versions()
}

// silent tells apart a server that is gone, one whose agent is, and one that
// only we cannot reach.
func (j *judge) silent(s *topology.Server, err string) {
	var hear []string
	for _, p := range j.t.Servers {
		if st := j.state(p); st != nil {
			for _, x := range st.Peers {
				if x.Name == s.Name && x.Hears {
					hear = append(hear, p.Name)
				}
			}
		}
	}
	if len(hear) > 0 {
		j.problem(s.Name, anchorNodeAgent, time.Time{}, "does not answer here, but %s %s it: %s", list(hear), plural(len(hear), "hears", "hear"), err)
		return
	}
	if strings.Contains(err, syscall.ECONNREFUSED.Error()) {
		// Somebody had to refuse: the server runs, its agent does not.
		j.problem(s.Name, anchorNodeAgent, time.Time{}, "runs, but its node agent does not answer: %s", err)
		return
	}
	j.problem(s.Name, anchorServer, time.Time{}, "does not answer: %s", err)
}

// versions tells of servers that run another release than most.
func (j *judge) versions() {
	count := map[string]int{}
	for _, s := range j.r.Servers {
		if s.Answers {
			count[s.Version]++
		}
	}
	most := ""
	for v, n := range count {
		if n > count[most] || n == count[most] && v < most {
			most = v
		}
	}
	for _, s := range j.r.Servers {
		if s.Answers && s.Version != most {
			j.problem(s.Name, anchorVersion, time.Time{}, "runs version %s, the others %s", s.Version, most)
		}
	}
}

func (j *judge) vips() {
	for _, v := range j.t.VIPs {
		x := VIP{Name: v.Name, Address: v.Address.String(), Prefer: v.Prefer, Holders: []string{}}
		silent := 0
		for _, s := range j.t.With(topology.RoleLoadBalancer) {
			st := j.state(s)
			if st == nil {
				silent++
				continue
			}
			if i := slices.IndexFunc(st.VIPs, func(n node.VIP) bool { return n.Name == v.Name && n.Held }); i >= 0 {
				x.Holders = append(x.Holders, s.Name)
			}
		}
		switch {
		case len(x.Holders) > 1:
			j.problem("VIP "+v.Name, anchorVIPTwice, time.Time{}, "%s is held by %s at the same time", x.Address, list(x.Holders))
		case len(x.Holders) == 0 && silent > 0:
			j.problem("VIP "+v.Name, anchorVIP, time.Time{}, "%s is held by no load balancer that answers (%d do not)", x.Address, silent)
		case len(x.Holders) == 0:
			j.problem("VIP "+v.Name, anchorVIP, time.Time{}, "%s is held by nobody", x.Address)
		}
		j.r.VIPs = append(j.r.VIPs, x)
	}
}

// deadSwitches are those into which no cable of several has carrier: told
// once, and not again for each cable.
func (j *judge) deadSwitches() map[string]bool {
	type count struct{ up, all int }
	by := map[string]*count{}
	for _, s := range j.t.Servers {
		if st := j.state(s); st != nil {
			for _, d := range st.Links {
				for _, l := range d.Legs {
					if by[l.Switch] == nil {
						by[l.Switch] = &count{}
					}
					by[l.Switch].all++
					if l.Carrier {
						by[l.Switch].up++
					}
				}
			}
		}
	}
	dead := map[string]bool{}
	for _, sw := range j.t.Switches {
		if c := by[sw.Name]; c != nil && c.up == 0 && c.all > 1 {
			dead[sw.Name] = true
			j.problem("switch "+sw.Name, anchorSwitch, time.Time{}, "all %d cables into it are down", c.all)
		}
	}
	return dead
}

func (j *judge) links() {
	dead := j.deadSwitches()
	for _, s := range j.t.Servers {
		st := j.state(s)
		if st == nil {
			continue
		}
		for _, d := range st.Links {
			good, down := 0, []node.Leg(nil)
			for _, l := range d.Legs {
				j.r.Links.add(l.Carrier)
				if l.Carrier {
					good++
				} else if !dead[l.Switch] {
					down = append(down, l)
				}
			}
			switch {
			case !d.Present:
				j.problem(s.Name, anchorLink, d.Since, "%s (%s): the device is not there", d.Name, d.Network)
			case good == 0:
				j.problem(s.Name, anchorLink, d.Since, "%s (%s): down, no leg has carrier", d.Name, d.Network)
			case len(down) > 0:
				var where []string
				for _, l := range down {
					where = append(where, fmt.Sprintf("%s to switch %s", l.Name, l.Switch))
				}
				j.problem(s.Name, anchorLeg, down[0].Since, "%s (%s): %d of %d legs down (%s)", d.Name, d.Network, len(down), len(d.Legs), strings.Join(where, ", "))
			}
		}
	}
}

// peers tells of networks that carry one direction, or nothing, between two
// servers that both answer us.
func (j *judge) peers() {
	for _, s := range j.t.Servers {
		st := j.state(s)
		if st == nil {
			continue
		}
		for i := range st.Peers {
			p := &st.Peers[i]
			if j.s.Nodes[p.Name].State == nil {
				continue // told already
			}
			j.r.Peers.Hear.add(p.Hears)
			j.r.Peers.Worst = max(j.r.Peers.Worst, p.RTT)
			switch {
			case p.OneWay():
				j.problem(s.Name, anchorOneWay, p.Since, "is not heard by %s, which it hears: the management network carries one direction", p.Name)
			case !p.Hears:
				j.problem(s.Name, anchorPeer, p.Since, "does not hear %s on the management network", p.Name)
			}
		}
	}
}

func (j *judge) units() {
	for _, s := range j.t.Servers {
		st := j.state(s)
		if st == nil {
			continue
		}
		down := group{}
		for _, u := range st.Units {
			j.r.Units.add(runs(&u))
			if !runs(&u) {
				down.add(u.Active, u.Name, u.Since)
			}
		}
		for _, active := range down.order {
			g := down.of[active]
			j.problem(s.Name, anchorUnit, g.since, "%s %s %s", list(g.names), plural(len(g.names), "is", "are"), active)
		}
		j.collectors(s.Name, st)
	}
}

// collectors tells what an agent cannot see, unless the reason was told.
func (j *judge) collectors(server string, st *node.State) {
	for _, c := range st.Collectors {
		switch {
		case c.Error == "":
		case c.Name == "galera", c.Name == "rabbit", c.Name == "memcached": // told as the engine's
		case c.Name == "audit" && !ready(st, "auditor"):
		case c.Name == "haproxy" && !active(st, "haproxy.service"):
		default:
			j.problem(server, anchorCollector, time.Time{}, "cannot look at %s: %s", c.Name, c.Error)
		}
	}
}

func runs(u *node.Unit) bool { return u.Active == "active" || u.Active == "reloading" }

// active tells whether a unit runs; one that nobody watches does.
func active(st *node.State, unit string) bool {
	i := slices.IndexFunc(st.Units, func(u node.Unit) bool { return u.Name == unit })
	return i < 0 || runs(&st.Units[i])
}

func ready(st *node.State, service string) bool {
	return slices.ContainsFunc(st.Services, func(v node.Service) bool { return v.Name == service && v.Ready })
}

// A group gathers names that have the same thing wrong, so that it is told once.
type group struct {
	order []string
	of    map[string]*grouped
}

type grouped struct {
	names []string
	since time.Time // the last
}

func (g *group) add(wrong, name string, at time.Time) {
	if g.of == nil {
		g.of = map[string]*grouped{}
	}
	if g.of[wrong] == nil {
		g.of[wrong] = &grouped{}
		g.order = append(g.order, wrong)
	}
	x := g.of[wrong]
	x.names = append(x.names, name)
	if at.After(x.since) {
		x.since = at
	}
}

// hosts looks at disks and memory.
func (j *judge) hosts() {
	for _, s := range j.t.Servers {
		st := j.state(s)
		if st == nil {
			continue
		}
		for _, d := range st.Disks {
			switch {
			case d.ReadOnly:
				j.problem(s.Name, anchorReadOnly, time.Time{}, "%s is mounted read-only", d.Path)
			case d.Size > 0 && d.Free*100 < d.Size*diskFreePercent:
				j.problem(s.Name, anchorDisk, time.Time{}, "%s is full but for %s of %s", d.Path, size(d.Free), size(d.Size))
			case d.Inodes > 0 && d.FreeInodes*100 < d.Inodes*inodesFreePercent:
				j.problem(s.Name, anchorInodes, time.Time{}, "%s has %d of %d inodes left", d.Path, d.FreeInodes, d.Inodes)
			}
		}
		if h := st.Host; h != nil && h.MemoryAvailable*100 < h.MemoryTotal*memoryFreePercent {
			j.problem(s.Name, anchorMemory, time.Time{}, "has %s of %s memory left", size(h.MemoryAvailable), size(h.MemoryTotal))
		}
	}
}
