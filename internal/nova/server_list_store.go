package nova

import (
	"context"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
)

// Columns of a list: without the texts that only a boot reads.
var (
	briefColumns  = []string{"id", "name", "created_at"}
	detailColumns = []string{"id", "project_id", "user_id", "name", "hostname", "description", "reservation_id", "launch_index",
		"vm_state", "task_state", "power_state", "progress", "host", "node", "az", "image_id", "flavor_id", "group_id", "key_name",
		"access_ip_v4", "access_ip_v6", "config_drive", "disk_config", "root_device", "locked_by", "locked_reason", "flavor",
		"metadata", "tags", "security_groups", "addresses", "fault", "created_at", "updated_at", "launched_at", "terminated_at", "deleted_at"}
)

// scanBatch is how many rows are looked at at once when a filter works in Go.
const scanBatch = 500

// Servers lists servers by the filter, keyset paged: the cost of a page does
// not depend on how many pages came before.
func (s *Service) Servers(ctx context.Context, f *ServerFilter) ([]Server, error) {
	match, err := f.matcher()
	if err != nil {
		return nil, err
	}
	if len(f.Sort) == 0 {
		f.Sort = []SortKey{{"created_at", true}}
	}
	if !slices.ContainsFunc(f.Sort, func(k SortKey) bool { return k.Column == "uuid" }) {
		f.Sort = append(slices.Clone(f.Sort), SortKey{"uuid", f.Sort[0].Desc})
	}
	if f.Marker != "" {
		srv, err := s.anyServer(ctx, f.Marker)
		if err != nil || f.ProjectID != "" && srv.ProjectID != f.ProjectID {
			return nil, fault.New(fault.BadRequest, "marker [%s] not found", f.Marker)
		}
	}
	if match == nil {
		return s.serverPage(ctx, f, f.Marker, f.Limit)
	}
	var found []Server
	marker := f.Marker
	for {
		page, err := s.serverPage(ctx, f, marker, scanBatch)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if match(&page[i]) {
				found = append(found, page[i])
				if len(found) == f.Limit {
					return found, nil
				}
			}
		}
		if len(page) < scanBatch {
			return found, nil
		}
		marker = page[len(page)-1].ID
	}
}

func (s *Service) serverPage(ctx context.Context, f *ServerFilter, marker string, limit int) ([]Server, error) {
	cols := detailColumns
	if f.Brief {
		cols = briefColumns
	} else if f.UserData {
		cols = append(slices.Clone(cols), "user_data")
	}
	if f.IP != "" || f.IPv6 != "" {
		cols = append(slices.Clone(cols), "info_cache")
	}
	var list []Server
	q := s.db.NewSelect().Model(&list).Column(cols...)
	q = f.where(q)
	if marker != "" {
		q = afterMarker(q, f.Sort, marker)
	}
	for _, k := range f.Sort {
		dir := " ASC"
		if k.Desc {
			dir = " DESC"
		}
		q = q.OrderExpr(sortColumns[k.Column] + dir)
	}
	if limit > 0 {
		q = q.Limit(int64(limit))
	}
	return list, q.Scan(ctx)
}

// afterMarker cuts to what comes behind the marker's row in the order of keys:
// (k1 > m1) OR (k1 = m1 AND k2 > m2) OR …
func afterMarker(q *bun.SelectQuery, keys []SortKey, marker string) *bun.SelectQuery {
	return q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
		for i := range keys {
			var terms []string
			var args []any
			for j := range i + 1 {
				cmp := "="
				if j == i {
					cmp = ">"
					if keys[j].Desc {
						cmp = "<"
					}
				}
				expr := sortColumns[keys[j].Column]
				terms = append(terms, expr+" "+cmp+" (SELECT "+expr+" FROM servers AS m WHERE m.id = ?)")
				args = append(args, marker)
			}
			q = q.WhereOr("("+strings.Join(terms, " AND ")+")", args...)
		}
		return q
	})
}

func (f *ServerFilter) where(q *bun.SelectQuery) *bun.SelectQuery {
	switch {
	case f.Deleted:
		q = q.Where("deleted_at IS NOT NULL")
	case !f.WithDeleted:
		q = q.Where("deleted_at IS NULL")
	}
	if f.ProjectID != "" {
		q = q.Where("project_id = ?", f.ProjectID)
	}
	if f.IDs != nil {
		q = q.Where("id IN (?)", bun.List(append(f.IDs, "")))
	}
	if f.Name != "" && plainText(f.Name) {
		q = q.Where("LOWER(name) LIKE ?", "%"+strings.ToLower(f.Name)+"%") // no collation is taken for granted
	}
	for col, v := range f.Equal {
		switch {
		case col == "config_drive":
			q = q.Where("config_drive = ?", strings.EqualFold(v, "true") || v == "1")
		case v == "" || strings.EqualFold(v, "none"):
			q = q.Where("? IS NULL", bun.Ident(col))
		default:
			q = q.Where("? = ?", bun.Ident(col), v)
		}
	}
	if f.Locked != nil {
		q = q.Where("(locked_by IS NOT NULL) = ?", *f.Locked)
	}
	if !f.ChangesSince.IsZero() {
		q = q.Where("updated_at >= ?", f.ChangesSince)
	}
	if !f.ChangesBefore.IsZero() {
		q = q.Where("updated_at <= ?", f.ChangesBefore)
	}
	return f.whereTags(f.whereStatus(q))
}

func (f *ServerFilter) whereStatus(q *bun.SelectQuery) *bun.SelectQuery {
	if len(f.Status) == 0 {
		return q
	}
	return q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
		q = q.Where("1 = 0")
		for _, status := range f.Status {
			vm, tasks, ok := statusFilter(strings.ToUpper(status))
			switch {
			case ok && tasks != nil:
				q = q.WhereOr("(vm_state IN (?) AND task_state IN (?))", bun.List(vm), bun.List(tasks))
			case ok:
				q = q.WhereOr("(vm_state IN (?) AND (task_state IS NULL OR task_state NOT IN (?)))", bun.List(vm),
					bun.List([]string{TaskRebooting, TaskRebootingHard, TaskRebuilding, TaskRebuildSpawning}))
			}
		}
		return q
	})
}

func (f *ServerFilter) whereTags(q *bun.SelectQuery) *bun.SelectQuery {
	const having = "(SELECT server_id FROM server_tags WHERE tag IN (?) GROUP BY server_id HAVING COUNT(*) = ?)"
	const any = "(SELECT server_id FROM server_tags WHERE tag IN (?))"
	if len(f.Tags) > 0 {
		q = q.Where("id IN "+having, bun.List(f.Tags), len(f.Tags))
	}
	if len(f.NotTags) > 0 {
		q = q.Where("id NOT IN "+having, bun.List(f.NotTags), len(f.NotTags))
	}
	if len(f.TagsAny) > 0 {
		q = q.Where("id IN "+any, bun.List(f.TagsAny))
	}
	if len(f.NotTagsAny) > 0 {
		q = q.Where("id NOT IN "+any, bun.List(f.NotTagsAny))
	}
	return q
}
