package glance

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/uptrace/bun"
)

// columnsNullable are sort columns that may be NULL, with what NULL counts as:
// a comparison with NULL would drop the row from every page.
var columnsNullable = map[string]string{
	"name": "''", "container_format": "''", "disk_format": "''", "size": "-1", "virtual_size": "-1",
}

func sortExpr(key string) string {
	if null, ok := columnsNullable[key]; ok {
		return "COALESCE(images." + key + ", " + null + ")"
	}
	return "images." + key
}

// selectImages returns one image more than the page holds, if there is one.
//
// What a project sees is the union of what it owns, what is public and what it
// was given. Each part is found in its own index, in order and cut at the page's
// length, so the cost does not grow with the images of others.
func (s *Service) selectImages(ctx context.Context, v Viewer, f ImageFilter, p ImagePage, after *Image) ([]Image, error) {
	list := []Image{}
	parts := visibleParts(v, f)
	if len(parts) == 0 {
		return list, nil
	}
	narrow := func(q *bun.SelectQuery) *bun.SelectQuery {
		f.where(q)
		afterMarker(q, p.Sort, after)
		for _, o := range p.Sort {
			q.OrderExpr(sortExpr(o.Key) + direction(o.Desc))
		}
		return q.Limit(int64(p.Limit) + 1)
	}
	if len(parts) == 1 {
		q := s.db.NewSelect().Model(&list)
		parts[0](q)
		return list, narrow(q).Scan(ctx)
	}
	var union *bun.SelectQuery
	for _, part := range parts {
		q := s.db.NewSelect().Model((*Image)(nil)).Column("id")
		part(q)
		// A LIMIT inside a UNION needs a table around it in both dialects.
		cut := s.db.NewSelect().TableExpr("(?) AS part", narrow(q)).Column("part.id")
		if union == nil {
			union = cut
		} else {
			union = union.Union(cut)
		}
	}
	q := s.db.NewSelect().Model(&list).Where("images.id IN (SELECT ids.id FROM (?) AS ids)", union)
	for _, o := range p.Sort {
		q.OrderExpr(sortExpr(o.Key) + direction(o.Desc))
	}
	return list, q.Limit(int64(p.Limit) + 1).Scan(ctx)
}

func direction(desc bool) string {
	if desc {
		return " DESC"
	}
	return " ASC"
}

// visibleParts are the conditions whose union is what v sees under f.
func visibleParts(v Viewer, f ImageFilter) []func(q *bun.SelectQuery) {
	visibility := func(kind string) func(q *bun.SelectQuery) {
		return func(q *bun.SelectQuery) { q.Where("images.visibility = ?", kind) }
	}
	if v.Admin {
		if f.Visibility == "" || f.Visibility == "all" {
			return []func(q *bun.SelectQuery){func(*bun.SelectQuery) {}}
		}
		return []func(q *bun.SelectQuery){visibility(f.Visibility)}
	}
	if v.ProjectID == "" { // a token of no project owns nothing and is given nothing
		switch f.Visibility {
		case "", "all", Public:
			return []func(q *bun.SelectQuery){visibility(Public)}
		case Community:
			return []func(q *bun.SelectQuery){visibility(Community)}
		}
		return nil
	}
	own := func(q *bun.SelectQuery) {
		q.Where("images.owner = ?", v.ProjectID)
		if f.Visibility != "" && f.Visibility != "all" {
			q.Where("images.visibility = ?", f.Visibility)
		}
	}
	given := func(q *bun.SelectQuery) {
		status := f.MemberStatus
		if status == "" {
			status = MemberAccepted
		}
		q.Where("images.visibility = ?", Shared).
			Join("JOIN image_members AS m ON m.image_id = images.id").Where("m.member = ?", v.ProjectID)
		if status != "all" {
			q.Where("m.status = ?", status)
		}
	}
	switch f.Visibility {
	case Public, Community:
		return []func(q *bun.SelectQuery){visibility(f.Visibility)}
	case Private:
		return []func(q *bun.SelectQuery){own}
	case Shared:
		return []func(q *bun.SelectQuery){own, given}
	case "all":
		return []func(q *bun.SelectQuery){own, visibility(Public), visibility(Community), given}
	}
	return []func(q *bun.SelectQuery){own, visibility(Public), given}
}

