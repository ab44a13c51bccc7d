package alarm

import (
	"fmt"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

func databaseAlarms(t *topology.Topology) []Alarm {
	return []Alarm{
		{Name: "DatabaseNoQuorum", Severity: Critical, For: 5 * time.Second,
			Expr:    `absent(hastack_galera_primary == 1)` + seesMost,
			Summary: `no database server is in a part of the cluster that has quorum: nothing can be written`},
		{Name: "DatabaseMemberMissing", Severity: Critical, For: 5 * time.Second,
			Expr:    fmt.Sprintf(`max(hastack_galera_cluster_size) < %d`, len(t.With(topology.RoleControl))),
			Summary: `the database has {{ $value }} of its members; with half of them or fewer it stops`},
		{Name: "DatabaseNotReady", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_galera_ready == 0`,
			Summary: `the database on {{ $labels.server }} takes no statements`},
		{Name: "DatabaseNotSynced", Severity: Warning, For: 15 * time.Second,
			Expr:    `hastack_galera_synced == 0 and hastack_galera_ready == 1`,
			Summary: `the database on {{ $labels.server }} has not all that the cluster has`},
		{Name: "DatabaseWriterMissing", Severity: Critical, For: 5 * time.Second,
			Expr:    `absent(hastack_database_writer == 1)` + seesMost,
			Summary: `no load balancer knows a database server to send to`},
		{Name: "DatabaseWritersDiffer", Severity: Warning, For: 15 * time.Second,
			Expr:    `count(count by (member) (hastack_database_writer == 1)) > 1`,
			Summary: `load balancers send to {{ $value }} different database servers: nothing is lost, but writes collide more often`},
		{Name: "ReplicationSlow", Severity: Warning, For: 15 * time.Second,
			Expr:    `hastack_galera_flow_control_ratio > 0.1`,
			Summary: `replication was paused {{ $value | humanizePercentage }} of the time, says {{ $labels.server }}`},
		{Name: "ReplicationBehind", Severity: Warning, For: 15 * time.Second,
			Expr:    `hastack_galera_receive_queue > 100`,
			Summary: `the database on {{ $labels.server }} is {{ $value }} write sets behind`},
		{Name: "DatabaseNotDurable", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_galera_flush_log_at_commit != 1 and on(server) hastack_galera_ready == 1`,
			Summary: `the database on {{ $labels.server }} acknowledges writes before they are on disk`},
	}
}

func busAlarms(t *topology.Topology) []Alarm {
	return []Alarm{
		{Name: "BrokerDown", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_rabbit_up == 0`,
			Summary: `the message broker on {{ $labels.server }} does not answer`},
		{Name: "BrokerMemberMissing", Severity: Critical, For: 5 * time.Second,
			Expr:    fmt.Sprintf(`max(hastack_rabbit_running) < %d`, len(t.With(topology.RoleControl))),
			Summary: `{{ $value }} message brokers run together; with half of the members or fewer they stop`},
		{Name: "BrokerPartitioned", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_rabbit_partitions > 0`,
			Summary: `the message broker on {{ $labels.server }} is cut off from {{ $value }} others`},
		{Name: "QueueMemberMissing", Severity: Warning, For: 10 * time.Second,
			Expr:    `max(hastack_rabbit_unsynced_queues) > 0`,
			Summary: `{{ $value }} queues lack a member or a leader`},
		{Name: "QueueDepth", Severity: Warning, For: 10 * time.Second,
			Expr:    `max(hastack_rabbit_messages) > 1000`,
			Summary: `{{ $value }} messages wait: somebody does not take them`},
		{Name: "BrokerBlocked", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_rabbit_alarms > 0`,
			Summary: `the message broker on {{ $labels.server }} lacks memory or disk and takes no messages`},
	}
}

func keyAlarms(*topology.Topology) []Alarm {
	const left = `(hastack_certificate_expiry_timestamp_seconds - time()) / 86400`
	return []Alarm{
		{Name: "CertificateExpires", Severity: Warning,
			Expr:    left + ` < 14 and hastack_certificate_expiry_timestamp_seconds > 0`,
			Summary: `certificate {{ $labels.file }} on {{ $labels.server }} ends in {{ printf "%.1f" $value }} days`},
		{Name: "CertificateExpired", Severity: Critical,
			Expr:    left + ` < 1`,
			Summary: `certificate {{ $labels.file }} on {{ $labels.server }} has ended, ends today or cannot be read`},
		{Name: "TokenKeyOld", Severity: Warning,
			Expr:    `hastack_fernet_key_age_seconds > 35 * 86400`,
			Summary: `the token key on {{ $labels.server }} is {{ $value | humanizeDuration }} old`},
		{Name: "TokenKeysDiffer", Severity: Critical, For: 15 * time.Second,
			Expr:    `count(count by (fingerprint) (hastack_fernet_primary)) > 1`,
			Summary: `control servers make tokens with {{ $value }} different keys`},
	}
}

func monitorAlarms(*topology.Topology) []Alarm {
	return []Alarm{
		{Name: "MonitorIsolated", Severity: Critical, For: 10 * time.Second, Labels: map[string]string{"server": "MONITOR"},
			Expr:    `(count(up{job="node"} == 1) or vector(0)) <= count(up{job="node"}) / 2`,
			Summary: `the monitor on MONITOR reaches only {{ $value }} servers: its other alarms say little`},
		{Name: "MonitorDown", Severity: Warning, For: 10 * time.Second,
			Expr:    `up{job=~"prometheus|alertmanager"} == 0 and on(server) (up{job="node"} == 1)`,
			Summary: `{{ $labels.job }} on {{ $labels.server }} does not answer; the other monitors go on`},
	}
}
