package nova

import (
	"context"
	"errors"
	"maps"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/operation"
)

// startOp starts an operation on a server in the caller's transaction.
func (s *Service) startOp(ctx context.Context, tx bun.Tx, kind string, srv *Server, requestID, key string, args any, fresh bool) (*operation.Op, error) {
	return s.ops.Start(ctx, tx, operation.Spec{Kind: kind, ResourceID: srv.ID, ProjectID: srv.ProjectID,
		RequestID: requestID, Key: key, Args: args, Fresh: fresh})
}

// beginTask moves a server into an operation: compare-and-set on the state the
// caller saw, action and operation in one transaction. false means that the
// server changed meanwhile.
func (s *Service) beginTask(ctx context.Context, srv *Server, kind string, a *Action, key string, args any, set map[string]any) (op *operation.Op, ok bool, err error) {
	now := s.clock.Now()
	err = s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		ok = false
		o, err := s.startOp(ctx, tx, kind, srv, a.RequestID, key, args, false)
		if errors.Is(err, operation.ErrExists) { // the same request came twice at once
			op, ok = o, true
			return nil
		}
		if err != nil {
			return err
		}
		cols := map[string]any{"op_id": o.ID, "action_id": a.ID, "outcome": nil}
		maps.Copy(cols, set)
		changed, err := updateServer(ctx, tx, srv.ID, now, cols,
			"vm_state = ? AND COALESCE(task_state, '') = ? AND COALESCE(op_id, '') = ?", srv.VMState, srv.TaskState, srv.OpID)
		if err != nil {
			return err
		}
		if !changed {
			return errServerChanged
		}
		op, ok = o, true
		return insertActions(ctx, tx, a)
	})
	if errors.Is(err, errServerChanged) {
		return nil, false, nil
	}
	return op, ok, err
}

// opOfKey is the operation that an earlier request with the key started, nil if
// there is none.
func (s *Service) opOfKey(ctx context.Context, key string) (*operation.Op, error) {
	if key == "" {
		return nil, nil
	}
	op := new(operation.Op)
	err := s.db.NewSelect().Model(op).Where("idempotency_key = ?", key).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, nil
	}
	return op, err
}

// endTask ends an operation's hold on its server: state, steps, event and
// action in one transaction. Nothing happens if the operation lost its turn.
func endTask(ctx context.Context, tx bun.Tx, srv *Server, end taskEnd) error {
	set := map[string]any{"task_state": nil, "op_id": nil, "outcome": nil}
	maps.Copy(set, end.set)
	ok, err := updateServer(ctx, tx, srv.ID, end.at, set, "op_id = ?", end.opID)
	if err != nil || !ok {
		return err
	}
	if err := insertSpans(ctx, tx, srv.ActionID, end.steps, end.at); err != nil {
		return err
	}
	if end.event != nil {
		if err := insertEvent(ctx, tx, end.event); err != nil {
			return err
		}
	}
	return endAction(ctx, tx, srv.ActionID, end.message, end.at)
}

// Finish ends a host's part of an operation. A second one is ignored, as is
// one of an operation that is not the server's any more.
func (s *Service) Finish(ctx context.Context, in rpc.FinishArgs) error {
	srv, err := s.anyServer(ctx, in.ServerID)
	if err != nil {
		return err
	}
	left := in.Host != "" && srv.Host != in.Host && !in.Result.Deleted
	if srv.OpID != in.OpID || in.OpID == "" {
		if left && srv.Host != "" {
			return notCurrent(in.OpID)
		}
		return s.finishCleanup(ctx, srv, in)
	}
	if left {
		return notCurrent(in.OpID) // the boot has left it: it clears away what it made
	}
	op, err := operation.Find(ctx, s.db, in.OpID)
	if err != nil {
		return err
	}
	err = s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error { return s.applyFinish(ctx, tx, srv, op, &in) })
	if err == nil {
		s.ops.Wake(op.ID)
	}
	return err
}

// finishCleanup notes that a host which was away while its server was deleted
// has removed the rest.
func (s *Service) finishCleanup(ctx context.Context, srv *Server, in rpc.FinishArgs) error {
	if !srv.Cleanup || !in.Result.Deleted || in.Host != srv.Host {
		return nil
	}
	_, err := s.db.NewRaw("UPDATE servers SET cleanup = ? WHERE id = ?", false, srv.ID).Exec(ctx)
	return err
}

// applyFinish writes the outcome that a host reported.
func (s *Service) applyFinish(ctx context.Context, tx bun.Tx, srv *Server, op *operation.Op, in *rpc.FinishArgs) error {
	now := s.clock.Now()
	if in.Result.Fault != nil || op.Kind == kindDelete {
		// The operation decides what follows; it reads the outcome.
		out := Outcome{Host: in.Host}
		if f := in.Result.Fault; f != nil {
			out.Fault = Fault{Code: f.Code, Message: stepMessage(in), Details: f.Details, Created: now}
		}
		if in.Result.VMState != "" {
			out.VMState = in.Result.VMState
		}
		out.Deleted = in.Result.Deleted
		set := map[string]any{"outcome": asJSON(out)}
		if in.Result.Deleted {
			setNetworks(set, nil)
		}
		if _, err := updateServer(ctx, tx, srv.ID, now, set, "op_id = ?", in.OpID); err != nil {
			return err
		}
		return insertSpans(ctx, tx, srv.ActionID, in.Steps, now)
	}
	set := s.finishedColumns(srv, op, in, now)
	event := newEvent(srv.ActionID, eventOf(op.Kind), in.Host, op.CreatedAt)
	event.Result, event.FinishTime = "Success", now
	return endTask(ctx, tx, srv, taskEnd{opID: in.OpID, at: now, set: set, steps: in.Steps, event: event})
}
