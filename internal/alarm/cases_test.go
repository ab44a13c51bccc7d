package alarm

import (
	"fmt"
	"strings"
	"time"
)

// The files of "promtool test rules".
type (
	promTests struct {
		RuleFiles          []string   `yaml:"rule_files"`
		EvaluationInterval string     `yaml:"evaluation_interval"`
		Tests              []promTest `yaml:"tests"`
	}
	promTest struct {
		Interval string       `yaml:"interval"`
		Series   []promSeries `yaml:"input_series"`
		Alerts   []promAlert  `yaml:"alert_rule_test"`
	}
	promSeries struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	promAlert struct {
		At        string         `yaml:"eval_time"`
		AlertName string         `yaml:"alertname"`
		Expected  []promExpected `yaml:"exp_alerts"`
	}
	promExpected struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	}
)

// figures are one series: its value in health and while the cause lasts. "-"
// is no value at all.
type figures struct{ series, well, ill string }

// A fall is the cause of one alarm: the figures, what the alarm then says, and
// the labels that it says it of.
type fall struct {
	alarm   string
	figures []figures
	labels  string // a=b c=d
	summary string
}

// up are the scrapes of three servers; ill changes some.
func up(ill ...figures) []figures {
	out := ill
	for _, s := range []string{"node01", "node02", "node03"} {
		series := fmt.Sprintf(`up{job="node",server="%s"}`, s)
		known := false
		for _, f := range ill {
			known = known || f.series == series
		}
		if !known {
			out = append(out, figures{series, "1", "1"})
		}
	}
	return out
}

func one(series, well, ill string) []figures { return []figures{{series, well, ill}} }

const (
	healthy = 24 // samples of 5 seconds
	settled = 14
)

// test makes the promtool test: raised after 20 s (the 10 s that are left are
// for the scrape and its time-out), cleared after 60.
func (c *fall) test(a Alarm) promTest {
	ill := 5
	if a.Slow {
		ill = int(a.For/(5*time.Second)) + 40
	}
	t := promTest{Interval: "5s"}
	for _, f := range c.figures {
		t.Series = append(t.Series, promSeries{f.series, strings.Join([]string{samples(f.well, healthy), samples(f.ill, ill), samples(f.well, settled)}, " ")})
	}
	labels := map[string]string{"severity": a.Severity}
	for l := range strings.FieldsSeq(c.labels) {
		k, v, _ := strings.Cut(l, "=")
		labels[k] = v
	}
	fires := []promExpected{{labels, map[string]string{"summary": c.summary, "runbook": a.Runbook()}}}
	at := func(n int) string { return fmt.Sprintf("%ds", n*5) }
	raised := healthy + 4
	if a.For > 15*time.Second || a.Slow {
		raised = healthy + ill - 1
	}
	t.Alerts = []promAlert{
		{at(healthy - 1), a.Name, []promExpected{}},
		{at(raised), a.Name, fires},
		{at(healthy + ill + 12), a.Name, []promExpected{}},
	}
	return t
}

func samples(v string, n int) string {
	if v == "-" {
		return "stale " + fmt.Sprintf("_x%d", n-1)
	}
	if start, step, ok := strings.Cut(v, "+"); ok { // a counter that grows
		return fmt.Sprintf("%s+%sx%d", start, step, n-1)
	}
	if strings.HasPrefix(v, "-") {
		return fmt.Sprintf("%s+0x%d", v, n-1)
	}
	return fmt.Sprintf("%s+0x%d", v, n-1)
}

func cases() []fall {
	return append(append(serverCases(), networkCases()...), append(serviceCases(), engineCases()...)...)
}

