package lab

import (
	"encoding/binary"
	"errors"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// announce tells the switches where a device now is: a gratuitous ARP for each
// of its addresses, and for every other address behind it (routers, virtual
// routers) a frame that bears it, as bonding and live migration do.
func (s *seat) announce(dev netlink.Link, legs []netlink.Link) error {
	mac := dev.Attrs().HardwareAddr
	addrs, err := s.links.AddrList(dev, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range addrs {
		errs = append(errs, s.send(dev, arpFrame(mac, unix.ETH_P_ARP, 1, a.IP.To4())))
	}
	neighbours, err := s.links.NeighList(0, unix.AF_BRIDGE)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	own := func(index int) bool {
		return index == dev.Attrs().Index || slices.ContainsFunc(legs, func(l netlink.Link) bool { return l.Attrs().Index == index })
	}
	for _, n := range neighbours {
		if n.MasterIndex == dev.Attrs().Index && !own(n.LinkIndex) && n.HardwareAddr[0]&1 == 0 {
			errs = append(errs, s.send(dev, arpFrame(n.HardwareAddr, unix.ETH_P_RARP, 3, net.IPv4zero.To4())))
		}
	}
	return errors.Join(errs...)
}

func (s *seat) send(dev netlink.Link, frame []byte) error {
	to := &unix.SockaddrLinklayer{Ifindex: dev.Attrs().Index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	return unix.Sendto(s.packet, frame, 0, to)
}

// arpFrame is a broadcast (R)ARP frame from mac about itself; op 1 is a request,
// 3 a reverse request, which nobody answers.
func arpFrame(mac net.HardwareAddr, ethertype, op uint16, ip net.IP) []byte {
	f := slices.Repeat([]byte{0xff}, 6)
	f = append(f, mac...)
	f = binary.BigEndian.AppendUint16(f, ethertype)
	f = append(f, 0, 1, 8, 0, 6, 4) // Ethernet, IPv4 and the lengths of their addresses
	f = binary.BigEndian.AppendUint16(f, op)
	f = append(append(f, mac...), ip...)
	target := make([]byte, 6)
	if op == 3 {
		target = mac
	}
	f = append(append(f, target...), ip...)
	return append(f, make([]byte, 60-len(f))...)
}
