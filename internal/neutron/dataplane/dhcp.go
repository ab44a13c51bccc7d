package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// metadataIP is where guests look for their metadata.
var metadataIP = netip.MustParsePrefix("169.254.169.254/32")

// dhcpFiles are the files of one network's DHCP server.
type dhcpFiles struct{ dir string }

func (h *Host) dhcpFiles(networkID string) dhcpFiles { return dhcpFiles{h.dir("dhcp", networkID)} }

func (f dhcpFiles) path(name string) string { return f.dir + "/" + name }

// ReconcileDHCP makes the network's DHCP server: a namespace with the DHCP
// port in it and a dnsmasq that knows the network's ports. The returned error
// joins what was wrong with single ports or options, which are left out; the
// others are served.
func (h *Host) ReconcileDHCP(n *rpc.NetworkState, d *rpc.DHCPNetworkState) error {
	if d.Port == nil {
		return nil // the server is still making it
	}
	if _, err := chainID(n.ID); err != nil {
		return err
	}
	name := DHCPNamespace(n.ID)
	ns, err := h.ensureNamespace(name, owner{tag: h.tag, kind: ownerDHCP, id: n.ID})
	if err != nil {
		return err
	}
	defer ns.close()
	if err := ns.do(quietNamespace); err != nil {
		return err
	}
	dev := nsDevice{name: prefixDHCPDev + cut11(d.Port.ID), portID: d.Port.ID, mac: d.Port.MAC, mtu: n.MTU}
	link, err := h.ensureDevice(ns, dev)
	if err != nil {
		return fmt.Errorf("device of dhcp port %s: %w", d.Port.ID, err)
	}
	if err := removeDevices(ns, map[string]bool{dev.name: true}, prefixDHCPDev); err != nil {
		return err
	}
	addrs, routes, err := dhcpAddrs(d.Port, link.Attrs().Index)
	if err != nil {
		return err
	}
	if _, err := syncAddrs(ns, link, addrs); err != nil {
		return err
	}
	routeErr := syncRoutes(ns, routes)
	conf, confErr := dhcpConfig(n, d)
	return errors.Join(routeErr, confErr, h.runDHCP(ns, n.ID, dev.name, conf))
}

// quietNamespace sets up a new namespace: no router advertisements taken, no
// waiting for duplicate address detection.
func quietNamespace() error {
	var errs []error
	for _, kv := range [][2]string{
		{"ipv6/conf/default/accept_ra", "0"}, {"ipv6/conf/all/accept_ra", "0"},
		{"ipv6/conf/default/accept_dad", "0"}, {"ipv6/conf/all/accept_dad", "0"},
		{"ipv4/conf/all/promote_secondaries", "1"}, {"ipv4/conf/default/promote_secondaries", "1"},
	} {
		if _, err := os.Stat("/proc/sys/net/" + kv[0]); err == nil {
			errs = append(errs, sysctl(kv[0], kv[1]))
		}
	}
	return errors.Join(errs...)
}

func dhcpAddrs(p *rpc.PortState, index int) (addrs []netip.Prefix, routes []nsRoute, err error) {
	for _, ip := range p.FixedIPs {
		a, err := netip.ParseAddr(ip.IP)
		if err != nil || ip.PrefixLen < 0 || ip.PrefixLen > a.BitLen() {
			return nil, nil, fmt.Errorf("bad address %s/%d of dhcp port %s", ip.IP, ip.PrefixLen, p.ID)
		}
		addrs = append(addrs, netip.PrefixFrom(a, ip.PrefixLen))
		if gw, err := netip.ParseAddr(ip.Gateway); err == nil && a.Is4() && len(routes) == 0 {
			routes = append(routes, nsRoute{dst: netip.MustParsePrefix("0.0.0.0/0"), via: gw, link: index})
		}
	}
	return append(addrs, metadataIP), routes, nil
}

// runDHCP writes the files and makes dnsmasq agree with them.
func (h *Host) runDHCP(ns *namespace, networkID, device string, conf *dnsmasqConfig) error {
	f := h.dhcpFiles(networkID)
	reload := false
	for name, content := range map[string]string{"host": conf.hosts, "addn_hosts": conf.names, "opts": conf.options} {
		changed, err := writeFile(f.path(name), content)
		if err != nil {
			return err
		}
		reload = reload || changed
	}
	proc := &dnsmasqProc{ns: ns, pidFile: f.path("pid"), args: conf.args(f, device)}
	if len(conf.ranges) == 0 {
		proc.stop()
		return nil
	}
	stale, err := staleLeases(f.path("leases"), conf.owners)
	if err != nil {
		return err
	}
	if stale != nil {
		// dnsmasq keeps an address for the MAC that leased it, and reads the
		// file only when it starts.
		proc.stop()
		if _, err := writeFile(f.path("leases"), *stale); err != nil {
			return err
		}
	}
	return proc.ensure(reload)
}

// staleLeases returns what the lease file should hold when it gives an
// address that now belongs to another MAC; nil when it need not change.
func staleLeases(path string, owners map[string]string) (*string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var keep strings.Builder
	stale := false
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line) // expiry mac address name client-id
		if len(f) >= 3 {
			if mac, ok := owners[f[2]]; ok && !strings.EqualFold(mac, f[1]) && strings.Count(f[1], ":") == 5 {
				stale = true
				continue
			}
		}
		keep.WriteString(line)
	}
	if !stale {
		return nil, nil
	}
	s := keep.String()
	return &s, nil
}

// RemoveDHCP takes a network's DHCP server away with everything of it.
func (h *Host) RemoveDHCP(networkID string) error {
	if _, err := chainID(networkID); err != nil {
		return err
	}
	ns, err := h.openOwned(DHCPNamespace(networkID))
	if err != nil {
		return err
	}
	if ns != nil {
		proc := &dnsmasqProc{ns: ns, pidFile: h.dhcpFiles(networkID).path("pid")}
		proc.stop()
		err = errors.Join(removeDevices(ns, nil, prefixDHCPDev), h.deleteNamespace(ns.name))
		ns.close()
	}
	return errors.Join(err, os.RemoveAll(h.dhcpFiles(networkID).dir))
}

// openOwned opens a namespace if it exists and is this host's; nil if not.
func (h *Host) openOwned(name string) (*namespace, error) {
	ns, err := openNamespace(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lo, err := ns.nl.LinkByName("lo")
	if err == nil {
		if _, ok := h.owns(lo); ok {
			return ns, nil
		}
		// Made by a process that died before it could mark it.
		if _, err := os.Stat(h.dir("namespaces", name)); err == nil && lo.Attrs().Alias == "" {
			return ns, nil
		}
	}
	ns.close()
	return nil, nil
}
