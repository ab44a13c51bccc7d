package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Listen opens a TCP socket inside a named namespace. The socket works from
// any thread; it dies with the namespace, so callers watch NamespaceID.
func Listen(ctx context.Context, namespace, address string) (net.Listener, error) {
	ns, err := openNamespace(namespace)
	if err != nil {
		return nil, err
	}
	defer ns.close()
	var l net.Listener
	err = ns.do(func() error {
		var lc net.ListenConfig
		l, err = lc.Listen(ctx, "tcp4", address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s in %s: %w", address, namespace, err)
	}
	return l, nil
}

// ensureNamespace opens or makes a named namespace and keeps its name among
// our files: in a later mount namespace (ip netns exec makes a new one each
// time) the name is a plain file that tells nothing about whose it was.
func (h *Host) ensureNamespace(name string, own owner) (*namespace, error) {
	if _, err := writeFile(h.dir("namespaces", name), own.String()+"\n"); err != nil {
		return nil, err
	}
	ns, _, err := ensureNamespace(name, own)
	return ns, err
}

func (h *Host) deleteNamespace(name string) error {
	if err := deleteNamespace(name); err != nil {
		return err
	}
	_ = os.Remove(h.dir("namespaces", name))
	return nil
}

// removeStaleNames deletes the names of namespaces that we made in a mount
// namespace that is gone.
func (h *Host) removeStaleNames() error {
	entries, err := os.ReadDir(h.dir("namespaces"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if NamespaceID(e.Name()) == 0 {
			errs = append(errs, h.deleteNamespace(e.Name()))
		}
	}
	return errors.Join(errs...)
}

// NamespaceID tells one namespace from a later one of the same name; 0 means
// that there is none.
func NamespaceID(name string) uint64 {
	path := filepath.Join(netnsDir, name)
	var mount unix.Statfs_t
	var st unix.Stat_t
	if unix.Statfs(path, &mount) != nil || mount.Type != nsfsMagic || unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// WatchLinks calls wake whenever a port device of the host changes, until done
// is closed. It returns once it listens, so no change after that is missed; a
// listener that the kernel overran begins anew and wakes once for what it may
// have missed.
func WatchLinks(done <-chan struct{}, wake func()) error {
	ch, err := subscribeLinks(done)
	if err != nil {
		return err
	}
	go func() {
		for {
			for u := range ch {
				if isPortDevice(u.Attrs().Name) {
					wake()
				}
			}
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			if again, err := subscribeLinks(done); err == nil {
				ch = again
			}
			wake()
		}
	}()
	return nil
}

func subscribeLinks(done <-chan struct{}) (chan netlink.LinkUpdate, error) {
	ch := make(chan netlink.LinkUpdate, 64)
	// An error ends the subscription and closes ch.
	opts := netlink.LinkSubscribeOptions{ErrorCallback: func(error) {}}
	if err := netlink.LinkSubscribeWithOptions(ch, done, opts); err != nil {
		return nil, fmt.Errorf("watch devices: %w", err)
	}
	return ch, nil
}

// Namespaces lists our namespaces with their kind and owner.
func (h *Host) Namespaces() []NamespaceThing { return h.ownedNamespaces() }

// NamespaceNames lists what is named like our namespaces, without looking
// whose they are, which costs more; see Owned.
func (h *Host) NamespaceNames() []NamespaceThing {
	var out []NamespaceThing
	for prefix, kind := range map[string]string{prefixDHCPNS: "dhcp", prefixRouterNS: "router"} {
		for _, name := range namespacesWith(prefix) {
			out = append(out, NamespaceThing{Name: name, Kind: kind, Owner: strings.TrimPrefix(name, prefix)})
		}
	}
	return out
}

// Owned tells whether a namespace is ours.
func (h *Host) Owned(name string) bool {
	ns, err := h.openOwned(name)
	if err != nil || ns == nil {
		return false
	}
	ns.close()
	return true
}

// DHCPHealthy tells cheaply whether a network's DHCP server still stands:
// namespace, device and process. What it misses, a full reconcile finds.
func (h *Host) DHCPHealthy(networkID, portID string) bool {
	name := DHCPNamespace(networkID)
	if NamespaceID(name) == 0 || !h.exists(TapName(portID)) {
		return false
	}
	pid := readPid(h.dhcpFiles(networkID).path("pid"))
	if pid == 0 {
		// A network without DHCP subnets has a namespace and no process.
		_, err := os.Stat(h.dhcpFiles(networkID).path("pid"))
		return err != nil
	}
	return sameNamespace(pid, name)
}

// RouterHealthy tells cheaply whether a router still stands: namespace, rules,
// devices, and its advertisements if it made any.
func (h *Host) RouterHealthy(routerID string, portIDs []string) bool {
	name := RouterNamespace(routerID)
	ns, err := openNamespace(name)
	if err != nil {
		return false
	}
	defer ns.close()
	if !h.natIntact(ns, routerID) {
		return false
	}
	for _, id := range portIDs {
		if !h.exists(TapName(id)) {
			return false
		}
	}
	pid := readPid(h.dir("router", routerID, "ra.pid"))
	return pid == 0 || sameNamespace(pid, name)
}

func (h *Host) exists(link string) bool {
	_, err := h.nl.LinkByName(link)
	return err == nil
}

// sameNamespace tells whether a live process is in a named namespace. A dead
// one that nobody collected yet has no namespace any more.
func sameNamespace(pid int, name string) bool {
	var st unix.Stat_t
	return unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st) == nil && st.Ino == NamespaceID(name)
}

// MappingsHealthy tells cheaply whether the bridges that this host makes for
// physical networks are there and up.
func (h *Host) MappingsHealthy() bool {
	for _, m := range h.cfg.BridgeMappings {
		if !m.HostAddress.IsValid() {
			continue
		}
		link, err := h.nl.LinkByName(m.Bridge)
		if err != nil || link.Attrs().Flags&net.FlagUp == 0 {
			return false
		}
	}
	return true
}

// mapped tells whether a prefix is that of one of our physical networks.
func (h *Host) mapped(p netip.Prefix) bool {
	for _, m := range h.cfg.BridgeMappings {
		if m.HostAddress.IsValid() && m.HostAddress.Masked() == p {
			return true
		}
	}
	return false
}
