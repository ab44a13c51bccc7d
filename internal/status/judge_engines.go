package status

import (
	"slices"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/node"
	"github.com/hastack/hastack/internal/topology"
)

// control calls look with every control server that answers and counts those
// that do not as not in order.
func (j *judge) control(c *Count, look func(name string, st *node.State) bool) {
	for _, s := range j.t.With(topology.RoleControl) {
		st := j.state(s)
		c.add(st != nil && look(s.Name, st))
	}
}

// why is the reason that an agent gives for what it cannot see: its collector's
// last words.
func why(st *node.State, collector string) string {
	for _, c := range st.Collectors {
		if c.Name == collector && c.Error != "" {
			words := strings.Split(c.Error, ": ")
			return ": " + words[len(words)-1]
		}
	}
	return ""
}

func (j *judge) balancers() {
	b := &j.r.Balancers
	b.Manager, b.Quorum = j.t.VIPManager, true
	for _, s := range j.t.With(topology.RoleLoadBalancer) {
		st := j.state(s)
		b.Up.add(st != nil && st.HAProxy != nil)
		if st == nil {
			continue
		}
		if p := st.Pacemaker; p != nil {
			b.Quorum = b.Quorum && p.Quorate
			if !p.Quorate {
				j.problem(s.Name, anchorPacemaker, time.Time{}, "pacemaker is without quorum here (online: %s)", list(p.Online))
			}
			for _, f := range p.Failed {
				j.problem(s.Name, anchorPacemakerFail, time.Time{}, "pacemaker: %s failed", f)
			}
		}
	}
	j.backends()
}

// backends tells of groups that no load balancer can send to. A single member
// that is down shows as a service or a server that is.
func (j *judge) backends() {
	down := map[string][]string{}
	for _, s := range j.t.With(topology.RoleLoadBalancer) {
		if st := j.state(s); st != nil && st.HAProxy != nil {
			for _, b := range st.HAProxy.Backends {
				if !b.Up {
					down[b.Name] = append(down[b.Name], s.Name)
				}
			}
		}
	}
	var by group // the same load balancers: one line
	for _, name := range sorted(down) {
		by.add(list(down[name])+plural(len(down[name]), " has", " have"), name, time.Time{})
	}
	for _, who := range by.order {
		j.problem("API", anchorBackend, time.Time{}, "%s no healthy server to send to for %s", who, list(by.of[who].names))
	}
}

func (j *judge) database() {
	d := &j.r.Database
	j.control(&d.Synced, func(name string, st *node.State) bool {
		g := st.Galera
		if g == nil || g.State == "" {
			waits := why(st, "galera")
			if g != nil && g.Waits != "" {
				waits = ": " + g.Waits
			}
			j.problem(name, anchorDatabase, time.Time{}, "the database does not answer%s", waits)
			return false
		}
		d.Members = append(d.Members, DatabaseMember{Server: name, State: g.State, Size: g.Size, Queue: g.ReceiveQueue + g.SendQueue})
		d.Lag = max(d.Lag, g.ReceiveQueue, g.SendQueue)
		d.Quorum = d.Quorum || g.Primary
		if g.Flush != 1 {
			j.problem(name, anchorFlush, time.Time{}, "the database runs with innodb_flush_log_at_trx_commit=%d: a power loss loses acknowledged writes", g.Flush)
		}
		if queue := max(g.ReceiveQueue, g.SendQueue); queue > maxLag {
			j.problem(name, anchorReplication, time.Time{}, "%d write sets wait to be replicated", queue)
		}
		switch {
		case !g.Primary:
			j.problem(name, anchorQuorum, time.Time{}, "the database is cut off from the majority")
			return false
		case !g.InSync():
			j.problem(name, anchorNotSynced, time.Time{}, "the database is not in sync: %s", g.State)
			return false
		}
		return true
	})
	if d.Synced.Of == 0 {
		return
	}
	if !d.Quorum {
		j.problem("database", anchorQuorum, time.Time{}, "no member that answers is in a part with quorum: nothing can be written")
	}
	j.writer()
}

