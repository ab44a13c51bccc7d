package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/hastack/hastack/internal/neutron/rpc"
)

// The firewall is two tables, for kernels without conntrack in the bridge
// family:
//
//   - inet hastack_<tag>: bridged frames visit the ip hooks through
//     br_netfilter. There conntrack runs, in a zone of its own for every tenant
//     network, and what it finds is left on the packet as a mark.
//   - bridge hastack_<tag>: here the ports are known. Prerouting checks the
//     sender, the forward hook lets the sender's groups and then the
//     receiver's decide, and both see the mark.
//
// Ports are looked up in verdict maps by interface name, so the cost of a
// packet does not grow with the number of ports; groups are chains of their
// own, so a change of a group is one chain whatever the number of its ports.

// The verdict maps of the bridge table.
const (
	mapSpoof = "spoof"
	mapOut   = "out"
	mapIn    = "in"
	mapZones = "zones"
)

// A ruleset is both tables, and what they were made of.
type ruleset struct {
	inet, bridge *nftTable
	ports        map[string]*portFilter  // by port id, protected ones too
	groups       map[string]*groupFilter // by group id
	zones        map[string]uint16       // by port id
}

// firewallState is what the kernel is believed to hold.
type firewallState struct {
	table   string
	applied *ruleset // nil: not known, replace everything
	gen     uint32   // the kernel's generation right after our last change
	refused bool     // some connections may be marked as refused
}

func newFirewallState(tag string) *firewallState {
	return &firewallState{table: "hastack_" + tag}
}

// A firewallPlan is what the firewall has to cover.
type firewallPlan struct {
	ports   []*rpc.PortState
	groups  map[string]*rpc.SecurityGroupState
	bridges map[string]uint16 // bridge → conntrack zone, 0 for a physical network
	portOn  map[string]string // port id → bridge
	tunnels map[string]string // VXLAN device → bridge
	closed  map[string]bool   // port ids to close whatever they say
}

// buildRuleset renders a plan. Ports that make no sense are closed and
// reported by id; bad group rules are left out and reported by group id.
func buildRuleset(table string, plan *firewallPlan) (*ruleset, map[string]error) {
	rs := &ruleset{
		inet: inetTable(table), bridge: bridgeTable(table),
		ports: map[string]*portFilter{}, groups: map[string]*groupFilter{}, zones: map[string]uint16{},
	}
	bad := map[string]error{}
	for id, g := range plan.groups {
		f, errs := parseGroup(g)
		if len(errs) > 0 {
			bad[id] = errors.Join(errs...)
		}
		if f != nil {
			rs.groups[id] = f
		}
	}
	for _, p := range plan.ports {
		rs.addPort(p, plan, bad)
	}
	for dev, bridge := range plan.tunnels {
		rs.bridge.vmaps[mapSpoof][dev] = "jump trusted"
		if plan.bridges[bridge] != 0 {
			rs.seal(dev)
		}
	}
	for _, id := range usedGroups(rs.ports) {
		rs.groups[id].render(rs.bridge, rs.groups)
	}
	names := slices.Sorted(maps.Keys(plan.bridges))
	quoted := make([]string, 0, len(names))
	for _, name := range names {
		quoted = append(quoted, fmt.Sprintf("%q", name))
		if zone := plan.bridges[name]; zone != 0 {
			chain := fmt.Sprintf("zone_%d", zone)
			rs.inet.chains[chain] = []string{fmt.Sprintf("ct zone set %d", zone)}
			rs.inet.vmaps[mapZones][name] = "jump " + chain
		}
	}
	rs.inet.sets["bridges"] = nftSet{typ: "ifname", elems: quoted}
	return rs, bad
}

func (rs *ruleset) addPort(p *rpc.PortState, plan *firewallPlan, bad map[string]error) {
	f, err := parsePort(p, rs.groups)
	if err != nil {
		bad[p.ID] = err
	}
	if err != nil || plan.closed[p.ID] {
		cid, cerr := chainID(p.ID)
		if cerr != nil {
			return // cannot even be named; its tap is never plugged
		}
		f = &portFilter{port: p, cid: cid, tap: TapName(p.ID), closed: true}
	}
	f.render(rs.bridge)
	rs.ports[p.ID] = f
	zone := plan.bridges[plan.portOn[p.ID]]
	rs.zones[p.ID] = zone
	if zone != 0 {
		rs.seal(f.tap)
	}
}

// seal keeps frames of a tenant network away from the host itself: a bridge
// without an address would still answer ARP and take packets for the host.
func (rs *ruleset) seal(dev string) {
	s := rs.bridge.sets["sealed"]
	s.elems = append(s.elems, fmt.Sprintf("%q", dev))
	slices.Sort(s.elems)
	rs.bridge.sets["sealed"] = s
}

func usedGroups(ports map[string]*portFilter) []string {
	used := map[string]bool{}
	for _, p := range ports {
		for _, id := range p.groups {
			used[id] = true
		}
	}
	return slices.Sorted(maps.Keys(used))
}

