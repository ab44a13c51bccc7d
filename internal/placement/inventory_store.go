package placement

import (
	"context"

	"github.com/uptrace/bun"
)

type inventoryRow struct {
	bun.BaseModel `bun:"table:inventories"`

	ProviderUUID    string `bun:",pk"`
	ResourceClass   string `bun:",pk"`
	Total           int64
	Reserved        int64
	MinUnit         int64
	MaxUnit         int64
	StepSize        int64
	AllocationRatio float64
	Capacity        int64
	Used            int64
}

// Inventory is the row as the rest of the package knows it.
func (r *inventoryRow) Inventory() Inventory {
	return Inventory{
		Class: r.ResourceClass, Total: r.Total, Reserved: r.Reserved, MinUnit: r.MinUnit, MaxUnit: r.MaxUnit,
		StepSize: r.StepSize, AllocationRatio: r.AllocationRatio, Capacity: r.Capacity, Used: r.Used,
	}
}

func selectInventories(ctx context.Context, tx bun.Tx, uuid string) (map[string]*inventoryRow, error) {
	var rows []*inventoryRow
	if err := tx.NewSelect().Model(&rows).Where("provider_uuid = ?", uuid).Scan(ctx); err != nil {
		return nil, err
	}
	have := make(map[string]*inventoryRow, len(rows))
	for _, r := range rows {
		have[r.ResourceClass] = r
	}
	return have, nil
}

func insertInventory(ctx context.Context, tx bun.Tx, uuid string, i *Inventory) error {
	_, err := tx.NewInsert().Model(&inventoryRow{
		ProviderUUID: uuid, ResourceClass: i.Class, Total: i.Total, Reserved: i.Reserved, MinUnit: i.MinUnit,
		MaxUnit: i.MaxUnit, StepSize: i.StepSize, AllocationRatio: i.AllocationRatio, Capacity: i.Capacity,
	}).Exec(ctx)
	return err
}

// updateInventory leaves used alone: it belongs to the claims.
func updateInventory(ctx context.Context, tx bun.Tx, uuid string, i *Inventory) error {
	_, err := tx.NewUpdate().Table("inventories").
		Set("total = ?", i.Total).Set("reserved = ?", i.Reserved).Set("min_unit = ?", i.MinUnit).
		Set("max_unit = ?", i.MaxUnit).Set("step_size = ?", i.StepSize).
		Set("allocation_ratio = ?", i.AllocationRatio).Set("capacity = ?", i.Capacity).
		Where("provider_uuid = ?", uuid).Where("resource_class = ?", i.Class).Exec(ctx)
	return err
}

func deleteInventories(ctx context.Context, tx bun.Tx, uuid string, classes []string) error {
	_, err := tx.NewDelete().Table("inventories").
		Where("provider_uuid = ?", uuid).Where("resource_class IN (?)", bun.List(classes)).Exec(ctx)
	return err
}
