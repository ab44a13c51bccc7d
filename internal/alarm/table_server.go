package alarm

import (
	"fmt"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

// seesMost is true on a monitor that reaches more than half of the servers. One
// that does not is cut off itself and must not call the others dead.
const seesMost = ` and on() (count(up{job="node"} == 1) > count(up{job="node"}) / 2)`

func serverAlarms(*topology.Topology) []Alarm {
	return []Alarm{
		{Name: "ServerDown", Severity: Critical, For: 5 * time.Second,
			Expr:    `max by (server) (up) == 0` + seesMost,
			Summary: `{{ $labels.server }} does not answer on any port`},
		{Name: "NodeAgentDown", Severity: Warning, For: 15 * time.Second,
			Expr:    `up{job="node"} == 0 and on(server) (max by (server) (up{job!="node"}) == 1)`,
			Summary: `the node agent of {{ $labels.server }} does not answer: nothing is known of that server`},
		{Name: "CollectorFails", Severity: Warning, For: 10 * time.Second,
			Expr:    `hastack_collector_ok == 0`,
			Summary: `the node agent of {{ $labels.server }} cannot look at {{ $labels.collector }}`},
		{Name: "MemoryLow", Severity: Warning, For: 60 * time.Second, Slow: true,
			Expr:    `hastack_memory_available_bytes / hastack_memory_total_bytes < 0.05`,
			Summary: `{{ $labels.server }} has {{ $value | humanizePercentage }} of its memory left`},
		{Name: "DiskFull", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_disk_free_bytes / hastack_disk_size_bytes < 0.03`,
			Summary: `{{ $labels.path }} on {{ $labels.server }} has {{ $value | humanizePercentage }} left`},
		{Name: "DiskFilling", Severity: Warning, For: 5 * time.Minute, Slow: true,
			Expr: `hastack_disk_free_bytes / hastack_disk_size_bytes < 0.1 or ` +
				`(hastack_disk_free_bytes / hastack_disk_size_bytes < 0.4 and predict_linear(hastack_disk_free_bytes[30m], 6 * 3600) < 0 and count_over_time(hastack_disk_free_bytes[30m]) > 300)`,
			Summary: `{{ $labels.path }} on {{ $labels.server }} is filling up`},
		{Name: "InodesLow", Severity: Warning, For: 15 * time.Second,
			Expr:    `hastack_disk_inodes > 0 and hastack_disk_free_inodes / hastack_disk_inodes < 0.03`,
			Summary: `{{ $labels.path }} on {{ $labels.server }} can take hardly any more files`},
		{Name: "DiskReadOnly", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_disk_readonly == 1`,
			Summary: `{{ $labels.path }} on {{ $labels.server }} is read-only`},
		{Name: "ClockOffset", Severity: Critical, For: 5 * time.Second,
			Expr:    `abs(hastack_clock_offset_seconds) > 0.2`,
			Summary: `the clock of {{ $labels.server }} is {{ $value | humanizeDuration }} away from its source`},
		{Name: "ClockUnsynchronised", Severity: Warning, For: 10 * time.Minute, Slow: true,
			Expr:    `hastack_clock_synchronised == 0`,
			Summary: `the clock of {{ $labels.server }} follows no source`},
	}
}

func networkAlarms(*topology.Topology) []Alarm {
	return []Alarm{
		{Name: "SwitchDown", Severity: Critical, For: 5 * time.Second,
			Expr:    `count by (switch) (hastack_leg_up == 0) == count by (switch) (hastack_leg_up) and count by (switch) (hastack_leg_up) > 1` + seesMost,
			Summary: `switch {{ $labels.switch }}: all cables into it are down`},
		{Name: "BondLegDown", Severity: Warning, For: 5 * time.Second,
			Expr:    `hastack_leg_up == 0`,
			Summary: `{{ $labels.server }}: {{ $labels.leg }}, the {{ $labels.network }} cable to switch {{ $labels.switch }}, is down`},
		{Name: "LinkDown", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_link_up == 0`,
			Summary: `{{ $labels.server }} is cut off from network {{ $labels.network }}: {{ $labels.device }} has no leg left`},
		{Name: "LegFlaps", Severity: Warning,
			Expr:    `increase(hastack_leg_changes_total[40s]) > 4`,
			Summary: `{{ $labels.server }}: {{ $labels.leg }} to switch {{ $labels.switch }} comes and goes`},
		{Name: "PeerUnreachable", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_peer_up == 0 and on(peer) label_replace(up{job="node"} == 1, "peer", "$1", "server", "(.*)")`,
			Summary: `{{ $labels.server }} and {{ $labels.peer }} do not reach each other, while a monitor reaches both`},
		{Name: "PeerOneWay", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_peer_one_way == 1`,
			Summary: `{{ $labels.server }} hears {{ $labels.peer }} but is not heard there: the network carries one direction only`},
	}
}

// each joins one expression a VIP. A cluster without VIPs cannot be written.
func each(t *topology.Topology, expr func(v *topology.VIP) string) string {
	var all []string
	for _, v := range t.VIPs {
		all = append(all, expr(v))
	}
	return strings.Join(all, " or ")
}

func vipAlarms(t *topology.Topology) []Alarm {
	return []Alarm{
		{Name: "VipMissing", Severity: Critical, For: 5 * time.Second,
			Expr: "(" + each(t, func(v *topology.VIP) string {
				return fmt.Sprintf(`(sum by (vip) (hastack_vip_held{vip="%s"}) or label_replace(vector(0), "vip", "%s", "", "")) == 0`, v.Name, v.Name)
			}) + ")" + seesMost,
			Summary: `no load balancer holds the address of VIP {{ $labels.vip }}`},
		{Name: "VipHeldTwice", Severity: Critical, For: 10 * time.Second,
			Expr:    `sum by (vip) (hastack_vip_held) > 1`,
			Summary: `{{ $value }} servers hold the address of VIP {{ $labels.vip }}`},
	}
}

func serviceAlarms(t *topology.Topology) []Alarm {
	out := []Alarm{
		{Name: "UnitDown", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_unit_active == 0`,
			Summary: `{{ $labels.unit }} does not run on {{ $labels.server }}`},
		{Name: "UnitRestarted", Severity: Warning,
			Expr:    `increase(hastack_unit_restarts_total[40s]) > 0`,
			Summary: `{{ $labels.unit }} on {{ $labels.server }} ended by itself and was started again`},
		{Name: "ServiceNotReady", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_service_ready == 0`,
			Summary: `{{ $labels.service }} on {{ $labels.server }} does not serve`},
		{Name: "BackendDown", Severity: Critical, For: 5 * time.Second,
			Expr:    `max by (backend) (hastack_haproxy_backend_up{backend!="nowhere"}) == 0`,
			Summary: `no server is left behind {{ $labels.backend }}: its clients get errors`},
		{Name: "BackendServerDown", Severity: Warning, For: 5 * time.Second,
			Expr:    `label_replace(max by (backend, member) (hastack_haproxy_server_up{backend!="database"}) == 0, "server", "$1", "member", "(.*)")`,
			Summary: `load balancers send {{ $labels.backend }} nothing to {{ $labels.server }}`},
		{Name: "BackendErrors", Severity: Warning, For: 5 * time.Second,
			Expr:    `sum by (backend) (rate(hastack_haproxy_backend_failed_total[30s])) / sum by (backend) (rate(hastack_haproxy_backend_requests_total[30s])) > 0.05`,
			Summary: `{{ $value | humanizePercentage }} of the answers of {{ $labels.backend }} are errors of the server`},
		{Name: "MemcachedDown", Severity: Warning, For: 5 * time.Second,
			Expr:    `hastack_memcached_up == 0`,
			Summary: `memcached on {{ $labels.server }} does not answer: requests go on, slower`},
		{Name: "AuditFindings", Severity: Warning,
			Expr:    `max(hastack_audit_findings) > 0`,
			Summary: `the auditor found {{ $value }} things without an owner`},
		{Name: "AuditUnseen", Severity: Warning, For: 60 * time.Second, Slow: true,
			Expr:    `max(hastack_audit_unseen) > 0`,
			Summary: `{{ $value }} parts of the cloud did not answer the auditor`},
		{Name: "AuditOverdue", Severity: Warning, For: 60 * time.Second, Slow: true,
			Expr:    `min(hastack_audit_age_seconds) > 3600`,
			Summary: `the last audit ended {{ $value | humanizeDuration }} ago`},
		{Name: "VersionsDiffer", Severity: Warning, For: 30 * time.Minute, Slow: true,
			Expr:    `count(count by (version) (hastack_node_info)) > 1`,
			Summary: `servers run {{ $value }} versions of Hastack: an upgrade was not finished`},
	}
	if t.VIPManager != topology.Pacemaker {
		return out
	}
	return append(out,
		Alarm{Name: "PacemakerNoQuorum", Severity: Critical, For: 5 * time.Second,
			Expr:    `hastack_pacemaker_quorate == 0`,
			Summary: `the cluster manager on {{ $labels.server }} has no quorum: it stops what it runs`},
		Alarm{Name: "PacemakerFailed", Severity: Warning, For: 15 * time.Second,
			Expr:    `max(hastack_pacemaker_failed) > 0`,
			Summary: `{{ $value }} actions of the cluster manager failed`},
	)
}
