package rpc

import (
	"context"
	"time"

	"github.com/hastack/hastack/internal/bus"
)

// TopicConductor is the topic on which every nova-conductor listens.
const TopicConductor = "conductor"

// Conductor is what nova-conductor serves. Every method may be repeated with
// the same arguments.
type Conductor interface {
	// ServerInfo answers what a host must know of a server, records the steps
	// given and, when TaskState is set, moves the server to it. It returns
	// NotFound for a server that is gone, and Conflict when OpID is set and is
	// not the server's current operation: the caller then drops its work.
	ServerInfo(ctx context.Context, in ServerInfoArgs) (*ServerSpec, error)
	// Report records steps and moves the task_state of a running operation.
	// It returns Conflict when the operation is no longer current.
	Report(ctx context.Context, in ReportArgs) error
	// Progress renews the leases of operations that a host works on. The reply
	// names those that are no longer current: the host stops working on them.
	Progress(ctx context.Context, in ProgressArgs) (*ProgressReply, error)
	// Finish ends an operation. A second Finish of the same one is ignored.
	Finish(ctx context.Context, in FinishArgs) error
	// UpdateNetworks replaces a server's cached interfaces.
	UpdateNetworks(ctx context.Context, in UpdateNetworksArgs) error
	// HostServers lists what should exist on a host.
	HostServers(ctx context.Context, in HostArgs) (*HostServersReply, error)
	// ReportHost takes a heartbeat and, sometimes, what the host has.
	ReportHost(ctx context.Context, in HostReport) error
	// PowerSync takes changes that no operation made. A server with an
	// operation in flight is left to that operation.
	PowerSync(ctx context.Context, in PowerSyncArgs) error
	// AuditServers lists in short what the database places on a host.
	AuditServers(ctx context.Context, in HostArgs) (*AuditServersReply, error)
	// ServerMetadata answers what the metadata service tells a guest. A
	// ProjectID other than the server's own is NotFound.
	ServerMetadata(ctx context.Context, in ServerMetadataArgs) (*ServerSpec, error)
	// ConsoleTarget answers for which server a console token was made. An
	// unknown or expired token is NotFound.
	ConsoleTarget(ctx context.Context, in ConsoleTargetArgs) (*ConsoleTarget, error)
}

// ServerInfoArgs asks for a server; Host is the host that asks.
type ServerInfoArgs struct {
	ServerID  string `json:"server_id"`
	OpID      string `json:"op_id,omitempty"`
	Host      string `json:"host"`
	TaskState string `json:"task_state,omitempty"`
	Steps     []Step `json:"steps,omitempty"`
}

// ReportArgs tells how far an operation is. TaskState empty leaves it.
type ReportArgs struct {
	OpID      string `json:"op_id"`
	ServerID  string `json:"server_id"`
	Host      string `json:"host,omitempty"` // who reports; another than the server's is refused
	TaskState string `json:"task_state,omitempty"`
	Steps     []Step `json:"steps,omitempty"`
}

// ProgressArgs names the operations a host still works on.
type ProgressArgs struct {
	Host  string   `json:"host"`
	OpIDs []string `json:"op_ids"`
}

// ProgressReply names the operations that are not the host's any more.
type ProgressReply struct {
	Lost []string `json:"lost,omitempty"`
}

// FinishArgs ends an operation with its last steps.
type FinishArgs struct {
	OpID     string `json:"op_id"`
	ServerID string `json:"server_id"`
	Host     string `json:"host"`
	Steps    []Step `json:"steps,omitempty"`
	Result   Result `json:"result"`
}

// UpdateNetworksArgs carries a server's interfaces as Neutron has them now.
type UpdateNetworksArgs struct {
	ServerID string `json:"server_id"`
	Host     string `json:"host"`
	Networks []VIF  `json:"networks"`
}

// HostArgs names a host.
type HostArgs struct {
	Host string `json:"host"`
}

// HostServersReply is what should exist on a host.
type HostServersReply struct {
	Servers []HostServer `json:"servers"`
}

// PowerSyncArgs carries changes on one host.
type PowerSyncArgs struct {
	Host    string        `json:"host"`
	Changes []PowerChange `json:"changes"`
}

// AuditServersReply is the database's view of a host.
type AuditServersReply struct {
	Servers []AuditServer `json:"servers"`
}

// ServerMetadataArgs names a server and the project that asks about it.
type ServerMetadataArgs struct {
	ServerID  string `json:"server_id"`
	ProjectID string `json:"project_id"`
}

// ConsoleTargetArgs carries a console token as the browser gave it.
type ConsoleTargetArgs struct {
	Token string `json:"token"`
}

// A ConsoleTarget is the server that a console token opens, and its host.
type ConsoleTarget struct {
	ServerID  string    `json:"server_id"`
	ProjectID string    `json:"project_id"`
	Host      string    `json:"host"`
	Type      string    `json:"type"` // novnc
	ExpiresAt time.Time `json:"expires_at"`
}

