package nova

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/nova/rpc"
	"github.com/hastack/hastack/internal/nova/scheduler"
	"github.com/hastack/hastack/internal/operation"
)

// recordHost writes where the server goes. It answers false when the host does
// not suit the server's group any more: another member was faster.
func (s *Service) recordHost(ctx context.Context, op *operation.Op, srv *Server, r *SelectReply, steps []rpc.Step) (bool, error) {
	now := s.clock.Now()
	placed := false
	err := s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		placed = false
		if srv.GroupID != "" {
			taken, err := hostTaken(ctx, tx, srv, r.Host)
			if err != nil || taken {
				return err
			}
		}
		ok, err := updateServer(ctx, tx, srv.ID, now, map[string]any{"host": r.Host, "node": r.Node, "az": r.Zone, "outcome": nil},
			"op_id = ?", op.ID)
		if err != nil {
			return err
		}
		placed = true
		if !ok {
			return nil // taken over: the next look at the server shows it
		}
		sent := *srv
		sent.Host = r.Host
		return insertSpans(ctx, tx, srv.ActionID, append(steps, castStep(&sent, now)), now)
	})
	return placed, err
}

// hostTaken tells whether the server's group keeps it off a host. Placements of
// one group come one after the other: each writes the group's row before it
// counts. A group that was deleted binds nobody, nor does one whose policy is soft.
func hostTaken(ctx context.Context, tx bun.Tx, srv *Server, host string) (bool, error) {
	res, err := tx.NewRaw("UPDATE server_groups SET placements = placements + 1 WHERE id = ? AND policy IN (?)",
		srv.GroupID, bun.List([]string{scheduler.Affinity, scheduler.AntiAffinity})).Exec(ctx)
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	g := new(ServerGroup)
	if err := tx.NewSelect().Model(g).Where("id = ?", srv.GroupID).Scan(ctx); err != nil {
		return false, err
	}
	var n struct{ Here, Elsewhere int }
	err = tx.NewRaw(`SELECT COALESCE(SUM(CASE WHEN host = ? THEN 1 ELSE 0 END), 0) AS here,
		COALESCE(SUM(CASE WHEN host <> ? THEN 1 ELSE 0 END), 0) AS elsewhere
		FROM servers WHERE group_id = ? AND deleted_at IS NULL AND host IS NOT NULL AND id <> ?`,
		host, host, g.ID, srv.ID).Scan(ctx, &n)
	return groupTaken(g, n.Here, n.Elsewhere), err
}

// leaveHost takes the server off a host that failed; false if the operation
// lost its turn.
func (s *Service) leaveHost(ctx context.Context, opID string, srv *Server) (bool, error) {
	set := map[string]any{"host": nil, "node": nil, "az": nil, "outcome": nil, "task_state": TaskScheduling}
	setNetworks(set, nil)
	ok, err := updateServer(ctx, s.db, srv.ID, s.clock.Now(), set, "op_id = ?", opID)
	if ok {
		srv.Host = ""
	}
	return ok, err
}

// bootError makes the server ERROR at once. The operation keeps it until its
// undo has given everything back; a server whose host said that nothing is
// left leaves the host.
func (s *Service) bootError(ctx context.Context, op *operation.Op, srv *Server, f *Fault, steps []rpc.Step, event, host string) error {
	now := s.clock.Now()
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		set := map[string]any{"vm_state": Errored, "task_state": nil, "fault": asJSON(f), "outcome": nil,
			"host": nil, "node": nil, "power_state": rpc.PowerNoState}
		setNetworks(set, nil)
		ok, err := updateServer(ctx, tx, srv.ID, now, set, "op_id = ?", op.ID)
		if err != nil || !ok {
			return err
		}
		if err := insertSpans(ctx, tx, srv.ActionID, steps, now); err != nil {
			return err
		}
		e := newEvent(srv.ActionID, event, host, op.CreatedAt)
		e.Result, e.FinishTime, e.Details = "Error", now, f.Message
		if err := insertEvent(ctx, tx, e); err != nil {
			return err
		}
		return endAction(ctx, tx, srv.ActionID, "Error", now)
	})
}

// bootFailed lets the server go when the boot is undone. One that is not ERROR
// yet ran into the deadline: its host, if it has one, keeps it until it is
// deleted.
func (s *Service) bootFailed(ctx context.Context, tx bun.Tx, op *operation.Op) error {
	srv, err := serverInTx(ctx, tx, op.ResourceID)
	if err != nil || srv == nil || srv.OpID != op.ID {
		return err
	}
	now := s.clock.Now()
	if srv.VMState == Errored {
		_, err := updateServer(ctx, tx, srv.ID, now, map[string]any{"op_id": nil, "outcome": nil}, "op_id = ?", op.ID)
		return err
	}
	n := lateStep(op, srv)
	f := &Fault{Code: 500, Message: "Build of instance " + srv.ID + " aborted: " + stepText(n, op.Error), Created: now}
	e := newEvent(srv.ActionID, eventOf(kindBoot), srv.Host, op.CreatedAt)
	e.Result, e.FinishTime, e.Details = "Error", now, f.Message
	return endTask(ctx, tx, srv, taskEnd{opID: op.ID, at: now, event: e, message: "Error", steps: []rpc.Step{failedStep(n, f, now)},
		set: map[string]any{"vm_state": Errored, "fault": asJSON(f)}})
}
