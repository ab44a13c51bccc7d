package nova

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/nova/rpc"
)

func (s *Service) clearOutcome(ctx context.Context, opID, serverID string) error {
	_, err := updateServer(ctx, s.db, serverID, s.clock.Now(), map[string]any{"outcome": nil}, "op_id = ?", opID)
	return err
}

// forget frees what a deleted server counts for.
func forget(ctx context.Context, tx bun.Tx, srv *Server) error {
	for _, r := range []struct {
		resource string
		n        int64
	}{{ResourceInstances, 1}, {ResourceCores, int64(srv.Flavor.VCPUs)}, {ResourceRAM, int64(srv.Flavor.MemoryMB)}} {
		if err := returnQuota(ctx, tx, srv.ProjectID, r.resource, r.n); err != nil {
			return err
		}
	}
	for _, table := range []string{"server_tags", "console_tokens"} {
		if _, err := tx.NewDelete().Table(table).Where("server_id = ?", srv.ID).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// castCleanups tells hosts that are back what was deleted while they were away.
func (s *Service) castCleanups(ctx context.Context) error {
	var rows []struct{ ID, Host string }
	err := s.db.NewRaw("SELECT id, host FROM servers WHERE cleanup = ? ORDER BY deleted_at LIMIT 100", true).Scan(ctx, &rows)
	if err != nil || len(rows) == 0 {
		return err
	}
	up, err := s.upHosts(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if !up[r.Host] {
			continue
		}
		if err := rpc.NewComputeClient(s.bus, r.Host).Delete(ctx, rpc.ServerOp{OpID: r.ID, ServerID: r.ID}); err != nil {
			return err
		}
	}
	return nil
}

// Prune removes deleted servers, idempotency keys and console tokens that are
// past their time.
func (s *Service) Prune(ctx context.Context) error {
	now := s.clock.Now()
	old := now.Add(-deletedWithin)
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{"DELETE FROM console_tokens WHERE expires_at < ?", []any{now}},
		{"DELETE FROM idempotency_keys WHERE created_at < ?", []any{now.Add(-idempotencyKept)}},
		{"DELETE FROM server_action_spans WHERE created_at < ? AND action_id IN (SELECT id FROM server_actions WHERE server_id IN (SELECT id FROM servers WHERE deleted_at < ?))", []any{old, old}},
		{"DELETE FROM server_action_events WHERE start_time < ? AND action_id IN (SELECT id FROM server_actions WHERE server_id IN (SELECT id FROM servers WHERE deleted_at < ?))", []any{old, old}},
		{"DELETE FROM server_actions WHERE server_id IN (SELECT id FROM servers WHERE deleted_at < ?)", []any{old}},
		{"DELETE FROM servers WHERE deleted_at < ? AND cleanup = ?", []any{old, false}},
	} {
		if _, err := s.db.NewRaw(q.sql, q.args...).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
