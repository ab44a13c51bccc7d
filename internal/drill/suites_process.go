package drill

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/topology"
)

// A process is a kind of process that a cluster runs.
type process struct {
	unit string // without .service
	role string // of the servers that run it; "" for all
	// whole kills every process of the unit, for those whose main process is
	// only the parent of the one that works.
	whole bool
}

// processes are all kinds, in the order in which a request meets them.
func processes(t *topology.Topology) []process {
	list := []process{
		{unit: "haproxy", role: topology.RoleLoadBalancer, whole: true},
		{unit: "hastack-keystone", role: topology.RoleControl},
		{unit: "hastack-glance-api", role: topology.RoleControl},
		{unit: "hastack-placement", role: topology.RoleControl},
		{unit: "hastack-nova-api", role: topology.RoleControl},
		{unit: "hastack-neutron-server", role: topology.RoleControl},
		{unit: "hastack-nova-conductor", role: topology.RoleControl},
		{unit: "hastack-nova-scheduler", role: topology.RoleControl},
		{unit: "hastack-nova-metadata", role: topology.RoleControl},
		{unit: "hastack-nova-novncproxy", role: topology.RoleControl},
		{unit: "hastack-auditor", role: topology.RoleControl},
		{unit: "hastack-nova-compute", role: topology.RoleCompute},
		{unit: "hastack-neutron-agent", role: topology.RoleNetwork},
		{unit: "hastack-node"},
		{unit: "mariadb", role: topology.RoleControl},
		{unit: "rabbitmq-server", role: topology.RoleControl, whole: true},
		{unit: "memcached", role: topology.RoleControl},
	}
	if t.VIPManager == topology.Pacemaker {
		return append(list, process{unit: "pacemaker", role: topology.RoleLoadBalancer, whole: true},
			process{unit: "corosync", role: topology.RoleLoadBalancer})
	}
	return append(list, process{unit: "keepalived", role: topology.RoleLoadBalancer, whole: true})
}

// processFaults kill and freeze each kind of process on one server, then those
// of the VIP holders and of the database writer.
func processFaults(t *Target) []*Fault {
	var out []*Fault
	for _, how := range []string{"KILL", "STOP"} {
		for _, p := range processes(t.Topology) {
			server := victim(t.Topology, p.role)
			if server == "" {
				continue
			}
			f := signal(t, how, p, server, func(context.Context) (string, error) { return server, nil })
			f.Targets = []string{server}
			out = append(out, f)
		}
		out = append(out, holderFaults(t, how)...)
	}
	return out
}

func holderFaults(t *Target, how string) []*Fault {
	var out []*Fault
	for _, v := range t.Topology.VIPs {
		for _, p := range processes(t.Topology) {
			if p.role != topology.RoleLoadBalancer {
				continue
			}
			f := signal(t, how, p, "holder of VIP "+v.Name, func(ctx context.Context) (string, error) { return t.holderOf(ctx, v.Name) })
			if how == "KILL" {
				f.Kind = KindBalancer
			}
			out = append(out, f)
		}
	}
	f := signal(t, how, process{unit: "mariadb"}, "database writer", t.writer)
	// Its loss is the loss of the writer: another has to be chosen.
	f.Kind = KindWriter
	return append(out, f)
}

// victim is the last server with the role: the first ones are those that the
// VIPs prefer, which have faults of their own.
func victim(t *topology.Topology, role string) string {
	list := t.Servers
	if role != "" {
		list = t.With(role)
	}
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1].Name
}

// sendSignal signals the main process of a unit, or all its descendants too. It
// goes by process ids: systemctl kill asks the control group, which a nested
// one may refuse. Descendants may be gone when their parent is.
const sendSignal = `main=$(systemctl show -p MainPID --value %[3]s.service)
[ "${main:-0}" -gt 0 ] || { echo "%[3]s does not run" >&2; exit 1; }
below() { for p in "$@"; do echo "$p"; below $(pgrep -P "$p"); done; }
pids=
case %[1]s in all) pids=$(below $(pgrep -P "$main")) ;; esac
kill -%[2]s "$main" || exit 1
[ -z "$pids" ] || kill -%[2]s $pids 2>/dev/null || :`

// signal kills (KILL) or freezes (STOP) a unit's process.
func signal(t *Target, how string, p process, where string, which func(ctx context.Context) (string, error)) *Fault {
	word, kind := "kill -9 ", KindProcess
	if how == "STOP" {
		word, kind = "SIGSTOP ", KindFreeze
	}
	var server string
	whom := "main"
	if p.whole || how == "STOP" {
		whom = "all"
	}
	f := &Fault{Name: where + ": " + word + p.unit, Kind: kind, Alarms: alarmsOf(kind), Hold: 3 * time.Second,
		Prepare: func(ctx context.Context) (err error) {
			if server, err = which(ctx); err != nil {
				return err
			}
			out, err := t.on(ctx, server, "systemctl show -p ActiveState --value "+p.unit+".service")
			if state := strings.TrimSpace(string(out)); err == nil && state != "active" {
				return fmt.Errorf("%s of %s is %s, so it cannot be drilled", p.unit, server, state)
			}
			return err
		},
		Inject: func(ctx context.Context) error {
			_, err := t.on(ctx, server, fmt.Sprintf(sendSignal, whom, how, p.unit))
			return err
		}}
	if how == "STOP" {
		f.Hold = 8 * time.Second
		f.Heal = func(ctx context.Context) error {
			if server == "" {
				return nil
			}
			// What its watchdog has killed meanwhile is not there to be thawed.
			_, err := t.on(ctx, server, fmt.Sprintf("( "+sendSignal+" ) || true", "all", "CONT", p.unit))
			return err
		}
	}
	return f
}