func serverCases() []fall {
	return []fall{
		{"ServerDown", up(figures{`up{job="node",server="node02"}`, "1", "0"}, figures{`up{job="service",server="node02"}`, "1", "0"}),
			"server=node02", "node02 does not answer on any port"},
		{"NodeAgentDown", up(figures{`up{job="node",server="node02"}`, "1", "0"}, figures{`up{job="service",server="node02"}`, "1", "1"}),
			"server=node02 job=node", "the node agent of node02 does not answer: nothing is known of that server"},
		{"CollectorFails", one(`hastack_collector_ok{server="node01",collector="galera"}`, "1", "0"),
			"server=node01 collector=galera", "the node agent of node01 cannot look at galera"},
		{"MemoryLow", []figures{{`hastack_memory_available_bytes{server="node01"}`, "500", "20"}, {`hastack_memory_total_bytes{server="node01"}`, "1000", "1000"}},
			"server=node01", "node01 has 2% of its memory left"},
		{"DiskFull", []figures{{`hastack_disk_free_bytes{server="node01",path="/"}`, "500", "10"}, {`hastack_disk_size_bytes{server="node01",path="/"}`, "1000", "1000"}},
			"server=node01 path=/", "/ on node01 has 1% left"},
		{"DiskFilling", []figures{{`hastack_disk_free_bytes{server="node01",path="/"}`, "500", "80"}, {`hastack_disk_size_bytes{server="node01",path="/"}`, "1000", "1000"}},
			"server=node01 path=/", "/ on node01 is filling up"},
		{"InodesLow", []figures{{`hastack_disk_free_inodes{server="node01",path="/"}`, "500", "1"}, {`hastack_disk_inodes{server="node01",path="/"}`, "1000", "1000"}},
			"server=node01 path=/", "/ on node01 can take hardly any more files"},
		{"DiskReadOnly", one(`hastack_disk_readonly{server="node01",path="/"}`, "0", "1"), "server=node01 path=/", "/ on node01 is read-only"},
		{"ClockOffset", one(`hastack_clock_offset_seconds{server="node01"}`, "0.001", "-0.5"), "server=node01",
			"the clock of node01 is 500ms away from its source"},
		{"ClockUnsynchronised", one(`hastack_clock_synchronised{server="node01"}`, "1", "0"), "server=node01", "the clock of node01 follows no source"},
	}
}

func networkCases() []fall {
	leg := func(server, sw, ill string) figures {
		return figures{fmt.Sprintf(`hastack_leg_up{server="%s",device="bond0",leg="bond0l1",switch="%s",network="management"}`, server, sw), "1", ill}
	}
	held := func(server, well, ill string) figures {
		return figures{fmt.Sprintf(`hastack_vip_held{server="%s",vip="api"}`, server), well, ill}
	}
	public := figures{`hastack_vip_held{server="node02",vip="public"}`, "1", "1"}
	return []fall{
		{"SwitchDown", up(leg("node01", "tor-a", "0"), leg("node02", "tor-a", "0"), leg("node01", "tor-b", "1"), leg("node02", "tor-b", "0")),
			"switch=tor-a", "switch tor-a: all cables into it are down"},
		{"BondLegDown", []figures{leg("node01", "tor-a", "0"), leg("node02", "tor-a", "1")},
			"server=node01 device=bond0 leg=bond0l1 switch=tor-a network=management", "node01: bond0l1, the management cable to switch tor-a, is down"},
		{"LinkDown", one(`hastack_link_up{server="node01",device="bond0",network="management"}`, "1", "0"),
			"server=node01 device=bond0 network=management", "node01 is cut off from network management: bond0 has no leg left"},
		{"LegFlaps", one(`hastack_leg_changes_total{server="node01",leg="bond0l1",switch="tor-a"}`, "7", "10+3"),
			"server=node01 leg=bond0l1 switch=tor-a", "node01: bond0l1 to switch tor-a comes and goes"},
		{"PeerUnreachable", up(figures{`hastack_peer_up{server="node01",peer="node02"}`, "1", "0"}),
			"server=node01 peer=node02", "node01 and node02 do not reach each other, while a monitor reaches both"},
		{"PeerOneWay", one(`hastack_peer_one_way{server="node01",peer="node02"}`, "0", "1"), "server=node01 peer=node02",
			"node01 hears node02 but is not heard there: the network carries one direction only"},
		{"VipMissing", up(held("node01", "1", "0"), held("node02", "0", "0"), public), "vip=api", "no load balancer holds the address of VIP api"},
		{"VipHeldTwice", []figures{held("node01", "1", "1"), held("node02", "0", "1")}, "vip=api", "2 servers hold the address of VIP api"},
	}
}

