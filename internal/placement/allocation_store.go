package placement

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

type consumerRow struct {
	bun.BaseModel `bun:"table:consumers"`

	UUID         string `bun:",pk"`
	ProjectID    string
	UserID       string
	ConsumerType string
	Generation   int64
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Consumer is the row as the rest of the package knows it.
func (r *consumerRow) Consumer() Consumer {
	return Consumer{UUID: r.UUID, ProjectID: r.ProjectID, UserID: r.UserID, Type: r.ConsumerType, Generation: r.Generation}
}

type allocationRow struct {
	bun.BaseModel `bun:"table:allocations"`

	ConsumerUUID  string `bun:",pk"`
	ProviderUUID  string `bun:",pk"`
	ResourceClass string `bun:",pk"`
	Used          int64
}

func selectConsumer(ctx context.Context, tx bun.IDB, uuid string) (*consumerRow, error) {
	row := new(consumerRow)
	err := tx.NewSelect().Model(row).Where("uuid = ?", uuid).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, nil
	}
	return row, err
}

// insertConsumer is refused as a concurrent update if the consumer exists.
func (s *Service) insertConsumer(ctx context.Context, tx bun.Tx, c *Consumer) error {
	now := s.clock.Now()
	_, err := tx.ExecContext(ctx, `INSERT INTO consumers
		(uuid, project_id, user_id, consumer_type, generation, created_at, updated_at) VALUES (?, ?, ?, ?, 1, ?, ?)`,
		c.UUID, c.ProjectID, c.UserID, c.Type, now, now)
	if db.IsDuplicate(err) {
		return concurrentUpdate("consumer generation conflict for " + c.UUID)
	}
	return err
}

func (s *Service) updateConsumer(ctx context.Context, tx bun.Tx, c *Consumer, seen int64) error {
	res, err := tx.NewUpdate().Table("consumers").Set("project_id = ?", c.ProjectID).Set("user_id = ?", c.UserID).
		Set("consumer_type = ?", c.Type).Set("generation = generation + 1").Set("updated_at = ?", s.clock.Now()).
		Where("uuid = ?", c.UUID).Where("generation = ?", seen).Exec(ctx)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return concurrentUpdate("consumer generation conflict for " + c.UUID)
}

func deleteConsumer(ctx context.Context, tx bun.Tx, uuid string) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM consumers WHERE uuid = ?", uuid)
	return err
}

func selectAllocations(ctx context.Context, tx bun.IDB, consumer string) (Allocations, error) {
	var rows []allocationRow
	if err := tx.NewSelect().Model(&rows).Where("consumer_uuid = ?", consumer).Scan(ctx); err != nil {
		return nil, err
	}
	all := Allocations{}
	for _, r := range rows {
		if all[r.ProviderUUID] == nil {
			all[r.ProviderUUID] = map[string]int64{}
		}
		all[r.ProviderUUID][r.ResourceClass] = r.Used
	}
	return all, nil
}

func insertAllocations(ctx context.Context, tx bun.Tx, consumer string, a Allocations) error {
	if len(a) == 0 {
		return nil
	}
	var q strings.Builder
	q.WriteString("INSERT INTO allocations (consumer_uuid, provider_uuid, resource_class, used) VALUES ")
	var args []any
	for _, uuid := range sortedKeys(a) {
		for _, class := range sortedKeys(a[uuid]) {
			if len(args) > 0 {
				q.WriteString(", ")
			}
			q.WriteString("(?, ?, ?, ?)")
			args = append(args, consumer, uuid, class, a[uuid][class])
		}
	}
	_, err := tx.ExecContext(ctx, q.String(), args...)
	return err
}

func deleteAllocations(ctx context.Context, tx bun.Tx, consumer string) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM allocations WHERE consumer_uuid = ?", consumer)
	return err
}

