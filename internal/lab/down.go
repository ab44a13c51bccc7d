package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Down removes a lab with everything of it: processes, namespaces, control
// groups, disks. It goes by names, so it removes what a crash at any point has
// left, and it is content when there is nothing.
func Down(ctx context.Context, stateDir, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	l := newLab(stateDir, name)
	if b, err := os.ReadFile(filepath.Join(registry, short(name))); err == nil && string(b) != l.dir {
		if _, err := os.Stat(string(b)); err == nil {
			return fmt.Errorf("the lab %s of this machine is in another directory: hastack lab down --state-dir %s %s",
				name, filepath.Dir(filepath.Dir(string(b))), filepath.Base(string(b)))
		}
	}
	unlock := func() {}
	if _, err := os.Stat(l.dir); err == nil {
		if unlock, err = lock(ctx, filepath.Join(l.dir, "lock")); err != nil {
			return err
		}
	}
	defer unlock()
	s, err := l.load()
	if err != nil {
		s = &state{} // unreadable: the rest goes all the same
	}
	if err := l.removeMachine(ctx); err != nil {
		return fmt.Errorf("lab %s: %w", name, err)
	}
	if err := restoreKernel(s); err != nil {
		return err
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(l.dir)) // labs/, if this was the last
	return l.unclaim()
}

// removeMachine takes away what is not files of the lab.
func (l *Lab) removeMachine(ctx context.Context) error {
	if err := l.unplugAll(); err != nil {
		return err
	}
	for _, server := range l.groups() { // frozen ones would not die
		if err := l.cgroups.freeze(server, false); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := killGroup(ctx, l.cgroups, ""); err != nil {
		return err
	}
	names, err := l.namespaces()
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := deleteNS(n); err != nil {
			return err
		}
	}
	// Directories that only lab servers have used here are empty.
	for _, d := range []string{"/run/systemd/nspawn", "/run/systemd"} {
		_ = os.Remove(d)
	}
	return removeGroup(ctx, l.cgroups, "")
}

// unplugAll removes the switches' ports and bridges by hand: a namespace takes
// its time to go by itself.
func (l *Lab) unplugAll() error {
	if !nsAlive(l.nsName(fabricName)) {
		return nil
	}
	return withLinks(l.nsName(fabricName), func(h *netlink.Handle) error {
		all, err := h.LinkList()
		if err != nil {
			return err
		}
		for _, link := range all {
			if link.Type() != "veth" && link.Type() != "bridge" {
				continue
			}
			if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
				return err
			}
		}
		return nil
	})
}

// groups are the names of the lab's control groups.
func (l *Lab) groups() []string {
	entries, err := os.ReadDir(l.cgroups.dir("freezer", ""))
	if err != nil {
		return nil
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !e.IsDir() })
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
