package keystone

import (
	"context"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
)

// changeCatalog runs fn in a transaction that has raised the catalog's revision:
// changes of the catalog come one after the other, whichever server makes them,
// and what fn reads holds until its writes are in.
func (s *Service) changeCatalog(ctx context.Context, fn func(ctx context.Context, tx bun.Tx) error) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := raise(ctx, tx, catalogRevision); err != nil {
			return err
		}
		return fn(ctx, tx)
	})
}

func (s *Service) insertRegion(ctx context.Context, r *Region) error {
	return s.changeCatalog(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := checkParentRegion(ctx, tx, r); err != nil {
			return err
		}
		return insert(ctx, tx, r, "region", r.ID)
	})
}

// checkParentRegion refuses a parent that does not exist or is below the region.
func checkParentRegion(ctx context.Context, q bun.IDB, r *Region) error {
	for id, depth := r.ParentRegionID, 0; id != ""; depth++ {
		if id == r.ID || depth > 100 {
			return fault.New(fault.BadRequest, "region %s cannot be below itself", r.ID)
		}
		p, err := findRegion(ctx, q, id)
		if err != nil {
			return err
		}
		id = p.ParentRegionID
	}
	return nil
}

func findRegion(ctx context.Context, q bun.IDB, id string) (*Region, error) {
	r := new(Region)
	return r, findOne(ctx, q, r, "region", id)
}

func (s *Service) selectRegion(ctx context.Context, id string) (*Region, error) {
	return findRegion(ctx, s.db, id)
}

func (s *Service) selectRegions(ctx context.Context, f Filter) ([]Region, error) {
	return list[Region](ctx, s.db, regionColumns, f)
}

func (s *Service) updateRegion(ctx context.Context, r *Region, cols []string) error {
	return s.changeCatalog(ctx, func(ctx context.Context, tx bun.Tx) error {
		if slices.Contains(cols, "parent_region_id") {
			if err := checkParentRegion(ctx, tx, r); err != nil {
				return err
			}
		}
		return update(ctx, tx, r, "region", r.ID, r.ID, cols...)
	})
}

func (s *Service) deleteRegion(ctx context.Context, id string) error {
	return s.changeCatalog(ctx, func(ctx context.Context, tx bun.Tx) error {
		children, err := tx.NewSelect().Model((*Region)(nil)).Where("parent_region_id = ?", id).Count(ctx)
		if err != nil {
			return err
		}
		endpoints, err := tx.NewSelect().Model((*Endpoint)(nil)).Where("region_id = ?", id).Count(ctx)
		if err != nil {
			return err
		}
		if children+endpoints > 0 {
			return fault.New(fault.Forbidden, "unable to delete region %s because it or its child regions have associated endpoints", id)
		}
		return remove(ctx, tx, (*Region)(nil), "region", id)
	})
}

func (s *Service) insertCatalogService(ctx context.Context, c *CatalogService) error {
	return s.changeCatalog(ctx, func(ctx context.Context, tx bun.Tx) error {
		return insert(ctx, tx, c, "service", c.Name)
	})
}

func (s *Service) selectCatalogService(ctx context.Context, id string) (*CatalogService, error) {
	c := new(CatalogService)
	return c, findOne(ctx, s.db, c, "service", id)
}

func (s *Service) selectCatalogServices(ctx context.Context, f Filter) ([]CatalogService, error) {
	return list[CatalogService](ctx, s.db, serviceColumns, f)
}

func (s *Service) updateCatalogService(ctx context.Context, c *CatalogService, cols []string) error {
	return s.changeCatalog(ctx, func(ctx context.Context, tx bun.Tx) error {
		return update(ctx, tx, c, "service", c.ID, c.Name, cols...)
	})
}

func (s *Service) deleteCatalogService(ctx context.Context, id string) error {
	return s.changeCatalog(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := remove(ctx, tx, (*CatalogService)(nil), "service", id); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*Endpoint)(nil)).Where("service_id = ?", id).Exec(ctx)
		return err
	})
}

func (s *Service) insertEndpoint(ctx context.Context, e *Endpoint) error {
	return s.changeCatalog(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := checkEndpointParts(ctx, tx, e); err != nil {
			return err
		}
		return insert(ctx, tx, e, "endpoint", e.ID)
	})
}

// checkEndpointParts refuses an endpoint whose service or region does not exist.
func checkEndpointParts(ctx context.Context, q bun.IDB, e *Endpoint) error {
	if err := findOne(ctx, q, new(CatalogService), "service", e.ServiceID); err != nil {
		return asBadRequest(err)
	}
	if e.RegionID == "" {
		return nil
	}
	_, err := findRegion(ctx, q, e.RegionID)
	return asBadRequest(err)
}

func (s *Service) selectEndpoint(ctx context.Context, id string) (*Endpoint, error) {
	e := new(Endpoint)
	return e, findOne(ctx, s.db, e, "endpoint", id)
}

func (s *Service) selectEndpoints(ctx context.Context, f Filter) ([]Endpoint, error) {
	return list[Endpoint](ctx, s.db, endpointColumns, f)
}

func (s *Service) updateEndpoint(ctx context.Context, e *Endpoint, cols []string) error {
	return s.changeCatalog(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := checkEndpointParts(ctx, tx, e); err != nil {
			return err
		}
		return update(ctx, tx, e, "endpoint", e.ID, e.ID, cols...)
	})
}

func (s *Service) deleteEndpoint(ctx context.Context, id string) error {
	return s.changeCatalog(ctx, func(ctx context.Context, tx bun.Tx) error {
		return remove(ctx, tx, (*Endpoint)(nil), "endpoint", id)
	})
}

// selectCatalog reads the enabled services with their enabled endpoints.
func (s *Service) selectCatalog(ctx context.Context) ([]CatalogService, error) {
	services := []CatalogService{}
	if err := s.db.NewSelect().Model(&services).Where("enabled = ?", true).OrderExpr("type, id").Scan(ctx); err != nil {
		return nil, err
	}
	var endpoints []Endpoint
	if err := s.db.NewSelect().Model(&endpoints).Where("enabled = ?", true).OrderExpr("interface, id").Scan(ctx); err != nil {
		return nil, err
	}
	at := make(map[string]*CatalogService, len(services))
	for i := range services {
		at[services[i].ID] = &services[i]
	}
	for _, e := range endpoints {
		if c := at[e.ServiceID]; c != nil {
			c.Endpoints = append(c.Endpoints, e)
		}
	}
	return services, nil
}
