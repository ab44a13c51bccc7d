package dataplane

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// refusedMark is the bit of a connection's mark that says that the rules
// would not let it begin any more. It is marked and not forgotten: the next
// packet of a forgotten TCP connection may come from its other end and would
// begin it anew in the direction that is still allowed.
const refusedMark = 0x00400000

// flushRefused marks the connections that the rules in force would no longer
// let begin, so that taking a rule away also cuts what it had let in, and
// gives back those that are allowed again. Others are not touched.
func (h *Host) flushRefused(now, before *ruleset) error {
	fw := h.firewall
	if !fw.refused && !tightened(now, before) {
		return nil
	}
	f := newFlowFilter(now, before)
	fw.refused = false
	var errs []error
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		flows, err := listFlows(family)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, flow := range flows {
			verdict := f.judge(flow)
			fw.refused = fw.refused || verdict == flowRefused
			if err := flow.apply(verdict); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// tightened tells whether something that was allowed may not be any more.
// Listing connections costs, and most changes only add ports.
func tightened(now, before *ruleset) bool {
	if before == nil {
		return true
	}
	for name, old := range before.bridge.chains {
		cur, ok := now.bridge.chains[name]
		if !ok {
			return true
		}
		if strings.HasPrefix(name, "gi_") || strings.HasPrefix(name, "ge_") {
			if !contains(cur, old) {
				return true
			}
		} else if !slices.Equal(cur, old) {
			return true
		}
	}
	for name, old := range before.bridge.sets {
		if name != "sealed" && !contains(now.bridge.sets[name].elems, old.elems) {
			return true
		}
	}
	for id := range before.ports {
		if p := now.ports[id]; p == nil || p.open != before.ports[id].open || p.closed != before.ports[id].closed {
			return true
		}
	}
	return false
}

// contains tells whether all of sub is in all.
func contains(all, sub []string) bool {
	if slices.Equal(all, sub) {
		return true
	}
	have := make(map[string]bool, len(all))
	for _, s := range all {
		have[s] = true
	}
	for _, s := range sub {
		if !have[s] {
			return false
		}
	}
	return true
}

// A zoneAddr is an address in a conntrack zone.
type zoneAddr struct {
	zone uint16
	addr netip.Addr
}

// A wideAddr is a whole prefix a port may use.
type wideAddr struct {
	zone   uint16
	prefix netip.Prefix
	port   *portFilter
}

// A flowFilter picks the connections to forget.
type flowFilter struct {
	rules *ruleset
	ports map[zoneAddr]*portFilter
	wide  []wideAddr
	gone  map[zoneAddr]bool // addresses a port had and has no more
}

func newFlowFilter(now, before *ruleset) *flowFilter {
	f := &flowFilter{rules: now, ports: map[zoneAddr]*portFilter{}, gone: map[zoneAddr]bool{}}
	for id, p := range now.ports {
		for _, a := range p.addresses() {
			if a.IsSingleIP() {
				f.ports[zoneAddr{now.zones[id], a.Addr()}] = p
			} else {
				f.wide = append(f.wide, wideAddr{now.zones[id], a, p})
			}
		}
	}
	if before == nil {
		return f
	}
	for id, p := range before.ports {
		zone := before.zones[id]
		for _, a := range p.addresses() {
			key := zoneAddr{zone, a.Addr()}
			if q := f.ports[key]; a.IsSingleIP() && (q == nil || q.port.ID != id) {
				f.gone[key] = true
			}
		}
	}
	return f
}

// A flowVerdict is what becomes of a connection.
type flowVerdict int

const (
	flowForeign flowVerdict = iota // no port of ours
	flowAllowed
	flowRefused
	flowGone // a port it belonged to is gone
)

// judge decides about a connection by who began it.
func (f *flowFilter) judge(flow *flow) flowVerdict {
	if f.gone[zoneAddr{flow.zone, flow.src}] || f.gone[zoneAddr{flow.zone, flow.dst}] {
		return flowGone
	}
	from, to := f.ports[zoneAddr{flow.zone, flow.src}], f.ports[zoneAddr{flow.zone, flow.dst}]
	if from == nil && to == nil {
		// A prefix among a port's address pairs says little about who really
		// has an address, so it counts only when nobody is known to.
		from, to = f.findWide(flow.zone, flow.src), f.findWide(flow.zone, flow.dst)
	}
	switch {
	case from == nil && to == nil:
		return flowForeign
	case from != nil && !f.allowed(from, false, flow.dst, flow), to != nil && !f.allowed(to, true, flow.src, flow):
		return flowRefused
	}
	return flowAllowed
}

func (f *flowFilter) findWide(zone uint16, a netip.Addr) *portFilter {
	for _, w := range f.wide {
		if w.zone == zone && w.prefix.Contains(a) {
			return w.port
		}
	}
	return nil
}

// allowed tells whether the port's rules would let the connection begin now.
func (f *flowFilter) allowed(p *portFilter, ingress bool, remote netip.Addr, flow *flow) bool {
	switch {
	case p.closed:
		return false
	case p.open:
		return true
	}
	if flow.proto == unix.IPPROTO_UDP {
		switch flow.dport {
		case 67, 68, 546, 547:
			return true
		}
	}
	for _, id := range p.groups {
		rules := f.rules.groups[id].rules
		for i := range rules {
			if rules[i].allows(f.rules.groups, ingress, remote, flow.proto, flow.dport, flow.icmpType, flow.icmpCode) {
				return true
			}
		}
	}
	return false
}
