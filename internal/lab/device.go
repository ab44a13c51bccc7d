package lab

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/hastack/hastack/internal/topology"
)

// A device carries a network on a server over one or more legs.
type device struct {
	name, network string
	legs          []string
}

// bridged tells whether the device is a bridge over its legs: the stand-in for
// a bond, and always where Neutron plugs routers in.
func (d device) bridged() bool { return len(d.legs) > 1 || d.network == topology.External }

func devices(links []topology.Link) []device {
	var out []device
	for _, l := range links {
		if i := slices.IndexFunc(out, func(d device) bool { return d.name == l.Device }); i >= 0 {
			out[i].legs = append(out[i].legs, l.Leg)
			continue
		}
		out = append(out, device{name: l.Device, network: l.Network, legs: []string{l.Leg}})
	}
	return out
}

// raise brings a device up with its address.
func (l *Lab) raise(h *netlink.Handle, server string, d device, bonding bool) error {
	legs, err := linksByName(h, d.legs)
	if err != nil {
		return err
	}
	var dev netlink.Link
	mac := deviceMAC(l.name, server, d.name)
	switch {
	case bonding && len(legs) > 1:
		dev, err = l.raiseBond(h, d, legs, mac)
	case d.bridged() && !(len(legs) == 1 && d.legs[0] == d.name):
		dev, err = l.raiseStandIn(h, d, legs, mac)
	default:
		dev = legs[0]
		err = h.LinkSetUp(dev)
	}
	if err != nil {
		return err
	}
	address := l.address(server, d.network)
	if !address.IsValid() {
		return nil
	}
	a := &netlink.Addr{IPNet: &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), address.Addr().BitLen())}}
	if err := h.AddrReplace(dev, a); err != nil {
		return fmt.Errorf("address %s: %w", address, err)
	}
	return nil
}

// raiseStandIn makes a bridge with exactly one leg in it: active-backup without
// the kernel's bonding. The fabric process changes the leg.
func (l *Lab) raiseStandIn(h *netlink.Handle, d device, legs []netlink.Link, mac net.HardwareAddr) (netlink.Link, error) {
	dev, err := ensureBridge(h, d.name, d.network, mac)
	if err != nil {
		return nil, err
	}
	active := false
	for _, leg := range legs {
		// A leg that is not in the bridge must not answer for the server's
		// addresses: it would do so with its own MAC address.
		if err := errors.Join(h.LinkSetARPOff(leg), h.LinkSetUp(leg)); err != nil {
			return nil, err
		}
		active = active || leg.Attrs().MasterIndex == dev.Attrs().Index
	}
	if !active {
		if err := h.LinkSetMaster(legs[0], dev); err != nil {
			return nil, err
		}
	}
	return dev, addKeeper(h, d, dev)
}

// keeper is the name of the port that keeps a stand-in's carrier while its leg
// is changed. Without it the kernel would take the device for unplugged, forget
// its neighbours, and find them again after a second: a bond does not do that.
// The fabric process takes it down when no leg has a carrier.
func (d device) keeper() string { return d.name + "k" }

func addKeeper(h *netlink.Handle, d device, dev netlink.Link) error {
	if len(d.legs) < 2 {
		return nil
	}
	k, err := h.LinkByName(d.keeper())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		attrs := netlink.LinkAttrs{Name: d.keeper()}
		// What is sent through either is lost, and both always have a carrier.
		if err = h.LinkAdd(&netlink.Ifb{LinkAttrs: attrs}); err != nil {
			err = h.LinkAdd(&netlink.Dummy{LinkAttrs: attrs})
		}
		if err != nil {
			return fmt.Errorf("%s: the kernel has neither bonding nor ifb or dummy devices to stand in for it: %w", d.keeper(), err)
		}
		k, err = h.LinkByName(d.keeper())
	}
	if err != nil {
		return err
	}
	return errors.Join(h.LinkSetARPOff(k), h.LinkSetMaster(k, dev), h.LinkSetUp(k))
}

// raiseBond makes an active-backup bond; for the external network a bridge of
// the device's name is laid over it, so that Neutron finds the same name.
func (l *Lab) raiseBond(h *netlink.Handle, d device, legs []netlink.Link, mac net.HardwareAddr) (netlink.Link, error) {
	name := d.name
	if d.network == topology.External {
		name += "u"
	}
	bond, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		b := netlink.NewLinkBond(netlink.LinkAttrs{Name: name, HardwareAddr: mac})
		b.Mode, b.Miimon = netlink.BOND_MODE_ACTIVE_BACKUP, 50
		if err := h.LinkAdd(b); err != nil {
			return nil, err
		}
		bond, err = h.LinkByName(name)
	}
	if err != nil {
		return nil, err
	}
	for _, leg := range legs {
		if leg.Attrs().MasterIndex == bond.Attrs().Index {
			continue
		}
		if err := errors.Join(h.LinkSetDown(leg), h.LinkSetMaster(leg, bond), h.LinkSetUp(leg)); err != nil {
			return nil, err
		}
	}
	if err := h.LinkSetUp(bond); err != nil || name == d.name {
		return bond, err
	}
	dev, err := ensureBridge(h, d.name, d.network, mac)
	if err != nil {
		return nil, err
	}
	return dev, h.LinkSetMaster(bond, dev)
}

func linksByName(h *netlink.Handle, names []string) ([]netlink.Link, error) {
	var out []netlink.Link
	for _, n := range names {
		link, err := h.LinkByName(n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		out = append(out, link)
	}
	return out, nil
}
