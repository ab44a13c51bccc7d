package nova

import (
	"context"
	"time"
)

func (s *Service) serversAlive(ctx context.Context, projectID string, start, end time.Time) ([]Server, error) {
	var list []Server
	q := s.db.NewSelect().Model(&list).
		Column("id", "name", "project_id", "vm_state", "flavor", "launched_at", "terminated_at").
		Where("launched_at IS NOT NULL AND launched_at < ? AND (terminated_at IS NULL OR terminated_at > ?)", end, start).
		Order("project_id", "created_at", "id").Limit(maxUsage)
	if projectID != "" {
		q = q.Where("project_id = ?", projectID)
	}
	return list, q.Scan(ctx)
}
