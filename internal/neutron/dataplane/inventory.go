package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Thing is something of ours on the machine and whose it is: an id, or for
// taps the beginning of one.
type Thing struct {
	Name  string `json:"name"`
	Owner string `json:"owner"`
}

// A NamespaceThing is one of our namespaces.
type NamespaceThing struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"` // router or dhcp
	Owner string `json:"owner"`
}

// An Inventory is everything on the machine that carries this host's tag,
// read from the kernel and not from memory.
type Inventory struct {
	Taps       []Thing          `json:"taps"`    // port devices on our bridges, by beginning of port id
	Bridges    []Thing          `json:"bridges"` // by network id
	Tunnels    []Thing          `json:"tunnels"` // by network id
	Namespaces []NamespaceThing `json:"namespaces"`
	DHCP       []Thing          `json:"dhcp"`    // dnsmasq processes by network id, named by pid
	RA         []Thing          `json:"ra"`      // advertising dnsmasq processes by router id
	Filters    []Thing          `json:"filters"` // packet filter entries by beginning of port id
	Tables     []string         `json:"tables"`
}

// Inventory looks at the machine.
func (h *Host) Inventory() (*Inventory, error) {
	inv := &Inventory{}
	links, err := h.links()
	if err != nil {
		return nil, err
	}
	h.inventoryLinks(inv, links)
	inv.Namespaces = h.ownedNamespaces()
	inv.DHCP = h.daemons("dhcp", "pid")
	inv.RA = h.daemons("router", "ra.pid")
	inv.Tables, inv.Filters = h.tables()
	return inv, nil
}

