package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// natTable is the name of the one table in a router's namespace.
const natTable = "hastack"

// natScript is the router's translations, as one transaction that keeps the
// hooks and replaces the rules.
func (p *routerPlan) natScript() string {
	var b strings.Builder
	chain := func(table, name, hook string, rules ...string) {
		fmt.Fprintf(&b, "add chain %s %s { type %s; policy accept; }\nflush chain %s %s\n", table, name, hook, table, name)
		for _, r := range rules {
			fmt.Fprintf(&b, "add rule %s %s %s\n", table, name, r)
		}
	}
	nat, filter := "ip "+natTable, "inet "+natTable
	fmt.Fprintf(&b, "add table %s\nadd table %s\n", nat, filter)
	var dnat, snat []string
	for _, f := range p.floating {
		dnat = append(dnat, fmt.Sprintf("ip daddr %s dnat to %s", f.addr, f.inside))
		snat = append(snat, fmt.Sprintf("oifname %q ip saddr %s snat to %s", p.gateway, f.inside, f.addr))
	}
	pre := append([]string{
		fmt.Sprintf("iifname \"%s*\" ip daddr %s tcp dport 80 redirect to :%d", prefixRouter, metadataIP.Addr(), MetadataPort),
	}, dnat...)
	post := snat
	if p.gwAddr.IsValid() {
		if p.snat {
			post = append(post, fmt.Sprintf("iifname \"%s*\" oifname %q snat to %s", prefixRouter, p.gateway, p.gwAddr))
		}
		// A server that calls a neighbour's floating IP, or its own: the answer
		// has to come back through here.
		post = append(post, fmt.Sprintf("iifname \"%s*\" oifname \"%s*\" ct status dnat snat to %s", prefixRouter, prefixRouter, p.gwAddr))
	}
	chain(nat, "pre", "nat hook prerouting priority dstnat", pre...)
	chain(nat, "out", "nat hook output priority -100", dnat...)
	chain(nat, "post", "nat hook postrouting priority srcnat", post...)

	forward := []string{fmt.Sprintf("ip daddr %s drop", metadataIP.Addr())}
	if p.gateway != "" && p.snat {
		// What conntrack does not know is not translated, so it must not leave.
		forward = append(forward, fmt.Sprintf("meta nfproto ipv4 oifname %q ct state invalid drop", p.gateway))
	}
	chain(filter, "input", "filter hook input priority filter",
		fmt.Sprintf("iifname \"%s*\" tcp dport %d drop", prefixGateway, MetadataPort))
	chain(filter, "forward", "filter hook forward priority filter", forward...)
	return b.String()
}

// A natState is what a router's tables were last set to by this process.
type natState struct {
	script   string
	floating []floatingPlan
	gen      uint32 // the namespace's generation right after
}

// applyNAT sets the translations if they differ from what this process set
// before, or if somebody changed rules in the namespace, and returns the
// floating IPs that were in force.
func (h *Host) applyNAT(ns *namespace, p *routerPlan) ([]floatingPlan, error) {
	h.natMu.Lock()
	old := h.nat[p.r.ID]
	h.natMu.Unlock()
	script := p.natScript()
	now := &natState{script: script, floating: p.floating}
	err := ns.do(func() error {
		if old != nil && old.script == script && old.gen == generation() {
			now.gen = old.gen
			return nil
		}
		err := runNFT(h.nft, script)
		now.gen = generation()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("translations of router %s: %w", p.r.ID, err)
	}
	h.natMu.Lock()
	h.nat[p.r.ID] = now
	h.natMu.Unlock()
	if old == nil {
		return nil, nil
	}
	return old.floating, nil
}

// natIntact tells whether nobody changed the rules of a router's namespace
// since they were set.
func (h *Host) natIntact(ns *namespace, routerID string) bool {
	h.natMu.Lock()
	st := h.nat[routerID]
	h.natMu.Unlock()
	if st == nil {
		return false
	}
	var gen uint32
	_ = ns.do(func() error { gen = generation(); return nil })
	return gen == st.gen
}

func (h *Host) forgetNAT(routerID string) {
	h.natMu.Lock()
	delete(h.nat, routerID)
	h.natMu.Unlock()
}

// forgetMoved ends the connections through floating IPs that are gone or lead
// elsewhere now: conntrack would go on translating them. It runs inside the
// router's namespace.
func forgetMoved(before, now []floatingPlan) error {
	kept := map[floatingPlan]bool{}
	for _, f := range now {
		kept[f] = true
	}
	moved := map[netip.Addr]bool{}
	for _, f := range before {
		if !kept[f] {
			moved[f.addr] = true
		}
	}
	// A server that just got a floating IP goes on under the router's address
	// with the connections it had; that is what Neutron does too.
	if len(moved) == 0 {
		return nil
	}
	flows, err := listFlows(unix.AF_INET)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range flows {
		if moved[f.dst] || moved[f.replyDst] {
			errs = append(errs, f.forget())
		}
	}
	return errors.Join(errs...)
}