func bridgeTable(name string) *nftTable {
	t := newTable("bridge", name)
	t.vmaps[mapSpoof], t.vmaps[mapOut], t.vmaps[mapIn] = map[string]string{}, map[string]string{}, map[string]string{}
	t.sets["sealed"] = nftSet{typ: "ifname"}
	t.chains["trusted"] = []string{clearMark}
	t.chains["closed"] = []string{"drop"}
	hook := func(hook string, prio int, lines ...string) []string {
		return append([]string{fmt.Sprintf("type filter hook %s priority %d; policy accept", hook, prio)}, lines...)
	}
	t.base["hook_pre"] = hook("prerouting", -300, "iifname vmap @"+mapSpoof)
	t.base["hook_out"] = hook("forward", 10, "iifname vmap @"+mapOut)
	t.base["hook_in"] = hook("forward", 20, "oifname vmap @"+mapIn)
	t.base["hook_local_in"] = hook("input", 10, "iifname @sealed drop", "iifname vmap @"+mapOut)
	t.base["hook_local_out"] = hook("output", 10, "oifname vmap @"+mapIn)
	return t
}

func inetTable(name string) *nftTable {
	t := newTable("inet", name)
	t.vmaps[mapZones] = map[string]string{}
	t.sets["bridges"] = nftSet{typ: "ifname"}
	state := func(hook, match string) []string {
		return []string{
			"type filter hook " + hook + " priority -150; policy accept",
			fmt.Sprintf("%s ct mark & 0x%08x != 0 meta mark set meta mark | 0x%08x return", match, refusedMark, markInvalid),
			fmt.Sprintf("%s ct state established,related meta mark set meta mark | 0x%08x", match, markEstablished),
			fmt.Sprintf("%s ct state invalid meta mark set meta mark | 0x%08x", match, markInvalid),
		}
	}
	t.base["hook_zone"] = []string{"type filter hook prerouting priority -300; policy accept", "iifname vmap @" + mapZones}
	t.base["hook_state"] = state("prerouting", "iifname @bridges")
	// What the host sends or routes onto a physical network's bridge was not
	// seen by prerouting on that bridge.
	t.base["hook_state_routed"] = state("forward", "oifname @bridges iifname != @bridges")
	t.base["hook_state_local"] = state("output", "oifname @bridges")
	return t
}

// applyFirewall makes the kernel's tables those of the plan, in one
// transaction. It returns what had to be closed or left out, by id, and the
// ruleset that was in force before (nil if unknown).
func (h *Host) applyFirewall(plan *firewallPlan) (now, before *ruleset, bad map[string]error, err error) {
	fw := h.firewall
	before = fw.applied
	if before != nil && generation() != fw.gen {
		before, fw.applied = nil, nil // someone else changed rules: do not trust the difference
	}
	rs, bad := buildRuleset(fw.table, plan)
	script := rs.script(before)
	if script == "" {
		return rs, before, bad, nil
	}
	err = runNFT(h.nft, script)
	if err != nil && before != nil {
		h.log.Warn("firewall change refused, replacing all of it", "error", err)
		err = runNFT(h.nft, rs.script(nil))
	}
	if err != nil {
		rs, err = h.isolate(plan, bad, err)
	}
	if err != nil {
		fw.applied = nil
		return nil, before, bad, err
	}
	fw.applied, fw.gen = rs, generation()
	return rs, before, bad, nil
}

func (rs *ruleset) script(old *ruleset) string {
	if old == nil {
		return rs.inet.create() + rs.bridge.create()
	}
	return rs.inet.update(old.inet) + rs.bridge.update(old.bridge)
}

// isolate finds the ports whose rules nft refuses, by checking each alone,
// and closes those, so that one port's rules never leave others without
// theirs (security case 51).
func (h *Host) isolate(plan *firewallPlan, bad map[string]error, cause error) (*ruleset, error) {
	closed := maps.Clone(plan.closed)
	if closed == nil {
		closed = map[string]bool{}
	}
	for _, p := range plan.ports {
		one := *plan
		one.ports = []*rpc.PortState{p}
		rs, _ := buildRuleset(h.firewall.table, &one)
		if err := checkNFT(h.nft, rs.script(nil)); err != nil {
			closed[p.ID], bad[p.ID] = true, err
		}
	}
	if len(closed) == len(plan.closed) {
		return nil, cause
	}
	again := *plan
	again.closed = closed
	rs, _ := buildRuleset(h.firewall.table, &again)
	return rs, runNFT(h.nft, rs.script(nil))
}

// generation is the kernel's count of ruleset changes in the calling thread's
// namespace, 0 if it cannot be read. It tells in microseconds whether somebody else changed
// rules, where listing them would take a process.
func generation() uint32 {
	const getGen, genID = 16, 1 // NFT_MSG_GETGEN, NFTA_GEN_ID
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|getGen, 0)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	msgs, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil || len(msgs) == 0 || len(msgs[0]) < 4 {
		return 0
	}
	attrs, err := nl.ParseRouteAttr(msgs[0][4:])
	if err != nil {
		return 0
	}
	for _, a := range attrs {
		if int(a.Attr.Type) == genID && len(a.Value) >= 4 {
			return binary.BigEndian.Uint32(a.Value)
		}
	}
	return 0
}