// claimUsed moves what is used of the classes, each only if it has room and
// the amounts suit it, and returns how many it changed.
func claimUsed(ctx context.Context, tx bun.Tx, provider string, claims map[string]*need) (int64, error) {
	var set, where strings.Builder
	var setArgs, whereArgs []any
	for i, class := range sortedKeys(claims) {
		n := claims[class]
		set.WriteString(" WHEN ? THEN ?")
		setArgs = append(setArgs, class, n.delta)
		if i > 0 {
			where.WriteString(" OR ")
		}
		where.WriteString("(resource_class = ? AND min_unit <= ? AND max_unit >= ?")
		whereArgs = append(whereArgs, class, slices.Min(n.amounts), slices.Max(n.amounts))
		for _, amount := range n.amounts {
			where.WriteString(" AND ? % step_size = 0")
			whereArgs = append(whereArgs, amount)
		}
		if n.delta > 0 { // what shrinks may stay over a capacity that was cut
			where.WriteString(" AND used + ? <= capacity")
			whereArgs = append(whereArgs, n.delta)
		}
		where.WriteString(")")
	}
	q := fmt.Sprintf("UPDATE inventories SET used = used + CASE resource_class%s ELSE 0 END WHERE provider_uuid = ? AND (%s)",
		set.String(), where.String())
	args := append(append(setArgs, provider), whereArgs...)
	res, err := tx.ExecContext(ctx, q, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// releaseUsed takes from what is used; the inventory cannot be gone while
// something of it is held.
func releaseUsed(ctx context.Context, tx bun.Tx, provider, class string, n int64) error {
	res, err := tx.ExecContext(ctx,
		"UPDATE inventories SET used = used - ? WHERE provider_uuid = ? AND resource_class = ? AND used >= ?", n, provider, class, n)
	if err != nil {
		return err
	}
	if changed, err := res.RowsAffected(); err != nil || changed == 1 {
		return err
	}
	return errors.New("placement: inventory of " + class + " on provider " + provider + " uses less than its allocations say")
}

func touchProviders(ctx context.Context, tx bun.Tx, uuids []string, now time.Time) error {
	_, err := tx.NewUpdate().Table("providers").Set("generation = generation + 1").
		Set("revision = "+currentRevision).Set("updated_at = ?", now).Where("uuid IN (?)", bun.List(uuids)).Exec(ctx)
	return err
}

func selectGenerations(ctx context.Context, tx bun.IDB, uuids []string) (map[string]int64, error) {
	gens := map[string]int64{}
	if len(uuids) == 0 {
		return gens, nil
	}
	var rows []providerRow
	err := tx.NewSelect().Model(&rows).Column("uuid", "generation").Where("uuid IN (?)", bun.List(uuids)).Scan(ctx)
	for _, r := range rows {
		gens[r.UUID] = r.Generation
	}
	return gens, err
}

func countAllocations(ctx context.Context, tx bun.Tx, provider string) (int64, error) {
	return tx.NewSelect().Table("allocations").Where("provider_uuid = ?", provider).Count(ctx)
}

func selectProviderAllocations(ctx context.Context, d *db.DB, provider string) ([]Holding, error) {
	rows, err := d.QueryContext(ctx, `SELECT a.consumer_uuid, a.resource_class, a.used, c.project_id, c.user_id, c.consumer_type, c.generation
		FROM allocations a JOIN consumers c ON c.uuid = a.consumer_uuid WHERE a.provider_uuid = ?`, provider)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	byConsumer := map[string]*Holding{}
	for rows.Next() {
		var c Consumer
		var class string
		var used int64
		if err := rows.Scan(&c.UUID, &class, &used, &c.ProjectID, &c.UserID, &c.Type, &c.Generation); err != nil {
			return nil, err
		}
		h := byConsumer[c.UUID]
		if h == nil {
			h = &Holding{Consumer: c, Allocations: Allocations{provider: {}}}
			byConsumer[c.UUID] = h
		}
		h.Allocations[provider][class] = used
	}
	var list []Holding
	for _, h := range byConsumer {
		list = append(list, *h)
	}
	return list, rows.Err()
}

func selectUsages(ctx context.Context, d *db.DB, f UsageFilter) ([]Usage, error) {
	where, args := "c.project_id = ?", []any{f.ProjectID}
	if f.UserID != "" {
		where, args = where+" AND c.user_id = ?", append(args, f.UserID)
	}
	if f.Type != "" {
		where, args = where+" AND c.consumer_type = ?", append(args, f.Type)
	}
	byType := map[string]*Usage{}
	err := scanGroups(ctx, d, `SELECT c.consumer_type, a.resource_class, SUM(a.used) FROM consumers c
		JOIN allocations a ON a.consumer_uuid = c.uuid WHERE `+where+` GROUP BY c.consumer_type, a.resource_class`, args,
		func(rows *sql.Rows) error {
			var typ, class string
			var n int64
			if err := rows.Scan(&typ, &class, &n); err != nil {
				return err
			}
			if byType[typ] == nil {
				byType[typ] = &Usage{Type: typ, Resources: map[string]int64{}}
			}
			byType[typ].Resources[class] = n
			return nil
		})
	if err != nil {
		return nil, err
	}
	err = scanGroups(ctx, d, `SELECT c.consumer_type, COUNT(*) FROM consumers c WHERE `+where+` GROUP BY c.consumer_type`, args,
		func(rows *sql.Rows) error {
			var typ string
			var n int64
			err := rows.Scan(&typ, &n)
			if u := byType[typ]; u != nil {
				u.Consumers = n
			}
			return err
		})
	list := make([]Usage, 0, len(byType))
	for _, typ := range sortedKeys(byType) {
		list = append(list, *byType[typ])
	}
	return list, err
}

func scanGroups(ctx context.Context, d *db.DB, query string, args []any, row func(*sql.Rows) error) error {
	rows, err := d.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
