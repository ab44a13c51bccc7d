package dataplane

import (
	"bytes"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// nftTimeout bounds one nft transaction.
const nftTimeout = 20 * time.Second

// runNFT applies a script as one transaction in the calling thread's network
// namespace: all of it or nothing. It is not tied to a context: a change that
// was begun is finished, so that what is believed of the kernel stays true.
func runNFT(nft, script string) error { return nftScript(nft, script, "-f", "-") }

// checkNFT tells whether runNFT would take the script.
func checkNFT(nft, script string) error { return nftScript(nft, script, "-c", "-f", "-") }

func nftScript(nft, script string, args ...string) error {
	cmd := exec.Command(nft, args...)
	cmd.Stdin = strings.NewReader(script)
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("nft: %w", err)
	}
	limit := time.AfterFunc(nftTimeout, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	if err := cmd.Wait(); err != nil {
		msg, _, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
		return fmt.Errorf("nft: %s: %w", msg, err)
	}
	return nil
}

// A nftSet is a set of addresses or devices. Interval sets take prefixes, but
// nft has to read all interval sets of the table to change one.
type nftSet struct {
	typ      string // ipv4_addr, ipv6_addr, ifname
	interval bool
	elems    []string // sorted
}

// A nftTable is one table as it should be: everything that varies, keyed by
// name, so that two of them can be compared.
type nftTable struct {
	family, name string
	// base are chains with a hook, by name: their first line is the hook.
	base   map[string][]string
	chains map[string][]string
	sets   map[string]nftSet
	// vmaps go from interface name to verdict.
	vmaps map[string]map[string]string
}

func newTable(family, name string) *nftTable {
	return &nftTable{
		family: family, name: name,
		base: map[string][]string{}, chains: map[string][]string{},
		sets: map[string]nftSet{}, vmaps: map[string]map[string]string{},
	}
}

func (t *nftTable) ref() string { return t.family + " " + t.name }

// create is the script that replaces the table, whatever it held.
func (t *nftTable) create() string {
	var b strings.Builder
	fmt.Fprintf(&b, "add table %s\ndelete table %s\nadd table %s\n", t.ref(), t.ref(), t.ref())
	empty := newTable(t.family, t.name)
	for _, name := range slices.Sorted(maps.Keys(t.vmaps)) {
		fmt.Fprintf(&b, "add map %s %s { type ifname : verdict; }\n", t.ref(), name)
		empty.vmaps[name] = map[string]string{}
	}
	t.change(&b, empty)
	for _, name := range slices.Sorted(maps.Keys(t.base)) {
		lines := t.base[name]
		fmt.Fprintf(&b, "add chain %s %s { %s; }\n", t.ref(), name, lines[0])
		t.rules(&b, name, lines[1:])
	}
	return b.String()
}

// update is the script that turns old into t; empty if nothing differs. Base
// chains and the set of vmaps never change.
func (t *nftTable) update(old *nftTable) string {
	var b strings.Builder
	t.change(&b, old)
	return b.String()
}

// change writes in an order that never refers to what is not there: new
// things first, then contents, then removals.
func (t *nftTable) change(b *strings.Builder, old *nftTable) {
	for _, name := range slices.Sorted(maps.Keys(t.sets)) {
		s, o := t.sets[name], old.sets[name]
		if o.typ == "" {
			flags := ""
			if s.interval {
				flags = " flags interval;"
			}
			fmt.Fprintf(b, "add set %s %s { type %s;%s }\n", t.ref(), name, s.typ, flags)
		}
		t.changeSet(b, name, o.elems)
	}
	changed := make([]string, 0, len(t.chains))
	for _, name := range slices.Sorted(maps.Keys(t.chains)) {
		o, exists := old.chains[name]
		switch {
		case !exists:
			fmt.Fprintf(b, "add chain %s %s\n", t.ref(), name)
			changed = append(changed, name)
		case !slices.Equal(o, t.chains[name]):
			fmt.Fprintf(b, "flush chain %s %s\n", t.ref(), name)
			changed = append(changed, name)
		}
	}
	for _, name := range changed {
		t.rules(b, name, t.chains[name])
	}
	for _, name := range slices.Sorted(maps.Keys(t.vmaps)) {
		t.changeMap(b, name, old.vmaps[name])
	}
	var gone []string
	for _, name := range slices.Sorted(maps.Keys(old.chains)) {
		if _, ok := t.chains[name]; !ok {
			fmt.Fprintf(b, "flush chain %s %s\n", t.ref(), name)
			gone = append(gone, name)
		}
	}
	for _, name := range gone {
		fmt.Fprintf(b, "delete chain %s %s\n", t.ref(), name)
	}
	for _, name := range slices.Sorted(maps.Keys(old.sets)) {
		if _, ok := t.sets[name]; !ok {
			fmt.Fprintf(b, "delete set %s %s\n", t.ref(), name)
		}
	}
}

// changeSet turns the elements old into those of the set: one by one, or for
// an interval set, whose neighbours may overlap on the way, all at once.
func (t *nftTable) changeSet(b *strings.Builder, name string, old []string) {
	s := t.sets[name]
	if slices.Equal(s.elems, old) {
		return
	}
	add := s.elems
	if s.interval {
		if len(old) > 0 {
			fmt.Fprintf(b, "flush set %s %s\n", t.ref(), name)
		}
	} else {
		if del := without(old, s.elems); len(del) > 0 {
			fmt.Fprintf(b, "delete element %s %s { %s }\n", t.ref(), name, strings.Join(del, ", "))
		}
		add = without(s.elems, old)
	}
	if len(add) > 0 {
		fmt.Fprintf(b, "add element %s %s { %s }\n", t.ref(), name, strings.Join(add, ", "))
	}
}

// without is a less what is in b.
func without(a, b []string) []string {
	in := make(map[string]bool, len(b))
	for _, s := range b {
		in[s] = true
	}
	var out []string
	for _, s := range a {
		if !in[s] {
			out = append(out, s)
		}
	}
	return out
}

func (t *nftTable) changeMap(b *strings.Builder, name string, old map[string]string) {
	var del, add []string
	now := t.vmaps[name]
	for _, key := range slices.Sorted(maps.Keys(old)) {
		if now[key] != old[key] {
			del = append(del, fmt.Sprintf("%q : %s", key, old[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if now[key] != old[key] {
			add = append(add, fmt.Sprintf("%q : %s", key, now[key]))
		}
	}
	if len(del) > 0 {
		fmt.Fprintf(b, "delete element %s %s { %s }\n", t.ref(), name, strings.Join(del, ", "))
	}
	if len(add) > 0 {
		fmt.Fprintf(b, "add element %s %s { %s }\n", t.ref(), name, strings.Join(add, ", "))
	}
}

func (t *nftTable) rules(b *strings.Builder, chain string, lines []string) {
	for _, line := range lines {
		fmt.Fprintf(b, "add rule %s %s %s\n", t.ref(), chain, line)
	}
}
