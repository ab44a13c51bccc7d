package nova

import (
	"context"
	"encoding/json"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
)

type actionRow struct {
	bun.BaseModel `bun:"table:server_actions,alias:a"`
	Action
}

type eventRow struct {
	bun.BaseModel `bun:"table:server_action_events,alias:e"`
	ActionEvent
}

type spanRow struct {
	bun.BaseModel `bun:"table:server_action_spans"`
	ID            string `bun:"id,pk"`
	ActionID      string
	Spans         []rpc.Step
	CreatedAt     time.Time
}

func insertActions(ctx context.Context, tx bun.IDB, actions ...*Action) error {
	rows := make([]actionRow, len(actions))
	for i, a := range actions {
		rows[i].Action = *a
	}
	_, err := tx.NewInsert().Model(&rows).Exec(ctx)
	return err
}

func insertEvent(ctx context.Context, tx bun.IDB, e *ActionEvent) error {
	_, err := tx.NewInsert().Model(&eventRow{ActionEvent: *e}).Exec(ctx)
	return err
}

// insertSpans records steps in the transaction of what they changed.
func insertSpans(ctx context.Context, tx bun.IDB, actionID string, steps []rpc.Step, now time.Time) error {
	if len(steps) == 0 || actionID == "" {
		return nil
	}
	_, err := tx.NewInsert().Model(&spanRow{ID: ids.UUID(), ActionID: actionID, Spans: steps, CreatedAt: now}).Exec(ctx)
	return err
}

// endAction notes how an action ended; message "" means well.
func endAction(ctx context.Context, tx bun.IDB, actionID, message string, now time.Time) error {
	q := tx.NewUpdate().Table("server_actions").Set("updated_at = ?", now).Where("id = ?", actionID)
	if message != "" {
		q = q.Set("message = ?", clip(message, 255))
	}
	_, err := q.Exec(ctx)
	return err
}

// Actions lists a server's actions, newest first.
func (s *Service) Actions(ctx context.Context, serverID string, f ActionFilter) ([]Action, error) {
	var rows []actionRow
	q := s.db.NewSelect().Model(&rows).Where("server_id = ?", serverID)
	if f.Marker != "" {
		m, err := s.actionByRequest(ctx, serverID, f.Marker)
		if err != nil {
			return nil, fault.New(fault.BadRequest, "marker [%s] not found", f.Marker)
		}
		q = q.Where("(start_time < ? OR (start_time = ? AND id < ?))", m.StartTime, m.StartTime, m.ID)
	}
	if !f.ChangesSince.IsZero() {
		q = q.Where("updated_at >= ?", f.ChangesSince)
	}
	if !f.ChangesBefore.IsZero() {
		q = q.Where("updated_at <= ?", f.ChangesBefore)
	}
	q = q.OrderExpr("start_time DESC, id DESC").Limit(int64(f.Limit))
	if err := q.Scan(ctx); err != nil {
		return nil, err
	}
	list := make([]Action, len(rows))
	for i := range rows {
		list[i] = rows[i].Action
	}
	return list, nil
}

func (s *Service) actionByRequest(ctx context.Context, serverID, requestID string) (*Action, error) {
	return s.oneAction(ctx, requestID, s.db.NewSelect().
		Where("server_id = ? AND request_id = ?", serverID, requestID).OrderExpr("start_time DESC, id DESC"))
}

func (s *Service) bootAction(ctx context.Context, serverID string) (*Action, error) {
	return s.oneAction(ctx, ActionCreate, s.db.NewSelect().
		Where("server_id = ? AND action = ?", serverID, ActionCreate).OrderExpr("start_time"))
}

func (s *Service) oneAction(ctx context.Context, name string, q *bun.SelectQuery) (*Action, error) {
	var row actionRow
	err := q.Model(&row).Limit(1).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, actionNotFound(name)
	}
	return &row.Action, err
}

func (s *Service) actionEvents(ctx context.Context, actionID string) ([]ActionEvent, error) {
	var rows []eventRow
	if err := s.db.NewSelect().Model(&rows).Where("action_id = ?", actionID).OrderExpr("start_time, id").Scan(ctx); err != nil {
		return nil, err
	}
	list := make([]ActionEvent, len(rows))
	for i := range rows {
		list[i] = rows[i].ActionEvent
	}
	return list, nil
}

func (s *Service) spanBatches(ctx context.Context, actionID string) ([][]rpc.Step, error) {
	var texts []string
	err := s.db.NewRaw("SELECT spans FROM server_action_spans WHERE action_id = ? ORDER BY created_at, id", actionID).Scan(ctx, &texts)
	if err != nil {
		return nil, err
	}
	batches := make([][]rpc.Step, len(texts))
	for i, t := range texts {
		if err := json.Unmarshal([]byte(t), &batches[i]); err != nil {
			return nil, err
		}
	}
	return batches, nil
}

// clip cuts text to n bytes for a column, at a letter.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && text[n]&0xc0 == 0x80 {
		n--
	}
	return text[:n]
}
