package rpc

import (
	"context"

	"github.com/hastack/hastack/internal/bus"
)

// ComputeClient sends to the agent of one host.
type ComputeClient struct {
	bus  bus.Bus
	host string
}

var _ Compute = (*ComputeClient)(nil)

// NewComputeClient returns a client of host's agent over b.
func NewComputeClient(b bus.Bus, host string) *ComputeClient {
	return &ComputeClient{bus: b, host: host}
}

func (c *ComputeClient) to() bus.Target { return bus.Target{Topic: TopicCompute, Host: c.host} }

// Cast sends any operation by its method's name, for a conductor that starts
// again what it has recorded.
func (c *ComputeClient) Cast(ctx context.Context, method string, args any) error {
	return c.bus.Cast(ctx, c.to(), method, args)
}

// Build casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) Build(ctx context.Context, in ServerOp) error {
	return c.Cast(ctx, MethodBuild, in)
}

// Delete casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) Delete(ctx context.Context, in ServerOp) error {
	return c.Cast(ctx, MethodDelete, in)
}

// Start casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) Start(ctx context.Context, in ServerOp) error {
	return c.Cast(ctx, MethodStart, in)
}

// Stop casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) Stop(ctx context.Context, in ServerOp) error {
	return c.Cast(ctx, MethodStop, in)
}

// Reboot casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) Reboot(ctx context.Context, in RebootArgs) error {
	return c.Cast(ctx, MethodReboot, in)
}

// Pause casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) Pause(ctx context.Context, in ServerOp) error {
	return c.Cast(ctx, MethodPause, in)
}

// Unpause casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) Unpause(ctx context.Context, in ServerOp) error {
	return c.Cast(ctx, MethodUnpause, in)
}

// Suspend casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) Suspend(ctx context.Context, in ServerOp) error {
	return c.Cast(ctx, MethodSuspend, in)
}

// Resume casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) Resume(ctx context.Context, in ServerOp) error {
	return c.Cast(ctx, MethodResume, in)
}

// Rebuild casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) Rebuild(ctx context.Context, in ServerOp) error {
	return c.Cast(ctx, MethodRebuild, in)
}

// Snapshot casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) Snapshot(ctx context.Context, in SnapshotArgs) error {
	return c.Cast(ctx, MethodSnapshot, in)
}

// AttachInterface waits for the interface.
func (c *ComputeClient) AttachInterface(ctx context.Context, in AttachInterfaceArgs) (*VIF, error) {
	return call[VIF](ctx, c.bus, c.to(), MethodAttachInterface, in)
}

// DetachInterface casts; the outcome comes by Conductor.Finish.
func (c *ComputeClient) DetachInterface(ctx context.Context, in DetachInterfaceArgs) error {
	return c.Cast(ctx, MethodDetachInterface, in)
}

// ConsoleOutput calls.
func (c *ComputeClient) ConsoleOutput(ctx context.Context, in ConsoleOutputArgs) (*ConsoleOutputReply, error) {
	return call[ConsoleOutputReply](ctx, c.bus, c.to(), methodConsoleOutput, in)
}

// VNCConsole calls.
func (c *ComputeClient) VNCConsole(ctx context.Context, in ServerArgs) (*VNCReply, error) {
	return call[VNCReply](ctx, c.bus, c.to(), methodVNCConsole, in)
}

// Diagnostics calls.
func (c *ComputeClient) Diagnostics(ctx context.Context, in ServerArgs) (*Diagnostics, error) {
	return call[Diagnostics](ctx, c.bus, c.to(), methodDiagnostics, in)
}

// ExternalEvents casts: Neutron repeats what matters.
func (c *ComputeClient) ExternalEvents(ctx context.Context, in ExternalEventsArgs) error {
	return c.Cast(ctx, methodExternalEvents, in)
}

// Audit calls.
func (c *ComputeClient) Audit(ctx context.Context, in AuditArgs) (*HostAudit, error) {
	return call[HostAudit](ctx, c.bus, c.to(), methodAudit, in)
}
