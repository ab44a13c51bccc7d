package drill

import (
	"context"
	"fmt"
	"strings"

	"github.com/hastack/hastack/internal/topology"
)

// agentSearch looks for what would give an agent the database: a secret of it
// in the configuration it reads, its environment or its arguments, and a
// connection to it. The secrets come on standard input, never as arguments.
const agentSearch = `secrets=$(mktemp) && trap 'rm -f "$secrets"' EXIT && cat > "$secrets"
for unit in hastack-nova-compute hastack-neutron-agent; do
	pid=$(systemctl show -p MainPID --value $unit.service)
	[ "${pid:-0}" -gt 0 ] || continue
	echo "seen $unit"
	for f in /proc/$pid/environ /proc/$pid/cmdline /etc/hastack/agent.yaml /etc/hastack/agent-secrets.yaml; do
		if grep -qaF -f "$secrets" "$f" 2>/dev/null; then echo "found $unit: a database secret in $f"; fi
	done
	for f in /etc/hastack/agent.yaml /etc/hastack/agent-secrets.yaml; do
		if grep -qiE 'mysql|:3306' "$f" 2>/dev/null; then echo "found $unit: $f names the database"; fi
	done
	for f in $(ls -l /proc/$pid/fd 2>/dev/null | grep -o '/etc/hastack/control[^ ]*'); do echo "found $unit: has $f open"; done
	if ss -Htnp state established '( dport = :3306 )' 2>/dev/null | grep -q "pid=$pid,"; then echo "found $unit: is connected to the database"; fi
done
true`

// CheckAgents looks on every server with agents for credentials of the
// database.
func CheckAgents(ctx context.Context, t *Target) Check {
	c := Check{Name: "no agent has credentials of the database", OK: true}
	var secrets strings.Builder
	for _, s := range t.DatabaseSecrets {
		if !s.Empty() {
			secrets.WriteString(s.Reveal() + "\n")
		}
	}
	seen := 0
	for _, s := range t.Topology.Servers {
		if !s.Has(topology.RoleCompute) && !s.Has(topology.RoleNetwork) {
			continue
		}
		out, err := t.Shell(ctx, s, agentSearch, secrets.String())
		if err != nil {
			c.Findings = append(c.Findings, fmt.Sprintf("%s could not be looked at: %v", s.Name, err))
		}
		for line := range strings.Lines(string(out)) {
			word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch word {
			case "seen":
				seen++
			case "found":
				c.Findings = append(c.Findings, s.Name+": "+rest)
			}
		}
	}
	if seen == 0 {
		c.Findings = append(c.Findings, "no agent runs, so that nothing was looked at")
	}
	c.OK = len(c.Findings) == 0
	return c
}
