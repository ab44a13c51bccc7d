package qemu

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/hastack/hastack/internal/nova/virt"
)

// A machine collects the arguments of one QEMU and the files it inherits.
// Nothing in the arguments is a path: QEMU's descriptor n is files[n-3].
type machine struct {
	args  []string
	files []*os.File
	sets  int // fd sets given out
	ports int // root ports that are taken, of a machine that needs them
	q35   bool
}

// rootPorts is how many interfaces a q35 machine can have: only what is behind
// a port of its own can be plugged and unplugged while it runs.
const rootPorts = 10

func (m *machine) add(args ...string) { m.args = append(m.args, args...) }

// fd hands f to QEMU and returns its number there.
func (m *machine) fd(f *os.File) int {
	m.files = append(m.files, f)
	return len(m.files) + 2
}

// file hands f to QEMU and returns the name under which QEMU may open it.
func (m *machine) file(f *os.File) string {
	m.sets++
	m.add("-add-fd", fmt.Sprintf("fd=%d,set=%d", m.fd(f), m.sets))
	return fmt.Sprintf("/dev/fdset/%d", m.sets)
}

// blockdev adds a node; options are JSON, so no value can smuggle in another.
func (m *machine) blockdev(options map[string]any) {
	b, err := json.Marshal(options)
	if err != nil {
		panic("qemu: block options cannot be encoded: " + err.Error()) // strings, bools and maps of them always can
	}
	m.add("-blockdev", string(b))
}

// closeFiles closes the agent's copies. While they are open a socket listens
// although its QEMU has died.
func (m *machine) closeFiles() {
	for _, f := range m.files {
		_ = f.Close()
	}
	m.files = nil
}

// machineOf describes the hardware of a server without its disks and sockets.
func (d *Driver) machineOf(s *virt.Server, accel string) *machine {
	m := &machine{}
	m.add("-name", "guest="+instanceName(s), "-uuid", s.ID, "-nodefaults", "-no-user-config",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	if accel == accelKVM {
		m.add("-accel", "kvm", "-cpu", "host")
	} else {
		m.add("-accel", fmt.Sprintf("tcg,thread=multi,tb-size=%d", d.cfg.TBSizeMB), "-cpu", "max,la57=off")
	}
	m.add("-machine", machineType(s)+",usb=off,vmport=off,dump-guest-core=off",
		"-m", strconv.Itoa(s.MemoryMB), "-smp", fmt.Sprintf("%d,sockets=%d,cores=1,threads=1", s.VCPUs, s.VCPUs),
		"-rtc", "base=utc,driftfix=slew", "-boot", "strict=on",
		"-smbios", "type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova,version=1,serial="+s.ID+",uuid="+s.ID+",family=Virtual Machine",
		"-display", "none", "-vnc", "none", "-device", "VGA,vgamem_mb=8",
		"-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0")
	if m.q35 = machineType(s) == "q35"; m.q35 {
		for i := range rootPorts {
			m.add("-device", fmt.Sprintf("pcie-root-port,id=%s,chassis=%d,slot=%d", rootPort(i), i+1, i+1))
		}
	}
	return m
}

// instanceName is safe inside -name, where a comma would begin an option.
func instanceName(s *virt.Server) string {
	for _, r := range s.InstanceName {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && r != '-' {
			return "instance"
		}
	}
	return s.InstanceName
}

// machineType takes the image's wish if it is one of the two that exist. The
// default is the older one: interfaces are hot-plugged without spare ports.
func machineType(s *virt.Server) string {
	if s.Properties["hw_machine_type"] == "q35" {
		return "q35"
	}
	return "pc"
}

// serial adds the console, whose output goes to log, and the channel of the
// guest agent, which listens on the socket agent.
func (m *machine) serial(log, agent *os.File) {
	m.add("-chardev", "file,id=console,append=on,path="+m.file(log), "-serial", "chardev:console",
		"-device", "virtio-serial-pci,id=serial0",
		"-chardev", fmt.Sprintf("socket,id=agent,server=on,wait=off,fd=%d", m.fd(agent)),
		"-device", "virtserialport,bus=serial0.0,chardev=agent,name=org.qemu.guest_agent.0")
}

// monitor adds the QMP server on a listening socket.
func (m *machine) monitor(listener *os.File) {
	m.add("-chardev", fmt.Sprintf("socket,id=monitor,server=on,wait=off,fd=%d", m.fd(listener)),
		"-mon", "chardev=monitor,mode=control")
}

// root adds the root disk: a qcow2 child of a base that is never written.
func (m *machine) root(disk, base *os.File, baseFormat string) {
	m.blockdev(map[string]any{"driver": "file", "node-name": "base-file", "filename": m.file(base), "read-only": true})
	m.blockdev(map[string]any{"driver": baseFormat, "node-name": "base", "file": "base-file", "read-only": true})
	m.blockdev(map[string]any{"driver": "file", "node-name": "root-file", "filename": m.file(disk), "discard": "unmap"})
	m.blockdev(map[string]any{"driver": "qcow2", "node-name": nodeRoot, "file": "root-file", "backing": "base", "discard": "unmap"})
	m.add("-device", "virtio-blk-pci,id=disk-root,bootindex=1,drive="+nodeRoot)
}

const nodeRoot = "root"

// raw adds a further disk whose content is the guest's alone, so its format is
// said and never guessed.
func (m *machine) raw(name string, f *os.File, readOnly bool) {
	m.blockdev(map[string]any{"driver": "file", "node-name": name + "-file", "filename": m.file(f), "read-only": readOnly})
	m.blockdev(map[string]any{"driver": "raw", "node-name": name, "file": name + "-file", "read-only": readOnly})
	m.add("-device", "virtio-blk-pci,id=disk-"+name+",drive="+name)
}

// nic adds an interface on an open tap.
func (m *machine) nic(n virt.NIC, tap *os.File) {
	m.add("-netdev", fmt.Sprintf("tap,id=%s,fd=%d", netdevID(n.PortID), m.fd(tap)))
	dev := fmt.Sprintf("virtio-net-pci,id=%s,netdev=%s,mac=%s,romfile=", nicID(n.PortID), netdevID(n.PortID), n.MAC)
	if n.MTU > 0 {
		dev += ",host_mtu=" + strconv.Itoa(n.MTU)
	}
	if m.q35 && m.ports < rootPorts {
		dev += ",bus=" + rootPort(m.ports)
		m.ports++
	}
	m.add("-device", dev)
}

func netdevID(port string) string { return "net-" + port }
func nicID(port string) string    { return "nic-" + port }

func rootPort(i int) string { return "port" + strconv.Itoa(i) }
