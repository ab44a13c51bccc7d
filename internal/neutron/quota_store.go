package neutron

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

type quotaRow struct {
	bun.BaseModel `bun:"table:quotas"`

	ProjectID string `bun:"project_id,pk"`
	Resource  string `bun:"resource,pk"`
	HardLimit int64  `bun:"hard_limit"`
}

func (s *Service) quotaRows(ctx context.Context, projectID string) ([]quotaRow, error) {
	var rows []quotaRow
	q := s.db.NewSelect().Model(&rows)
	if projectID != "" {
		q = q.Where("project_id = ?", projectID)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read quotas: %w", err)
	}
	return rows, nil
}

func (s *Service) quotaUsage(ctx context.Context, projectID string) (map[string]int64, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT resource, used FROM quota_usages WHERE project_id = ?", projectID)
	if err != nil {
		return nil, fmt.Errorf("read quota usage: %w", err)
	}
	defer func() { _ = rows.Close() }()
	used := map[string]int64{}
	for rows.Next() {
		var resource string
		var n int64
		if err := rows.Scan(&resource, &n); err != nil {
			return nil, err
		}
		used[resource] = n
	}
	return used, rows.Err()
}

// raiseUsage adds n to the count if the limit allows it; a project's own limit
// goes before the default, and a negative one is none.
func raiseUsage(ctx context.Context, tx bun.Tx, projectID, resource string, n int, limit int64) (bool, error) {
	const own = "COALESCE((SELECT q.hard_limit FROM quotas q WHERE q.project_id = ? AND q.resource = ?), ?)"
	rows, err := exec(ctx, tx, "UPDATE quota_usages SET used = used + ? WHERE project_id = ? AND resource = ? AND ("+
		own+" < 0 OR used + ? <= "+own+")",
		n, projectID, resource, projectID, resource, limit, n, projectID, resource, limit)
	return rows > 0, err
}

// addUsageRow makes the counter of a project's first resource of a kind, if it
// is not there yet.
func addUsageRow(ctx context.Context, tx bun.Tx, projectID, resource string) error {
	_, err := exec(ctx, tx, `INSERT INTO quota_usages (project_id, resource, used)
		SELECT ?, ?, 0 FROM state_revision WHERE id = 1
		AND NOT EXISTS (SELECT 1 FROM quota_usages WHERE project_id = ? AND resource = ?)`,
		projectID, resource, projectID, resource)
	if db.IsDuplicate(err) {
		return nil
	}
	return err
}

func (s *Service) deleteQuotaRows(ctx context.Context, projectID string) (int64, error) {
	return exec(ctx, s.db, "DELETE FROM quotas WHERE project_id = ?", projectID)
}

// release gives one of a project's quota back.
func release(ctx context.Context, tx bun.Tx, projectID, resource string) error {
	_, err := exec(ctx, tx, "UPDATE quota_usages SET used = used - 1 WHERE project_id = ? AND resource = ? AND used > 0", projectID, resource)
	return err
}
