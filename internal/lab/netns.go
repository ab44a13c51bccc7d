package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// nsDir is where ip(8) keeps the names of namespaces.
const nsDir = "/run/netns"

func nsPath(name string) string { return filepath.Join(nsDir, name) }

// ensureNS makes a named network namespace with its loopback up.
func ensureNS(name string) error {
	if nsAlive(name) {
		return nil
	}
	if err := deleteNS(name); err != nil { // a name without a namespace, left by a crash
		return err
	}
	err := onThread(func() error {
		h, err := netns.NewNamed(name)
		if err != nil {
			return fmt.Errorf("make network namespace %s: %w", name, err)
		}
		return h.Close()
	})
	if err != nil {
		return err
	}
	return withLinks(name, func(h *netlink.Handle) error {
		lo, err := h.LinkByName("lo")
		if err != nil {
			return err
		}
		return h.LinkSetUp(lo)
	})
}

// nsAlive tells whether the name stands for a namespace, not for a bare file.
func nsAlive(name string) bool {
	var st unix.Statfs_t
	const nsfs = 0x6e736673
	return unix.Statfs(nsPath(name), &st) == nil && st.Type == nsfs
}

// deleteNS takes the name away; the namespace goes with its last user.
func deleteNS(name string) error {
	path := nsPath(name)
	for unix.Unmount(path, unix.MNT_DETACH) == nil { // each mount, should there be several
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete network namespace %s: %w", name, err)
	}
	return nil
}

// namespaces are the names of the lab's network namespaces that there are.
func (l *Lab) namespaces() ([]string, error) {
	entries, err := os.ReadDir(nsDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if n := e.Name(); n == l.nsName(Operator) || strings.HasPrefix(n, l.nsName("")) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}

// onThread runs f on a thread of its own that ends with it, so that what f does
// to the thread (its namespace) is nobody else's.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		done <- f()
	}()
	return <-done
}

// inNS runs f in a named network namespace. Sockets that f makes stay there.
func inNS(name string, f func() error) error {
	return onThread(func() error {
		ns, err := netns.GetFromPath(nsPath(name))
		if err != nil {
			return fmt.Errorf("network namespace %s: %w", name, err)
		}
		defer func() { _ = ns.Close() }()
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", name, err)
		}
		return f()
	})
}

// withLinks gives f a netlink handle in a named network namespace.
func withLinks(name string, f func(*netlink.Handle) error) error {
	ns, err := netns.GetFromPath(nsPath(name))
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", name, err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink in %s: %w", name, err)
	}
	defer h.Close()
	if err := f(h); err != nil {
		return fmt.Errorf("network namespace %s: %w", name, err)
	}
	return nil
}

// setSysctls writes files under /proc/sys/net as seen in a namespace. Those that
// the kernel does not have are skipped.
func setSysctls(ns string, values map[string]string) error {
	return inNS(ns, func() error {
		for key, value := range values {
			path := filepath.Join("/proc/sys/net", key)
			if err := os.WriteFile(path, []byte(value), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("set %s in %s: %w", path, ns, err)
			}
		}
		return nil
	})
}
