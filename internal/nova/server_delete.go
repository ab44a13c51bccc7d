package nova

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/operation"
)

// Delete removes a server in any state, whatever is in flight on it: the
// deletion takes the server over, and what was in flight lets go.
func (s *Service) Delete(ctx context.Context, r ActionRequest) error {
	if err := checkLock(r.Server, r.OverrideLock); err != nil {
		return err
	}
	srv := r.Server
	for range casTries {
		if srv.TaskState == TaskDeleting {
			return nil // deleting twice is deleting once
		}
		now := s.clock.Now()
		a := &Action{ID: ids.UUID(), ServerID: srv.ID, Action: ActionDelete, RequestID: r.RequestID,
			ProjectID: r.Identity.ProjectID, UserID: r.Identity.UserID, StartTime: now, UpdatedAt: now}
		old := srv.OpID
		op, ok, err := s.beginTask(ctx, srv, kindDelete, a, "", struct{}{}, map[string]any{"task_state": TaskDeleting})
		if err != nil {
			return err
		}
		if ok {
			if old != "" {
				s.wake(ctx, old) // it lost its turn and lets the resource go
			}
			s.launch(ctx, op)
			return nil
		}
		if srv, err = s.Server(ctx, srv.ID); err != nil {
			return err
		}
	}
	return fault.New(fault.Conflict, "Instance %s is being changed by others", srv.ID)
}

// deleteOnHost has the host remove everything, ports included. A server without
// a host has nothing there. For one whose host is down the deletion goes on
// without it, and the host removes the rest when it is back.
func (s *Service) deleteOnHost(ctx context.Context, op *operation.Op) error {
	srv, err := s.anyServer(ctx, op.ResourceID)
	if err != nil {
		return err
	}
	if srv.OpID != op.ID || srv.Host == "" {
		return nil
	}
	if out := srv.Outcome; out != nil && (out.Deleted || out.Fault.Code == 0) {
		return nil
	} else if out != nil {
		// The host could not; it is asked again, for as long as it takes.
		s.log.WarnContext(ctx, "host could not delete a server", "server_id", srv.ID, "host", srv.Host, "error", out.Fault.Message)
		if err := s.clearOutcome(ctx, op.ID, srv.ID); err != nil {
			return err
		}
	}
	svc, err := s.computeService(ctx, srv.Host)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err != nil || !svc.Up {
		return op.Save("host_down", true)
	}
	return s.castOrWait(ctx, op, srv.Host, rpc.MethodDelete, rpc.ServerOp{OpID: op.ID, ServerID: srv.ID})
}

// deletePorts gives the ports back that no host did.
func (s *Service) deletePorts(ctx context.Context, op *operation.Op) error {
	srv, err := s.anyServer(ctx, op.ResourceID)
	if err != nil {
		return err
	}
	if srv.OpID != op.ID || srv.Outcome != nil && srv.Outcome.Deleted {
		return nil
	}
	return s.releasePorts(ctx, srv.ID, srv.userPorts())
}

// deleteAllocation gives the resources back, and with its record the server is
// gone and the quota is free.
func (s *Service) deleteAllocation(ctx context.Context, op *operation.Op) error {
	if err := s.unclaim(ctx, op.ResourceID); err != nil {
		return err
	}
	op.OnRecord(func(ctx context.Context, tx bun.Tx) error { return s.recordDeleted(ctx, tx, op) })
	return nil
}

func (s *Service) recordDeleted(ctx context.Context, tx bun.Tx, op *operation.Op) error {
	srv, err := serverInTx(ctx, tx, op.ResourceID)
	if err != nil || srv == nil || srv.OpID != op.ID {
		return err
	}
	down := false
	if _, err := op.Load("host_down", &down); err != nil {
		return err
	}
	now := s.clock.Now()
	e := newEvent(srv.ActionID, eventOf(kindDelete), srv.Host, op.CreatedAt)
	e.Result, e.FinishTime = "Success", now
	set := map[string]any{"vm_state": Deleted, "power_state": rpc.PowerNoState, "deleted_at": now, "terminated_at": now,
		"cleanup": down, "user_data": nil, "tags": "[]"}
	setNetworks(set, nil)
	err = endTask(ctx, tx, srv, taskEnd{opID: op.ID, at: now, event: e, set: set})
	if err != nil {
		return err
	}
	return forget(ctx, tx, srv)
}

// deletedWithin is how long deleted servers and their history are kept.
const deletedWithin = 30 * 24 * time.Hour

// idempotencyKept is how long a POST may be repeated with its key.
const idempotencyKept = 24 * time.Hour
