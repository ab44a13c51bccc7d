package placement

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
)

type providerRow struct {
	bun.BaseModel `bun:"table:providers"`

	UUID       string `bun:",pk"`
	Name       string
	ParentUUID string
	RootUUID   string
	Generation int64
	Revision   int64 // of the last change of any kind
	Shape      int64 // of the last change that allocations do not make
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// bumpRevision takes the row that puts all writers in line.
func bumpRevision(ctx context.Context, tx bun.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE revisions SET version = version + 1 WHERE id = 1")
	return err
}

// bumpEpoch makes every snapshot start anew: a deletion leaves no row behind
// that would tell of it.
func bumpEpoch(ctx context.Context, tx bun.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE revisions SET epoch = epoch + 1 WHERE id = 1")
	return err
}

// currentRevision is for the values of a row that is written.
const currentRevision = "(SELECT version FROM revisions WHERE id = 1)"

func selectProvider(ctx context.Context, tx bun.IDB, uuid string) (*providerRow, error) {
	row := new(providerRow)
	err := tx.NewSelect().Model(row).Where("uuid = ?", uuid).Scan(ctx)
	if db.IsNoRows(err) {
		return nil, nil
	}
	return row, err
}

func insertProvider(ctx context.Context, tx bun.Tx, row *providerRow) error {
	_, err := tx.NewInsert().Model(row).Value("revision", currentRevision).Value("shape", currentRevision).Exec(ctx)
	if db.IsDuplicate(err) {
		return duplicateProvider(ctx, tx, row)
	}
	return err
}

func duplicateProvider(ctx context.Context, tx bun.Tx, row *providerRow) error {
	same, err := selectProvider(ctx, tx, row.UUID)
	if err == nil && same != nil {
		return fault.New(fault.Conflict, "conflicting resource provider uuid: %s already exists", row.UUID).WithCode(CodeUndefined)
	}
	return fault.New(fault.Conflict, "conflicting resource provider name: %s already exists", row.Name).WithCode(CodeDuplicateName)
}

func updateProvider(ctx context.Context, tx bun.Tx, row *providerRow) error {
	_, err := tx.NewUpdate().Table("providers").
		Set("name = ?", row.Name).Set("parent_uuid = ?", row.ParentUUID).Set("root_uuid = ?", row.RootUUID).
		Set("updated_at = ?", row.UpdatedAt).
		Set("revision = "+currentRevision).Set("shape = "+currentRevision).
		Where("uuid = ?", row.UUID).Exec(ctx)
	if db.IsDuplicate(err) {
		return fault.New(fault.Conflict, "conflicting resource provider name: %s already exists", row.Name).WithCode(CodeDuplicateName)
	}
	return err
}

// selectSubtree lists the providers below row, row included.
func selectSubtree(ctx context.Context, tx bun.Tx, row *providerRow) ([]string, error) {
	var tree []providerRow
	if err := tx.NewSelect().Model(&tree).Column("uuid", "parent_uuid").Where("root_uuid = ?", row.RootUUID).Scan(ctx); err != nil {
		return nil, err
	}
	children := map[string][]string{}
	for _, p := range tree {
		children[p.ParentUUID] = append(children[p.ParentUUID], p.UUID)
	}
	below := []string{row.UUID}
	for i := 0; i < len(below); i++ {
		below = append(below, children[below[i]]...)
	}
	return below, nil
}

func updateRoot(ctx context.Context, tx bun.Tx, uuids []string, root string) error {
	_, err := tx.NewUpdate().Table("providers").Set("root_uuid = ?", root).
		Set("revision = "+currentRevision).Set("shape = "+currentRevision).
		Where("uuid IN (?)", bun.List(uuids)).Exec(ctx)
	if err != nil {
		return err
	}
	return bumpEpoch(ctx, tx)
}

func countChildren(ctx context.Context, tx bun.Tx, uuid string) (int64, error) {
	return tx.NewSelect().Table("providers").Where("parent_uuid = ?", uuid).Count(ctx)
}

func deleteProvider(ctx context.Context, tx bun.Tx, uuid string) error {
	for _, table := range []string{"inventories", "provider_traits", "provider_aggregates"} {
		if _, err := tx.NewDelete().Table(table).Where("provider_uuid = ?", uuid).Exec(ctx); err != nil {
			return err
		}
	}
	if _, err := tx.NewDelete().Table("providers").Where("uuid = ?", uuid).Exec(ctx); err != nil {
		return err
	}
	return bumpEpoch(ctx, tx)
}

// casGeneration moves a provider's generation on if it is the one that the
// caller has seen; shape tells that more than its allocations changed.
func (s *Service) casGeneration(ctx context.Context, tx bun.Tx, uuid string, seen int64) error {
	n, err := s.touch(ctx, tx, uuid, &seen)
	if err != nil || n == 1 {
		return err
	}
	row, err := selectProvider(ctx, tx, uuid)
	if err != nil {
		return err
	}
	if row == nil {
		return noProvider(uuid)
	}
	return concurrentUpdate("resource provider " + uuid + " generation conflict")
}

// touch moves a provider's generation on and tells whether it did; seen may be
// nil for any.
func (s *Service) touch(ctx context.Context, tx bun.Tx, uuid string, seen *int64) (int64, error) {
	q := tx.NewUpdate().Table("providers").Set("generation = generation + 1").
		Set("revision = "+currentRevision).Set("shape = "+currentRevision).
		Set("updated_at = ?", s.clock.Now()).Where("uuid = ?", uuid)
	if seen != nil {
		q = q.Where("generation = ?", *seen)
	}
	res, err := q.Exec(ctx)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
