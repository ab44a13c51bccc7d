package placement

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
)

// A Reshaping is what one provider's inventories shall be.
type Reshaping struct {
	Generation  int64 // that the caller has seen
	Inventories []Inventory
}

// Reshape moves inventories and the allocations on them at once, as when the
// devices of a host become providers of their own: everything or nothing.
func (s *Service) Reshape(ctx context.Context, providers map[string]Reshaping, claims []Claim) error {
	for _, p := range providers {
		for i := range p.Inventories {
			if err := p.Inventories[i].check(true); err != nil {
				return err
			}
		}
	}
	for i := range claims {
		if err := claims[i].check(); err != nil {
			return err
		}
	}
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		// What is new first, then the allocations, then what they have left.
		for _, uuid := range sortedKeys(providers) {
			if err := s.reshapeProvider(ctx, tx, uuid, providers[uuid]); err != nil {
				return err
			}
		}
		if err := s.replaceAll(ctx, tx, claims); err != nil {
			return err
		}
		for _, uuid := range sortedKeys(providers) {
			gone, err := selectInventories(ctx, tx, uuid)
			if err != nil {
				return err
			}
			for _, inv := range providers[uuid].Inventories {
				delete(gone, inv.Class)
			}
			if err := dropInventories(ctx, tx, uuid, gone); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) reshapeProvider(ctx context.Context, tx bun.Tx, uuid string, p Reshaping) error {
	if err := s.casGeneration(ctx, tx, uuid, p.Generation); err != nil {
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.BadRequest, "resource provider %s does not exist", uuid).WithCode(CodeProviderNotFound)
		}
		return err
	}
	have, err := selectInventories(ctx, tx, uuid)
	if err != nil {
		return err
	}
	for i := range p.Inventories {
		if err := putInventory(ctx, tx, uuid, &p.Inventories[i], have[p.Inventories[i].Class]); err != nil {
			return err
		}
	}
	return nil
}