// afterMarker keeps what comes behind the marker in the order: greater in the
// first key, or equal in it and greater in the next, and so on.
func afterMarker(q *bun.SelectQuery, sorts []ImageSort, after *Image) {
	if after == nil {
		return
	}
	var or []string
	var args []any
	for i := range sorts {
		var and []string
		for j := 0; j <= i; j++ {
			op := " = ?"
			if j == i {
				op = " > ?"
				if sorts[j].Desc {
					op = " < ?"
				}
			}
			and = append(and, sortExpr(sorts[j].Key)+op)
			args = append(args, after.sortValue(sorts[j].Key))
		}
		or = append(or, "("+strings.Join(and, " AND ")+")")
	}
	q.Where("("+strings.Join(or, " OR ")+")", args...)
}

func (img *Image) sortValue(key string) any {
	text := func(p *string) any {
		if p == nil {
			return ""
		}
		return *p
	}
	number := func(p *int64) any {
		if p == nil {
			return -1
		}
		return *p
	}
	switch key {
	case "created_at":
		return img.CreatedAt
	case "updated_at":
		return img.UpdatedAt
	case "name":
		return text(img.Name)
	case "status":
		return img.Status
	case "container_format":
		return text(img.ContainerFormat)
	case "disk_format":
		return text(img.DiskFormat)
	case "size":
		return number(img.Size)
	case "virtual_size":
		return number(img.VirtualSize)
	case "visibility":
		return img.Visibility
	case "owner":
		return img.Owner
	case "min_disk":
		return img.MinDisk
	case "min_ram":
		return img.MinRAM
	case "os_hidden":
		return img.OSHidden
	case "protected":
		return img.Protected
	}
	return img.ID
}

// where adds the conditions of f to q. Names of columns come from the lists in
// this package, never from a request.
func (f *ImageFilter) where(q *bun.SelectQuery) {
	q.Where("images.os_hidden = ?", f.Hidden)
	for _, column := range slices.Sorted(maps.Keys(f.Equal)) {
		if values := f.Equal[column]; len(values) == 1 {
			q.Where("images."+column+" = ?", values[0])
		} else {
			q.Where("images."+column+" IN (?)", bun.List(values))
		}
	}
	for _, t := range f.Times {
		op := map[string]string{"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "neq": "<>"}[t.Op]
		if op == "" {
			op = "="
		}
		q.Where("images."+t.Column+" "+op+" ?", t.At)
	}
	if f.Protected != nil {
		q.Where("images.protected = ?", *f.Protected)
	}
	for _, n := range []struct {
		cond  string
		value *int64
	}{
		{"images.size >= ?", f.SizeMin},
		{"images.size <= ?", f.SizeMax},
		{"images.min_disk = ?", f.MinDisk},
		{"images.min_ram = ?", f.MinRAM},
	} {
		if n.value != nil {
			q.Where(n.cond, *n.value)
		}
	}
	for _, tag := range f.Tags {
		q.Where("EXISTS (SELECT 1 FROM image_tags AS t WHERE t.image_id = images.id AND t.value = ?)", tag)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Properties)) {
		q.Where("EXISTS (SELECT 1 FROM image_properties AS p WHERE p.image_id = images.id AND p.name = ? AND p.value = ?)",
			name, f.Properties[name])
	}
}

// Usage is what a project has stored.
type Usage struct {
	Images    int64
	Bytes     int64
	Uploading int64 // images
	Staged    int64 // bytes
}

// Usage counts the images that a project owns.
func (s *Service) Usage(ctx context.Context, project string) (Usage, error) {
	var u Usage
	err := s.db.NewSelect().Model((*Image)(nil)).
		ColumnExpr("COUNT(*) AS images").
		ColumnExpr("COALESCE(SUM(CASE WHEN status <> ? THEN size END), 0) AS bytes", StatusUploading).
		ColumnExpr("COALESCE(SUM(CASE WHEN status IN (?, ?) THEN 1 ELSE 0 END), 0) AS uploading", StatusSaving, StatusUploading).
		ColumnExpr("COALESCE(SUM(CASE WHEN status = ? THEN size END), 0) AS staged", StatusUploading).
		Where("images.owner = ?", project).Scan(ctx, &u)
	return u, err
}
