package nova

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

func (s *Service) insertFlavor(ctx context.Context, f *Flavor) error {
	err := s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var err error
		if f.Seq, err = nextSeq(ctx, tx, "flavors"); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(f).Exec(ctx)
		return err
	})
	if db.IsDuplicate(err) {
		return fault.New(fault.Conflict, "Flavor with name %s or ID %s already exists.", f.Name, f.ID)
	}
	return err
}

// nextSeq draws the next number of a sequence; the caller's transaction keeps
// two from drawing the same one.
func nextSeq(ctx context.Context, tx bun.Tx, name string) (int64, error) {
	res, err := tx.NewRaw("UPDATE sequences SET value = value + 1 WHERE name = ?", name).Exec(ctx)
	if err != nil {
		return 0, err
	}
	if n, _ := res.RowsAffected(); n == 0 {
		return 0, fmt.Errorf("there is no sequence %s", name)
	}
	var v int64
	err = tx.NewRaw("SELECT value FROM sequences WHERE name = ?", name).Scan(ctx, &v)
	return v, err
}

// Flavor returns the flavor that the project may see; all lifts that limit.
// The others are NotFound.
func (s *Service) Flavor(ctx context.Context, id, projectID string, all bool) (*Flavor, error) {
	f := new(Flavor)
	q := s.db.NewSelect().Model(f).Where("flavorid = ?", id)
	if !all {
		q = visibleFlavors(q, projectID)
	}
	err := q.Scan(ctx)
	if db.IsNoRows(err) {
		return nil, flavorNotFound(id)
	}
	return f, err
}

func visibleFlavors(q *bun.SelectQuery, projectID string) *bun.SelectQuery {
	return q.Where("(is_public = ? OR flavorid IN (SELECT flavorid FROM flavor_access WHERE project_id = ?))", true, projectID)
}

// Flavors lists flavors in the order of the filter; flavorid breaks ties.
func (s *Service) Flavors(ctx context.Context, f FlavorFilter) ([]Flavor, error) {
	columns := map[string]string{"": "flavorid", "flavorid": "flavorid", "name": "name", "memory_mb": "memory_mb",
		"vcpus": "vcpus", "root_gb": "root_gb", "ephemeral_gb": "ephemeral_gb", "swap": "swap_mb",
		"rxtx_factor": "rxtx_factor", "created_at": "created_at", "updated_at": "updated_at", "id": "seq",
		"is_public": "is_public", "disabled": "disabled", "vcpu_weight": "flavorid"}
	col, ok := columns[f.SortKey]
	if !ok {
		return nil, fault.New(fault.BadRequest, "sort key %q is not valid", f.SortKey)
	}
	var list []Flavor
	q := s.db.NewSelect().Model(&list)
	switch {
	case f.IsPublic != nil:
		q = q.Where("is_public = ?", *f.IsPublic)
	case !f.All:
		q = visibleFlavors(q, f.ProjectID)
	}
	if f.MinDisk > 0 {
		q = q.Where("root_gb >= ?", f.MinDisk)
	}
	if f.MinRAM > 0 {
		q = q.Where("memory_mb >= ?", f.MinRAM)
	}
	cmp, dir := ">", " ASC"
	if f.Desc {
		cmp, dir = "<", " DESC"
	}
	if f.Marker != "" {
		if _, err := s.Flavor(ctx, f.Marker, f.ProjectID, f.All); err != nil {
			return nil, fault.New(fault.BadRequest, "marker [%s] not found", f.Marker)
		}
		at := "(SELECT " + col + " FROM flavors WHERE flavorid = ?)"
		q = q.Where("("+col+" "+cmp+" "+at+" OR ("+col+" = "+at+" AND flavorid "+cmp+" ?))", f.Marker, f.Marker, f.Marker)
	}
	q = q.OrderExpr(col + dir + ", flavorid" + dir)
	if f.Limit > 0 {
		q = q.Limit(int64(f.Limit))
	}
	return list, q.Scan(ctx)
}

// changeFlavor applies change to the flavor as it is now, again if another
// change came between.
func (s *Service) changeFlavor(ctx context.Context, id string, change func(*Flavor) error) (*Flavor, error) {
	for range 10 {
		f, err := s.Flavor(ctx, id, "", true)
		if err != nil {
			return nil, err
		}
		if err := change(f); err != nil {
			return nil, err
		}
		f.UpdatedAt = s.clock.Now()
		f.Version++
		res, err := s.db.NewUpdate().Model(f).Column("description", "extra_specs", "version", "updated_at").
			Where("flavorid = ? AND version = ?", id, f.Version-1).Exec(ctx)
		if err != nil {
			return nil, err
		}
		if n, _ := res.RowsAffected(); n == 1 {
			return f, nil
		}
	}
	return nil, fault.New(fault.Conflict, "flavor %s is being changed by others", id)
}

// DeleteFlavor removes a flavor and who had access to it. Servers keep theirs.
func (s *Service) DeleteFlavor(ctx context.Context, id string) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewRaw("DELETE FROM flavors WHERE flavorid = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		if n, _ := res.RowsAffected(); n == 0 {
			return flavorNotFound(id)
		}
		_, err = tx.NewRaw("DELETE FROM flavor_access WHERE flavorid = ?", id).Exec(ctx)
		return err
	})
}

// FlavorAccess lists the projects that may use a private flavor.
func (s *Service) FlavorAccess(ctx context.Context, id string) ([]string, error) {
	list := []string{}
	err := s.db.NewRaw("SELECT project_id FROM flavor_access WHERE flavorid = ? ORDER BY project_id", id).Scan(ctx, &list)
	return list, err
}

// AddFlavorAccess lets a project use a private flavor.
func (s *Service) AddFlavorAccess(ctx context.Context, id, projectID string) error {
	_, err := s.db.NewRaw("INSERT INTO flavor_access (flavorid, project_id) VALUES (?, ?)", id, projectID).Exec(ctx)
	if db.IsDuplicate(err) {
		return fault.New(fault.Conflict, "Flavor access already exists for flavor %s and project %s combination.", id, projectID)
	}
	return err
}

// RemoveFlavorAccess takes a project's access away.
func (s *Service) RemoveFlavorAccess(ctx context.Context, id, projectID string) error {
	res, err := s.db.NewRaw("DELETE FROM flavor_access WHERE flavorid = ? AND project_id = ?", id, projectID).Exec(ctx)
	if err != nil {
		return err
	}
	if n, _ := res.RowsAffected(); n == 0 {
		return fault.New(fault.NotFound, "Flavor access not found for %s / %s combination.", id, projectID)
	}
	return nil
}
