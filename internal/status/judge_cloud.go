package status

import (
	"slices"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

// Cloud is what the APIs said to the operator.
type Cloud struct {
	Through string // the URL that was asked
	Took    time.Duration
	Err     error // of the login: nothing else was asked then
	Rates   *Rates

	Network    *NetworkAnswer
	NetworkErr error
	Compute    *ComputeAnswer
	ComputeErr error
}

// NetworkAnswer is what Neutron said.
type NetworkAnswer struct {
	Routers, DHCP int
	Agents        []Agent
}

// Agent is a service that reports to Nova or Neutron.
type Agent struct {
	Kind, Host string
	Up         bool
	Enabled    bool
}

// ComputeAnswer is what Nova said.
type ComputeAnswer struct {
	Services []Agent
	Hosts    []ComputeHost
}

// ComputeHost is a hypervisor.
type ComputeHost struct {
	Name             string
	Servers          int
	MemoryMB, UsedMB int
}

func (j *judge) network() {
	c := &j.s.Cloud
	if c.Network == nil {
		if c.Err == nil && c.NetworkErr != nil {
			j.problem("API", anchorBackend, time.Time{}, "Neutron does not answer: %v", c.NetworkErr)
		}
		return
	}
	n := &j.r.Network
	n.Known, n.Routers, n.DHCP = true, c.Network.Routers, c.Network.DHCP
	for _, a := range c.Network.Agents {
		n.Agents.add(a.Up)
		if !a.Up {
			j.problem(a.Host, anchorService, time.Time{}, "%s does not report", a.Kind)
		}
	}
}

func (j *judge) compute() {
	c := &j.s.Cloud
	if c.Compute == nil {
		if c.Err == nil && c.ComputeErr != nil {
			j.problem("API", anchorBackend, time.Time{}, "Nova does not answer: %v", c.ComputeErr)
		}
		return
	}
	k := &j.r.Compute
	k.Known, k.Essential = true, []string{}
	for _, s := range c.Compute.Services {
		if s.Kind == "nova-compute" {
			k.Hosts.add(s.Up)
			if !s.Enabled {
				k.Disabled++
			}
		} else {
			k.Services.add(s.Up)
		}
		if !s.Up {
			j.problem(s.Host, anchorService, time.Time{}, "%s does not report", s.Kind)
		}
	}
	for _, s := range j.t.With(topology.RoleCompute) {
		if !slices.ContainsFunc(c.Compute.Services, func(a Agent) bool { return a.Kind == "nova-compute" && a.Host == s.Name }) {
			j.problem(s.Name, anchorService, time.Time{}, "is not registered as a compute host")
			k.Hosts.add(false)
		}
	}
	j.capacity()
}

// capacity is how much memory is promised, and which host's servers would not
// fit on the others. It looks at sums only: a server that is larger than what
// any one host has free is not found out.
func (j *judge) capacity() {
	k := &j.r.Compute
	total, used := 0.0, 0.0
	hosts := j.s.Cloud.Compute.Hosts
	room := func(h ComputeHost) float64 { return float64(h.MemoryMB) * max(j.t.Compute.RAMRatio, 1) }
	for _, h := range hosts {
		k.Servers += h.Servers
		total, used = total+room(h), used+float64(h.UsedMB)
	}
	if total > 0 {
		k.RAM = used / total
	}
	for _, h := range hosts {
		if h.Servers > 0 && total-room(h) < used {
			k.Essential = append(k.Essential, h.Name)
		}
	}
}

func (j *judge) keys() {
	k := &j.r.Keys
	k.FernetAgree = true
	primary := map[string][]string{}
	for _, s := range j.t.Servers {
		st := j.state(s)
		if st == nil {
			continue
		}
		for _, c := range st.Certificates {
			left := c.Expires.Sub(j.s.Time)
			switch {
			case c.Error != "":
				j.problem(s.Name, anchorExpired, time.Time{}, "certificate %s cannot be used: %s", c.File, c.Error)
				continue
			case left <= 0:
				j.problem(s.Name, anchorExpired, time.Time{}, "certificate %s ended %s ago", c.File, ago(-left))
			case left < certificateLeft:
				j.problem(s.Name, anchorCertificate, time.Time{}, "certificate %s ends in %s", c.File, ago(left))
			}
			if k.FirstExpiry.IsZero() || c.Expires.Before(k.FirstExpiry) {
				k.FirstExpiry, k.FirstFile = c.Expires, s.Name+": "+c.File
			}
		}
		if f := st.Fernet; f != nil {
			primary[f.Primary] = append(primary[f.Primary], s.Name)
			if k.FernetRotated.IsZero() || f.Rotated.Before(k.FernetRotated) {
				k.FernetRotated = f.Rotated
			}
		}
	}
	if len(primary) > 1 {
		k.FernetAgree = false
		j.problem("keys", anchorKeys, time.Time{}, "the control servers make tokens with different keys: run hastack rotate keys again")
	}
	if age := j.s.Time.Sub(k.FernetRotated); !k.FernetRotated.IsZero() && age > maxKeyAge {
		j.problem("keys", anchorKeyAge, time.Time{}, "the token keys are %s old: run hastack rotate keys", ago(age))
	}
}

func (j *judge) clocks() {
	c := &j.r.Clock
	for _, s := range j.t.Servers {
		st := j.state(s)
		if st == nil || st.Clock == nil {
			continue
		}
		c.Synchronised.add(st.Clock.Synchronised)
		offset := max(st.Clock.Offset, -st.Clock.Offset)
		if offset > c.Worst || c.Server == "" {
			c.Worst, c.Server = offset, s.Name
		}
		if !st.Clock.Synchronised {
			j.problem(s.Name, anchorNoClock, time.Time{}, "the clock follows no source")
		} else if offset > maxClockOffset {
			j.problem(s.Name, anchorClock, time.Time{}, "the clock is %s off", st.Clock.Offset.Round(time.Millisecond))
		}
	}
}

func (j *judge) audit() {
	for _, s := range j.t.With(topology.RoleControl) {
		if st := j.state(s); st != nil && st.Audit != nil && (j.r.Audit == nil || st.Audit.At.After(j.r.Audit.At)) {
			a := st.Audit
			j.r.Audit = &Audit{At: a.At, Leader: a.Leader, Findings: a.Findings, Unseen: a.Unseen}
		}
	}
	a := j.r.Audit
	switch {
	case a == nil:
	case j.s.Time.Sub(a.At) > maxAuditAge:
		j.problem("audit", anchorOverdue, a.At, "the last one ended %s ago", ago(j.s.Time.Sub(a.At)))
	case a.Findings > 0:
		j.problem("audit", anchorAudit, a.At, "%d %s: hastack audit names them", a.Findings, plural(a.Findings, "finding", "findings"))
	case a.Unseen > 0:
		j.problem("audit", anchorUnseen, a.At, "%d %s did not answer the audit", a.Unseen, plural(a.Unseen, "part", "parts"))
	}
}

func (j *judge) alarms() {
	j.r.Alarms = j.s.Alarms
	if j.r.Alarms.Firing == nil {
		j.r.Alarms.Firing = []Alarm{}
	}
	if !j.r.Alarms.Known && slices.ContainsFunc(j.t.Monitors(), func(s *topology.Server) bool { return j.state(s) != nil }) {
		j.problem("alarms", anchorMonitor, time.Time{}, "no monitor answers: nobody would be told of a fault")
	}
	// An alarm about what was told above says it twice; one about anything
	// else must not go unseen.
	said := slices.Clone(j.r.Problems)
	for _, a := range j.r.Alarms.Firing {
		causes, anywhere := follows(a.Name)
		told := slices.ContainsFunc(said, func(p Problem) bool {
			here := a.Server == "" || p.Where == a.Server
			return p.Runbook == a.Runbook && here || slices.Contains(causes, p.Alarm) && (here || anywhere)
		})
		if !told {
			where := a.Server
			if where == "" {
				where = "alarm"
			}
			j.r.Problems = append(j.r.Problems, Problem{Where: where, Alarm: a.Name, Text: line(a.Name + ": " + a.Summary), Since: a.Since, Runbook: a.Runbook})
		}
	}
}
