package topology

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Draw writes the cluster as text: racks with servers and their addresses,
// networks, switch ports, VIPs and capacity.
func (t *Topology) Draw(w io.Writer) error {
	v := t.View()
	out := &strings.Builder{}
	fmt.Fprintf(out, "%s\n", t.Summary())
	drawTable(out, "networks", []string{"network", "addresses", "vlan", "device", "switches", "gateway", "floating", "servers"}, len(v.Networks), func(i int) []string {
		n := v.Networks[i]
		return []string{n.Name, n.CIDR, number(n.VLAN), n.Device, strings.Join(n.Switches, " "), n.Gateway, n.Floating, number(n.Servers)}
	})
	for _, rack := range v.Racks {
		t.drawRack(out, v, rack)
	}
	for _, s := range v.Switches {
		parts := []string{"switch " + s.Name, s.Model, s.Address}
		if s.Peer != "" {
			parts = append(parts, "pair with "+s.Peer)
		}
		title := strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), " · ")
		drawTable(out, title, []string{"port", "server", "leg", "network"}, len(s.Ports), func(i int) []string {
			p := s.Ports[i]
			return []string{number(p.Port), p.Server, p.Leg, p.Network}
		})
	}
	drawTable(out, "virtual addresses, by "+t.VIPManager, []string{"vip", "address", "network", "held by", "then"}, len(v.VIPs), func(i int) []string {
		x := v.VIPs[i]
		return []string{x.Name, x.Address, x.Network, x.Holders[0], strings.Join(x.Holders[1:], " ")}
	})
	drawCapacity(out, v.Capacity)
	fmt.Fprintf(out, "\nmonitors  %s\n", strings.Join(v.Monitors, " "))
	for _, p := range v.Warnings {
		fmt.Fprintf(out, "warning   %s\n", p)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (t *Topology) drawRack(out io.Writer, v View, rack string) {
	nets := t.NetworkNames()
	head := append([]string{"server", "roles"}, nets...)
	var rows [][]string
	for _, s := range v.Servers {
		if s.Rack != rack {
			continue
		}
		row := []string{s.Name, strings.Join(s.Roles, " ")}
		for _, n := range nets {
			a := s.Addresses[n]
			if n == OutOfBand && a == "" && s.BMC != "" {
				a = s.BMC + " (bmc)"
			}
			row = append(row, a)
		}
		rows = append(rows, row)
	}
	title := "rack " + rack
	if rack == "" {
		title = "servers in no rack"
	}
	for _, s := range v.Switches {
		if s.Rack == rack {
			title += " · switch " + s.Name
		}
	}
	if len(rows) == 0 {
		fmt.Fprintf(out, "\n%s\n", title)
		return
	}
	drawTable(out, title, head, len(rows), func(i int) []string { return rows[i] })
}

func drawCapacity(out io.Writer, all []Capacity) {
	known := all[:0:0]
	for _, c := range all {
		if c.Unknown < c.Servers {
			known = append(known, c)
		}
	}
	if len(known) == 0 {
		return
	}
	drawTable(out, "capacity, by hardware model", []string{"role", "servers", "cores", "memory", "disks, usable of raw"}, len(known), func(i int) []string {
		c := known[i]
		var disks []string
		for _, d := range c.Disks {
			text := fmt.Sprintf("%s %s of %s", d.Use, size(d.UsableGB), size(d.RawGB))
			if d.Use == "objects" {
				text += " (3 replicas)"
			}
			disks = append(disks, text)
		}
		return []string{c.Role, number(c.Servers), number(c.Cores), fmt.Sprintf("%d GB", c.MemoryGB), strings.Join(disks, ", ")}
	})
}

// drawTable aligns columns under their heads and leaves out those that are empty.
func drawTable(out io.Writer, title string, head []string, rows int, row func(int) []string) {
	fmt.Fprintf(out, "\n%s\n", title)
	if rows == 0 {
		fmt.Fprintln(out, "  none")
		return
	}
	used := make([]bool, len(head))
	for i := range rows {
		for j, cell := range row(i) {
			used[j] = used[j] || cell != ""
		}
	}
	text := &strings.Builder{}
	tw := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	line := func(cells []string) {
		fmt.Fprint(tw, "  ")
		for j, cell := range cells {
			if used[j] {
				fmt.Fprint(tw, cell, "\t")
			}
		}
		fmt.Fprintln(tw)
	}
	line(head)
	for i := range rows {
		line(row(i))
	}
	_ = tw.Flush() // into memory
	for l := range strings.Lines(text.String()) {
		fmt.Fprintln(out, strings.TrimRight(l, " \n"))
	}
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func size(gb int) string {
	if gb < 1000 {
		return fmt.Sprintf("%d GB", gb)
	}
	return fmt.Sprintf("%.1f TB", float64(gb)/1000)
}
