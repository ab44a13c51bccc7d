package dataplanetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hastack/hastack/internal/neutron/dataplane"
)

// A Guest stands for a server: a namespace with one device.
type Guest struct {
	t      *testing.T
	NS     string
	PortID string
	MAC    string
}

// NewGuest makes a guest whose device's other end is the tap of portID, as
// nova-compute would have made it. host is the namespace of its hypervisor,
// "" for the test's own.
func NewGuest(t *testing.T, host, name, portID, mac string) *Guest {
	t.Helper()
	g := &Guest{t: t, NS: name, PortID: portID, MAC: mac}
	Must(t, "", "ip", "netns", "add", name)
	tap := dataplane.TapName(portID)
	Must(t, host, "ip", "link", "add", tap, "type", "veth", "peer", "name", "eth0", "netns", name, "address", mac)
	g.Run("ip", "link", "set", "lo", "up")
	g.Run("ip", "link", "set", "eth0", "up")
	return g
}

// Run runs a command in the guest and fails the test if it fails.
func (g *Guest) Run(words ...string) string {
	g.t.Helper()
	return Must(g.t, g.NS, words...)
}

// Address gives the guest an address and, if not empty, a default route.
func (g *Guest) Address(cidr, gateway string) {
	g.t.Helper()
	g.Run("ip", "addr", "add", cidr, "dev", "eth0")
	if gateway != "" {
		g.Run("ip", "route", "add", "default", "via", gateway)
	}
}

// Pings tells whether the guest gets an answer from ip within a second.
func (g *Guest) Pings(ip string) bool { return Pings(g.NS, ip) }

// Pings tells whether ip answers a ping from a namespace within a second.
func Pings(ns, ip string) bool {
	_, err := Run(ns, "ping", "-n", "-c", "1", "-W", "1", ip)
	return err == nil
}

// ExpectPing waits for an answer from ip.
func (g *Guest) ExpectPing(ip string) {
	g.t.Helper()
	Eventually(g.t, fmt.Sprintf("%s pings %s", g.NS, ip), 5*time.Second, func() bool { return g.Pings(ip) })
}

// ExpectNoPing checks that ip does not answer.
func (g *Guest) ExpectNoPing(ip string) {
	g.t.Helper()
	if g.Pings(ip) {
		g.t.Errorf("%s reaches %s and must not", g.NS, ip)
	}
}

// DHCP asks for an address with busybox's client and configures it.
func (g *Guest) DHCP() (lease map[string]string, err error) {
	g.t.Helper()
	dir := g.t.TempDir()
	script, result := filepath.Join(dir, "script"), filepath.Join(dir, "lease")
	body := "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nenv > " + result + "\n" +
		"ip addr replace $ip/$mask dev $interface\n" +
		"[ -n \"$mtu\" ] && ip link set $interface mtu $mtu\n" +
		"if [ -n \"$staticroutes\" ]; then set -- $staticroutes; while [ $# -ge 2 ]; do ip route replace $1 via $2 dev $interface onlink; shift 2; done\n" +
		"elif [ -n \"$router\" ]; then ip route replace default via $router; fi\n"
	if err := os.WriteFile(script, []byte(body), 0o755); err != nil {
		return nil, err
	}
	if _, err := Run(g.NS, "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-s", script, "-O", "mtu", "-O", "staticroutes"); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(result)
	if err != nil {
		return nil, err
	}
	lease = map[string]string{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			lease[k] = v
		}
	}
	return lease, nil
}

// A Daemon is a process a test started.
type Daemon struct{ cmd *exec.Cmd }

// Start starts a command in a namespace; it ends with the test.
func Start(t *testing.T, ns string, words ...string) *Daemon {
	t.Helper()
	words = append([]string{"nsenter", "--net=/run/netns/" + ns}, words...)
	d := &Daemon{cmd: exec.Command(words[0], words[1:]...)}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Stop)
	return d
}

// Stop ends the process.
func (d *Daemon) Stop() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}
