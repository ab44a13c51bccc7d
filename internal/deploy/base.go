package deploy

import (
	"context"
	"fmt"
	"strings"

	"github.com/hastack/hastack/internal/topology"
)

// The places of a server that every part may rely on once base is there.
const (
	EtcDir   = "/etc/hastack"        // root:hastack 0750
	StateDir = "/var/lib/hastack"    // state of the services
	LibDir   = "/usr/lib/hastack"    // releases and the scripts of parts
	tlsDir   = EtcDir + "/tls"       // ca.pem, server.pem, server-key.pem
	markFile = EtcDir + "/cluster"   // the cluster that the server belongs to
	current  = LibDir + "/current"   // the release in use
	command  = "/usr/bin/hastack"    // what an operator calls
	releases = LibDir + "/releases/" // one directory a release
)

// everyServer is the Servers of parts that run everywhere.
func everyServer(t *topology.Topology) []*topology.Server { return t.Servers }

// basePart makes a plain Debian server one of this cluster's.
func basePart() *Part {
	return &Part{Name: "base", Servers: everyServer, Want: wantBase, Healthy: baseHealthy}
}

func wantBase(c *Context, s *topology.Server) (*Want, error) {
	const reloadJournal = "systemctl try-restart systemd-journald.service"
	return &Want{
		Packages: []string{"ca-certificates", "chrony", "iproute2", "iputils-arping", "nftables", "procps"},
		Users:    []User{{Name: serviceUser, Home: StateDir}},
		Dirs: []Directory{
			{Path: EtcDir, Group: serviceUser, Mode: 0o750},
			{Path: StateDir, Mode: 0o755},
			{Path: LibDir, Mode: 0o755},
		},
		Files: []File{
			{Path: markFile, Mode: 0o644, Content: []byte(c.Topology.Name + "\n")},
			{Path: "/etc/hostname", Mode: 0o644, Content: []byte(s.Name + "\n"), Then: []string{"hostname -F /etc/hostname"}},
			{Path: "/etc/hosts", Mode: 0o644, Content: []byte(hosts(c.Topology))},
			{Path: "/etc/sysctl.d/60-hastack.conf", Mode: 0o644, Content: []byte(sysctl(s)), Then: []string{"sysctl -q -p /etc/sysctl.d/60-hastack.conf"}},
			{Path: "/etc/systemd/journald.conf.d/hastack.conf", Mode: 0o644, Content: []byte(journal), Then: []string{reloadJournal}},
			{Path: "/etc/chrony/chrony.conf", Mode: 0o644, Content: []byte(chrony(c.Topology, s)), Restart: []string{"chrony.service"}},
			{Path: unitDir + "chrony.service.d/hastack.conf", Mode: 0o644, Content: []byte(chronyUnit), Restart: []string{"chrony.service"}},
		},
		Units: []Unit{{Name: "chrony.service", Enabled: true, Running: true}},
	}, nil
}

// hosts names every server and virtual address, so that no part needs a DNS
// server.
func hosts(t *topology.Topology) string {
	var b strings.Builder
	b.WriteString("# Written by hastack deploy.\n127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n\n")
	for _, other := range t.Servers {
		fmt.Fprintf(&b, "%s %s %s\n", other.Management(), other.FQDN(), other.Name)
	}
	for _, v := range t.VIPs {
		fmt.Fprintf(&b, "%s %s.%s\n", v.Address, v.Name, t.Domain)
	}
	return b.String()
}

const journal = `# Written by hastack deploy.
[Journal]
SystemMaxUse=512M
RuntimeMaxUse=64M
RateLimitIntervalSec=30s
RateLimitBurst=20000
`

// sysctl lets load balancers answer for addresses that they do not hold yet,
// keeps answers to ARP on the interface that has the address, and notices
// dead peers in seconds.
func sysctl(s *topology.Server) string {
	lines := []string{
		"# Written by hastack deploy.",
		"net.ipv4.ip_nonlocal_bind = 1",
		"net.ipv4.conf.all.arp_ignore = 1",
		"net.ipv4.conf.all.arp_announce = 2",
		"net.ipv4.conf.all.arp_notify = 1",
		"net.ipv4.tcp_keepalive_time = 30",
		"net.ipv4.tcp_keepalive_intvl = 5",
		"net.ipv4.tcp_keepalive_probes = 3",
		"net.ipv4.tcp_syn_retries = 3",
	}
	if s.Has(topology.RoleNetwork) || s.Has(topology.RoleCompute) {
		lines = append(lines,
			"net.ipv4.ip_forward = 1",
			"net.ipv4.conf.all.rp_filter = 0",
			"net.ipv4.conf.default.rp_filter = 0",
			// A kernel that has no such key yet gets it with the module.
			"-net.bridge.bridge-nf-call-iptables = 1",
			"-net.netfilter.nf_conntrack_max = 262144",
		)
	}
	return strings.Join(lines, "\n") + "\n"
}

// clockSources are the servers that the others take the time from.
func clockSources(t *topology.Topology) []*topology.Server {
	if admins := t.With(topology.RoleAdmin); len(admins) > 0 {
		return admins
	}
	return t.With(topology.RoleControl)
}

// chrony makes the sources agree with the Internet, and with each other where
// there is none: orphans elect one of them.
func chrony(t *topology.Topology, s *topology.Server) string {
	var b strings.Builder
	b.WriteString("# Written by hastack deploy.\ndriftfile /var/lib/chrony/chrony.drift\nntsdumpdir /var/lib/chrony\nlogdir /var/log/chrony\nmakestep 0.5 3\nrtcsync\n")
	source := false
	for _, o := range clockSources(t) {
		if o == s {
			source = true
			continue
		}
		fmt.Fprintf(&b, "server %s iburst minpoll 4 maxpoll 6\n", o.Management())
	}
	if source {
		b.WriteString("pool 2.debian.pool.ntp.org iburst\nlocal stratum 10 orphan\n")
		fmt.Fprintf(&b, "allow %s\n", t.Networks[topology.Management].CIDR)
	}
	return b.String()
}

// chronyUnit starts chronyd without the right to set the clock where the
// server is a container: there the clock is the host's.
const chronyUnit = `# Written by hastack deploy.
[Unit]
ConditionCapability=
[Service]
ExecStart=
ExecStart=!/bin/sh -c 'x=; systemd-detect-virt -cq && x=-x; exec /usr/sbin/chronyd $DAEMON_OPTS $x'
Restart=on-failure
`

// baseHealthy wants every server to know itself by its name.
func baseHealthy(ctx context.Context, c *Context, s *topology.Server) error {
	out, err := c.Run(ctx, s, "hostname", nil)
	if err != nil {
		return err
	}
	if name := strings.TrimSpace(string(out)); name != s.Name {
		return fmt.Errorf("%s calls itself %q", s.Name, name)
	}
	return nil
}
