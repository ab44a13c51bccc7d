package placement

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/fault"
)

// An Inventory is how much of a resource class a provider has.
type Inventory struct {
	Class                      string
	Total, Reserved            int64
	MinUnit, MaxUnit, StepSize int64 // of one allocation
	AllocationRatio            float64
	Capacity                   int64 // (total - reserved) × ratio, rounded down
	Used                       int64 // sum of the allocations
}

// MaxInt is the largest number the API takes.
const MaxInt = math.MaxInt32

// NewInventory is an inventory with the defaults of the API.
func NewInventory(class string, total int64) Inventory {
	return Inventory{Class: class, Total: total, MinUnit: 1, MaxUnit: MaxInt, StepSize: 1, AllocationRatio: 1}
}

// Fits tells whether an allocation of that amount could be added.
func (i *Inventory) Fits(amount int64) bool {
	return i.Used+amount <= i.Capacity && i.MinUnit <= amount && amount <= i.MaxUnit && amount%i.StepSize == 0
}

// check refuses an inventory that makes no sense and sets its capacity.
func (i *Inventory) check(mayReserveAll bool) error {
	for _, f := range []struct {
		name     string
		val, min int64
	}{
		{"total", i.Total, 1}, {"reserved", i.Reserved, 0}, {"min_unit", i.MinUnit, 1},
		{"max_unit", i.MaxUnit, 1}, {"step_size", i.StepSize, 1},
	} {
		if f.val < f.min || f.val > MaxInt {
			return fault.New(fault.BadRequest, "inventory of %s: %s must be between %d and %d", i.Class, f.name, f.min, int64(MaxInt))
		}
	}
	if !(i.AllocationRatio > 0) || i.AllocationRatio > math.MaxFloat32 {
		return fault.New(fault.BadRequest, "inventory of %s: allocation_ratio must be greater than 0", i.Class)
	}
	if i.Reserved > i.Total || i.Reserved == i.Total && !mayReserveAll {
		return fault.New(fault.BadRequest, "invalid inventory for %s: the reserved value %d is not smaller than the total %d",
			i.Class, i.Reserved, i.Total)
	}
	i.Capacity = int64(math.Min(float64(i.Total-i.Reserved)*i.AllocationRatio, math.MaxInt32*1000.0))
	return nil
}

// SetInventories replaces all inventories of a provider that has the given
// generation. Conflict if one that goes has allocations. mayReserveAll allows
// reserved to equal total (microversion 1.26).
func (s *Service) SetInventories(ctx context.Context, uuid string, seen int64, list []Inventory, mayReserveAll bool) (*Provider, error) {
	for i := range list {
		if err := list[i].check(mayReserveAll); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b Inventory) int { return strings.Compare(a.Class, b.Class) })
	return s.changeInventories(ctx, uuid, &seen, func(ctx context.Context, tx bun.Tx, have map[string]*inventoryRow) error {
		for i := range list {
			if err := putInventory(ctx, tx, uuid, &list[i], have[list[i].Class]); err != nil {
				return err
			}
			delete(have, list[i].Class)
		}
		return dropInventories(ctx, tx, uuid, have)
	})
}

// SetInventory changes one inventory that exists, or with add makes one that
// does not. seen may be nil only with add.
func (s *Service) SetInventory(ctx context.Context, uuid string, seen *int64, inv Inventory, add, mayReserveAll bool) (*Provider, error) {
	if err := inv.check(mayReserveAll); err != nil {
		return nil, err
	}
	return s.changeInventories(ctx, uuid, seen, func(ctx context.Context, tx bun.Tx, have map[string]*inventoryRow) error {
		old := have[inv.Class]
		if old == nil && !add {
			return fault.New(fault.BadRequest, "no inventory record with resource class %s for resource provider %s exists", inv.Class, uuid)
		}
		if old != nil && add {
			return fault.New(fault.Conflict, "update conflict: the provider already has inventory of %s", inv.Class).WithCode(CodeConcurrentUpdate)
		}
		return putInventory(ctx, tx, uuid, &inv, old)
	})
}

// DeleteInventories removes the inventory of a class, or with an empty class
// all of them.
func (s *Service) DeleteInventories(ctx context.Context, uuid, class string) error {
	_, err := s.changeInventories(ctx, uuid, nil, func(ctx context.Context, tx bun.Tx, have map[string]*inventoryRow) error {
		if class != "" {
			if have[class] == nil {
				return fault.New(fault.NotFound, "no inventory of class %s found for delete", class)
			}
			have = map[string]*inventoryRow{class: have[class]}
		}
		return dropInventories(ctx, tx, uuid, have)
	})
	return err
}

func (s *Service) changeInventories(ctx context.Context, uuid string, seen *int64,
	change func(ctx context.Context, tx bun.Tx, have map[string]*inventoryRow) error) (*Provider, error) {
	err := s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if seen == nil {
			if n, err := s.touch(ctx, tx, uuid, nil); err != nil {
				return err
			} else if n == 0 {
				return noProvider(uuid)
			}
		} else if err := s.casGeneration(ctx, tx, uuid, *seen); err != nil {
			return err
		}
		have, err := selectInventories(ctx, tx, uuid)
		if err != nil {
			return err
		}
		return change(ctx, tx, have)
	})
	if err != nil {
		return nil, err
	}
	return s.Provider(ctx, uuid)
}

// putInventory writes inv. What is used of it stays, even if that is now more
// than there is: a host that lost memory keeps its servers.
func putInventory(ctx context.Context, tx bun.Tx, uuid string, inv *Inventory, old *inventoryRow) error {
	if old != nil {
		inv.Used = old.Used
		if old.Inventory() == *inv {
			return nil
		}
		return updateInventory(ctx, tx, uuid, inv)
	}
	if err := knownClass(ctx, tx, inv.Class); err != nil {
		return err
	}
	return insertInventory(ctx, tx, uuid, inv)
}

func dropInventories(ctx context.Context, tx bun.Tx, uuid string, rows map[string]*inventoryRow) error {
	var classes, used []string
	for class, row := range rows {
		classes = append(classes, class)
		if row.Used > 0 {
			used = append(used, class)
		}
	}
	if len(used) > 0 {
		slices.Sort(used)
		return fault.New(fault.Conflict, "inventory for '%s' on resource provider '%s' in use", strings.Join(used, ", "), uuid).
			WithCode(CodeInventoryInUse)
	}
	if len(classes) == 0 {
		return nil
	}
	return deleteInventories(ctx, tx, uuid, classes)
}
