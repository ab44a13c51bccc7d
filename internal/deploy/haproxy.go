package deploy

import (
	"bytes"
	_ "embed" // the configurations under files/
	"fmt"
	"net/netip"
	"strings"
	"text/template"

	"github.com/hastack/hastack/internal/topology"
)

// Files and ports of the load balancers.
const (
	haproxyPEM         = "/etc/haproxy/hastack.pem" // certificate and key in one file, as HAProxy wants them
	haproxyAlivePort   = 8405                       // loopback: answers while HAProxy works
	haproxyPeerPort    = 8403
	haproxyMetricsPort = 8404

	// haproxyMaxBody bounds a request's body, images excepted: far above what
	// any API takes, far below what hurts.
	haproxyMaxBody = 16 << 20
)

//go:embed files/haproxy.cfg.tmpl
var haproxyTemplate string

// An api is a service behind the load balancers.
type api struct {
	name string
	path string
	port int
	// internal ones are not on the public address.
	internal bool
	// long is how long the server may be silent in one request, "" for the default.
	long string
}

// apis are the services behind the load balancers, in the order of their paths.
func apis() []api {
	return []api{
		{name: "keystone", path: "/identity", port: 5000},
		// An image is verified after its last byte, before the answer.
		{name: "glance-api", path: "/image", port: 9292, long: "30m"},
		{name: "placement", path: "/placement", port: 8778},
		{name: "nova-api", path: "/compute", port: 8774},
		{name: "neutron-server", path: "/network", port: 9696},
		{name: "nova-novncproxy", path: "/console", port: 6080},
		{name: "nova-metadata", path: "/metadata", port: 8775, internal: true},
		{name: "auditor", path: "/audit", port: 8780, internal: true, long: "10m"},
	}
}

// haproxyPart balances the APIs and the database over the control servers.
func haproxyPart() *Part {
	return &Part{
		Name:    "haproxy",
		Servers: func(t *topology.Topology) []*topology.Server { return t.With(topology.RoleLoadBalancer) },
		Want:    wantHAProxy,
	}
}

func wantHAProxy(c *Context, s *topology.Server) (*Want, error) {
	certPEM, keyPEM, err := c.Cluster.Certificate(s)
	if err != nil {
		return nil, err
	}
	conf, err := haproxyConfig(c.Topology, s)
	if err != nil {
		return nil, err
	}
	elsewhere := c.Topology.VIPManager == topology.Pacemaker
	return &Want{
		Packages: []string{"haproxy"},
		Files: []File{
			// Root reads it before HAProxy gives up its rights, at a reload too.
			{Path: haproxyPEM, Mode: 0o600, Content: append(bytes.Clone(certPEM), keyPEM...), Secret: true, Reload: []string{"haproxy.service"}},
			{Path: "/etc/haproxy/haproxy.cfg", Mode: 0o644, Content: conf, Reload: []string{"haproxy.service"}},
			{
				Path: "/etc/systemd/system/haproxy.service.d/hastack.conf", Mode: 0o644,
				Content: []byte(haproxyDropIn), Restart: []string{"haproxy.service"},
			},
		},
		Units: []Unit{{Name: "haproxy.service", Enabled: !elsewhere, Running: !elsewhere, Elsewhere: elsewhere}},
	}, nil
}

// haproxyDropIn tells keepalived the moment HAProxy starts or dies: it watches
// the file, so the virtual addresses leave without waiting for a check. A
// reload keeps the main process and changes nothing. HAProxy takes as many
// connections as half of its file descriptors allow. On a busy server it comes
// before what only does work: by CPUWeight, and by Nice where the control group
// of the processors has no units below it, as in a lab.
const haproxyDropIn = `[Unit]
StartLimitIntervalSec=0

[Service]
RuntimeDirectory=hastack-vip
RuntimeDirectoryPreserve=yes
ExecStartPost=/bin/sh -c 'echo 0 > ` + vipStateFile + `'
ExecStopPost=/bin/sh -c 'echo 1 > ` + vipStateFile + `'
Restart=always
RestartSec=100ms
Nice=-10
CPUWeight=1000
OOMScoreAdjust=-900
LimitNOFILE=65536
`

// vipStateDir holds what keepalived tracks; vipStateFile is 0 while HAProxy runs, anything else when this server must
// not hold a virtual address.
const (
	vipStateDir  = "/run/hastack-vip"
	vipStateFile = vipStateDir + "/haproxy"
)

// What the template of HAProxy's configuration sees.
type (
	haproxyView struct {
		Name            string
		Management, API netip.Addr
		PEM, CA, Inter  string
		MaxBody         int

		PeerPort, AlivePort, MetricsPort, ChecksPort int

		Peers     []haproxyServer
		Databases []haproxyServer
		Fronts    []haproxyFront
		Services  []haproxyService
	}
	haproxyServer struct {
		Name    string
		Address netip.Addr
		Port    int
		Remote  bool
	}
	haproxyFront struct {
		Name    string
		Address netip.Addr
		Routes  []haproxyRoute
	}
	haproxyRoute   struct{ Path, Backend string }
	haproxyService struct {
		Name, Long string
		Servers    []haproxyServer
	}
)

// haproxyConfig is the configuration of one load balancer. All have the same
// but for names and addresses of their own.
func haproxyConfig(t *topology.Topology, s *topology.Server) ([]byte, error) {
	v := haproxyView{
		Name: s.Name, Management: s.Management(), PEM: haproxyPEM, CA: "/etc/hastack/tls/ca.pem",
		MaxBody: haproxyMaxBody, Inter: "1s",
		PeerPort: haproxyPeerPort, AlivePort: haproxyAlivePort, MetricsPort: haproxyMetricsPort, ChecksPort: nodeChecksPort,
	}
	for _, p := range t.With(topology.RoleLoadBalancer) {
		v.Peers = append(v.Peers, haproxyServer{Name: p.Name, Address: p.Management(), Remote: p != s})
	}
	control := t.With(topology.RoleControl)
	for _, a := range apis() {
		backend := haproxyService{Name: a.name, Long: a.long}
		for _, c := range control {
			backend.Servers = append(backend.Servers, haproxyServer{Name: c.Name, Address: c.Management(), Port: a.port})
		}
		v.Services = append(v.Services, backend)
	}
	for _, vip := range t.VIPs {
		v.Fronts = append(v.Fronts, haproxyFront{Name: vip.Name, Address: vip.Address, Routes: routesOf(vip.Name)})
		if vip.Name != "api" {
			continue
		}
		v.API = vip.Address
		for _, c := range control {
			v.Databases = append(v.Databases, haproxyServer{Name: c.Name, Address: c.Management()})
		}
	}
	return render("haproxy.cfg", haproxyTemplate, v)
}

// routesOf are the paths that a virtual address answers. Object storage has
// none yet: its address says so.
func routesOf(vip string) []haproxyRoute {
	var out []haproxyRoute
	for _, a := range apis() {
		if vip == "api" || vip == "public" && !a.internal {
			out = append(out, haproxyRoute{Path: a.path, Backend: a.name})
		}
	}
	return out
}

// render fills a template that is part of the binary.
func render(name, text string, view any) ([]byte, error) {
	tmpl, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{"join": strings.Join}).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("template of %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := tmpl.Execute(&b, view); err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return b.Bytes(), nil
}
