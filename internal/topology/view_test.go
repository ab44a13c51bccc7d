package topology

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// The published figures of the reference cluster.
func TestReferenceIsTheReference(t *testing.T) {
	topo := load(t, "reference-27.yaml")
	counts := map[string]int{RoleControl: 3, RoleNetwork: 2, RoleCompute: 9, RoleBlockStorage: 2, RoleObjectProxy: 2, RoleObjectStorage: 6,
		RoleLoadBalancer: 2, RoleAdmin: 1}
	for role, n := range counts {
		if got := len(topo.With(role)); got != n {
			t.Errorf("%s: %d servers, want %d", role, got, n)
		}
	}
	if len(topo.Servers) != 27 || len(topo.Networks) != 7 || len(topo.Switches) != 5 || len(topo.VIPs) != 3 || len(topo.Racks()) != 3 {
		t.Error(topo.Summary())
	}
	models := map[string]int{}
	for _, s := range topo.Servers {
		models[strings.Split(s.Hardware, "-")[0]]++
	}
	if models["r620"] != 19 || models["r720xd"] != 8 {
		t.Errorf("models %v", models)
	}
	for server, addresses := range map[string]map[string]string{
		"controller01": {Management: "10.3.0.20"}, "network02": {Tunnel: "10.4.0.31", External: "203.0.113.31"},
		"compute09":      {Management: "10.3.0.48", Tunnel: "10.4.0.48", BlockStorage: "10.5.0.48"},
		"blockstorage02": {BlockStorage: "10.5.0.61"}, "swiftproxy01": {ObjectStorage: "10.6.0.70"},
		"swiftstorage06": {ObjectStorage: "10.6.0.85", ObjectReplication: "10.7.0.85"}, "loadbalance01": {External: "203.0.113.11"},
		"admin01": {OutOfBand: "10.0.0.10", Management: "10.3.0.10"},
	} {
		for n, want := range addresses {
			if got := topo.Server(server).Address(n).String(); got != want {
				t.Errorf("%s in %s: %s, want %s", server, n, got, want)
			}
		}
	}
	if got := topo.Server("controller01").BMC().String(); got != "10.0.0.20" {
		t.Errorf("management controller %s", got)
	}
	if topo.Server("compute01").Address(External).IsValid() || topo.Server("controller01").Address(Tunnel).IsValid() {
		t.Error("a server is on a network that its role does not take part in")
	}
	lab := 0
	for _, s := range topo.Servers {
		if m := s.Lab.MemoryMB; m != 0 {
			lab += m
		} else {
			lab += topo.Lab.MemoryMB
		}
	}
	if lab > 12*1024 {
		t.Errorf("a lab takes %d MiB, at most 12 GiB", lab)
	}
}

func TestReferenceCapacity(t *testing.T) {
	want := map[string]Capacity{
		RoleCompute:       {Cores: 108, MemoryGB: 1728, Disks: []DiskCapacity{{"ephemeral", 14400, 7200}}},
		RoleControl:       {Cores: 36, MemoryGB: 144, Disks: []DiskCapacity{{"data", 1440, 720}}},
		RoleBlockStorage:  {Cores: 24, MemoryGB: 96, Disks: []DiskCapacity{{"volumes", 25600, 22400}}},
		RoleObjectStorage: {Cores: 72, MemoryGB: 288, Disks: []DiskCapacity{{"objects", 118800, 39600}}},
	}
	for _, c := range load(t, "reference-27.yaml").Capacity() {
		w, ok := want[c.Role]
		if !ok {
			continue
		}
		if c.Cores != w.Cores || c.MemoryGB != w.MemoryGB || !slices.Contains(c.Disks, w.Disks[0]) || c.Unknown != 0 {
			t.Errorf("%s: %+v, want %+v", c.Role, c, w)
		}
	}
}

func TestHoldersBeginWithThePreferred(t *testing.T) {
	topo := load(t, "three.yaml")
	api, public := topo.VIP("api"), topo.VIP("public")
	if got := names(topo.Holders(public)); !slices.Equal(got, []string{"node02", "node03", "node01"}) {
		t.Errorf("public: %v", got)
	}
	api.Prefer, public.Prefer = "", ""
	if topo.Holders(api)[0] == topo.Holders(public)[0] {
		t.Error("two VIPs without a preference begin at one load balancer")
	}
}

// Every leg has one port, and no port has two legs.
func TestEveryLegHasItsPort(t *testing.T) {
	topo := load(t, "reference-27.yaml")
	legs := 0
	for _, s := range topo.Servers {
		legs += len(s.Links())
	}
	ports := 0
	for _, s := range topo.View().Switches {
		for i, p := range s.Ports {
			if p.Port != i+1 {
				t.Errorf("%s: port %d is the %d. one", s.Name, p.Port, i+1)
			}
			ports++
		}
	}
	if ports != legs || legs == 0 {
		t.Errorf("%d legs in %d ports", legs, ports)
	}
}

func TestDrawingsHoldEverything(t *testing.T) {
	for _, name := range []string{"three.yaml", "small.yaml", "reference-27.yaml"} {
		topo := load(t, name)
		var text strings.Builder
		if err := topo.Draw(&text); err != nil {
			t.Fatal(err)
		}
		svg := string(topo.SVG())
		if err := wellFormed(svg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, s := range topo.Servers {
			for _, drawing := range []string{text.String(), svg} {
				if !strings.Contains(drawing, s.Name) || !strings.Contains(drawing, s.Management().String()) {
					t.Errorf("%s: no %s in the drawing", name, s.Name)
				}
			}
		}
		for _, v := range topo.VIPs {
			if !strings.Contains(text.String(), v.Address.String()) || !strings.Contains(svg, v.Address.String()) {
				t.Errorf("%s: no VIP %s in a drawing", name, v.Name)
			}
		}
		for line := range strings.Lines(text.String()) {
			if strings.HasSuffix(line, " \n") {
				t.Errorf("%s: a line ends in spaces: %q", name, line)
			}
		}
		if b, err := json.Marshal(topo.View()); err != nil || !json.Valid(b) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDrawingEscapesWhatTheFileSays(t *testing.T) {
	text := strings.Replace(example(t, "small.yaml"), "rack: r1,", `rack: "<script>&",`, 1)
	topo, err := Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	svg := string(topo.SVG())
	if strings.Contains(svg, "<script>") || wellFormed(svg) != nil {
		t.Error("the drawing holds what the file says unescaped")
	}
}

func wellFormed(text string) error {
	dec := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
