package deploy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/hastack/hastack/internal/config"
	"github.com/hastack/hastack/internal/node"
	"github.com/hastack/hastack/internal/topology"
)

// Ports and files of the node agent.
const (
	// NodePort is where every server's agent serves /state and /metrics.
	NodePort       = 9180
	nodeChecksPort = 9181
	nodeConfig     = "/etc/hastack/node.yaml"
	nodeUnitName   = "hastack-node.service"
	nodeSocketName = "hastack-node.socket"
)

// manyServers is from how many on servers hear from each other every two
// seconds only: beats grow with the square of their number.
const manyServers = 9

// nodePart runs the agent on every server that knows how the server is.
func nodePart() *Part {
	return &Part{
		Name:    "node",
		Servers: func(t *topology.Topology) []*topology.Server { return t.Servers },
		Want:    wantNode,
		Healthy: nodeAnswers,
	}
}

func wantNode(c *Context, s *topology.Server) (*Want, error) {
	units, err := watchedUnits(c, s)
	if err != nil {
		return nil, err
	}
	b, err := yaml.Marshal(nodeSettings(c, s, units))
	if err != nil {
		return nil, fmt.Errorf("the node agent's configuration of %s: %w", s.Name, err)
	}
	b = append([]byte("# Written by hastack deploy; changes made here are drift and are undone.\n"), b...)
	w := &Want{Files: []File{{Path: nodeConfig, Mode: 0o600, Content: b, Secret: true, Restart: []string{nodeUnitName}}}}
	needs := ""
	if s.Has(topology.RoleControl) {
		needs = "Requires=" + nodeSocketName + "\nAfter=" + nodeSocketName + "\n"
		w.Units = append(w.Units, Unit{
			Name: nodeSocketName, Enabled: true, Running: true,
			Content: fmt.Sprintf(nodeSocket, checksAddress(s)),
		})
	}
	w.Units = append(w.Units, Unit{Name: nodeUnitName, Content: fmt.Sprintf(nodeUnit, needs, c.Release), Enabled: true, Running: true})
	return w, nil
}

// watchedUnits are the units that all parts want to run on a server.
func watchedUnits(c *Context, s *topology.Server) ([]string, error) {
	units := []string{"ssh.service"}
	for _, p := range Parts() {
		if p.Name == "node" || !slices.Contains(p.Servers(c.Topology), s) {
			continue
		}
		w, err := p.Want(c, s)
		if err != nil {
			return nil, err
		}
		for _, u := range w.Units {
			if (u.Running || u.Elsewhere) && !slices.Contains(units, u.Name) {
				units = append(units, u.Name)
			}
		}
	}
	return units, nil
}

// nodeSettings is what the agent of a server looks at.
func nodeSettings(c *Context, s *topology.Server, units []string) *node.Config {
	t := c.Topology
	address := s.Management()
	const tls = "/etc/hastack/tls/"
	n := &node.Config{
		Server: s.Name, Roles: s.Roles, Listen: netip.AddrPortFrom(address, NodePort), Units: units,
		TLS:          config.TLS{Cert: tls + "server.pem", Key: tls + "server-key.pem", CA: tls + "ca.pem"},
		Certificates: []string{tls + "*.pem"},
		Links:        nodeLinks(s), Guests: s.Has(topology.RoleCompute) && t.Compute.Driver == "qemu",
	}
	if len(t.Servers) >= manyServers {
		n.BeatMS = 2000
	}
	for _, p := range t.Servers {
		if p != s {
			n.Peers = append(n.Peers, node.PeerConfig{Name: p.Name, Address: netip.AddrPortFrom(p.Management(), NodePort)})
		}
	}
	if s.Has(topology.RoleLoadBalancer) {
		n.HAProxy = haproxySocket
		n.Certificates = append(n.Certificates, haproxyPEM)
		n.Pacemaker = t.VIPManager == topology.Pacemaker
		for _, v := range t.VIPs {
			n.VIPs = append(n.VIPs, node.VIPConfig{Name: v.Name, Address: v.Address})
		}
	}
	roles := agentRoles(s)
	if s.Has(topology.RoleControl) {
		roles = append(controlRoles(), roles...)
		n.Checks = checksAddress(s)
		n.FernetKeys = filepath.Join(keysDir, fernetKeys)
		n.Memcached = netip.AddrPortFrom(address, 11211).String()
		n.Audit = serviceURL(address, portOf("auditor"))
		nodeEngines(c, s, n)
	}
	for _, r := range roles {
		n.Services = append(n.Services, node.ServiceConfig{Name: r.name, URL: serviceURL(address, r.port)})
	}
	return n
}

