package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where iproute2 looks for named namespaces.
const netnsDir = "/run/netns"

// nsfsMagic is the file system type of a mounted namespace: a plain file of
// the same name is what is left of one in a mount namespace that is gone.
const nsfsMagic = 0x6e736673

// A namespace is an open named network namespace with a netlink socket in it.
type namespace struct {
	name string
	fd   netns.NsHandle
	nl   *netlink.Handle
}

func (n *namespace) close() {
	n.nl.Close()
	_ = n.fd.Close()
}

// openNamespace opens a named namespace; fs.ErrNotExist if there is none.
func openNamespace(name string) (*namespace, error) {
	path := filepath.Join(netnsDir, name)
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil, fmt.Errorf("namespace %s: %w", name, fs.ErrNotExist)
		}
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	if st.Type != nsfsMagic {
		return nil, fmt.Errorf("namespace %s is a plain file: %w", name, fs.ErrNotExist)
	}
	fd, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open namespace %s: %w", name, err)
	}
	h, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE)
	if err != nil {
		_ = fd.Close()
		return nil, fmt.Errorf("netlink in namespace %s: %w", name, err)
	}
	return &namespace{name: name, fd: fd, nl: h}, nil
}

// ensureNamespace opens or makes a named namespace, with loopback up and
// marked as own's. made tells that it is new and empty.
func ensureNamespace(name string, own owner) (ns *namespace, made bool, err error) {
	ns, err = openNamespace(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeNamespace(name); err != nil {
			return nil, false, err
		}
		made = true
		ns, err = openNamespace(name)
	}
	if err != nil {
		return nil, false, err
	}
	lo, err := ns.nl.LinkByName("lo")
	if err == nil && lo.Attrs().Alias != own.String() {
		err = ns.nl.LinkSetAlias(lo, own.String())
	}
	if err == nil && lo.Attrs().Flags&unix.IFF_UP == 0 {
		err = ns.nl.LinkSetUp(lo)
	}
	if err != nil {
		ns.close()
		return nil, false, fmt.Errorf("loopback of namespace %s: %w", name, err)
	}
	return ns, made, nil
}

// makeNamespace makes a new namespace on a thread of its own, which ends with
// it, and mounts it where ip netns finds it.
func makeNamespace(name string) error {
	path := filepath.Join(netnsDir, name)
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	// A stale plain file of that name is overmounted.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("make namespace %s: %w", name, err)
	}
	_ = f.Close()
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount(threadNamespace(), path, "none", unix.MS_BIND, "")
	})
	if err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("make namespace %s: %w", name, err)
	}
	return nil
}

// deleteNamespace removes the name; the kernel frees the namespace and its
// devices when the last process in it ends.
func deleteNamespace(name string) error {
	path := filepath.Join(netnsDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete namespace %s: %w", name, err)
	}
	return nil
}

// namespacesWith lists the named namespaces with a prefix.
func namespacesWith(prefix string) []string {
	entries, err := os.ReadDir(netnsDir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// do runs f on a thread inside the namespace. What f opens (sockets) or
// starts (processes) stays in the namespace.
func (n *namespace) do(f func() error) error { return inNamespace(n.fd, f) }

func inNamespace(fd netns.NsHandle, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(fd), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		return f()
	})
}

// threadNamespace is the calling thread's network namespace as a path.
func threadNamespace() string {
	return fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
}

// onThread runs f on a locked thread and moves the thread back to the network
// namespace it was in. A thread that cannot be moved back dies with its
// goroutine instead of serving others from the wrong namespace.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open(threadNamespace())
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		err = f()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// sysctl sets /proc/sys/net/<key> of the calling thread's namespace, unless
// it has the value already.
func sysctl(key, value string) error {
	path := filepath.Join("/proc/sys/net", filepath.FromSlash(key))
	old, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(old)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set net/%s=%s: %w", key, value, err)
	}
	return nil
}
