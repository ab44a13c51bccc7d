package nova

import (
	"context"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/operation"
)

// This file answers what hosts ask of the conductor. Every change compares the
// operation, so that a host which was left behind changes nothing.

func notCurrent(opID string) error {
	return fault.New(fault.Conflict, "operation %s is not the server's current one", opID)
}

// serverInfo is steps 15 to 17 of a boot.
func (s *Service) serverInfo(ctx context.Context, in rpc.ServerInfoArgs) (*rpc.ServerSpec, error) {
	taken := s.clock.Now()
	boot := in.TaskState == TaskNetworking
	if err := infoPoint(ctx, boot, 15, BeforeEffect); err != nil {
		return nil, err
	}
	if err := infoPoint(ctx, boot, 15, AfterEffect); err != nil {
		return nil, err
	}
	if err := infoPoint(ctx, boot, 16, BeforeEffect); err != nil {
		return nil, err
	}
	srv, err := s.serverForHost(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.OpID != "" && (srv.OpID != in.OpID || in.Host != "" && srv.Host != in.Host) {
		return nil, notCurrent(in.OpID)
	}
	read := s.clock.Now()
	if err := infoPoint(ctx, boot, 16, AfterEffect); err != nil {
		return nil, err
	}
	if err := infoPoint(ctx, boot, 17, BeforeEffect); err != nil {
		return nil, err
	}
	steps := in.Steps
	if boot {
		steps = append(steps, conductorSteps(in.Host, taken, read)...)
	}
	if in.TaskState != "" || len(steps) > 0 {
		if err := s.recordProgress(ctx, srv, in.OpID, in.TaskState, steps); err != nil {
			return nil, err
		}
		if in.TaskState != "" {
			srv.TaskState = in.TaskState
		}
	}
	if err := infoPoint(ctx, boot, 17, AfterEffect); err != nil || !boot {
		return srv.spec(), err
	}
	return srv.spec(), recordedSteps(ctx, 15, 17)
}

// serverForHost is the server that a host asks for. One that names neither
// operation nor itself wants to know whose a server is; a deleted one is
// nobody's.
func (s *Service) serverForHost(ctx context.Context, in rpc.ServerInfoArgs) (*Server, error) {
	if in.OpID != "" || in.Host != "" {
		return s.Server(ctx, in.ServerID)
	}
	srv, err := s.anyServer(ctx, in.ServerID)
	if err == nil && !srv.DeletedAt.IsZero() && !srv.Cleanup {
		srv.Host = ""
	}
	return srv, err
}

// infoPoint is BootPoint for calls that belong to a boot.
func infoPoint(ctx context.Context, boot bool, n int, moment string) error {
	if !boot {
		return nil
	}
	return BootPoint(ctx, n, moment)
}

func (s *Service) report(ctx context.Context, in rpc.ReportArgs) error {
	srv, err := s.Server(ctx, in.ServerID)
	if err != nil {
		return err
	}
	if in.Host != "" && srv.Host != in.Host {
		return notCurrent(in.OpID)
	}
	if in.TaskState == TaskSpawning && srv.TaskState == TaskNetworking {
		// A boot without volumes passes this state in no time, but it passes
		// it: clients wait for the four states in their order.
		if err := s.recordProgress(ctx, srv, in.OpID, TaskBlockDeviceMapping, nil); err != nil {
			return err
		}
	}
	return s.recordProgress(ctx, srv, in.OpID, in.TaskState, in.Steps)
}

// hostServers lists what a host should have, with what it should be doing.
func (s *Service) hostServers(ctx context.Context, host string) (*rpc.HostServersReply, error) {
	list, err := s.serversOfHost(ctx, host)
	if err != nil {
		return nil, err
	}
	out := &rpc.HostServersReply{Servers: []rpc.HostServer{}}
	for i := range list {
		srv := &list[i]
		h := rpc.HostServer{Spec: *srv.spec()}
		switch {
		case srv.Cleanup:
			h.Op = inFlight(srv.ID, srv.ID, rpc.MethodDelete, nil)
		case srv.OpID != "":
			if h.Op, err = s.inFlightOp(ctx, srv); err != nil {
				return nil, err
			}
		}
		out.Servers = append(out.Servers, h)
	}
	return out, nil
}

func (s *Service) inFlightOp(ctx context.Context, srv *Server) (*rpc.InFlightOp, error) {
	op, err := operation.Find(ctx, s.db, srv.OpID)
	if err != nil {
		return nil, err
	}
	switch op.Kind {
	case kindBoot:
		return inFlight(op.ID, srv.ID, rpc.MethodBuild, nil), nil
	case kindDelete:
		return inFlight(op.ID, srv.ID, rpc.MethodDelete, nil), nil
	}
	var task hostTask
	if err := op.DecodeArgs(&task); err != nil {
		return nil, err
	}
	return inFlight(op.ID, srv.ID, task.Method, &task), nil
}

func inFlight(opID, serverID, method string, task *hostTask) *rpc.InFlightOp {
	if task == nil {
		task = &hostTask{}
	}
	return &rpc.InFlightOp{ID: opID, Method: method, Args: []byte(asJSON(task.message(opID, serverID)))}
}

// powerChanged takes what a server did by itself: a guest that shuts down
// stops its server.
func (s *Service) powerChanged(ctx context.Context, host string, ch rpc.PowerChange) error {
	srv, err := s.Server(ctx, ch.ServerID)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if srv.Host != host || srv.OpID != "" || srv.PowerState == ch.PowerState {
		return nil
	}
	set := map[string]any{"power_state": ch.PowerState}
	switch down := ch.PowerState == rpc.PowerShutdown || ch.PowerState == rpc.PowerCrashed; {
	case down && (srv.VMState == Active || srv.VMState == Paused):
		set["vm_state"] = Stopped
	case ch.PowerState == rpc.PowerRunning && srv.VMState == Stopped:
		set["vm_state"] = Active
	case ch.PowerState == rpc.PowerRunning && srv.VMState == Paused:
		set["vm_state"] = Active
	}
	s.log.InfoContext(ctx, "server changed by itself", "server_id", srv.ID, "host", host, "power_state", ch.PowerState, "reason", ch.Reason)
	_, err = updateServer(ctx, s.db, srv.ID, s.clock.Now(), set, "host = ? AND op_id IS NULL AND vm_state = ?", host, srv.VMState)
	return err
}

// An AuditedServer is a server as `hastack audit` compares it.
type AuditedServer struct {
	rpc.AuditServer
	ProjectID string
	Host      string
	Node      string
	Resources map[string]int // what its allocation should be; nil while it has no host
	InFlight  bool           // an operation owns it: differences are not findings yet
	Cleanup   bool           // deleted while its host was away
}
