package dataplane

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A BridgeMapping ties a physical network name to a bridge of the host.
type BridgeMapping struct {
	PhysicalNetwork string
	Bridge          string
	// HostAddress, when valid, makes the host create Bridge with this address,
	// and an unreachable route of high metric for its prefix, so that nothing
	// for the network ever leaves the machine another way.
	HostAddress netip.Prefix
}

// Config says whose data plane this is.
type Config struct {
	// StateDir holds the files of DHCP servers and routers, and its tag marks
	// everything made.
	StateDir       string
	BridgeMappings []BridgeMapping
	// TunnelIP is this host's VXLAN endpoint; invalid means no tunnels, which
	// is right for a single host.
	TunnelIP netip.Addr
	Log      *slog.Logger
}

// A Host is the machine, seen from the network namespace that NewHost was
// called in. Its methods are safe for concurrent use as far as they concern
// different objects; one L2 reconcile runs at a time.
type Host struct {
	cfg Config
	tag string
	log *slog.Logger
	nl  *netlink.Handle
	nft string

	mu       sync.Mutex // guards firewall: one nft transaction at a time
	firewall *firewallState

	natMu sync.Mutex // guards nat
	nat   map[string]*natState

	background sync.WaitGroup // announcements under way
	closing    chan struct{}
}

// ErrNotRoot says that the process may not configure networks.
var ErrNotRoot = errors.New("configuring networks needs root")

// NewHost opens the machine and checks that it can do what is needed.
func NewHost(cfg Config) (*Host, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	nft, err := findTool("nft")
	if err != nil {
		return nil, err
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if cfg.TunnelIP.IsLoopback() {
		cfg.TunnelIP = netip.Addr{} // one machine: nobody to tunnel to
	}
	h := &Host{cfg: cfg, tag: Tag(cfg.StateDir), log: cfg.Log, nl: nl, nft: nft, nat: map[string]*natState{}, closing: make(chan struct{})}
	if h.log == nil {
		h.log = slog.Default()
	}
	h.firewall = newFirewallState(h.tag)
	return h, nil
}

// Close lets go of the machine and leaves it as it is.
func (h *Host) Close() {
	close(h.closing)
	h.background.Wait()
	h.nl.Close()
}

// Tag is the mark on everything this host makes.
func (h *Host) Tag() string { return h.tag }

// Prepare makes what every network needs: bridged frames that pass the packet
// filter, and the bridges of the mappings.
func (h *Host) Prepare() error {
	if _, err := os.Stat("/proc/sys/net/bridge"); err != nil {
		// A module on most kernels; nobody asks for it by using a bridge.
		if modprobe, err := findTool("modprobe"); err == nil {
			_ = exec.Command(modprobe, "br_netfilter").Run()
		}
	}
	for _, key := range []string{"bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables"} {
		if err := sysctl(key, "1"); err != nil {
			return fmt.Errorf("this kernel cannot filter bridged traffic (br_netfilter): %w", err)
		}
	}
	h.warnOfForeignPolicy()
	for _, m := range h.cfg.BridgeMappings {
		if err := h.ensureMapping(m); err != nil {
			return fmt.Errorf("bridge %s of physical network %s: %w", m.Bridge, m.PhysicalNetwork, err)
		}
	}
	return nil
}

// warnOfForeignPolicy tells the operator of a firewall that will drop what
// servers send to each other: bridged packets visit everybody's forward chains.
func (h *Host) warnOfForeignPolicy() {
	out, err := exec.Command(h.nft, "list", "chain", "ip", "filter", "FORWARD").Output()
	if err == nil && strings.Contains(string(out), "policy drop") {
		h.log.Warn("a firewall of this machine drops forwarded packets, also those between servers",
			"chain", "ip filter FORWARD", "remedy", "accept packets whose input or output device is a brq bridge or br-ex there")
	}
}

// CheckDHCP tells whether DHCP servers can run here.
func (h *Host) CheckDHCP() error {
	_, err := findTool("dnsmasq")
	return err
}

// ensureMapping makes the bridge of a physical network with the host's side,
// if it is ours to make; else it only has to exist.
func (h *Host) ensureMapping(m BridgeMapping) error {
	link, err := h.nl.LinkByName(m.Bridge)
	if err != nil && !isNotFound(err) {
		return err
	}
	if !m.HostAddress.IsValid() {
		return err
	}
	own := owner{tag: h.tag, kind: ownerExternal, id: m.PhysicalNetwork}
	if isNotFound(err) {
		if err := h.checkFree(m.HostAddress); err != nil {
			return err
		}
		if link, err = h.addBridge(m.Bridge, own); err != nil {
			return err
		}
	}
	if o, ok := parseOwner(link.Attrs().Alias); ok && o.tag != h.tag {
		return fmt.Errorf("it belongs to a cloud with another state directory: reset that one, or give this one another bridge and prefix")
	}
	if err := h.adopt(link, own); err != nil {
		return nil //nolint:nilerr // an administrator's bridge: used, never changed
	}
	addr := &netlink.Addr{IPNet: ipNet(m.HostAddress)}
	if err := h.nl.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("address %s: %w", m.HostAddress, err)
	}
	if err := h.nl.LinkSetUp(link); err != nil {
		return err
	}
	route := &netlink.Route{
		Dst: ipNet(m.HostAddress.Masked()), Type: unix.RTN_UNREACHABLE,
		Priority: unreachableMetric, Table: unix.RT_TABLE_MAIN, Protocol: routeProtocol,
	}
	if err := h.nl.RouteReplace(route); err != nil {
		return fmt.Errorf("unreachable route %s: %w", m.HostAddress.Masked(), err)
	}
	return nil
}

