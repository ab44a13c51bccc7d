package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/virt"
)

var tapName = regexp.MustCompile(`^tap[0-9a-f-]{1,11}$`)

// openTap attaches to a tap device by name, making it if need be. The
// descriptor is what QEMU reads and writes frames by.
func openTap(name string) (*os.File, error) {
	if !tapName.MatchString(name) {
		return nil, fault.New(fault.BadRequest, "%q is not a name for a tap device", name)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, errors.Join(fmt.Errorf("TUNSETIFF: %w", err), f.Close())
	}
	return f, nil
}

// PlugTap implements virt.Driver. The device is persistent, so that the network
// agent can put it into its bridge before the guest runs and after it ended.
// The host itself stays off it: no IPv6 address of its own.
func (d *Driver) PlugTap(_ context.Context, n virt.NIC) error {
	link, err := netlink.LinkByName(n.Tap)
	if err != nil {
		if err := makeTap(n.Tap); err != nil {
			return fmt.Errorf("tap %s: %w", n.Tap, err)
		}
		if link, err = netlink.LinkByName(n.Tap); err != nil {
			return fmt.Errorf("tap %s: %w", n.Tap, err)
		}
	}
	if link.Attrs().Alias != d.tapMark() {
		if err := netlink.LinkSetAlias(link, d.tapMark()); err != nil {
			return fmt.Errorf("alias of tap %s: %w", n.Tap, err)
		}
	}
	if n.MTU > 0 && link.Attrs().MTU != n.MTU {
		if err := netlink.LinkSetMTU(link, n.MTU); err != nil {
			return fmt.Errorf("mtu of tap %s: %w", n.Tap, err)
		}
	}
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+n.Tap+"/disable_ipv6", []byte("1"), 0) // a host without IPv6 has no such file
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("tap %s up: %w", n.Tap, err)
	}
	return nil
}

func makeTap(name string) error {
	f, err := openTap(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetInt(int(f.Fd()), unix.TUNSETPERSIST, 1)
}

// UnplugTap implements virt.Driver.
func (d *Driver) UnplugTap(_ context.Context, name string) error {
	if !tapName.MatchString(name) {
		return fault.New(fault.BadRequest, "%q is not a name for a tap device", name)
	}
	link, err := netlink.LinkByName(name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return nil
	}
	if err != nil {
		return err
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete tap %s: %w", name, err)
	}
	return nil
}

// tapMark is the alias of this driver's taps: another cloud on the same machine
// has taps of its own.
func (d *Driver) tapMark() string {
	mark := "hastack:" + d.cfg.StateDir
	return mark[:min(len(mark), 250)]
}

// taps lists the tap devices that PlugTap made.
func (d *Driver) taps() ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range links {
		if l.Attrs().Alias == d.tapMark() && tapName.MatchString(l.Attrs().Name) {
			out = append(out, l.Attrs().Name)
		}
	}
	return out, nil
}
