package keystone

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
)

func (s *Service) insertRegion(ctx context.Context, r *Region) error {
	return insert(ctx, s.db, r, "region", r.ID)
}

func (s *Service) selectRegion(ctx context.Context, id string) (*Region, error) {
	r := new(Region)
	return r, findOne(ctx, s.db, r, "region", id)
}

func (s *Service) selectRegions(ctx context.Context, f Filter) ([]Region, error) {
	return list[Region](ctx, s.db, regionColumns, f)
}

func (s *Service) updateRegion(ctx context.Context, r *Region, cols []string) error {
	return update(ctx, s.db, r, "region", r.ID, r.ID, cols...)
}

func (s *Service) deleteRegion(ctx context.Context, id string) error {
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
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
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		return insert(ctx, tx, c, "service", c.Name)
	}, catalogRevision)
}

func (s *Service) selectCatalogService(ctx context.Context, id string) (*CatalogService, error) {
	c := new(CatalogService)
	return c, findOne(ctx, s.db, c, "service", id)
}

func (s *Service) selectCatalogServices(ctx context.Context, f Filter) ([]CatalogService, error) {
	return list[CatalogService](ctx, s.db, serviceColumns, f)
}

func (s *Service) updateCatalogService(ctx context.Context, c *CatalogService, cols []string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		return update(ctx, tx, c, "service", c.ID, c.Name, cols...)
	}, catalogRevision)
}

func (s *Service) deleteCatalogService(ctx context.Context, id string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := remove(ctx, tx, (*CatalogService)(nil), "service", id); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*Endpoint)(nil)).Where("service_id = ?", id).Exec(ctx)
		return err
	}, catalogRevision)
}

func (s *Service) insertEndpoint(ctx context.Context, e *Endpoint) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		return insert(ctx, tx, e, "endpoint", e.ID)
	}, catalogRevision)
}

func (s *Service) selectEndpoint(ctx context.Context, id string) (*Endpoint, error) {
	e := new(Endpoint)
	return e, findOne(ctx, s.db, e, "endpoint", id)
}

func (s *Service) selectEndpoints(ctx context.Context, f Filter) ([]Endpoint, error) {
	return list[Endpoint](ctx, s.db, endpointColumns, f)
}

func (s *Service) updateEndpoint(ctx context.Context, e *Endpoint, cols []string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		return update(ctx, tx, e, "endpoint", e.ID, e.ID, cols...)
	}, catalogRevision)
}

func (s *Service) deleteEndpoint(ctx context.Context, id string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		return remove(ctx, tx, (*Endpoint)(nil), "endpoint", id)
	}, catalogRevision)
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
