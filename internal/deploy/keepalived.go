package deploy

import (
	_ "embed" // the configurations under files/
	"fmt"
	"net/netip"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/topology"
	"github.com/hastack/hastack/internal/vipguard"
)

const (
	// vrrpFirstID is the virtual router id of the first address.
	vrrpFirstID = 51
	// vrrpPriority is the highest that is used, vrrpSpread what lies between it
	// and the last server. A backup waits the shorter the higher it is: far
	// apart, two never take the address from each other.
	vrrpPriority = 250
	vrrpSpread   = 200
)

//go:embed files/keepalived.conf.tmpl
var keepalivedTemplate string

// What the template of keepalived's configuration sees.
type (
	keepalivedView struct {
		Name, Device        string
		Management          netip.Addr
		Advert              string
		StateDir, StateFile string
		Check, Left         string
		Peers               []netip.Addr
		Instances           []vrrpInstance
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
	guard, err := guardConfig(c.Topology, s)
	if err != nil {
		return nil, err
	}
	return &Want{
		Packages: []string{"keepalived", "iproute2"},
		Files: append(vipScripts(c.Topology, s),
			File{Path: "/etc/keepalived/keepalived.conf", Mode: 0o644, Content: conf, Reload: []string{unit}},
			File{
				Path: "/etc/systemd/system/keepalived.service.d/hastack.conf", Mode: 0o644,
				Content: []byte(keepalivedDropIn(c.Topology)), Restart: []string{unit},
			},
			File{Path: guardFile, Mode: 0o644, Content: guard, Restart: []string{guardUnit}},
		),
		Units: []Unit{
			{Name: unit, Enabled: true, Running: true},
			{Name: guardUnit, Content: guardService, Enabled: true, Running: true},
		},
	}, nil
}

// keepalivedDropIn makes the death of keepalived harmless: what it leaves is
// cleared at once, so that no address is on two servers, and it is started
// again. One dead child ends the whole daemon, for the same reason.
func keepalivedDropIn(t *topology.Topology) string {
	// What keepalived tracks must be there when it starts.
	tracked := []string{vipguard.AnswersFile, vipguard.MajorityFile}
	for _, v := range t.VIPs {
		tracked = append(tracked, vipguard.SegmentFile(v.Name))
	}
	files := "[ -e haproxy ] || echo 1 > haproxy; for f in " + strings.Join(tracked, " ")
	return `[Unit]
After=haproxy.service
Wants=` + guardUnit + `
StartLimitIntervalSec=0

[Service]
RuntimeDirectory=hastack-vip
RuntimeDirectoryPreserve=yes
ExecStartPre=` + vipFlushScript + `
ExecStartPre=/bin/sh -c 'cd ` + vipStateDir + ` && { ` + files + `; do [ -e $f ] || echo 0 > $f; done; }'
ExecStart=
ExecStart=/usr/sbin/keepalived --dont-fork --vrrp --dont-respawn
ExecStopPost=` + vipFlushScript + `
TimeoutStopSec=2s
Restart=always
RestartSec=100ms
Nice=-15
OOMScoreAdjust=-900
CPUWeight=1000
`
}

// The guard tells keepalived what it cannot see (package vipguard).
const (
	guardFile    = EtcDir + "/vip-guard.yaml"
	guardUnit    = "hastack-vip-guard.service"
	guardService = `[Unit]
Description=Hastack guard of the virtual addresses
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=` + command + ` node guard --config ` + guardFile + `
RuntimeDirectory=hastack-vip
RuntimeDirectoryPreserve=yes
WatchdogSec=10s
Restart=always
RestartSec=200ms
TimeoutStopSec=2s
Nice=-15
OOMScoreAdjust=-900
CPUWeight=1000
CapabilityBoundingSet=CAP_NET_RAW CAP_NET_ADMIN CAP_DAC_OVERRIDE
NoNewPrivileges=yes
ProtectHome=yes

[Install]
WantedBy=multi-user.target
`
)

// guardConfig is the guard's file. The majority is that of the servers whose
// loss of touch matters: control servers and load balancers.
func guardConfig(t *topology.Topology, s *topology.Server) ([]byte, error) {
	c := vipguard.Config{
		StateDir: vipStateDir, HAProxy: fmt.Sprintf("127.0.0.1:%d", haproxyAlivePort), Address: s.Management(),
	}
	for _, o := range t.Servers {
		if o == s {
			continue
		}
		if o.Has(topology.RoleControl) || o.Has(topology.RoleLoadBalancer) {
			c.Members = append(c.Members, o.Management())
		}
		if o.Has(topology.RoleLoadBalancer) {
			c.Rivals = append(c.Rivals, o.Management())
		}
	}
	for i, v := range t.VIPs {
		c.VIPs = append(c.VIPs, vipguard.VIP{Name: v.Name, ID: vrrpFirstID + i, Address: v.Address, Legs: vipLegs(s, v.Network)})
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", guardFile, err)
	}
	return b, nil
}

// keepalivedConfig is the configuration of one load balancer.
func keepalivedConfig(t *topology.Topology, s *topology.Server) ([]byte, error) {
	v := keepalivedView{
		Name: s.Name, Device: vipDevice(t, s, topology.Management), Management: s.Management(),
		Advert:   fmt.Sprintf("%.2f", float64(t.Engines.VRRP.AdvertMS)/1000),
		StateDir: vipStateDir, StateFile: vipStateFile, Check: vipCheckScript, Left: vipLeftScript,
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
