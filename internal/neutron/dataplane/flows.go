package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The attributes of conntrack's netlink messages that nl has no names for.
const (
	ctaZone         = 18
	ctaProtoDstPort = 3
	ctaICMPType     = 5
	ctaICMPCode     = 6
	ctaICMPv6Type   = 8
	ctaICMPv6Code   = 9
	nlaTypeMask     = 0x3fff
)

// A flow is one tracked connection, seen from who began it.
type flow struct {
	family             uint8
	zone               uint16
	mark               uint32
	src, dst           netip.Addr
	proto              int
	dport              int
	icmpType, icmpCode int
	tuple              []byte     // CTA_TUPLE_ORIG as the kernel wrote it: the flow's name
	reply              []byte     // CTA_TUPLE_REPLY
	replyDst           netip.Addr // differs from src when the source was translated
}

// listFlows reads the connections of the calling thread's namespace.
func listFlows(family uint8) ([]*flow, error) {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	msgs, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil && !errors.Is(err, nl.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	out := make([]*flow, 0, len(msgs))
	for _, m := range msgs {
		if f := parseFlow(family, m); f != nil {
			out = append(out, f)
		}
	}
	return out, nil
}

// attributes reads a list of netlink attributes by type.
func attributes(b []byte) map[int][]byte {
	list, err := nl.ParseRouteAttr(b)
	if err != nil {
		return nil
	}
	out := make(map[int][]byte, len(list))
	for _, a := range list {
		out[int(a.Attr.Type)&nlaTypeMask] = a.Value
	}
	return out
}

func parseFlow(family uint8, msg []byte) *flow {
	if len(msg) < 4 {
		return nil
	}
	top := attributes(msg[4:])
	f := &flow{family: family, tuple: top[nl.CTA_TUPLE_ORIG], reply: top[nl.CTA_TUPLE_REPLY]}
	if f.tuple == nil || f.reply == nil {
		return nil
	}
	if z := top[ctaZone]; len(z) >= 2 {
		f.zone = binary.BigEndian.Uint16(z)
	}
	if m := top[nl.CTA_MARK]; len(m) >= 4 {
		f.mark = binary.BigEndian.Uint32(m)
	}
	orig := attributes(f.tuple)
	f.src, f.dst = tupleAddrs(orig[nl.CTA_TUPLE_IP])
	_, f.replyDst = tupleAddrs(attributes(f.reply)[nl.CTA_TUPLE_IP])
	proto := attributes(orig[nl.CTA_TUPLE_PROTO])
	f.proto = byteOf(proto[nl.CTA_PROTO_NUM])
	if p := proto[ctaProtoDstPort]; len(p) >= 2 {
		f.dport = int(binary.BigEndian.Uint16(p))
	}
	if family == unix.AF_INET6 {
		f.icmpType, f.icmpCode = byteOf(proto[ctaICMPv6Type]), byteOf(proto[ctaICMPv6Code])
	} else {
		f.icmpType, f.icmpCode = byteOf(proto[ctaICMPType]), byteOf(proto[ctaICMPCode])
	}
	if !f.src.IsValid() || !f.dst.IsValid() {
		return nil
	}
	return f
}

func tupleAddrs(b []byte) (src, dst netip.Addr) {
	a := attributes(b)
	if v := a[nl.CTA_IP_V4_SRC]; v != nil {
		src, _ = netip.AddrFromSlice(v)
		dst, _ = netip.AddrFromSlice(a[nl.CTA_IP_V4_DST])
		return src, dst
	}
	src, _ = netip.AddrFromSlice(a[nl.CTA_IP_V6_SRC])
	dst, _ = netip.AddrFromSlice(a[nl.CTA_IP_V6_DST])
	return src, dst
}

func byteOf(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return int(b[0])
}

// apply marks, unmarks or forgets the connection.
func (f *flow) apply(v flowVerdict) error {
	marked := f.mark&refusedMark != 0
	switch {
	case v == flowRefused && !marked:
		return f.request(nl.IPCTNL_MSG_CT_NEW, nl.NewRtAttr(nl.CTA_MARK, nl.BEUint32Attr(f.mark|refusedMark)))
	case v == flowGone, v == flowAllowed && marked:
		// An allowed one begins anew with its next packet, in a clean state.
		return f.forget()
	}
	return nil
}

func (f *flow) forget() error { return f.request(nl.IPCTNL_MSG_CT_DELETE) }

// request sends a message about this one connection. That it ended meanwhile
// is no error.
func (f *flow) request(op int, extra ...*nl.RtAttr) error {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|op, unix.NLM_F_ACK)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: f.family, Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_ORIG, f.tuple))
	if f.zone != 0 {
		req.AddData(nl.NewRtAttr(ctaZone, binary.BigEndian.AppendUint16(nil, f.zone)))
	}
	for _, a := range extra {
		req.AddData(a)
	}
	_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("connection %s to %s: %w", f.src, f.dst, err)
	}
	return nil
}