func serviceCases() []fall {
	return []fall{
		{"UnitDown", one(`hastack_unit_active{server="node01",unit="haproxy.service"}`, "1", "0"), "server=node01 unit=haproxy.service",
			"haproxy.service does not run on node01"},
		{"UnitRestarted", one(`hastack_unit_restarts_total{server="node01",unit="haproxy.service"}`, "0", "1"), "server=node01 unit=haproxy.service",
			"haproxy.service on node01 ended by itself and was started again"},
		{"ServiceNotReady", one(`hastack_service_ready{server="node01",service="nova-api"}`, "1", "0"), "server=node01 service=nova-api",
			"nova-api on node01 does not serve"},
		{"BackendDown", []figures{{`hastack_haproxy_backend_up{server="node01",backend="keystone"}`, "1", "0"}, {`hastack_haproxy_backend_up{server="node02",backend="keystone"}`, "1", "0"}},
			"backend=keystone", "no server is left behind keystone: its clients get errors"},
		{"BackendServerDown", []figures{{`hastack_haproxy_server_up{server="node01",backend="keystone",member="node03"}`, "1", "0"}, {`hastack_haproxy_server_up{server="node02",backend="keystone",member="node03"}`, "1", "0"}},
			"backend=keystone member=node03 server=node03", "load balancers send keystone nothing to node03"},
		{"BackendErrors", []figures{{`hastack_haproxy_backend_failed_total{server="node01",backend="keystone"}`, "0", "10+10"}, {`hastack_haproxy_backend_requests_total{server="node01",backend="keystone"}`, "0+20", "500+20"}},
			"backend=keystone", "35.71% of the answers of keystone are errors of the server"},
		{"MemcachedDown", one(`hastack_memcached_up{server="node01"}`, "1", "0"), "server=node01", "memcached on node01 does not answer: requests go on, slower"},
		{"AuditFindings", one(`hastack_audit_findings{server="node01"}`, "0", "2"), "", "the auditor found 2 things without an owner"},
		{"AuditUnseen", one(`hastack_audit_unseen{server="node01"}`, "0", "1"), "", "1 parts of the cloud did not answer the auditor"},
		{"AuditOverdue", []figures{{`hastack_audit_age_seconds{server="node01"}`, "20", "7200"}, {`hastack_audit_age_seconds{server="node02"}`, "20", "7300"}}, "",
			"the last audit ended 2h 0m 0s ago"},
		{"VersionsDiffer", []figures{{`hastack_node_info{server="node01",version="2"}`, "1", "1"}, {`hastack_node_info{server="node02",version="2"}`, "1", "-"}, {`hastack_node_info{server="node02",version="1"}`, "-", "1"}}, "",
			"servers run 2 versions of Hastack: an upgrade was not finished"},
		{"PacemakerNoQuorum", one(`hastack_pacemaker_quorate{server="node01"}`, "1", "0"), "server=node01",
			"the cluster manager on node01 has no quorum: it stops what it runs"},
		{"PacemakerFailed", one(`hastack_pacemaker_failed{server="node01"}`, "0", "1"), "", "1 actions of the cluster manager failed"},
	}
}

