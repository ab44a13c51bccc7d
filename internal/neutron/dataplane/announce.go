package dataplane

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// announceAt is when a new address is announced: the device may be plugged
// only moments after it got its address.
var announceAt = [...]time.Duration{0, 300 * time.Millisecond, 1500 * time.Millisecond}

// announce tells the neighbours of a device which MAC its addresses have now
// (gratuitous ARP), so that a floating IP that moved is found at once. It
// returns at once and Close waits for it.
func (h *Host) announce(ns *namespace, device string, addrs []netip.Addr) {
	link, err := ns.nl.LinkByName(device)
	if err != nil {
		return
	}
	var sock int
	err = ns.do(func() (err error) {
		sock, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		h.log.Warn("cannot announce addresses", "device", device, "error", err)
		return
	}
	mac, index := link.Attrs().HardwareAddr, link.Attrs().Index
	h.background.Go(func() {
		defer unix.Close(sock)
		begin := time.Duration(0)
		for _, at := range announceAt {
			select {
			case <-h.closing:
				return
			case <-time.After(at - begin):
			}
			begin = at
			for _, a := range addrs {
				to := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ARP), Ifindex: index, Halen: 6}
				_ = unix.Sendto(sock, gratuitousARP(mac, a), 0, to)
			}
		}
	})
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// gratuitousARP is a broadcast request for an address by its owner.
func gratuitousARP(mac net.HardwareAddr, a netip.Addr) []byte {
	ip := a.As4()
	b := make([]byte, 0, 42)
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	b = append(b, mac...)
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_ARP)
	b = binary.BigEndian.AppendUint16(b, 1) // Ethernet
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
	b = append(b, 6, 4, 0, 1) // sizes, request
	b = append(b, mac...)
	b = append(b, ip[:]...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, ip[:]...)
}
