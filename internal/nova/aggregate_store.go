package nova

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

func (s *Service) insertAggregate(ctx context.Context, a *Aggregate) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var err error
		if a.ID, err = nextSeq(ctx, tx, "aggregates"); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(a).Exec(ctx)
		return err
	})
	return aggregateNameTaken(err, a.Name)
}

func aggregateNameTaken(err error, name string) error {
	if db.IsDuplicate(err) {
		return fault.New(fault.Conflict, "Aggregate %s already exists.", name)
	}
	return err
}

// Aggregate returns an aggregate with its hosts.
func (s *Service) Aggregate(ctx context.Context, id int64) (*Aggregate, error) {
	a := new(Aggregate)
	err := s.db.NewSelect().Model(a).Where("id = ?", id).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, aggregateNotFound(id)
	}
	if err != nil {
		return nil, err
	}
	a.Hosts = []string{}
	err = s.db.NewRaw("SELECT host FROM aggregate_hosts WHERE aggregate_id = ? ORDER BY host", id).Scan(ctx, &a.Hosts)
	return a, err
}

// Aggregates lists all aggregates with their hosts.
func (s *Service) Aggregates(ctx context.Context) ([]*Aggregate, error) {
	var list []*Aggregate
	if err := s.db.NewSelect().Model(&list).Order("id").Scan(ctx); err != nil || len(list) == 0 {
		return list, err
	}
	byID := map[int64]*Aggregate{}
	for _, a := range list {
		a.Hosts, byID[a.ID] = []string{}, a
	}
	var rows []struct {
		AggregateID int64
		Host        string
	}
	err := s.db.NewRaw("SELECT aggregate_id, host FROM aggregate_hosts ORDER BY host").Scan(ctx, &rows)
	for _, r := range rows {
		if a := byID[r.AggregateID]; a != nil {
			a.Hosts = append(a.Hosts, r.Host)
		}
	}
	return list, err
}

func (s *Service) changeAggregate(ctx context.Context, id int64, change func(*Aggregate) error) (*Aggregate, error) {
	for range 10 {
		a, err := s.Aggregate(ctx, id)
		if err != nil {
			return nil, err
		}
		if a.Metadata == nil {
			a.Metadata = map[string]string{}
		}
		if err := change(a); err != nil {
			return nil, err
		}
		a.UpdatedAt = s.clock.Now()
		a.Version++
		res, err := s.db.NewUpdate().Model(a).Column("name", "metadata", "version", "updated_at").
			Where("id = ? AND version = ?", id, a.Version-1).Exec(ctx)
		if err != nil {
			return nil, aggregateNameTaken(err, a.Name)
		}
		if n, _ := res.RowsAffected(); n == 1 {
			return a, nil
		}
	}
	return nil, fault.New(fault.Conflict, "aggregate %d is being changed by others", id)
}

func (s *Service) insertAggregateHost(ctx context.Context, id int64, host string) error {
	_, err := s.db.NewRaw("INSERT INTO aggregate_hosts (aggregate_id, host) VALUES (?, ?)", id, host).Exec(ctx)
	if db.IsDuplicate(err) {
		return fault.New(fault.Conflict, "Aggregate %d already has host %s.", id, host)
	}
	return err
}

func (s *Service) deleteAggregateHost(ctx context.Context, id int64, host string) error {
	_, err := s.db.NewRaw("DELETE FROM aggregate_hosts WHERE aggregate_id = ? AND host = ?", id, host).Exec(ctx)
	return err
}

func (s *Service) deleteAggregate(ctx context.Context, id int64) error {
	res, err := s.db.NewRaw("DELETE FROM aggregates WHERE id = ? AND NOT EXISTS (SELECT 1 FROM aggregate_hosts WHERE aggregate_id = ?)", id, id).Exec(ctx)
	if err != nil {
		return err
	}
	if n, _ := res.RowsAffected(); n == 0 {
		return aggregateNotFound(id)
	}
	return nil
}

func (s *Service) serversOn(ctx context.Context, hosts []string) (int, error) {
	n, err := s.db.NewSelect().Table("servers").Where("host IN (?) AND deleted_at IS NULL", bun.List(hosts)).Count(ctx)
	return int(n), err
}
