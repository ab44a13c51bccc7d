package deploy

import (
	_ "embed" // the configurations under files/
	"fmt"
	"net/netip"

	"github.com/hastack/hastack/internal/topology"
)

const (
	// vrrpFirstID is the virtual router id of the first address.
	vrrpFirstID = 51
	// vrrpPriority is the highest that is used, vrrpSpread what lies between it
	// and the last server. A backup waits the shorter the higher it is: far
	// apart, two never take the address from each other.
	vrrpPriority = 250
	vrrpSpread   = 200
	// preemptDelay keeps an address where it is until the server that is
	// preferred has been well for a while: a move ends every connection.
	preemptDelay = 10 // seconds
)

//go:embed files/keepalived.conf.tmpl
var keepalivedTemplate string

// What the template of keepalived's configuration sees.
type (
	keepalivedView struct {
		Name, Device           string
		Management             netip.Addr
		Advert                 string
		PreemptDelay           int
		StateFile, Check, Left string
		Peers                  []netip.Addr
		Instances              []vrrpInstance
	}
	vrrpInstance struct {
		Name, Device string
		ID, Priority int
		Address      netip.Addr
	}
)

// wantKeepalived is a load balancer whose addresses are moved by VRRP.
func wantKeepalived(c *Context, s *topology.Server) (*Want, error) {
	conf, err := keepalivedConfig(c.Topology, s)
	if err != nil {
		return nil, err
	}
	unit := "keepalived.service"
	w := &Want{
		Packages: []string{"keepalived", "iproute2"},
		Files: append(vipScripts(c.Topology, s),
			File{Path: "/etc/keepalived/keepalived.conf", Mode: 0o644, Content: conf, Reload: []string{unit}},
			File{
				Path: "/etc/systemd/system/keepalived.service.d/hastack.conf", Mode: 0o644,
				Content: []byte(keepalivedDropIn), Restart: []string{unit},
			},
		),
		Units: []Unit{{Name: unit, Enabled: true, Running: true}},
	}
	return w, nil
}

// keepalivedDropIn makes the death of keepalived harmless: what it leaves is
// cleared at once, so that no address is on two servers, and it is started
// again. One dead child ends the whole daemon, for the same reason.
const keepalivedDropIn = `[Unit]
After=haproxy.service
StartLimitIntervalSec=0

[Service]
RuntimeDirectory=hastack-vip
RuntimeDirectoryPreserve=yes
ExecStartPre=` + vipFlushScript + `
ExecStartPre=/bin/sh -c '[ -e ` + vipStateFile + ` ] || echo 1 > ` + vipStateFile + `'
ExecStart=
ExecStart=/usr/sbin/keepalived --dont-fork --vrrp --dont-respawn --log-detail
ExecStopPost=` + vipFlushScript + `
TimeoutStopSec=2s
Restart=always
RestartSec=100ms
OOMScoreAdjust=-900
CPUWeight=1000
`

// keepalivedConfig is the configuration of one load balancer.
func keepalivedConfig(t *topology.Topology, s *topology.Server) ([]byte, error) {
	v := keepalivedView{
		Name: s.Name, Device: vipDevice(t, s, topology.Management), Management: s.Management(),
		Advert: fmt.Sprintf("%.2f", float64(t.Engines.VRRP.AdvertMS)/1000), PreemptDelay: preemptDelay,
		StateFile: vipStateFile, Check: vipCheckScript, Left: vipLeftScript,
	}
	for _, p := range t.With(topology.RoleLoadBalancer) {
		if p != s {
			v.Peers = append(v.Peers, p.Management())
		}
	}
	for i, vip := range t.VIPs {
		rank := 0
		for j, holder := range vipHolders(t, i) {
			if holder == s {
				rank = j
			}
		}
		v.Instances = append(v.Instances, vrrpInstance{
			Name: vip.Name, ID: vrrpFirstID + i, Address: vip.Address,
			Priority: vrrpPriority - vrrpSpread*rank/(len(v.Peers)+1), Device: vipDevice(t, s, vip.Network),
		})
	}
	return render("keepalived.conf", keepalivedTemplate, v)
}
