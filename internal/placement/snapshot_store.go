package placement

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/hastack/hastack/internal/db"
)

// A delta is what changed after a revision.
type delta struct {
	version, epoch int64
	changes        []*change
}

// selectDelta reads the current revision and the providers that changed after
// since; 0 reads all. It is one statement, since it precedes every read, and
// one view of the database. Plain rows: at 10,000 hosts the first read is
// 30,000 of them.
func selectDelta(ctx context.Context, d *db.DB, since int64) (*delta, error) {
	rows, err := d.QueryContext(ctx, `
		SELECT r.version, r.epoch, p.uuid, p.name, p.parent_uuid, p.root_uuid, p.generation, p.shape, i.resource_class,
			i.total, i.reserved, i.min_unit, i.max_unit, i.step_size, i.allocation_ratio, i.capacity, i.used
		FROM revisions r LEFT JOIN providers p ON p.revision > ? LEFT JOIN inventories i ON i.provider_uuid = p.uuid
		WHERE r.id = 1`, since)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := &delta{}
	byUUID := map[string]*change{}
	for rows.Next() {
		if err := out.scan(rows, byUUID, since); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return out, out.readSets(ctx, d, byUUID, since)
}

// scan reads one row of revision, provider and inventory.
func (d *delta) scan(rows *sql.Rows, byUUID map[string]*change, since int64) error {
	var uuid, name, parent, root, class sql.NullString
	var generation, shape sql.NullInt64
	var n [7]sql.NullInt64
	var ratio sql.NullFloat64
	err := rows.Scan(&d.version, &d.epoch, &uuid, &name, &parent, &root, &generation, &shape, &class,
		&n[0], &n[1], &n[2], &n[3], &n[4], &ratio, &n[5], &n[6])
	if err != nil || !uuid.Valid {
		return err
	}
	c := byUUID[uuid.String]
	if c == nil {
		c = &change{whole: shape.Int64 > since}
		c.UUID, c.Name, c.ParentUUID, c.RootUUID, c.Generation = uuid.String, name.String, parent.String, root.String, generation.Int64
		byUUID[c.UUID] = c
		d.changes = append(d.changes, c)
	}
	if class.Valid {
		c.Inventories = append(c.Inventories, Inventory{
			Class: class.String, Total: n[0].Int64, Reserved: n[1].Int64, MinUnit: n[2].Int64, MaxUnit: n[3].Int64,
			StepSize: n[4].Int64, AllocationRatio: ratio.Float64, Capacity: n[5].Int64, Used: n[6].Int64,
		})
	}
	return nil
}

// readSets adds the traits and aggregates of the providers whose shape changed.
func (d *delta) readSets(ctx context.Context, from *db.DB, byUUID map[string]*change, since int64) error {
	whole := false
	for _, c := range d.changes {
		slices.SortFunc(c.Inventories, func(a, b Inventory) int { return strings.Compare(a.Class, b.Class) })
		whole = whole || c.whole
	}
	if !whole {
		return nil
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
		if err := readSet(ctx, from, set.query, since, byUUID, set.of); err != nil {
			return err
		}
	}
	return nil
}

func readSet(ctx context.Context, d *db.DB, query string, since int64, byUUID map[string]*change, of func(*change) *[]string) error {
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
