package nova

import (
	"context"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

type quotaRow struct {
	Resource  string
	HardLimit int64
}

// quotaRows are the stored limits that apply, the general before the special.
func (s *Service) quotaRows(ctx context.Context, projectID, userID string) ([]quotaRow, error) {
	var rows []quotaRow
	err := s.db.NewRaw(`SELECT resource, hard_limit FROM (
		SELECT 0 AS place, resource, hard_limit FROM quota_classes WHERE class = 'default'
		UNION ALL SELECT 1, resource, hard_limit FROM quotas WHERE project_id = ? AND user_id = ''
		UNION ALL SELECT 2, resource, hard_limit FROM quotas WHERE project_id = ? AND user_id = ? AND user_id <> ''
		) AS q ORDER BY place`, projectID, projectID, userID).Scan(ctx, &rows)
	return rows, err
}

func (s *Service) quotaUsages(ctx context.Context, ownerID string) (map[string]int64, error) {
	var rows []struct {
		Resource string
		InUse    int64
	}
	if err := s.db.NewRaw("SELECT resource, in_use FROM quota_usages WHERE owner_id = ?", ownerID).Scan(ctx, &rows); err != nil {
		return nil, err
	}
	used := map[string]int64{}
	for _, r := range rows {
		used[r.Resource] = r.InUse
	}
	return used, nil
}

func (s *Service) upsertQuotas(ctx context.Context, projectID, userID string, limits map[string]int64) error {
	return s.setLimits(ctx, limits,
		"UPDATE quotas SET hard_limit = ? WHERE project_id = ? AND user_id = ? AND resource = ?",
		"INSERT INTO quotas (hard_limit, project_id, user_id, resource) VALUES (?, ?, ?, ?)", projectID, userID)
}

// setLimits sets each limit's row, also when another request makes it at the
// same moment. Both statements take the limit, the owner and the resource.
func (s *Service) setLimits(ctx context.Context, limits map[string]int64, update, add string, owner ...any) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, name := range slices.Sorted(maps.Keys(limits)) { // one order: two requests never wait for each other
			if err := db.Upsert(ctx, tx, update, add, slices.Concat([]any{limits[name]}, owner, []any{name})...); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteQuotas gives a project, or a user in it, the default limits again.
func (s *Service) DeleteQuotas(ctx context.Context, projectID, userID string) error {
	q := s.db.NewDelete().Table("quotas").Where("project_id = ?", projectID)
	if userID != "" {
		q = q.Where("user_id = ?", userID)
	}
	_, err := q.Exec(ctx)
	return err
}

// SetQuotaClass sets limits of a class.
func (s *Service) SetQuotaClass(ctx context.Context, class string, limits map[string]int64) error {
	return s.setLimits(ctx, limits,
		"UPDATE quota_classes SET hard_limit = ? WHERE class = ? AND resource = ?",
		"INSERT INTO quota_classes (hard_limit, class, resource) VALUES (?, ?, ?)", class)
}

// takeQuota counts n more of a resource unless that would pass the limit; then
// it answers false and changes nothing. The guard is in the statement, so two
// requests at once cannot pass it together.
func takeQuota(ctx context.Context, tx bun.Tx, owner, resource string, n, limit int64) (bool, error) {
	if ok, err := raiseQuota(ctx, tx, owner, resource, n, limit); ok || err != nil {
		return ok, err
	}
	// Refused, or the first of its project: the counter is made, perhaps by
	// another request at the same moment, and asked again.
	if err := addCounter(ctx, tx, owner, resource); err != nil {
		return false, err
	}
	return raiseQuota(ctx, tx, owner, resource, n, limit)
}

func raiseQuota(ctx context.Context, tx bun.Tx, owner, resource string, n, limit int64) (bool, error) {
	guard, args := "", []any{n, owner, resource}
	if limit >= 0 {
		guard = " AND in_use + ? <= ?"
		args = append(args, n, limit)
	}
	res, err := tx.NewRaw("UPDATE quota_usages SET in_use = in_use + ? WHERE owner_id = ? AND resource = ?"+guard, args...).Exec(ctx)
	if err != nil {
		return false, err
	}
	changed, err := res.RowsAffected()
	return changed == 1, err
}

// addCounter makes a counter that is not there yet.
func addCounter(ctx context.Context, tx bun.Tx, owner, resource string) error {
	have, err := tx.NewSelect().Table("quota_usages").Where("owner_id = ? AND resource = ?", owner, resource).Count(ctx)
	if err != nil || have > 0 {
		return err
	}
	_, err = tx.NewRaw("INSERT INTO quota_usages (owner_id, resource, in_use) VALUES (?, ?, 0)", owner, resource).Exec(ctx)
	if db.IsDuplicate(err) {
		return nil
	}
	return err
}

// returnQuota counts n less. The counter never goes below zero.
func returnQuota(ctx context.Context, tx bun.Tx, owner, resource string, n int64) error {
	_, err := tx.NewRaw("UPDATE quota_usages SET in_use = CASE WHEN in_use > ? THEN in_use - ? ELSE 0 END WHERE owner_id = ? AND resource = ?",
		n, n, owner, resource).Exec(ctx)
	return err
}
