package status

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hastack/hastack/internal/alarm"
	"github.com/hastack/hastack/internal/node"
	"github.com/hastack/hastack/internal/topology"
)

var update = flag.Bool("update", false, "write what is printed to testdata")

var now = time.Date(2026, 11, 20, 14, 5, 0, 0, time.UTC)

func three(t *testing.T) *topology.Topology {
	t.Helper()
	top, err := topology.Load("../../examples/three.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// well is what there is to see of a cluster that is well.
func well(top *topology.Topology) *Seen {
	s := &Seen{Time: now, Nodes: map[string]Node{}, Alarms: Alarms{Known: true, From: "node01"}}
	names := []string{"node01", "node02", "node03"}
	for i, server := range top.Servers {
		st := &node.State{
			Server: server.Name, Roles: server.Roles, Version: "1.0", Time: now,
			Host:      &node.Host{Uptime: 3 * time.Hour, CPUs: 2, MemoryTotal: 2 << 30, MemoryAvailable: 1 << 30},
			Units:     []node.Unit{{Name: "mariadb.service", Active: "active"}, {Name: "haproxy.service", Active: "active"}},
			Services:  []node.Service{{Name: "keystone", Ready: true}, {Name: "nova-api", Ready: true}},
			Disks:     []node.Disk{{Path: "/", Size: 100 << 30, Free: 50 << 30, Inodes: 1000, FreeInodes: 900}},
			Clock:     &node.Clock{Synchronised: true, Offset: time.Duration(i-1) * 300 * time.Microsecond},
			Fernet:    &node.Fernet{Keys: 3, Rotated: now.Add(-3 * time.Hour), Primary: "abcd1234"},
			Memcached: &node.Memcached{Answers: true},
			Galera:    &node.Galera{Ready: true, Primary: true, State: "Synced", Size: 3, Members: 3, Flush: 1},
			Rabbit:    &node.Rabbit{Answers: true, Running: names, Members: 3, Queues: 41},
			HAProxy: &node.HAProxy{Writer: "node02", Backends: []node.Backend{
				{Name: "keystone", Up: true, Servers: []node.BackendServer{{Name: "node01", Status: "UP"}}},
			}},
			Audit:        &node.Audit{At: now.Add(-12 * time.Second), Leader: "node03"},
			Certificates: []node.Certificate{{File: "/etc/hastack/tls/server.pem", Expires: now.Add(61 * 24 * time.Hour)}},
		}
		for _, l := range []string{"bond0", "bond1"} {
			st.Links = append(st.Links, node.Device{Name: l, Network: "management", Present: true, Up: true, Legs: []node.Leg{
				{Name: l + "l1", Switch: "tor-a", Carrier: true, Active: true}, {Name: l + "l2", Switch: "tor-b", Carrier: true},
			}})
		}
		for _, v := range top.VIPs {
			st.VIPs = append(st.VIPs, node.VIP{Name: v.Name, Address: v.Address.String(), Held: v.Prefer == server.Name})
		}
		for _, p := range names {
			if p != server.Name {
				st.Peers = append(st.Peers, node.Peer{Name: p, Hears: true, Heard: true, RTT: 200 * time.Microsecond})
			}
		}
		s.Nodes[server.Name] = Node{State: st}
	}
	s.Cloud = Cloud{
		Through: "https://10.3.0.100", Took: 4 * time.Millisecond,
		Rates:   &Rates{P50: 4 * time.Millisecond, P99: 21 * time.Millisecond},
		Network: &NetworkAnswer{Routers: 18, DHCP: 24},
		Compute: &ComputeAnswer{},
	}
	for _, n := range names {
		s.Cloud.Network.Agents = append(s.Cloud.Network.Agents, Agent{Kind: "L3 agent", Host: n, Up: true, Enabled: true})
		s.Cloud.Compute.Services = append(s.Cloud.Compute.Services, Agent{Kind: "nova-compute", Host: n, Up: true, Enabled: true},
			Agent{Kind: "nova-scheduler", Host: n, Up: true, Enabled: true})
		s.Cloud.Compute.Hosts = append(s.Cloud.Compute.Hosts, ComputeHost{Name: n, Servers: 4, MemoryMB: 4096, UsedMB: 2048})
	}
	return s
}

func golden(t *testing.T, name string, r *Report) {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, Style{}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s differs (-want +got), -update rewrites it:\n%s", file, diff)
	}
}

func TestHealthyClusterHasNoProblems(t *testing.T) {
	top := three(t)
	r := Judge(top, well(top))
	if !r.Healthy || len(r.Problems) > 0 {
		t.Errorf("problems %+v", r.Problems)
	}
	golden(t, "healthy.txt", r)
}

// TestDeadServerIsShownWithWhatItTook kills node01, which holds the api's VIP,
// before anything has taken over.
func TestDeadServerIsShownWithWhatItTook(t *testing.T) {
	top := three(t)
	s := well(top)
	s.Nodes["node01"] = Node{Err: errors.New("no answer in time")}
	for _, n := range []string{"node02", "node03"} {
		st := s.Nodes[n].State
		st.Galera.Size, st.Rabbit.Partitions, st.Rabbit.Running = 2, []string{"node01"}, []string{"node02", "node03"}
		for i := range st.Peers {
			if st.Peers[i].Name == "node01" {
				st.Peers[i].Hears, st.Peers[i].Heard = false, false
			}
		}
	}
	s.Cloud = Cloud{Through: "https://10.3.0.100", Err: errors.New("no answer in time")}
	s.Alarms.Firing = []Alarm{
		{Name: "ServerDown", Server: "node01", Summary: "node01 is down", Since: now, Runbook: "doc/ops/alarms.md#server-down"},
		{Name: "Elsewhere", Summary: "the moon is full", Since: now.Add(-time.Minute), Runbook: "doc/ops/alarms.md#moon"},
	}
	r := Judge(top, s)
	if r.Healthy || r.Servers[0].Answers || !r.Database.Quorum || r.Database.Synced.Good != 2 {
		t.Errorf("report %+v", r)
	}
	golden(t, "dead-server.txt", r)
}

// TestEveryFaultIsNamedWithItsRunbook makes one thing wrong after the other.
func TestEveryFaultIsNamedWithItsRunbook(t *testing.T) {
	for _, c := range []struct {
		name, where, text, anchor string
		wrong                     func(s *Seen, st *node.State)
	}{
		{"leg", "node01", "bond0 (management): 1 of 2 legs down (bond0l2 to switch tor-b)", "bond-leg-down", func(_ *Seen, st *node.State) {
			st.Links[0].Legs[1].Carrier, st.Links[0].Legs[1].Since = false, now.Add(-time.Hour)
		}},
		{"device", "node01", "bond0 (management): down, no leg has carrier", "link-down", func(_ *Seen, st *node.State) {
			st.Links[0].Legs[0].Carrier, st.Links[0].Legs[1].Carrier = false, false
		}},
		{"two holders", "VIP public", "203.0.113.100 is held by node01 and node02 at the same time", "vip-held-twice", func(_ *Seen, st *node.State) { st.VIPs[1].Held = true }},
		{"no holder", "VIP api", "10.3.0.100 is held by nobody", "vip-missing", func(_ *Seen, st *node.State) { st.VIPs[0].Held = false }},
		{"unit", "node01", "haproxy.service is failed", "unit-down", func(_ *Seen, st *node.State) { st.Units[1].Active = "failed" }},
		{"service", "node01", "nova-api is not ready: waiting for database", "service-not-ready", func(_ *Seen, st *node.State) {
			st.Services[1].Ready, st.Services[1].Waiting = false, []string{"database"}
		}},
		{"disk", "node01", "/ is full but for 5.0 GiB of 100 GiB", "disk-filling", func(_ *Seen, st *node.State) { st.Disks[0].Free = 5 << 30 }},
		{"inodes", "node01", "/ has 9 of 1000 inodes left", "inodes-low", func(_ *Seen, st *node.State) { st.Disks[0].FreeInodes = 9 }},
		{"read-only", "node01", "/ is mounted read-only", "disk-read-only", func(_ *Seen, st *node.State) { st.Disks[0].ReadOnly = true }},
		{"memory", "node01", "has 50.0 MiB of 2.0 GiB memory left", "memory-low", func(_ *Seen, st *node.State) { st.Host.MemoryAvailable = 50 << 20 }},
		{"clock", "node01", "the clock is 1.2s off", "clock-offset", func(_ *Seen, st *node.State) { st.Clock.Offset = 1200 * time.Millisecond }},
		{"no source", "node01", "the clock follows no source", "clock-unsynchronised", func(_ *Seen, st *node.State) { st.Clock.Synchronised = false }},
		{"certificate", "node01", "certificate /etc/hastack/tls/server.pem ends in 5 d", "certificate-expires", func(_ *Seen, st *node.State) {
			st.Certificates[0].Expires = now.Add(5*24*time.Hour + time.Minute)
		}},
		{"expired", "node01", "certificate /etc/hastack/tls/server.pem ended 2 h ago", "certificate-expired", func(_ *Seen, st *node.State) {
			st.Certificates[0].Expires = now.Add(-2 * time.Hour)
		}},
		{"keys differ", "keys", "the control servers make tokens with different keys: run hastack rotate keys again", "token-keys-differ", func(_ *Seen, st *node.State) {
			st.Fernet.Primary = "ffff0000"
		}},
		{"cache", "node01", "memcached does not answer", "memcached-down", func(_ *Seen, st *node.State) { st.Memcached.Answers = false }},
		{"flush", "node01", "the database runs with innodb_flush_log_at_trx_commit=2: a power loss loses acknowledged writes", "database-not-durable", func(_ *Seen, st *node.State) {
			st.Galera.Flush = 2
		}},
		{"not synced", "node01", "the database is not in sync: Joining", "database-not-synced", func(_ *Seen, st *node.State) { st.Galera.State = "Joining" }},
		{"lag", "node01", "500 write sets wait to be replicated", "replication-behind", func(_ *Seen, st *node.State) { st.Galera.ReceiveQueue = 500 }},
		{"minority", "node01", "the database is cut off from the majority", "database-no-quorum", func(_ *Seen, st *node.State) { st.Galera.Primary = false }},
		{"writer", "database", "node01 would write to node03, not to node02", "database-writers-differ", func(s *Seen, st *node.State) {
			st.HAProxy.Writer = "node03"
			st.VIPs[0].Held, s.Nodes["node02"].State.VIPs[0].Held = false, true
		}},
		{"unsynced", "bus", "2 queues are without all members (short nova)", "queue-member-missing", func(_ *Seen, st *node.State) {
			st.Rabbit.Unsynced, st.Rabbit.Unwell = 2, []string{"short nova"}
		}},
		{"apart", "bus", "a broker does not work with the others (split rabbit@node03)", "broker-partitioned", func(_ *Seen, st *node.State) {
			st.Rabbit.Unwell = []string{"split rabbit@node03"}
		}},
		{"depth", "bus", "5000 messages wait in the queues", "queue-depth", func(_ *Seen, st *node.State) { st.Rabbit.Messages = 5000 }},
		{"broker alarm", "node01", "the broker has a memory alarm and lets nobody publish", "broker-blocked", func(_ *Seen, st *node.State) { st.Rabbit.Alarms = []string{"memory"} }},
		{"one way", "node01", "is not heard by node02, which it hears: the management network carries one direction", "peer-one-way", func(_ *Seen, st *node.State) {
			st.Peers[0].Heard = false
		}},
		{"backend", "API", "node01 has no healthy server to send to for keystone", "backend-down", func(_ *Seen, st *node.State) { st.HAProxy.Backends[0].Up = false }},
		{"agent", "node02", "L3 agent does not report", "service-not-ready", func(s *Seen, _ *node.State) { s.Cloud.Network.Agents[1].Up = false }},
		{"compute", "node03", "nova-compute does not report", "service-not-ready", func(s *Seen, _ *node.State) { s.Cloud.Compute.Services[4].Up = false }},
		{"audit", "audit", "3 findings: hastack audit names them", "audit-findings", func(_ *Seen, st *node.State) { st.Audit.Findings, st.Audit.At = 3, now }},
		{"blind", "alarms", "no monitor answers: nobody would be told of a fault", "monitor-down", func(s *Seen, _ *node.State) { s.Alarms.Known = false }},
		{"version", "node01", "runs version 0.9, the others 1.0", "versions-differ", func(_ *Seen, st *node.State) { st.Version = "0.9" }},
		{"collector", "node01", "cannot look at clock: no such program", "collector-fails", func(_ *Seen, st *node.State) {
			st.Collectors = []node.CollectorState{{Name: "clock", Error: "no such program"}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := three(t)
			s := well(top)
			c.wrong(s, s.Nodes["node01"].State)
			r := Judge(top, s)
			if len(r.Problems) != 1 {
				t.Fatalf("problems %+v, want one", r.Problems)
			}
			p := r.Problems[0]
			if p.Where != c.where || p.Text != c.text || p.Runbook != "doc/ops/alarms.md#"+c.anchor {
				t.Errorf("%q %q %q", p.Where, p.Text, p.Runbook)
			}
			var b bytes.Buffer
			if err := r.Write(&b, Style{}); err != nil || !strings.Contains(b.String(), "\n! "+c.where) {
				t.Errorf("text, error %v:\n%s", err, b.String())
			}
		})
	}
}

func TestDeadSwitchIsToldOnceWithItsAlarms(t *testing.T) {
	top := three(t)
	s := well(top)
	for _, n := range s.Nodes {
		for i := range n.State.Links {
			n.State.Links[i].Legs[0].Carrier = false
		}
	}
	s.Alarms.Firing = []Alarm{
		{Name: "SwitchDown", Summary: "tor-a", Runbook: "doc/ops/alarms.md#switch-down"},
		{Name: "BondLegDown", Server: "node02", Summary: "bond0l1", Runbook: "doc/ops/alarms.md#bond-leg-down"},
	}
	r := Judge(top, s)
	if len(r.Problems) != 1 || r.Problems[0].Text != "all 6 cables into it are down" || r.Problems[0].Where != "switch tor-a" || r.Links != (Count{6, 12}) {
		t.Errorf("links %v, problems %+v", r.Links, r.Problems)
	}
}

// TestConsequencesAreNotToldBesideTheirCause stops the broker of a server.
func TestConsequencesAreNotToldBesideTheirCause(t *testing.T) {
	top := three(t)
	s := well(top)
	st := s.Nodes["node02"].State
	st.Rabbit = &node.Rabbit{Members: 3}
	st.Collectors = []node.CollectorState{{Name: "rabbit", Error: "ask the broker: dial tcp 10.3.0.12:15692: connect: connection refused"}}
	alarm := func(name, server string) Alarm {
		return Alarm{Name: name, Server: server, Summary: "…", Runbook: "doc/ops/alarms.md#" + name}
	}
	s.Alarms.Firing = []Alarm{alarm("CollectorFails", "node02"), alarm("BrokerMemberMissing", ""), alarm("CollectorFails", "node03")}
	r := Judge(top, s)
	if len(r.Problems) != 2 || r.Problems[0].Text != "the broker does not answer: connection refused" || r.Problems[1].Where != "node03" {
		t.Errorf("problems %+v", r.Problems)
	}
}

// TestAllAgentsSilentIsNotHealthy asks a cluster of which nothing answers.
func TestAllAgentsSilentIsNotHealthy(t *testing.T) {
	top := three(t)
	r := Judge(top, &Seen{Time: now, Nodes: map[string]Node{}, Cloud: Cloud{Through: "https://10.3.0.100", Err: errors.New("no answer in time")}})
	if r.Healthy || r.Database.Synced != (Count{0, 3}) || r.Database.Quorum || len(r.VIPs) != 2 {
		t.Errorf("report %+v", r)
	}
	golden(t, "silent.txt", r)
}

// TestEveryProblemHasItsAlarm holds the names that problems are filed under
// against the table of alarms.
func TestEveryProblemHasItsAlarm(t *testing.T) {
	top := three(t)
	top.VIPManager = topology.Pacemaker
	known := map[string]bool{}
	for _, a := range alarm.Table(top) {
		known[a.Name] = true
	}
	src, err := os.ReadFile("limits.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`anchor\w+ += "(\w+)"`).FindAllSubmatch(src, -1)
	if len(names) < 30 {
		t.Fatalf("%d names found", len(names))
	}
	for _, m := range names {
		if !known[string(m[1])] {
			t.Errorf("there is no alarm %s", m[1])
		}
	}
}

func TestNoRoomForAHostIsTold(t *testing.T) {
	top := three(t)
	s := well(top)
	for i := range s.Cloud.Compute.Hosts {
		s.Cloud.Compute.Hosts[i].UsedMB = 5000 // of 6144 that may be promised
	}
	if r := Judge(top, s); len(r.Compute.Essential) != 3 {
		t.Errorf("compute %+v", r.Compute)
	}
}

func TestAddressesAreURLs(t *testing.T) {
	if got := base(netip.MustParseAddr("10.3.0.11"), 9180); got != "https://10.3.0.11:9180" {
		t.Error(got)
	}
}

// TestFallenServerTellsEachThingOnce takes all units of a server down.
func TestFallenServerTellsEachThingOnce(t *testing.T) {
	top := three(t)
	s := well(top)
	st := s.Nodes["node01"].State
	st.Units = nil
	for _, u := range []string{"hastack-keystone.service", "hastack-nova-api.service", "haproxy.service"} {
		st.Units = append(st.Units, node.Unit{Name: u, Active: "failed", Since: now.Add(-time.Minute)})
	}
	for i := range st.Services {
		st.Services[i].Ready, st.Services[i].Error = false, "connection refused"
	}
	st.HAProxy = nil
	st.VIPs[0].Held, s.Nodes["node02"].State.VIPs[0].Held = false, true
	st.Collectors = []node.CollectorState{{Name: "haproxy", Error: "no such file"}, {Name: "audit", Error: "connection refused"}}
	r := Judge(top, s)
	want := "hastack-keystone.service, hastack-nova-api.service and haproxy.service are failed"
	if len(r.Problems) != 1 || r.Problems[0].Text != want {
		t.Errorf("problems %+v", r.Problems)
	}
}