// writer is where the load balancers that hold the database's virtual address
// send; the others matter when it moves, so they should agree.
func (j *judge) writer() {
	by := map[string][]string{}
	for _, s := range j.t.With(topology.RoleLoadBalancer) {
		if st := j.state(s); st != nil && st.HAProxy != nil {
			by[st.HAProxy.Writer] = append(by[st.HAProxy.Writer], s.Name)
		}
	}
	holders := []string{}
	for _, v := range j.r.VIPs {
		if v.Name == "api" {
			holders = v.Holders
		}
	}
	for w, from := range by {
		if w != "" && slices.ContainsFunc(from, func(s string) bool { return slices.Contains(holders, s) }) {
			j.r.Database.Writer = w
		}
	}
	switch {
	case len(by) == 0:
	case j.r.Database.Writer == "" && len(holders) > 0:
		j.problem("database", anchorWriter, time.Time{}, "the load balancer that holds the address has no database server to write to")
	case len(by) > 1:
		for _, w := range sorted(by) {
			if w != "" && w != j.r.Database.Writer {
				j.problem("database", anchorWriters, time.Time{}, "%s would write to %s, not to %s", list(by[w]), w, j.r.Database.Writer)
			}
		}
	}
}

func (j *judge) bus() {
	b := &j.r.Bus
	j.control(&b.Running, func(name string, st *node.State) bool {
		r := st.Rabbit
		if r == nil || !r.Answers {
			j.problem(name, anchorBus, time.Time{}, "the broker does not answer%s", why(st, "rabbit"))
			return false
		}
		b.Queues, b.Unsynced, b.Depth = max(b.Queues, r.Queues), max(b.Unsynced, r.Unsynced), max(b.Depth, r.Messages)
		b.Unwell = append(b.Unwell, r.Unwell...)
		majority := len(r.Running) > r.Members/2
		b.Quorum = b.Quorum || majority
		// A member that does not answer us either is told as just that.
		cut := slices.DeleteFunc(slices.Clone(r.Partitions), func(name string) bool {
			st := j.s.Nodes[name].State
			return st == nil || st.Rabbit == nil || !st.Rabbit.Answers
		})
		if len(cut) > 0 {
			j.problem(name, anchorPartition, time.Time{}, "the broker is cut off from %s", list(cut))
		}
		for _, a := range r.Alarms {
			j.problem(name, anchorBlocked, time.Time{}, "the broker has a %s alarm and lets nobody publish", a)
		}
		return majority && len(cut) == 0
	})
	switch {
	case b.Running.Of == 0:
		return
	case !b.Quorum:
		j.problem("bus", anchorPartition, time.Time{}, "no member that answers sees a majority of the brokers")
	case b.Unsynced > 0:
		j.problem("bus", anchorQueueMember, time.Time{}, "%d %s without all members%s", b.Unsynced, plural(b.Unsynced, "queue is", "queues are"), inBrackets(b.Unwell))
	case len(b.Unwell) > 0:
		j.problem("bus", anchorPartition, time.Time{}, "a broker does not work with the others%s", inBrackets(b.Unwell))
	}
	if b.Depth > maxQueueDepth {
		j.problem("bus", anchorQueue, time.Time{}, "%d messages wait in the queues", b.Depth)
	}
	j.control(&j.r.Cache, func(name string, st *node.State) bool {
		good := st.Memcached != nil && st.Memcached.Answers
		if !good {
			j.problem(name, anchorCache, time.Time{}, "memcached does not answer")
		}
		return good
	})
}

// services are Hastack's own on every server; those of control servers are the
// API layer.
func (j *judge) services() {
	most := 0 // services of one control server
	for _, s := range j.t.With(topology.RoleControl) {
		if st := j.state(s); st != nil {
			most = max(most, len(st.Services))
		}
	}
	for _, s := range j.t.Servers {
		st := j.state(s)
		if st == nil {
			if s.Has(topology.RoleControl) {
				j.r.API.Ready.Of += most
			}
			continue
		}
		var wrong group
		for _, v := range st.Services {
			if s.Has(topology.RoleControl) {
				j.r.API.Ready.add(v.Ready)
			}
			switch {
			case v.Ready:
			case !active(st, "hastack-"+v.Name+".service"): // told with the units
			case len(v.Waiting) > 0:
				wrong.add("not ready: waiting for "+list(v.Waiting), v.Name, v.Since)
			case v.Error != "":
				wrong.add("silent: "+v.Error, v.Name, v.Since)
			default:
				wrong.add("not ready", v.Name, v.Since)
			}
		}
		for _, what := range wrong.order {
			g := wrong.of[what]
			j.problem(s.Name, anchorService, g.since, "%s %s %s", list(g.names), plural(len(g.names), "is", "are"), what)
		}
	}
	c := &j.s.Cloud
	a := &j.r.API
	a.Through, a.Took, a.Rates, a.Answers = c.Through, c.Took, c.Rates, c.Err == nil
	if c.Err != nil {
		a.Error = c.Err.Error()
		j.problem("API", anchorBackend, time.Time{}, "the cloud does not answer at %s: %s", c.Through, a.Error)
	}
}
