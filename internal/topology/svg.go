package topology

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// Sizes of the drawing in pixels.
const (
	svgMargin = 28
	svgRow    = 40  // a server
	svgName   = 236 // the box with a server's name
	svgLeg    = 13  // a leg in the patch field
	svgGap    = 26  // between racks
)

// drawing is an SVG that grows downwards.
type drawing struct {
	t     *Topology
	body  strings.Builder
	y     int
	width int
	cols  []patchColumn
	port  map[string]int // by link name and switch
}

// patchColumn is one switch in the patch field beside the servers.
type patchColumn struct {
	name     string
	x, width int
}

// SVG draws the cluster: networks, switches, and per rack the servers, each
// with a coloured mark where a leg goes into a switch.
func (t *Topology) SVG() []byte {
	d := &drawing{t: t, y: svgMargin, port: map[string]int{}}
	patch := d.layoutPatch()
	racks := slices.DeleteFunc(t.Racks(), func(r string) bool {
		return !slices.ContainsFunc(t.Servers, func(s *Server) bool { return s.Rack == r })
	})
	panel := svgName + patch + 36
	d.width = max(2*svgMargin+len(racks)*(panel+svgGap)-svgGap, 760)
	d.title()
	d.networks()
	d.switches()
	top, bottom := d.y, d.y
	for i, rack := range racks {
		d.y = top
		d.rack(rack, svgMargin+i*(panel+svgGap), panel)
		bottom = max(bottom, d.y)
	}
	d.y = bottom + 24
	d.capacity()
	out := &strings.Builder{}
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="'DejaVu Sans','Segoe UI',Helvetica,sans-serif" font-size="12" fill="#1f2733">`+"\n",
		d.width, d.y+svgMargin, d.width, d.y+svgMargin)
	fmt.Fprintf(out, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#f7f8fa\"/>\n", html.EscapeString(t.Summary()))
	out.WriteString(d.body.String())
	out.WriteString("</svg>\n")
	return []byte(out.String())
}

// layoutPatch gives every switch a column as wide as the server with the most
// legs in it, and tells the width of all.
func (d *drawing) layoutPatch() int {
	x := 0
	for _, sw := range d.t.Switches {
		legs := map[string]int{}
		most := 1
		for i, l := range d.t.SwitchLinks(sw.Name) {
			d.port[l.Name()+" "+sw.Name] = i + 1
			legs[l.Server]++
			most = max(most, legs[l.Server])
		}
		w := max(most*svgLeg, 7*len(sw.Name)) + 12
		d.cols = append(d.cols, patchColumn{sw.Name, x, w})
		x += w
	}
	return x
}

func (d *drawing) printf(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = html.EscapeString(s)
		}
	}
	fmt.Fprintf(&d.body, format+"\n", args...)
}

func (d *drawing) text(x, y, size int, style, s string) {
	fmt.Fprintf(&d.body, `<text x="%d" y="%d" font-size="%d" %s>%s</text>`+"\n", x, y, size, style, html.EscapeString(s))
}

func (d *drawing) box(x, y, w, h int, fill, stroke string) {
	d.printf(`<rect x="%d" y="%d" width="%d" height="%d" rx="6" fill="%s" stroke="%s"/>`, x, y, w, h, fill, stroke)
}

const (
	svgBold  = `font-weight="bold"`
	svgQuiet = `fill="#5b6675"`
)

func (d *drawing) title() {
	d.text(svgMargin, d.y+16, 22, svgBold, d.t.Name)
	_, rest, _ := strings.Cut(d.t.Summary(), " · ")
	d.text(svgMargin, d.y+36, 12, svgQuiet, rest+" · "+d.t.Domain+" · VIPs by "+d.t.VIPManager)
	d.y += 58
}

// networkColour is the same for a network in every drawing.
func networkColour(name string) string {
	colours := [...]string{"#7a8594", "#d1495b", "#2e6fd8", "#2a9d63", "#e08a1e", "#8a4fc7", "#b5579e"}
	if i := slices.Index(networkOrder[:], name); i >= 0 {
		return colours[i]
	}
	return "#000000"
}

func (d *drawing) networks() {
	x := svgMargin
	for _, name := range d.t.NetworkNames() {
		n := d.t.Networks[name]
		sub := n.CIDR.String() + " · " + n.Device
		if n.VLAN != 0 {
			sub += fmt.Sprintf(" · VLAN %d", n.VLAN)
		}
		w := 34 + 7*max(len(name), len(sub))
		if x+w > d.width-svgMargin && x > svgMargin {
			x, d.y = svgMargin, d.y+46
		}
		d.box(x, d.y, w-8, 38, "#ffffff", "#d8dde4")
		d.printf(`<rect x="%d" y="%d" width="12" height="12" rx="3" fill="%s"/>`, x+8, d.y+7, networkColour(name))
		d.text(x+26, d.y+17, 12, svgBold, name)
		d.text(x+26, d.y+31, 10, svgQuiet, sub)
		x += w
	}
	d.y += 58
}

// switches draws them with the legs they carry; a pair touches by its link.
func (d *drawing) switches() {
	x, drawn := svgMargin, map[string]bool{}
	one := func(s *Switch) {
		links := d.t.SwitchLinks(s.Name)
		d.box(x, d.y, 168, 40, "#26303d", "#26303d")
		d.text(x+10, d.y+17, 12, `fill="#ffffff" font-weight="bold"`, s.Name)
		d.text(x+10, d.y+32, 10, `fill="#aab4c2"`, strings.TrimSpace(fmt.Sprintf("%s %s", s.Model, s.Rack))+fmt.Sprintf(" · %d cables", len(links)))
		at := x + 158
		for _, name := range slices.Backward(d.t.NetworkNames()) {
			if slices.ContainsFunc(links, func(l Link) bool { return l.Network == name }) {
				at -= 11
				d.printf(`<rect x="%d" y="%d" width="8" height="8" rx="2" fill="%s"><title>%s</title></rect>`, at, d.y+8, networkColour(name), name)
			}
		}
		drawn[s.Name] = true
		x += 168
	}
	for _, s := range d.t.Switches {
		if drawn[s.Name] {
			continue
		}
		if x+2*168+40 > d.width && x > svgMargin {
			x, d.y = svgMargin, d.y+54
		}
		one(s)
		if i := slices.IndexFunc(d.t.Switches, func(p *Switch) bool { return p.Name == s.Peer && p.Name != s.Name }); i >= 0 {
			d.printf(`<path d="M%d %d h26 M%d %d h26" stroke="#26303d" stroke-width="3"/>`, x, d.y+15, x, d.y+25)
			x += 26
			one(d.t.Switches[i])
		}
		x += 26
	}
	d.y += 64
}

func (d *drawing) rack(name string, x, w int) {
	var servers []*Server
	for _, s := range d.t.Servers {
		if s.Rack == name {
			servers = append(servers, s)
		}
	}
	h := 52 + len(servers)*(svgRow+4) + 8
	d.box(x, d.y, w, h, "#ffffff", "#c3cad4")
	title := "rack " + name
	if name == "" {
		title = "no rack"
	}
	d.text(x+12, d.y+22, 14, svgBold, title)
	patch := x + svgName + 20
	for _, c := range d.cols {
		d.printf(`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#e3e7ec" stroke-width="%d"/>`,
			patch+c.x+c.width/2, d.y+46, patch+c.x+c.width/2, d.y+h-10, c.width-8)
		d.text(patch+c.x+c.width/2, d.y+38, 10, `text-anchor="middle" fill="#5b6675"`, c.name)
	}
	d.y += 50
	for _, s := range servers {
		d.server(s, x+10, patch)
		d.y += svgRow + 4
	}
	d.y += 10
}

