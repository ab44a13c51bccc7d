package rpc

import (
	"context"

	"github.com/hastack/hastack/internal/bus"
)

// TopicCompute is the topic on which nova-compute listens under its host's name.
const TopicCompute = "compute"

// Compute is what nova-compute serves on its host. The methods that take a
// ServerOp (alone or embedded) start an operation: the message is acknowledged
// once the work is done and Finish was called, a second one with the same OpID
// joins the first, and the outcome goes to the conductor, not to the caller.
type Compute interface {
	Build(ctx context.Context, in ServerOp) error
	Delete(ctx context.Context, in ServerOp) error
	Start(ctx context.Context, in ServerOp) error
	Stop(ctx context.Context, in ServerOp) error
	Reboot(ctx context.Context, in RebootArgs) error
	Pause(ctx context.Context, in ServerOp) error
	Unpause(ctx context.Context, in ServerOp) error
	Suspend(ctx context.Context, in ServerOp) error
	Resume(ctx context.Context, in ServerOp) error
	// Rebuild replaces the root disk with Spec.Image as the conductor has it
	// now; addresses and ports stay.
	Rebuild(ctx context.Context, in ServerOp) error
	// Snapshot uploads the root disk into the image, which exists and is queued.
	Snapshot(ctx context.Context, in SnapshotArgs) error
	// AttachInterface plugs one more port and answers it. It is also finished
	// at the conductor, for the caller may be gone by then.
	AttachInterface(ctx context.Context, in AttachInterfaceArgs) (*VIF, error)
	DetachInterface(ctx context.Context, in DetachInterfaceArgs) error

	ConsoleOutput(ctx context.Context, in ConsoleOutputArgs) (*ConsoleOutputReply, error)
	// VNCConsole opens a way to the screen of one server for one connection.
	VNCConsole(ctx context.Context, in ServerArgs) (*VNCReply, error)
	Diagnostics(ctx context.Context, in ServerArgs) (*Diagnostics, error)
	// ExternalEvents hands on what Neutron told nova-api.
	ExternalEvents(ctx context.Context, in ExternalEventsArgs) error
	Audit(ctx context.Context, in AuditArgs) (*HostAudit, error)
}

// A ServerOp names an operation on a server.
type ServerOp struct {
	OpID     string `json:"op_id"`
	ServerID string `json:"server_id"`
}

// RebootArgs is a reboot of type SOFT (asks the guest) or HARD.
type RebootArgs struct {
	ServerOp
	Type string `json:"type"`
}

// SnapshotArgs is a snapshot into an image that Glance has as queued.
type SnapshotArgs struct {
	ServerOp
	ImageID string `json:"image_id"`
}

// AttachInterfaceArgs asks for one more interface.
type AttachInterfaceArgs struct {
	ServerOp
	Network RequestedNetwork `json:"network"`
}

// DetachInterfaceArgs names the port to unplug.
type DetachInterfaceArgs struct {
	ServerOp
	PortID string `json:"port_id"`
}

// ServerArgs names a server.
type ServerArgs struct {
	ServerID string `json:"server_id"`
}

// ConsoleOutputArgs asks for the last Lines lines; 0 means all that is kept.
type ConsoleOutputArgs struct {
	ServerID string `json:"server_id"`
	Lines    int    `json:"lines"`
}

// ConsoleOutputReply is the end of the serial console's log.
type ConsoleOutputReply struct {
	Output string `json:"output"`
}

// VNCReply is where the host's relay listens, and the ticket it wants as the
// first line ("HASTACK-VNC ticket\n"). A ticket is good for one connection to
// one server, for a few seconds.
type VNCReply struct {
	Address string `json:"address"`
	Ticket  string `json:"ticket"`
}

// Diagnostics is the state of a running server (os-server-diagnostics, 2.48).
type Diagnostics struct {
	State      string           `json:"state"`
	Driver     string           `json:"driver"`
	Hypervisor string           `json:"hypervisor"`
	HypeOS     string           `json:"hypervisor_os"`
	UptimeSec  int64            `json:"uptime"`
	MemoryMB   int              `json:"memory_mb"`
	UsedMB     int              `json:"used_mb"`
	VCPUs      int              `json:"vcpus"`
	CPUTimeNS  int64            `json:"cpu_time_ns"`
	Disks      []DiskDiagnostic `json:"disks"`
	NICs       []NICDiagnostic  `json:"nics"`
	ConfigDisk bool             `json:"config_drive"`
}

