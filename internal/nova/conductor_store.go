package nova

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/nova/rpc"
)

// conductorSteps are steps 15 to 17 as far as they are known when they are
// recorded.
func conductorSteps(host string, taken, read time.Time) []rpc.Step {
	const me, db = "nova-conductor", "nova database"
	peer := "nova-compute@" + host
	return []rpc.Step{
		{N: 15, Name: "take the call", Actor: me, Peer: peer, Protocol: rpc.ProtoAMQP, Start: taken, Outcome: rpc.OutcomeOK},
		{N: 16, Name: "read the server", Actor: me, Peer: db, Protocol: rpc.ProtoSQL, Start: taken, Duration: read.Sub(taken), Outcome: rpc.OutcomeOK},
		{N: 17, Name: "return the server", Actor: me, Peer: peer, Protocol: rpc.ProtoAMQP, Start: read, Outcome: rpc.OutcomeOK},
	}
}

// recordProgress moves the task_state of an operation that is current and
// keeps its steps.
func (s *Service) recordProgress(ctx context.Context, srv *Server, opID, taskState string, steps []rpc.Step) error {
	now := s.clock.Now()
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		set := map[string]any{}
		if taskState != "" {
			set["task_state"] = taskState
		}
		ok, err := updateServer(ctx, tx, srv.ID, now, set, "op_id = ?", opID)
		if err != nil {
			return err
		}
		if !ok {
			return notCurrent(opID)
		}
		return insertSpans(ctx, tx, srv.ActionID, steps, now)
	})
}

func (s *Service) progressOf(ctx context.Context, in rpc.ProgressArgs) (*rpc.ProgressReply, error) {
	var current []string
	err := s.db.NewRaw("SELECT op_id FROM servers WHERE host = ? AND op_id IN (?)", in.Host, bun.List(append(in.OpIDs, ""))).Scan(ctx, &current)
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, id := range current {
		have[id] = true
	}
	out := &rpc.ProgressReply{}
	for _, id := range in.OpIDs {
		if !have[id] {
			out.Lost = append(out.Lost, id)
		}
	}
	return out, nil
}

func (s *Service) serversOfHost(ctx context.Context, host string) ([]Server, error) {
	var list []Server
	err := s.db.NewSelect().Model(&list).Where("host = ? AND (deleted_at IS NULL OR cleanup = ?)", host, true).
		Order("created_at", "id").Scan(ctx)
	return list, err
}

// AuditServers lists every server that exists, on one host if host is not
// empty, as the auditor compares it.
func (s *Service) AuditServers(ctx context.Context, host string) ([]AuditedServer, error) {
	var list []Server
	q := s.db.NewSelect().Model(&list).
		Column("id", "project_id", "host", "node", "vm_state", "task_state", "flavor", "info_cache", "op_id", "cleanup").
		Where("deleted_at IS NULL OR cleanup = ?", true).Order("created_at", "id")
	if host != "" {
		q = q.Where("host = ?", host)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, err
	}
	out := make([]AuditedServer, len(list))
	for i := range list {
		srv := &list[i]
		a := AuditedServer{AuditServer: rpc.AuditServer{ID: srv.ID, VMState: srv.VMState, TaskState: srv.TaskState},
			ProjectID: srv.ProjectID, Host: srv.Host, Node: srv.Node, InFlight: srv.OpID != "", Cleanup: srv.Cleanup}
		for _, v := range srv.InfoCache {
			a.PortIDs = append(a.PortIDs, v.PortID)
		}
		if srv.Host != "" && !srv.Cleanup {
			a.Resources = resourcesOf(&srv.Flavor)
		}
		out[i] = a
	}
	return out, nil
}