func (d *drawing) server(s *Server, x, patch int) {
	fill := "#eef3fb"
	switch {
	case s.Has(RoleControl):
		fill = "#dfe9fb"
	case s.Has(RoleLoadBalancer):
		fill = "#fbe9ec"
	case s.Has(RoleCompute):
		fill = "#e6f4ec"
	case s.Has(RoleNetwork):
		fill = "#fdf1e0"
	}
	d.box(x, d.y, svgName, svgRow, fill, "#c3cad4")
	d.text(x+9, d.y+16, 12, svgBold, s.Name)
	d.text(x+svgName-9, d.y+16, 11, `text-anchor="end" fill="#5b6675"`, fmt.Sprintf(".%d", s.Host))
	roles := strings.Join(s.Roles, " · ")
	if len(roles) > 36 {
		roles = strings.Join(s.Roles, " ")
	}
	d.text(x+9, d.y+31, 9, svgQuiet, roles)
	at := x + svgName - 34
	for _, v := range d.t.VIPs {
		if holders := d.t.Holders(v); len(holders) > 0 && holders[0] == s {
			w := 10 + 6*len(v.Name)
			at -= w
			d.printf(`<rect x="%d" y="%d" width="%d" height="14" rx="7" fill="#d1495b"><title>%s</title></rect>`, at, d.y+5, w-3, "VIP "+v.Name+" "+v.Address.String())
			d.text(at+(w-3)/2, d.y+15, 9, `text-anchor="middle" fill="#ffffff"`, v.Name)
		}
	}
	legs := map[string]int{}
	for _, l := range s.Links() {
		i := slices.IndexFunc(d.cols, func(c patchColumn) bool { return c.name == l.Switch })
		if i < 0 {
			continue
		}
		c := d.cols[i]
		lx := patch + c.x + 6 + legs[l.Switch]*svgLeg
		legs[l.Switch]++
		d.printf(`<rect x="%d" y="%d" width="10" height="16" rx="3" fill="%s"><title>%s</title></rect>`, lx, d.y+svgRow/2-8, networkColour(l.Network),
			fmt.Sprintf("%s into %s port %d · %s %s", l.Name(), l.Switch, d.port[l.Name()+" "+l.Switch], l.Network, s.Address(l.Network)))
	}
}

func (d *drawing) capacity() {
	d.text(svgMargin, d.y, 13, svgBold, "virtual addresses")
	for _, v := range d.t.VIPs {
		d.y += 18
		d.text(svgMargin, d.y, 11, "", fmt.Sprintf("%s  %s (%s): %s", v.Name, v.Address, v.Network, strings.Join(names(d.t.Holders(v)), ", then ")))
	}
	all := d.t.Capacity()
	if !slices.ContainsFunc(all, func(c Capacity) bool { return c.Unknown < c.Servers }) {
		return
	}
	d.y += 30
	d.text(svgMargin, d.y, 13, svgBold, "capacity")
	for _, c := range all {
		if c.Unknown == c.Servers {
			continue
		}
		parts := []string{fmt.Sprintf("%d %s: %d cores", c.Servers, c.Role, c.Cores), fmt.Sprintf("%d GB", c.MemoryGB)}
		for _, k := range c.Disks {
			parts = append(parts, fmt.Sprintf("%s %s of %s", k.Use, size(k.UsableGB), size(k.RawGB)))
		}
		d.y += 18
		d.text(svgMargin, d.y, 11, "", strings.Join(parts, ", "))
	}
}
