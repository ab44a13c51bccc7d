package deploy

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	_ "embed" // the configurations under files/
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/topology"
	"github.com/hastack/hastack/internal/vipguard"
)

var (
	//go:embed files/corosync.conf.tmpl
	corosyncTemplate string
	//go:embed files/pacemaker.crm.tmpl
	pacemakerTemplate string
)

// pacemakerFile is the cluster's configuration in crmsh's words. It is loaded
// into the cluster when it differs from what was loaded last.
const pacemakerFile = EtcDir + "/pacemaker.crm"

// corosyncKeyBytes is the length that corosync-keygen makes.
const corosyncKeyBytes = 256

// What the templates of corosync and pacemaker see.
type (
	pacemakerView struct {
		Name, Sum string
		Nodes     []pacemakerNode
		Legs      []string // that are watched
		VIPs      []pacemakerVIP
	}
	pacemakerNode struct {
		Name    string
		ID      int
		Address netip.Addr
	}
	pacemakerVIP struct {
		Name, Device, Prefer string
		Address              netip.Addr
		Legs                 []string // of its network; with all of them down it must not be here
	}
)

// wantPacemaker is a load balancer whose addresses are moved by Pacemaker.
// HAProxy is one of its resources: it runs where there is a quorum.
func wantPacemaker(c *Context, s *topology.Server) (*Want, error) {
	corosync, err := render("corosync.conf", corosyncTemplate, pacemakerViewOf(c.Topology))
	if err != nil {
		return nil, err
	}
	resources, err := pacemakerConfig(c.Topology)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Expand(sha256.New, []byte(c.Cluster.Secrets.CorosyncKey.Reveal()), "corosync authkey", corosyncKeyBytes)
	if err != nil {
		return nil, fmt.Errorf("make corosync's key: %w", err)
	}
	// Only the watcher of HAProxy: members and addresses are corosync's.
	guard, err := yaml.Marshal(vipguard.Config{
		StateDir: vipStateDir, HAProxy: fmt.Sprintf("127.0.0.1:%d", haproxyAlivePort), Address: s.Management(),
	})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", guardFile, err)
	}
	restart := []string{"corosync.service", "pacemaker.service"}
	return &Want{
		Packages: []string{"corosync", "crmsh", "iproute2", "pacemaker", "resource-agents"},
		Files: append(vipScripts(c.Topology, s),
			File{Path: "/etc/corosync/corosync.conf", Mode: 0o644, Content: corosync, Restart: restart},
			File{Path: "/etc/corosync/authkey", Mode: 0o400, Content: key, Secret: true, Restart: restart},
			File{Path: "/etc/systemd/system/corosync.service.d/hastack.conf", Mode: 0o644, Content: []byte(corosyncDropIn), Restart: restart},
			File{Path: "/etc/systemd/system/pacemaker.service.d/hastack.conf", Mode: 0o644, Content: []byte(pacemakerDropIn), Restart: restart[1:]},
			File{Path: pacemakerFile, Mode: 0o644, Content: resources},
			File{Path: guardFile, Mode: 0o644, Content: guard, Restart: []string{guardUnit}},
		),
		Units: []Unit{
			{Name: "corosync.service", Enabled: true, Running: true},
			{Name: "pacemaker.service", Enabled: true, Running: true},
			{Name: guardUnit, Content: guardService, Enabled: true, Running: true},
		},
	}, nil
}

// What dies here must not leave an address behind: nobody fences this server.
const (
	corosyncDropIn = `[Unit]
StartLimitIntervalSec=0

[Service]
ExecStopPost=` + vipFlushScript + `
Restart=always
RestartSec=500ms
OOMScoreAdjust=-900
`
	pacemakerDropIn = `[Unit]
StartLimitIntervalSec=0

[Service]
ExecStopPost=` + vipFlushScript + `
Restart=always
RestartSec=1s
TimeoutStopSec=60s
OOMScoreAdjust=-900
`
)

func pacemakerViewOf(t *topology.Topology) pacemakerView {
	v := pacemakerView{Name: t.Name}
	for _, s := range t.With(topology.RoleLoadBalancer) {
		// The host number is as unique as the name and as lasting.
		v.Nodes = append(v.Nodes, pacemakerNode{Name: s.Name, ID: s.Host, Address: s.Management()})
	}
	for i, vip := range t.VIPs {
		first := vipHolders(t, i)[0]
		device := vipDevice(t, first, vip.Network)
		address := pacemakerVIP{Name: vip.Name, Address: vip.Address, Device: device, Prefer: first.Name}
		if vip.Network != topology.Management { // that it is cut, the members know
			address.Legs = vipLegs(first, vip.Network)
		}
		for _, leg := range address.Legs {
			if !slices.Contains(v.Legs, leg) {
				v.Legs = append(v.Legs, leg)
			}
		}
		v.VIPs = append(v.VIPs, address)
	}
	return v
}

// pacemakerConfig carries a sum of itself, by which the cluster tells what it
// has.
func pacemakerConfig(t *topology.Topology) ([]byte, error) {
	v := pacemakerViewOf(t)
	b, err := render("pacemaker.crm", pacemakerTemplate, v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	v.Sum = hex.EncodeToString(sum[:8])
	return render("pacemaker.crm", pacemakerTemplate, v)
}

// loadPacemaker loads the configuration into the cluster if it has another.
// Resources that are the same in both go on running.
func loadPacemaker(ctx context.Context, c *Context) error {
	if c.Topology.VIPManager != topology.Pacemaker {
		return nil
	}
	first := c.Topology.With(topology.RoleLoadBalancer)[0]
	if _, err := c.Run(ctx, first, pacemakerLoad, nil); err != nil {
		return fmt.Errorf("configure pacemaker: %w", err)
	}
	return nil
}

const pacemakerLoad = `
want=$(sed -n 's/.*hastack-config=\([0-9a-f]*\).*/\1/p' ` + pacemakerFile + `)
have() { crm_attribute --type crm_config --name hastack-config --query --quiet 2>/dev/null; }
[ "$(have)" = "$want" ] && exit 0
i=0
until [ "$(crm_mon -1 --output-as=xml 2>/dev/null | grep -c 'with_quorum="true"')" -gt 0 ]; do
	i=$((i+1))
	[ $i -lt 90 ] || { echo "pacemaker has no quorum after 90 s: look at crm_mon and journalctl -u corosync -u pacemaker" >&2; exit 1; }
	sleep 1
done
crm --force configure load replace ` + pacemakerFile + ` >&2 || exit 1
# what runs stays although the file does not have it
names() { sed -n 's/^ *\(primitive\|clone\) \([^ ]*\).*/\2/p'; }
stale=$(crm configure show | names | grep -vxF -- "$(names <` + pacemakerFile + `)")
[ -z "$stale" ] || crm --force configure delete $stale >&2 || exit 1
[ "$(have)" = "$want" ] || { echo "pacemaker did not take ` + pacemakerFile + `" >&2; exit 1; }
`