// A DiskDiagnostic counts what went through a disk.
type DiskDiagnostic struct {
	ReadBytes     int64 `json:"read_bytes"`
	ReadRequests  int64 `json:"read_requests"`
	WriteBytes    int64 `json:"write_bytes"`
	WriteRequests int64 `json:"write_requests"`
	Errors        int64 `json:"errors"`
}

// A NICDiagnostic counts what went through an interface, as the guest sees it.
type NICDiagnostic struct {
	MAC       string `json:"mac"`
	RxBytes   int64  `json:"rx_bytes"`
	RxPackets int64  `json:"rx_packets"`
	RxDrop    int64  `json:"rx_drop"`
	TxBytes   int64  `json:"tx_bytes"`
	TxPackets int64  `json:"tx_packets"`
	TxDrop    int64  `json:"tx_drop"`
}

// Names of external events that a host acts on.
const (
	EventVIFPlugged     = "network-vif-plugged"
	EventVIFUnplugged   = "network-vif-unplugged"
	EventVIFDeleted     = "network-vif-deleted"
	EventNetworkChanged = "network-changed"
)

// An ExternalEvent is an entry of POST /os-server-external-events. Tag is the
// port's id for the network events.
type ExternalEvent struct {
	Name     string `json:"name"`
	ServerID string `json:"server_id"`
	Tag      string `json:"tag,omitempty"`
	Status   string `json:"status,omitempty"` // completed or failed
}

// ExternalEventsArgs carries the events of servers on one host.
type ExternalEventsArgs struct {
	Events []ExternalEvent `json:"events"`
}

// AuditArgs asks a host what is on it. Remove lists servers of which nothing
// should be there: what is found of them is removed first.
type AuditArgs struct {
	Remove     []string `json:"remove,omitempty"`
	RemoveTaps []string `json:"remove_taps,omitempty"`
}

// The agent's methods on the bus. They are exported for InFlightOp.Method.
const (
	MethodBuild           = "build"
	MethodDelete          = "delete"
	MethodStart           = "start"
	MethodStop            = "stop"
	MethodReboot          = "reboot"
	MethodPause           = "pause"
	MethodUnpause         = "unpause"
	MethodSuspend         = "suspend"
	MethodResume          = "resume"
	MethodRebuild         = "rebuild"
	MethodSnapshot        = "snapshot"
	MethodAttachInterface = "attach_interface"
	MethodDetachInterface = "detach_interface"

	methodConsoleOutput  = "console_output"
	methodVNCConsole     = "vnc_console"
	methodDiagnostics    = "diagnostics"
	methodExternalEvents = "external_events"
	methodAudit          = "audit"
)

// RegisterCompute lets m answer the agent's messages with c.
func RegisterCompute(m *bus.Mux, c Compute) {
	bus.On(m, MethodBuild, noReply(c.Build))
	bus.On(m, MethodDelete, noReply(c.Delete))
	bus.On(m, MethodStart, noReply(c.Start))
	bus.On(m, MethodStop, noReply(c.Stop))
	bus.On(m, MethodReboot, noReply(c.Reboot))
	bus.On(m, MethodPause, noReply(c.Pause))
	bus.On(m, MethodUnpause, noReply(c.Unpause))
	bus.On(m, MethodSuspend, noReply(c.Suspend))
	bus.On(m, MethodResume, noReply(c.Resume))
	bus.On(m, MethodRebuild, noReply(c.Rebuild))
	bus.On(m, MethodSnapshot, noReply(c.Snapshot))
	bus.On(m, MethodAttachInterface, c.AttachInterface)
	bus.On(m, MethodDetachInterface, noReply(c.DetachInterface))
	bus.On(m, methodConsoleOutput, c.ConsoleOutput)
	bus.On(m, methodVNCConsole, c.VNCConsole)
	bus.On(m, methodDiagnostics, c.Diagnostics)
	bus.On(m, methodExternalEvents, noReply(c.ExternalEvents))
	bus.On(m, methodAudit, c.Audit)
}