// The conductor's methods on the bus.
const (
	methodServerInfo     = "server_info"
	methodReport         = "report"
	methodProgress       = "progress"
	methodFinish         = "finish"
	methodUpdateNetworks = "update_networks"
	methodHostServers    = "host_servers"
	methodReportHost     = "report_host"
	methodPowerSync      = "power_sync"
	methodAuditServers   = "audit_servers"
	methodServerMetadata = "server_metadata"
	methodConsoleTarget  = "console_target"
)

// RegisterConductor lets m answer the conductor's messages with c.
func RegisterConductor(m *bus.Mux, c Conductor) {
	bus.On(m, methodServerInfo, c.ServerInfo)
	bus.On(m, methodReport, noReply(c.Report))
	bus.On(m, methodProgress, c.Progress)
	bus.On(m, methodFinish, noReply(c.Finish))
	bus.On(m, methodUpdateNetworks, noReply(c.UpdateNetworks))
	bus.On(m, methodHostServers, c.HostServers)
	bus.On(m, methodReportHost, noReply(c.ReportHost))
	bus.On(m, methodPowerSync, noReply(c.PowerSync))
	bus.On(m, methodAuditServers, c.AuditServers)
	bus.On(m, methodServerMetadata, c.ServerMetadata)
	bus.On(m, methodConsoleTarget, c.ConsoleTarget)
}

// noReply fits a method without an answer to the bus.
func noReply[A any](f func(context.Context, A) error) func(context.Context, A) (struct{}, error) {
	return func(ctx context.Context, a A) (struct{}, error) { return struct{}{}, f(ctx, a) }
}

// callTimeout bounds every call whose context has no earlier deadline.
const callTimeout = 30 * time.Second

// ConductorClient calls any one nova-conductor. It is itself a Conductor.
type ConductorClient struct {
	bus bus.Bus
}

var _ Conductor = (*ConductorClient)(nil)

// NewConductorClient returns a client that calls over b.
func NewConductorClient(b bus.Bus) *ConductorClient { return &ConductorClient{bus: b} }

func call[R any](ctx context.Context, b bus.Bus, to bus.Target, method string, args any) (*R, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out := new(R)
	if err := b.Call(ctx, to, method, args, out); err != nil {
		return nil, err
	}
	return out, nil
}

func (c *ConductorClient) to() bus.Target { return bus.Target{Topic: TopicConductor} }

func (c *ConductorClient) tell(ctx context.Context, method string, args any) error {
	_, err := call[struct{}](ctx, c.bus, c.to(), method, args)
	return err
}

// ServerInfo implements Conductor.
func (c *ConductorClient) ServerInfo(ctx context.Context, in ServerInfoArgs) (*ServerSpec, error) {
	return call[ServerSpec](ctx, c.bus, c.to(), methodServerInfo, in)
}

// Report implements Conductor. It waits for the answer, because a Conflict
// must stop the work.
func (c *ConductorClient) Report(ctx context.Context, in ReportArgs) error {
	return c.tell(ctx, methodReport, in)
}

// Progress implements Conductor.
func (c *ConductorClient) Progress(ctx context.Context, in ProgressArgs) (*ProgressReply, error) {
	return call[ProgressReply](ctx, c.bus, c.to(), methodProgress, in)
}

// Finish implements Conductor.
func (c *ConductorClient) Finish(ctx context.Context, in FinishArgs) error {
	return c.tell(ctx, methodFinish, in)
}

// UpdateNetworks implements Conductor.
func (c *ConductorClient) UpdateNetworks(ctx context.Context, in UpdateNetworksArgs) error {
	return c.tell(ctx, methodUpdateNetworks, in)
}

// HostServers implements Conductor.
func (c *ConductorClient) HostServers(ctx context.Context, in HostArgs) (*HostServersReply, error) {
	return call[HostServersReply](ctx, c.bus, c.to(), methodHostServers, in)
}

// ReportHost implements Conductor. A heartbeat is cast: losing one costs nothing.
func (c *ConductorClient) ReportHost(ctx context.Context, in HostReport) error {
	if in.Resources == nil {
		return c.bus.Cast(ctx, c.to(), methodReportHost, in)
	}
	return c.tell(ctx, methodReportHost, in)
}

// PowerSync implements Conductor.
func (c *ConductorClient) PowerSync(ctx context.Context, in PowerSyncArgs) error {
	return c.tell(ctx, methodPowerSync, in)
}

// AuditServers implements Conductor.
func (c *ConductorClient) AuditServers(ctx context.Context, in HostArgs) (*AuditServersReply, error) {
	return call[AuditServersReply](ctx, c.bus, c.to(), methodAuditServers, in)
}

// ServerMetadata implements Conductor.
func (c *ConductorClient) ServerMetadata(ctx context.Context, in ServerMetadataArgs) (*ServerSpec, error) {
	return call[ServerSpec](ctx, c.bus, c.to(), methodServerMetadata, in)
}

// ConsoleTarget implements Conductor.
func (c *ConductorClient) ConsoleTarget(ctx context.Context, in ConsoleTargetArgs) (*ConsoleTarget, error) {
	return call[ConsoleTarget](ctx, c.bus, c.to(), methodConsoleTarget, in)
}