func engineCases() []fall {
	return []fall{
		{"DatabaseNoQuorum", up(figures{`hastack_galera_primary{server="node01"}`, "1", "0"}, figures{`hastack_galera_primary{server="node02"}`, "1", "-"}), "",
			"no database server is in a part of the cluster that has quorum: nothing can be written"},
		{"DatabaseMemberMissing", []figures{{`hastack_galera_cluster_size{server="node01"}`, "3", "2"}, {`hastack_galera_cluster_size{server="node02"}`, "3", "-"}}, "",
			"the database has 2 of its members; with half of them or fewer it stops"},
		{"DatabaseNotReady", one(`hastack_galera_ready{server="node01"}`, "1", "0"), "server=node01", "the database on node01 takes no statements"},
		{"DatabaseNotSynced", []figures{{`hastack_galera_synced{server="node01"}`, "1", "0"}, {`hastack_galera_ready{server="node01"}`, "1", "1"}}, "server=node01",
			"the database on node01 has not all that the cluster has"},
		{"DatabaseWriterMissing", up(figures{`hastack_database_writer{server="node01",member="node01"}`, "1", "-"}), "",
			"no load balancer knows a database server to send to"},
		{"DatabaseWritersDiffer", []figures{{`hastack_database_writer{server="node01",member="node01"}`, "1", "1"}, {`hastack_database_writer{server="node02",member="node01"}`, "1", "-"}, {`hastack_database_writer{server="node02",member="node02"}`, "-", "1"}}, "",
			"load balancers send to 2 different database servers: nothing is lost, but writes collide more often"},
		{"ReplicationSlow", one(`hastack_galera_flow_control_ratio{server="node01"}`, "0", "0.5"), "server=node01", "replication was paused 50% of the time, says node01"},
		{"ReplicationBehind", one(`hastack_galera_receive_queue{server="node01"}`, "0", "500"), "server=node01", "the database on node01 is 500 write sets behind"},
		{"DatabaseNotDurable", []figures{{`hastack_galera_flush_log_at_commit{server="node01"}`, "1", "2"}, {`hastack_galera_ready{server="node01"}`, "1", "1"}}, "server=node01",
			"the database on node01 acknowledges writes before they are on disk"},
		{"BrokerDown", one(`hastack_rabbit_up{server="node01"}`, "1", "0"), "server=node01", "the message broker on node01 does not answer"},
		{"BrokerMemberMissing", []figures{{`hastack_rabbit_running{server="node01"}`, "3", "2"}, {`hastack_rabbit_running{server="node02"}`, "3", "-"}}, "",
			"2 message brokers run together; with half of the members or fewer they stop"},
		{"BrokerPartitioned", one(`hastack_rabbit_partitions{server="node01"}`, "0", "1"), "server=node01", "the message broker on node01 is cut off from 1 others"},
		{"QueueMemberMissing", one(`hastack_rabbit_unsynced_queues{server="node01"}`, "0", "4"), "", "4 queues lack a member or a leader"},
		{"QueueDepth", one(`hastack_rabbit_messages{server="node01"}`, "0", "2000"), "", "2000 messages wait: somebody does not take them"},
		{"BrokerBlocked", one(`hastack_rabbit_alarms{server="node01"}`, "0", "1"), "server=node01", "the message broker on node01 lacks memory or disk and takes no messages"},
		{"CertificateExpires", one(`hastack_certificate_expiry_timestamp_seconds{server="node01",file="server.pem",subject="node01"}`, "8000000", "864130"),
			"server=node01 file=server.pem subject=node01", "certificate server.pem on node01 ends in 10.0 days"},
		{"CertificateExpired", one(`hastack_certificate_expiry_timestamp_seconds{server="node01",file="server.pem",subject="node01"}`, "8000000", "0"),
			"server=node01 file=server.pem subject=node01", "certificate server.pem on node01 has ended, ends today or cannot be read"},
		{"TokenKeyOld", one(`hastack_fernet_key_age_seconds{server="node01"}`, "3600", "3110400"), "server=node01", "the token key on node01 is 36d 0h 0m 0s old"},
		{"TokenKeysDiffer", []figures{{`hastack_fernet_primary{server="node01",fingerprint="aa"}`, "1", "1"}, {`hastack_fernet_primary{server="node02",fingerprint="bb"}`, "-", "1"}}, "",
			"control servers make tokens with 2 different keys"},
		{"MonitorIsolated", []figures{{`up{job="node",server="node01"}`, "1", "1"}, {`up{job="node",server="node02"}`, "1", "0"}, {`up{job="node",server="node03"}`, "1", "0"}},
			"server=node01", "the monitor on node01 reaches only 1 servers: its other alarms say little"},
		{"MonitorDown", up(figures{`up{job="prometheus",server="node02"}`, "1", "0"}), "server=node02 job=prometheus",
			"prometheus on node02 does not answer; the other monitors go on"},
	}
}
