package dataplane_test

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Frames as a hostile guest would build them.

func mustMAC(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

const broadcast = "ff:ff:ff:ff:ff:ff"

func ether(dst, src string, typ uint16, payload []byte) []byte {
	b := append(append([]byte{}, mustMAC(dst)...), mustMAC(src)...)
	return append(binary.BigEndian.AppendUint16(b, typ), payload...)
}

func arp(op uint16, senderMAC, senderIP, targetMAC, targetIP string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, op)
	s, d := netip.MustParseAddr(senderIP).As4(), netip.MustParseAddr(targetIP).As4()
	b = append(append(b, mustMAC(senderMAC)...), s[:]...)
	return append(append(b, mustMAC(targetMAC)...), d[:]...)
}

func sum(b []byte, acc uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		acc += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		acc += uint32(b[len(b)-1]) << 8
	}
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return ^uint16(acc)
}

func ipv4(proto byte, src, dst string, payload []byte) []byte {
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	b := []byte{0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, proto, 0, 0}
	b = append(append(b, s[:]...), d[:]...)
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(b[10:], sum(b, 0))
	return append(b, payload...)
}

func udp(sport, dport uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, sport)
	b = binary.BigEndian.AppendUint16(b, dport)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(data)))
	return append(append(b, 0, 0), data...) // no checksum
}

func echo(data []byte) []byte {
	b := append([]byte{8, 0, 0, 0, 0x77, 0x77, 0, 1}, data...)
	binary.BigEndian.PutUint16(b[2:], sum(b, 0))
	return b
}

// ipv6 builds a packet; chain holds the extension headers before payload, and
// next is the protocol of the first of them (or of payload).
func ipv6(next byte, src, dst string, chain, payload []byte) []byte {
	s, d := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
	b := []byte{0x60, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(chain)+len(payload)))
	b = append(append(append(b, next, 255), s[:]...), d[:]...)
	return append(append(b, chain...), payload...)
}

// icmp6 fills the checksum in, which covers the addresses.
func icmp6(src, dst string, body []byte) []byte {
	s, d := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
	pseudo := append(append([]byte{}, s[:]...), d[:]...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
	pseudo = append(pseudo, 0, 0, 0, 58)
	b := append([]byte{}, body...)
	b[2], b[3] = 0, 0
	c := sum(append(pseudo, b...), 0)
	binary.BigEndian.PutUint16(b[2:], c)
	return b
}

func advertisement(target, mac string) []byte {
	t := netip.MustParseAddr(target).As16()
	b := append([]byte{136, 0, 0, 0, 0x20, 0, 0, 0}, t[:]...)
	return append(append(b, 2, 1), mustMAC(mac)...)
}

func routerAdvertisement() []byte {
	return []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}
}