// checkFree refuses a prefix that some device of the host already is in.
func (h *Host) checkFree(p netip.Prefix) error {
	addrs, err := h.nl.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		if ok && netip.PrefixFrom(ip.Unmap(), bits).Overlaps(p) {
			return fmt.Errorf("the host already has %s in %s: choose another prefix for the external network", a.IPNet, p.Masked())
		}
	}
	return nil
}

const (
	// unreachableMetric is worse than any route an administrator sets.
	unreachableMetric = 4278198272
	// routeProtocol marks routes made here, so that foreign ones are left alone.
	routeProtocol = 0x68
)

// addBridge makes a bridge that neither delays, floods by snooping rules nor
// speaks IPv6 itself.
func (h *Host) addBridge(name string, own owner) (netlink.Link, error) {
	off := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	// A bridge without a MAC of its own takes the lowest of its ports', and
	// the neighbours lose it whenever that port comes or goes.
	attrs.HardwareAddr = bridgeMAC(own)
	br := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}
	if err := h.nl.LinkAdd(br); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("add bridge %s: %w", name, err)
	}
	link, err := h.nl.LinkByName(name)
	if err != nil {
		return nil, err
	}
	if err := h.nl.LinkSetAlias(link, own.String()); err != nil {
		return nil, err
	}
	if own.kind == ownerNetwork {
		// Without this a guest could talk to the host by link-local addresses.
		_ = sysctl("ipv6/conf/"+name+"/disable_ipv6", "1")
	}
	if err := h.nl.LinkSetUp(link); err != nil {
		return nil, err
	}
	return h.nl.LinkByName(name)
}

// adopt makes sure that a device is own's. One without an alias but with the
// MAC that we give is ours too: its maker died before it could mark it.
func (h *Host) adopt(link netlink.Link, own owner) error {
	a := link.Attrs()
	if o, ok := h.owns(link); ok && o.kind == own.kind && o.id == own.id {
		return nil
	}
	if a.Alias != "" || a.HardwareAddr.String() != bridgeMAC(own).String() {
		return fmt.Errorf("device %s belongs to someone else", a.Name)
	}
	return h.nl.LinkSetAlias(link, own.String())
}

// bridgeMAC is a locally administered address that follows from the owner.
func bridgeMAC(own owner) net.HardwareAddr {
	sum := sha256.Sum256([]byte(own.tag + own.kind + own.id))
	return append(net.HardwareAddr{0x0a}, sum[:5]...)
}

// links lists the devices of the host by name.
func (h *Host) links() (map[string]netlink.Link, error) {
	list, err := h.nl.LinkList()
	for range 5 {
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break // else devices came or went meanwhile: the list may lack some
		}
		list, err = h.nl.LinkList()
	}
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	m := make(map[string]netlink.Link, len(list))
	for _, l := range list {
		m[l.Attrs().Name] = l
	}
	return m, nil
}

// ours tells whether an alias carries this host's tag.
func (h *Host) ours(alias string) (owner, bool) {
	o, ok := parseOwner(alias)
	return o, ok && o.tag == h.tag
}

// dir is a directory below the state directory.
func (h *Host) dir(parts ...string) string {
	return filepath.Join(append([]string{h.cfg.StateDir}, parts...)...)
}

// mapping finds the bridge of a physical network.
func (h *Host) mapping(physical string) (string, bool) {
	for _, m := range h.cfg.BridgeMappings {
		if m.PhysicalNetwork == physical {
			return m.Bridge, true
		}
	}
	return "", false
}

func isNotFound(err error) bool {
	var nf netlink.LinkNotFoundError
	return errors.As(err, &nf)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}

// findTool looks for a program, also where administrators' programs live.
func findTool(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("program %s is not installed", name)
}

// writeFile replaces a file in one step, and tells whether it changed.
func writeFile(path, content string) (changed bool, err error) {
	old, err := os.ReadFile(path)
	if err == nil && string(old) == content {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(content), 0o644); err != nil {
		return false, err
	}
	return true, os.Rename(tmp, path)
}

// owns reads whose a device is.
func (h *Host) owns(link netlink.Link) (owner, bool) { return h.ours(link.Attrs().Alias) }