// checksAddress is where load balancers ask the agent of a control server.
func checksAddress(s *topology.Server) netip.AddrPort {
	return netip.AddrPortFrom(s.Management(), nodeChecksPort)
}

// haproxySocket is HAProxy's statistics socket.
const haproxySocket = "/run/haproxy/admin.sock"

func serviceURL(address netip.Addr, port int) string {
	return "https://" + netip.AddrPortFrom(address, uint16(port)).String()
}

// nodeEngines adds the members of the database and the bus.
func nodeEngines(c *Context, s *topology.Server, n *node.Config) {
	var members []string
	for _, m := range controlServers(c.Topology) {
		members = append(members, m.Name)
	}
	n.Galera = &node.GaleraConfig{
		Socket: "/run/mysqld/mysqld.sock", User: "monitor",
		Password: node.PlainSecret{Secret: c.Cluster.Secrets.DatabaseMonitor}, Members: members,
	}
	n.Rabbit = &node.RabbitConfig{Metrics: "http://" + netip.AddrPortFrom(s.Management(), 15692).String(), Members: members}
	n.Certificates = append(n.Certificates, galeraTLS+"/server.pem")
	// The engines may have disks of their own.
	n.Disks = []string{"/", "/var/lib", "/var/lib/mysql", "/var/lib/rabbitmq"}
}

func nodeLinks(s *topology.Server) []node.LinkConfig {
	var out []node.LinkConfig
	for _, l := range s.Links() {
		i := slices.IndexFunc(out, func(c node.LinkConfig) bool { return c.Device == l.Device })
		if i < 0 {
			i = len(out)
			out = append(out, node.LinkConfig{Device: l.Device, Network: l.Network})
		}
		leg := node.LegConfig{Name: l.Leg, Switch: l.Switch}
		if !slices.Contains(out[i].Legs, leg) { // two networks on one device have the same legs
			out[i].Legs = append(out[i].Legs, leg)
		}
	}
	return out
}

// nodeAnswers asks the agent for its state.
func nodeAnswers(ctx context.Context, c *Context, s *topology.Server) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, serviceURL(s.Management(), NodePort)+"/state", nil)
	if err != nil {
		return err
	}
	client := c.Cluster.HTTPClient(4 * time.Second)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: the node agent does not answer: %w", s.Name, err)
	}
	defer resp.Body.Close()
	// The body is read so that the connection can be closed in order.
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 16<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: the node agent answers %s", s.Name, resp.Status)
	}
	return err
}

// nodeSocket keeps the load balancers' question about the database waiting
// while the agent is restarted, so that no restart moves the writer.
const nodeSocket = `# Written by hastack deploy; changes made here are drift and are undone.
[Unit]
Description=The load balancers' question to the Hastack node agent

[Socket]
ListenStream=%s
FreeBind=yes
Backlog=256

[Install]
WantedBy=sockets.target
`

// nodeUnit runs as root: sockets of the engines and of systemd are root's. It
// keeps only the right to read what it watches. It judges the engines for the
// load balancers, so that on a busy server it runs no later than they do.
const nodeUnit = `# Written by hastack deploy; changes made here are drift and are undone.
[Unit]
Description=Hastack node agent, release %[2]s
Documentation=https://github.com/hastack/hastack/blob/main/doc/ops/status.md
After=network-online.target
Wants=network-online.target
%[1]sStartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/bin/hastack node run --config ` + nodeConfig + `
Restart=always
RestartSec=100ms
WatchdogSec=15
TimeoutStopSec=10
MemoryMax=192M
Nice=-10
CPUWeight=1000
OOMScoreAdjust=-500
LimitNOFILE=4096
TasksMax=256
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH
ProtectSystem=full
ProtectHome=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_UNIX AF_NETLINK

[Install]
WantedBy=multi-user.target
`
