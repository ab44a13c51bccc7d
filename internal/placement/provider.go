package placement

import (
	"context"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// A Provider is something that has resources: a hypervisor, a device in it, a
// share. Providers form trees; a hypervisor is the root of its own.
//
// Values of this type are never changed once they are in the snapshot.
type Provider struct {
	UUID, Name string
	ParentUUID string // empty for a root
	RootUUID   string
	// Generation grows with every change of the provider, its inventories,
	// traits, aggregates and allocations. A writer names the one it has seen.
	Generation  int64
	Inventories []Inventory // by class
	Traits      []string    // sorted
	Aggregates  []string    // sorted

}

const maxName = 200

// Inventory returns the inventory of a class, nil if there is none.
func (p *Provider) Inventory(class string) *Inventory {
	for i := range p.Inventories {
		if p.Inventories[i].Class == class {
			return &p.Inventories[i]
		}
	}
	return nil
}

// HasTrait tells whether the provider has the trait.
func (p *Provider) HasTrait(trait string) bool {
	_, ok := slices.BinarySearch(p.Traits, trait)
	return ok
}

// InAggregate tells whether the provider is a member of the aggregate.
func (p *Provider) InAggregate(uuid string) bool {
	_, ok := slices.BinarySearch(p.Aggregates, uuid)
	return ok
}

func checkName(name string) error {
	if name == "" || len([]rune(name)) > maxName {
		return fault.New(fault.BadRequest, "name: 1 to %d characters are needed", maxName)
	}
	return nil
}

// Provider returns a provider. NotFound if there is none.
func (s *Service) Provider(ctx context.Context, uuid string) (*Provider, error) {
	var p *Provider
	err := s.read(ctx, func(v *snapshot) error {
		if p = v.providers[uuid]; p == nil {
			return noProvider(uuid)
		}
		return nil
	})
	return p, err
}

// CreateProvider adds a provider; an empty uuid gets one. Conflict if the name
// or the uuid is taken, BadRequest if the parent does not exist.
func (s *Service) CreateProvider(ctx context.Context, uuid, name, parent string) (*Provider, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if uuid == "" {
		uuid = ids.UUID()
	}
	uuid, parent = strings.ToLower(uuid), strings.ToLower(parent) // one spelling, whatever the database compares by
	if uuid == parent {
		return nil, fault.New(fault.BadRequest, "parent provider UUID cannot be same as UUID")
	}
	err := s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		root, err := rootFor(ctx, tx, uuid, parent)
		if err != nil {
			return err
		}
		return insertProvider(ctx, tx, &providerRow{
			UUID: uuid, Name: name, ParentUUID: parent, RootUUID: root, CreatedAt: s.clock.Now(), UpdatedAt: s.clock.Now(),
		})
	})
	if err != nil {
		return nil, err
	}
	return s.Provider(ctx, uuid)
}

// rootFor is the root of the tree under parent; a provider without a parent is
// its own root.
func rootFor(ctx context.Context, tx bun.Tx, uuid, parent string) (string, error) {
	if parent == "" {
		return uuid, nil
	}
	row, err := selectProvider(ctx, tx, parent)
	if err != nil {
		return "", err
	}
	if row == nil {
		return "", fault.New(fault.BadRequest, "parent provider UUID %s does not exist", parent)
	}
	return row.RootUUID, nil
}

// A ProviderUpdate holds the fields of a provider that change; nil stays.
type ProviderUpdate struct {
	Name   *string
	Parent *string // empty makes it a root
	// MayMove allows to take a provider from one parent to another, as
	// microversion 1.37 does.
	MayMove bool
}

// UpdateProvider renames or moves a provider, with everything under it.
func (s *Service) UpdateProvider(ctx context.Context, uuid string, u ProviderUpdate) (*Provider, error) {
	if u.Name != nil {
		if err := checkName(*u.Name); err != nil {
			return nil, err
		}
	}
	err := s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		row, err := selectProvider(ctx, tx, uuid)
		if err != nil {
			return err
		}
		if row == nil {
			return noProvider(uuid)
		}
		if u.Name != nil {
			row.Name = *u.Name
		}
		if u.Parent != nil && *u.Parent != row.ParentUUID {
			if err := moveProvider(ctx, tx, row, *u.Parent, u.MayMove); err != nil {
				return err
			}
		}
		row.UpdatedAt = s.clock.Now()
		return updateProvider(ctx, tx, row)
	})
	if err != nil {
		return nil, err
	}
	return s.Provider(ctx, uuid)
}

// moveProvider gives row another parent, and its subtree another root.
func moveProvider(ctx context.Context, tx bun.Tx, row *providerRow, parent string, mayMove bool) error {
	if row.ParentUUID != "" && !mayMove {
		return fault.New(fault.BadRequest, "re-parenting provider %s is not allowed before microversion 1.37", row.UUID)
	}
	root, err := rootFor(ctx, tx, row.UUID, parent)
	if err != nil {
		return err
	}
	below, err := selectSubtree(ctx, tx, row)
	if err != nil {
		return err
	}
	if slices.Contains(below, parent) {
		return fault.New(fault.BadRequest, "creating loop in the provider tree is not allowed: %s is below %s", parent, row.UUID)
	}
	row.ParentUUID, row.RootUUID = parent, root
	return updateRoot(ctx, tx, below, root)
}

// DeleteProvider removes a provider that has neither children nor allocations.
func (s *Service) DeleteProvider(ctx context.Context, uuid string) error {
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		row, err := selectProvider(ctx, tx, uuid)
		if err != nil {
			return err
		}
		if row == nil {
			return noProvider(uuid)
		}
		children, err := countChildren(ctx, tx, uuid)
		if err != nil {
			return err
		}
		if children > 0 {
			return fault.New(fault.Conflict, "unable to delete parent resource provider %s: it has child resource providers", uuid).
				WithCode(CodeProviderIsParent)
		}
		held, err := countAllocations(ctx, tx, uuid)
		if err != nil {
			return err
		}
		if held > 0 {
			return fault.New(fault.Conflict, "unable to delete resource provider %s: resource provider has allocations", uuid).
				WithCode(CodeProviderInUse)
		}
		return deleteProvider(ctx, tx, uuid)
	})
}
