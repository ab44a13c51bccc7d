package lab

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// lossTable is the packet filter's table on the switches.
const lossTable = "lab"

// setDrop adds, replaces or (0 percent) removes a loss.
func (l *Lab) setDrop(ctx context.Context, d Loss) error {
	if l.topology.Networks[d.Network] == nil {
		return fmt.Errorf("network %q is not in lab %s; it has %s", d.Network, l.name, strings.Join(l.topology.NetworkNames(), ", "))
	}
	for _, end := range []string{d.From, d.To} {
		if end != Anyone && end != Operator && l.topology.Server(end) == nil {
			return fmt.Errorf("%q is no server of lab %s; %q means all, %q the operator's seat", end, l.name, Anyone, Operator)
		}
		if end != Anyone && len(l.portNames(end, d.Network)) == 0 {
			return fmt.Errorf("%s is not on network %s", end, d.Network)
		}
	}
	if d.Percent < 0 || d.Percent > 100 {
		return fmt.Errorf("a loss of %d%% is not possible: give 1 to 100", d.Percent)
	}
	return l.change(ctx, func(s *state) error {
		s.Drops = slices.DeleteFunc(s.Drops, func(x Loss) bool {
			return x.From == d.From && x.To == d.To && x.Network == d.Network
		})
		if d.Percent > 0 {
			s.Drops = append(s.Drops, d)
		}
		return l.applyDrops(s)
	})
}

// portNames are the switch ports of a server in a network.
func (l *Lab) portNames(server, network string) []string {
	var out []string
	for _, p := range portsOf(l.topology, server) {
		if p.link.Network == network {
			out = append(out, p.name)
		}
	}
	return out
}

// applyDrops gives the switches the rules of the losses, all at once.
func (l *Lab) applyDrops(s *state) error {
	var out bytes.Buffer
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(l.ruleset(s.Drops))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := inNS(l.nsName(fabricName), cmd.Run); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
		return fmt.Errorf("set the losses of lab %s: %w: %s", l.name, err, first)
	}
	return nil
}

// ruleset replaces the table of losses. A frame is marked with its sender's
// number where it enters a switch; the mark goes along to the other switch, so
// a rule at the receiver's port knows the sender whatever way the frame took and
// whatever address it bears (routers and virtual addresses have their own).
func (l *Lab) ruleset(drops []Loss) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table bridge %[1]s\ndelete table bridge %[1]s\n", lossTable)
	if len(drops) == 0 {
		return b.String()
	}
	var marks []string
	for _, p := range ports(l.topology) {
		marks = append(marks, fmt.Sprintf("%q : %d", p.name, p.owner))
	}
	fmt.Fprintf(&b, "table bridge %s {\n\tchain sender {\n\t\ttype filter hook prerouting priority -300; policy accept;\n", lossTable)
	fmt.Fprintf(&b, "\t\tmeta mark set iifname map { %s }\n\t}\n", strings.Join(marks, ", "))
	b.WriteString("\tchain lose {\n\t\ttype filter hook forward priority 0; policy accept;\n")
	for _, d := range drops {
		b.WriteString("\t\t" + l.rule(d) + "\n")
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}

func (l *Lab) rule(d Loss) string {
	set := func(server string) string {
		return `{ "` + strings.Join(l.portNames(server, d.Network), `", "`) + `" }`
	}
	var match string
	switch {
	case d.From == Anyone && d.To == Anyone:
		var all []string
		for _, p := range ports(l.topology) {
			if p.link.Network == d.Network {
				all = append(all, p.name)
			}
		}
		match = `oifname { "` + strings.Join(all, `", "`) + `" }`
	case d.To == Anyone:
		match = "iifname " + set(d.From) // where it enters: no other rule sees it
	case d.From == Anyone:
		match = "oifname " + set(d.To)
	default:
		match = fmt.Sprintf("meta mark %d oifname %s", number(l.topology, d.From), set(d.To))
	}
	if d.Percent < 100 {
		match += fmt.Sprintf(" numgen random mod 100 < %d", d.Percent)
	}
	return match + " drop"
}
