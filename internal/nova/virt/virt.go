// Package virt says what nova-compute needs of a hypervisor: Driver, its
// contract per method, and the types that cross it. It leaves out how images
// reach the host (imagecache) and who wants what (package compute).
//
// Two drivers exist: qemu runs real guests, fake only remembers them. Both
// pass the suite in virttest. Read Driver first.
package virt

import (
	"context"
	"io"
	"time"

	"github.com/hastack/hastack/internal/nova/rpc"
)

// A Driver runs servers on one host.
//
// Every method may be called again with the same arguments, after any crash,
// and then completes what an earlier call began; calls on different servers run
// at the same time, the caller keeps those on one server apart. A server that
// the driver does not know is fault.NotFound, except where stated. State lives
// on the host's disk, so that a new process finds what an older one made.
type Driver interface {
	Capabilities() Capabilities

	// Recover is called once, before anything else. It takes over the servers
	// that run from an earlier process and lists all that the host has.
	Recover(ctx context.Context) ([]Info, error)
	// Events gives the changes that no call asked for, until Close.
	Events() <-chan Event
	// Host describes the machine. It is cheap after the first call.
	Host(ctx context.Context) (Host, error)

	// Define stores the server with its disks and config drive, without
	// running it. Root is the verified base of the root disk. Defining a
	// defined server keeps its disks and takes the new description; it must not
	// be running.
	Define(ctx context.Context, s *Server) error
	// DropDisks removes the disks of a server that does not run, so that the
	// next Define makes new ones. A server that is not there is no error.
	DropDisks(ctx context.Context, id string) error
	// PlugTap makes the tap device of nic, so that the network agent finds it.
	PlugTap(ctx context.Context, nic NIC) error
	// UnplugTap removes a tap; one that is not there is no error.
	UnplugTap(ctx context.Context, tap string) error
	// Start runs a defined server. A running one is left alone, a suspended one
	// is resumed.
	Start(ctx context.Context, id string) error
	// Stop asks the guest to shut down, waits for grace and then ends it.
	// grace 0 ends it at once. A server that does not run is no error.
	Stop(ctx context.Context, id string, grace time.Duration) error
	// Reset restarts a running guest as its reset button would.
	Reset(ctx context.Context, id string) error
	// Pause stops the clock of a guest and Unpause lets it go on.
	Pause(ctx context.Context, id string) error
	Unpause(ctx context.Context, id string) error
	// Suspend writes the guest's memory to disk and ends it; Start resumes.
	Suspend(ctx context.Context, id string) error
	// Destroy ends the server and removes all that Define, PlugTap and Start
	// made for it. A server that is not there is no error.
	Destroy(ctx context.Context, id string) error

	// Snapshot copies the root disk, running or not, into a file that depends
	// on no other. The caller removes it by Snapshot.Remove.
	Snapshot(ctx context.Context, id string) (*Snapshot, error)
	// Attach adds an interface (its tap exists), to the running guest too.
	// Detach takes it away; an interface that is not there is no error.
	Attach(ctx context.Context, id string, nic NIC) error
	Detach(ctx context.Context, id, portID string) error

	// Info tells what a server does now.
	Info(ctx context.Context, id string) (Info, error)
	// Console is the end of the serial console's log, at most limit bytes.
	Console(ctx context.Context, id string, limit int) ([]byte, error)
	// VNC opens one connection to the screen of a running server.
	VNC(ctx context.Context, id string) (io.ReadWriteCloser, error)
	Diagnostics(ctx context.Context, id string) (*rpc.Diagnostics, error)
	// Inventory lists what really is on the host, including what no server
	// explains: processes, directories, taps.
	Inventory(ctx context.Context) (*rpc.HostAudit, error)

	// Bases lists the base files that some server's disk stands on.
	Bases(ctx context.Context) ([]string, error)

	// Close lets go of the servers without stopping them.
	Close() error
}

// Capabilities tell the agent what a driver needs and can do.
type Capabilities struct {
	Name       string // "qemu" or "fake"
	NeedsImage bool   // Define wants Server.Root
	NeedsTap   bool   // network interfaces are tap devices of this machine
	Suspend    bool
	Snapshot   bool
	VNC        bool
	HotPlug    bool
}

// A Server is what a driver keeps of a server.
type Server struct {
	ID           string            `json:"id"`
	InstanceName string            `json:"instance_name"`
	Name         string            `json:"name"`
	ProjectID    string            `json:"project_id"`
	VCPUs        int               `json:"vcpus"`
	MemoryMB     int               `json:"memory_mb"`
	RootGB       int               `json:"root_gb"` // 0: as large as the base
	EphemeralGB  int               `json:"ephemeral_gb,omitempty"`
	SwapMB       int               `json:"swap_mb,omitempty"`
	Root         Base              `json:"root"`
	NICs         []NIC             `json:"nics,omitempty"`
	Properties   map[string]string `json:"properties,omitempty"` // of the image
	ExtraSpecs   map[string]string `json:"extra_specs,omitempty"`
	// ConfigDrive holds the files of the config drive by path; nil: no drive.
	ConfigDrive map[string][]byte `json:"-"`
}

// A Base is a file that a root disk is a copy-on-write child of.
type Base struct {
	ImageID     string `json:"image_id"`
	Path        string `json:"path"`
	Format      string `json:"format"` // qcow2 or raw, as inspected
	VirtualSize int64  `json:"virtual_size"`
}

// A NIC is a network interface of a server.
type NIC struct {
	PortID string `json:"port_id"`
	MAC    string `json:"mac"`
	Tap    string `json:"tap"`
	MTU    int    `json:"mtu"`
	Tag    string `json:"tag,omitempty"`
}

// TapName is the name of a port's tap device, which the network agent knows too.
func TapName(portID string) string {
	if len(portID) > 11 {
		portID = portID[:11]
	}
	return "tap" + portID
}

// Info is the state of one server on the host.
type Info struct {
	ID         string
	PowerState int
	PID        int // of the hypervisor process, 0 if there is none
}

// An Event is a change that no call asked for.
type Event struct {
	ServerID   string
	PowerState int
	At         time.Time
	Reason     string
}

// Host is the machine's size and kind.
type Host struct {
	Type       string // "QEMU" or "fake"
	Version    int    // 7002022 for 7.2.22
	Arch       string
	CPUModel   string
	Features   []string
	VCPUs      int
	MemoryMB   int
	DiskGB     int
	DiskFreeGB int
	Accel      string // kvm, tcg or fake
	Traits     []string
}

// A Snapshot is a finished copy of a disk.
type Snapshot struct {
	Path        string
	Format      string
	Size        int64
	VirtualSize int64
	Remove      func()
}
