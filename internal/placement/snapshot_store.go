package placement

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/hastack/hastack/internal/db"
)

func selectRevision(ctx context.Context, d *db.DB) (version, epoch int64, err error) {
	err = d.QueryRowContext(ctx, "SELECT version, epoch FROM revisions WHERE id = 1").Scan(&version, &epoch)
	return version, epoch, err
}

// selectChanged reads the providers that changed after the revision; 0 reads
// all. Plain rows: at 10,000 hosts the first read is 30,000 of them. The order
// is that of the index on revision: with another, SQLite walks the whole table.
func selectChanged(ctx context.Context, d *db.DB, since int64) ([]*change, error) {
	rows, err := d.QueryContext(ctx, `
		SELECT p.uuid, p.name, p.parent_uuid, p.root_uuid, p.generation, p.shape, i.resource_class,
			i.total, i.reserved, i.min_unit, i.max_unit, i.step_size, i.allocation_ratio, i.capacity, i.used
		FROM providers p LEFT JOIN inventories i ON i.provider_uuid = p.uuid
		WHERE p.revision > ? ORDER BY p.revision, p.uuid`, since)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*change
	byUUID := map[string]*change{}
	for rows.Next() {
		if list, err = scanChange(rows, list, since); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	whole := false
	for _, c := range list {
		slices.SortFunc(c.Inventories, func(a, b Inventory) int { return strings.Compare(a.Class, b.Class) })
		byUUID[c.UUID] = c
		whole = whole || c.whole
	}
	if !whole {
		return list, nil
	}
	for _, set := range []struct {
		query string
		of    func(*change) *[]string
	}{
		{`SELECT s.provider_uuid, s.trait FROM provider_traits s JOIN providers p ON p.uuid = s.provider_uuid WHERE p.shape > ?`,
			func(c *change) *[]string { return &c.Traits }},
		{`SELECT s.provider_uuid, s.aggregate_uuid FROM provider_aggregates s JOIN providers p ON p.uuid = s.provider_uuid WHERE p.shape > ?`,
			func(c *change) *[]string { return &c.Aggregates }},
	} {
		if err := readSets(ctx, d, set.query, since, byUUID, set.of); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// scanChange reads one row of provider and inventory into the list.
func scanChange(rows *sql.Rows, list []*change, since int64) ([]*change, error) {
	var c change
	var shape int64
	var class sql.NullString
	var n [7]sql.NullInt64
	var ratio sql.NullFloat64
	err := rows.Scan(&c.UUID, &c.Name, &c.ParentUUID, &c.RootUUID, &c.Generation, &shape, &class,
		&n[0], &n[1], &n[2], &n[3], &n[4], &ratio, &n[5], &n[6])
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || list[len(list)-1].UUID != c.UUID {
		c.whole = shape > since
		list = append(list, &c)
	}
	if class.Valid {
		last := list[len(list)-1]
		last.Inventories = append(last.Inventories, Inventory{
			Class: class.String, Total: n[0].Int64, Reserved: n[1].Int64, MinUnit: n[2].Int64, MaxUnit: n[3].Int64,
			StepSize: n[4].Int64, AllocationRatio: ratio.Float64, Capacity: n[5].Int64, Used: n[6].Int64,
		})
	}
	return list, nil
}

func readSets(ctx context.Context, d *db.DB, query string, since int64, byUUID map[string]*change, of func(*change) *[]string) error {
	rows, err := d.QueryContext(ctx, query, since)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var uuid, value string
		if err := rows.Scan(&uuid, &value); err != nil {
			return err
		}
		if c := byUUID[uuid]; c != nil {
			set := of(c)
			*set = append(*set, value)
		}
	}
	for _, c := range byUUID {
		slices.Sort(*of(c))
	}
	return rows.Err()
}