func (h *Host) inventoryLinks(inv *Inventory, links map[string]netlink.Link) {
	ours := map[int]bool{}
	for _, link := range links {
		if o, ok := h.owns(link); ok && (o.kind == ownerNetwork || o.kind == ownerExternal) {
			ours[link.Attrs().Index] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(links)) {
		link := links[name]
		o, ok := h.owns(link)
		switch {
		case ok && o.kind == ownerNetwork && link.Type() == "vxlan":
			inv.Tunnels = append(inv.Tunnels, Thing{name, o.id})
		case ok && o.kind == ownerNetwork:
			inv.Bridges = append(inv.Bridges, Thing{name, o.id})
		case ok && o.kind == ownerPort:
			inv.Taps = append(inv.Taps, Thing{name, o.id})
		case isPortDevice(name) && ours[link.Attrs().MasterIndex]:
			inv.Taps = append(inv.Taps, Thing{name, strings.TrimPrefix(name, prefixTap)})
		}
	}
}

// ownedNamespaces lists our namespaces by name.
func (h *Host) ownedNamespaces() []NamespaceThing {
	all := h.NamespaceNames()
	slices.SortFunc(all, func(a, b NamespaceThing) int { return strings.Compare(a.Name, b.Name) })
	return slices.DeleteFunc(all, func(n NamespaceThing) bool { return !h.Owned(n.Name) })
}

// daemons finds running dnsmasq processes by the pid files they name, wherever
// they are, so that one whose namespace is gone is found too.
func (h *Host) daemons(kind, file string) []Thing {
	var out []Thing
	for pid, pidFile := range dnsmasqProcesses(h.dir(kind) + "/") {
		dir, name := filepath.Split(pidFile)
		if name == file {
			out = append(out, Thing{Name: fmt.Sprint(pid), Owner: filepath.Base(dir)})
		}
	}
	slices.SortFunc(out, func(a, b Thing) int { return strings.Compare(a.Owner, b.Owner) })
	return out
}

// dnsmasqProcesses finds the processes whose pid file is below a directory.
func dnsmasqProcesses(below string) map[int]string {
	out := map[int]string{}
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return out
	}
	for _, d := range dirs {
		var pid int
		if _, err := fmt.Sscanf(d.Name(), "%d", &pid); err != nil {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", d.Name(), "cmdline"))
		if err != nil || !strings.Contains(string(cmdline), "dnsmasq") {
			continue
		}
		for word := range strings.SplitSeq(string(cmdline), "\x00") {
			if file, ok := strings.CutPrefix(word, "--pid-file="); ok && strings.HasPrefix(file, below) {
				out[pid] = file
			}
		}
	}
	return out
}

// tables lists our nft tables and the ports that have rules in them.
func (h *Host) tables() (tables []string, filters []Thing) {
	for _, family := range []string{"inet", "bridge"} {
		out, err := exec.Command(h.nft, "list", "table", family, h.firewall.table).Output()
		if err != nil {
			continue
		}
		tables = append(tables, family+" "+h.firewall.table)
		if family == "bridge" {
			filters = filteredTaps(string(out))
		}
	}
	return tables, filters
}

// filteredTaps reads the keys of the verdict map of senders.
func filteredTaps(table string) []Thing {
	_, rest, ok := strings.Cut(table, "map "+mapSpoof+" {")
	if !ok {
		return nil
	}
	rest, _, _ = strings.Cut(rest, "\n\t}")
	var out []Thing
	for word := range strings.SplitSeq(rest, `"`) {
		if isPortDevice(word) {
			out = append(out, Thing{Name: word, Owner: strings.TrimPrefix(word, prefixTap)})
		}
	}
	slices.SortFunc(out, func(a, b Thing) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Cleanup removes every trace of this host's data plane from the machine:
// processes, namespaces, devices, routes, nft tables and files. Only what
// carries the tag is touched. It goes on past errors and returns them all.
func (h *Host) Cleanup() error {
	var errs []error
	for _, kind := range []string{"dhcp", "router"} {
		for pid := range dnsmasqProcesses(h.dir(kind) + "/") {
			stopProcess(pid)
		}
	}
	for _, ns := range h.ownedNamespaces() {
		if open, err := h.openOwned(ns.Name); err == nil && open != nil {
			errs = append(errs, removeDevices(open, nil, prefixDHCPDev, prefixRouter, prefixGateway))
			open.close()
		}
		errs = append(errs, h.deleteNamespace(ns.Name))
	}
	errs = append(errs, h.removeStaleNames())
	links, err := h.links()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, h.removeRoutes(), h.removeLinks(links))
	for _, family := range []string{"inet", "bridge"} {
		ref := family + " " + h.firewall.table
		errs = append(errs, runNFT(h.nft, "add table "+ref+"\ndelete table "+ref+"\n"))
	}
	h.mu.Lock()
	h.firewall = newFirewallState(h.tag)
	h.mu.Unlock()
	for _, kind := range []string{"dhcp", "router", "namespaces"} {
		if err := os.RemoveAll(h.dir(kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// removeLinks deletes our devices, and the taps of servers that are left on
// our bridges. Bridges go last.
func (h *Host) removeLinks(links map[string]netlink.Link) error {
	var errs []error
	inv := &Inventory{}
	h.inventoryLinks(inv, links)
	for _, list := range [][]Thing{inv.Taps, inv.Tunnels, inv.Bridges} {
		for _, t := range list {
			if err := h.nl.LinkDel(links[t.Name]); err != nil && !isGone(err) {
				errs = append(errs, fmt.Errorf("delete %s: %w", t.Name, err))
			}
		}
	}
	for name, link := range links {
		if o, ok := h.owns(link); ok && o.kind == ownerExternal {
			if err := h.nl.LinkDel(link); err != nil && !isGone(err) {
				errs = append(errs, fmt.Errorf("delete %s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// removeRoutes deletes the unreachable routes of the mappings.
func (h *Host) removeRoutes() error {
	filter := &netlink.Route{Protocol: routeProtocol, Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNREACHABLE}
	list, err := h.nl.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	if err != nil {
		return err
	}
	var errs []error
	for i := range list {
		if h.mapped(routeDst(&list[i])) {
			if err := h.nl.RouteDel(&list[i]); err != nil && !errors.Is(err, unix.ESRCH) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
