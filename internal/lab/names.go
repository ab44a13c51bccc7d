package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hastack/hastack/internal/topology"
)

// fabricName is the namespace of the switches, beside those of the servers.
const fabricName = "fabric"

// shortLimit is the longest lab name that is used as it is.
const shortLimit = 8

// short is the lab's name in namespaces and control groups.
func short(name string) string {
	if len(name) <= shortLimit {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:3] + hex.EncodeToString(sum[:])[:5]
}

// Dir is where a lab keeps its state.
func Dir(stateDir, name string) string { return filepath.Join(stateDir, "labs", name) }

func (l *Lab) stateFile() string              { return filepath.Join(l.dir, "lab.json") }
func (l *Lab) serverDir(server string) string { return filepath.Join(l.dir, "servers", server) }

// nsName is the name of a server's namespace. The dot keeps lab "a-b" apart
// from server "b" of lab "a".
func (l *Lab) nsName(server string) string {
	if server == Operator {
		return "hl-" + short(l.name)
	}
	return "hl-" + short(l.name) + "." + server
}

// checkName refuses what cannot be part of a namespace's or a machine's name.
func checkName(name string) error {
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`).MatchString(name) {
		return fmt.Errorf("%q cannot name a lab or a server: lower-case letters, digits and hyphens, at most 40", name)
	}
	return nil
}

func checkNames(t *topology.Topology) error {
	if err := checkName(t.Name); err != nil {
		return err
	}
	for _, s := range t.Servers {
		if err := checkName(s.Name); err != nil {
			return err
		}
		if s.Name == Operator || s.Name == fabricName {
			return fmt.Errorf("server %s: a lab has something else of that name; call it otherwise", s.Name)
		}
		for _, l := range s.Links() {
			if n := len(l.Leg); n > 15 {
				return fmt.Errorf("server %s: the interface %s would have %d letters, 15 are possible: shorten device %s", s.Name, l.Leg, n, l.Device)
			}
		}
	}
	return nil
}

// hash gives the same number for the same things in every run.
func hash(parts ...string) [32]byte { return sha256.Sum256([]byte(strings.Join(parts, "\x00"))) }

// deviceMAC is the fixed, locally administered address of a server's device.
func deviceMAC(lab, server, device string) net.HardwareAddr {
	h := hash(lab, server, device)
	return net.HardwareAddr{0x02, 0x68, h[0], h[1], h[2], h[3]}
}

// A port is one end of a cable in the namespace of the switches.
type port struct {
	link  topology.Link
	name  string // of the interface there
	index int    // its fixed interface index
	owner uint32 // the server's number, which marks its frames
}

// operatorNumber marks the operator's frames; servers have their host number.
const operatorNumber = 255

// number is stable when servers are added or removed.
func number(t *topology.Topology, server string) uint32 {
	if s := t.Server(server); s != nil {
		return uint32(s.Host)
	}
	return operatorNumber
}

// ports are all switch ports with a server or the operator behind.
func ports(t *topology.Topology) []port {
	var out []port
	add := func(links []topology.Link) {
		for i, l := range links {
			o := number(t, l.Server)
			// The peers of a veth pair must not have equal indexes, or the
			// kernel tells of a lost carrier a second late (its link watch
			// takes such a device for one without a lower device).
			out = append(out, port{link: l, name: fmt.Sprintf("p%d.%d", o, i), index: 100_000 + int(o)*100 + i, owner: o})
		}
	}
	for _, s := range t.Servers {
		add(s.Links())
	}
	add(operatorLinks(t))
	return out
}

func portsOf(t *topology.Topology, server string) []port {
	return slices.DeleteFunc(ports(t), func(p port) bool { return p.link.Server != server })
}

// operatorNetworks are the networks that the operator's seat is on.
var operatorNetworks = [...]string{topology.Management, topology.External, topology.OutOfBand}

// operatorLinks wire the operator's seat as if it were a server.
func operatorLinks(t *topology.Topology) []topology.Link {
	var out []topology.Link
	for _, name := range operatorNetworks {
		n := t.Networks[name]
		if n == nil {
			continue
		}
		for i, sw := range n.Switches {
			leg := n.Device
			if len(n.Switches) > 1 {
				leg = fmt.Sprintf("%sl%d", n.Device, i+1)
			}
			out = append(out, topology.Link{Server: Operator, Network: name, Device: n.Device, Leg: leg, Switch: sw})
		}
	}
	return out
}

// linksOf are the links of a server or of the operator.
func linksOf(t *topology.Topology, server string) []topology.Link {
	if server == Operator {
		return operatorLinks(t)
	}
	if s := t.Server(server); s != nil {
		return s.Links()
	}
	return nil
}

// bridge is the name of the bridge that stands for a network on a switch.
func bridge(t *topology.Topology, sw, network string) string {
	s := slices.IndexFunc(t.Switches, func(x *topology.Switch) bool { return x.Name == sw })
	return fmt.Sprintf("sw%d.%d", s, slices.Index(t.NetworkNames(), network))
}

// An uplink is the cable between two switches for one network.
type uplink struct {
	a, b    string
	network string
	port    string // interface on a; b's has the suffix "p"
}

func (u uplink) name() string { return u.a + "--" + u.b }

// uplinks join the switches of each network in a row: no loop, one segment.
func uplinks(t *topology.Topology) []uplink {
	var out []uplink
	for n, name := range t.NetworkNames() {
		sw := t.Networks[name].Switches
		for i := 1; i < len(sw); i++ {
			out = append(out, uplink{a: sw[i-1], b: sw[i], network: name, port: fmt.Sprintf("up%d.%d", n, i)})
		}
	}
	return out
}
