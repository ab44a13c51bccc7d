package placement

import (
	"context"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
)

// A TraitFilter selects traits; the zero value selects all.
type TraitFilter struct {
	Prefix     string
	Names      []string // nil for any
	Associated *bool    // of at least one provider, or of none
}

// Traits lists traits by name.
func (s *Service) Traits(ctx context.Context, f TraitFilter) ([]string, error) {
	all, err := selectNames(ctx, s.db, "traits", nil)
	if err != nil {
		return nil, err
	}
	all = append(all, standardTraits...)
	slices.Sort(all)
	if f.Associated != nil {
		used := map[string]bool{}
		if err := s.read(ctx, func(v *snapshot) error {
			for _, p := range v.providers {
				for _, t := range p.Traits {
					used[t] = true
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(t string) bool { return used[t] != *f.Associated })
	}
	return slices.DeleteFunc(all, func(t string) bool {
		return !strings.HasPrefix(t, f.Prefix) || f.Names != nil && !slices.Contains(f.Names, t)
	}), nil
}

// Trait returns NotFound unless the trait exists.
func (s *Service) Trait(ctx context.Context, name string) error {
	unknown, err := unknownTraits(ctx, s.db, []string{name})
	if err == nil && len(unknown) > 0 {
		err = fault.New(fault.NotFound, "no such trait %.80s", name)
	}
	return err
}

// CreateTrait adds a custom trait and tells whether it is new.
func (s *Service) CreateTrait(ctx context.Context, name string) (bool, error) {
	if err := checkCustomName("trait", name); err != nil {
		return false, err
	}
	return insertName(ctx, s.db, "traits", name)
}

// DeleteTrait removes a custom trait that no provider has.
func (s *Service) DeleteTrait(ctx context.Context, name string) error {
	if IsStandardTrait(name) {
		return fault.New(fault.BadRequest, "cannot delete standard trait %s", name)
	}
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		used, err := countWhere(ctx, tx, "provider_traits", "trait", name)
		if err != nil {
			return err
		}
		if used > 0 {
			return fault.New(fault.Conflict, "the trait %s is in use by a resource provider", name)
		}
		n, err := deleteName(ctx, tx, "traits", name)
		if err == nil && n == 0 {
			err = fault.New(fault.NotFound, "no such trait %.80s", name)
		}
		return err
	})
}

// unknownTraits are those of names that do not exist.
func unknownTraits(ctx context.Context, tx bun.IDB, names []string) ([]string, error) {
	var custom []string
	for _, n := range names {
		if !IsStandardTrait(n) {
			custom = append(custom, n)
		}
	}
	if len(custom) == 0 {
		return nil, nil
	}
	found, err := selectNames(ctx, tx, "traits", custom)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(custom, func(n string) bool { return slices.Contains(found, n) }), nil
}

// SetTraits replaces the traits of a provider; seen may be nil for any
// generation.
func (s *Service) SetTraits(ctx context.Context, uuid string, seen *int64, traits []string) (*Provider, error) {
	traits = slices.Compact(slices.Sorted(slices.Values(traits)))
	err := s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		unknown, err := unknownTraits(ctx, tx, traits)
		if err != nil {
			return err
		}
		if len(unknown) > 0 {
			return fault.New(fault.BadRequest, "no such trait %.200s", strings.Join(unknown, ", "))
		}
		if err := s.changeGeneration(ctx, tx, uuid, seen); err != nil {
			return err
		}
		return replaceSet(ctx, tx, "provider_traits", "trait", uuid, traits)
	})
	if err != nil {
		return nil, err
	}
	return s.Provider(ctx, uuid)
}

func (s *Service) changeGeneration(ctx context.Context, tx bun.Tx, uuid string, seen *int64) error {
	if seen != nil {
		return s.casGeneration(ctx, tx, uuid, *seen)
	}
	n, err := s.touch(ctx, tx, uuid, nil)
	if err == nil && n == 0 {
		err = noProvider(uuid)
	}
	return err
}

// SetAggregates replaces the aggregates of a provider; seen may be nil for any
// generation.
func (s *Service) SetAggregates(ctx context.Context, uuid string, seen *int64, aggregates []string) (*Provider, error) {
	aggregates = slices.Compact(slices.Sorted(slices.Values(aggregates)))
	err := s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := s.changeGeneration(ctx, tx, uuid, seen); err != nil {
			return err
		}
		return replaceSet(ctx, tx, "provider_aggregates", "aggregate_uuid", uuid, aggregates)
	})
	if err != nil {
		return nil, err
	}
	return s.Provider(ctx, uuid)
}
