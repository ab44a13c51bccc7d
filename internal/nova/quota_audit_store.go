package nova

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

// A counter is what one project uses of a resource.
type counter struct {
	OwnerID, Resource string
	InUse             int64
}

func counterKey(owner, resource string) string { return owner + "/" + resource }

// AuditQuota recounts what each project uses and returns, by owner and
// resource, where the counters differ: have and should. With fix they are set
// right.
func (s *Service) AuditQuota(ctx context.Context, fix bool) (map[string][2]int64, error) {
	diff := map[string][2]int64{}
	err := s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		clear(diff)
		have, err := holdCounters(ctx, tx)
		if err != nil {
			return err
		}
		should, err := countServers(ctx, tx)
		if err != nil {
			return err
		}
		for _, c := range have {
			key := counterKey(c.OwnerID, c.Resource)
			want := should[key]
			if c.InUse == want {
				continue
			}
			diff[key] = [2]int64{c.InUse, want}
			if !fix {
				continue
			}
			if _, err := tx.NewRaw("UPDATE quota_usages SET in_use = ? WHERE owner_id = ? AND resource = ?", want, c.OwnerID, c.Resource).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	return diff, err
}

// holdCounters returns the counters of servers and keeps them as they are until
// the transaction ends: who makes or deletes a server of these projects waits.
// One that is made meanwhile is left out.
func holdCounters(ctx context.Context, tx bun.Tx) ([]counter, error) {
	resources := bun.List([]string{ResourceInstances, ResourceCores, ResourceRAM})
	var owners []string
	err := tx.NewRaw("SELECT DISTINCT owner_id FROM quota_usages WHERE resource IN (?)", resources).Scan(ctx, &owners)
	if err != nil || len(owners) == 0 {
		return nil, err
	}
	const these = "owner_id IN (?) AND resource IN (?)"
	if _, err := db.Hold(ctx, tx, "quota_usages", these, bun.List(owners), resources); err != nil {
		return nil, err
	}
	var list []counter
	err = tx.NewRaw("SELECT owner_id, resource, in_use FROM quota_usages WHERE "+these, bun.List(owners), resources).Scan(ctx, &list)
	return list, err
}

// countServers is what the counters should be.
func countServers(ctx context.Context, tx bun.Tx) (map[string]int64, error) {
	var list []Server
	err := tx.NewSelect().Model(&list).Column("project_id", "flavor").Where("deleted_at IS NULL").Scan(ctx)
	n := map[string]int64{}
	for _, srv := range list {
		n[counterKey(srv.ProjectID, ResourceInstances)]++
		n[counterKey(srv.ProjectID, ResourceCores)] += int64(srv.Flavor.VCPUs)
		n[counterKey(srv.ProjectID, ResourceRAM)] += int64(srv.Flavor.MemoryMB)
	}
	return n, err
}
