package nova

import (
	"context"
	"maps"
	"slices"

	"github.com/hastack/hastack/internal/fault"
)

// Resources with a limit.
const (
	ResourceInstances    = "instances"
	ResourceCores        = "cores"
	ResourceRAM          = "ram" // MiB
	ResourceKeyPairs     = "key_pairs"
	ResourceMetadata     = "metadata_items"
	ResourceServerGroups = "server_groups"
	ResourceGroupMembers = "server_group_members"
)

// QuotaResources are the resources with their built-in limits, as Nova ships
// them. Those of injected files and networks count nothing here; they exist for
// clients of old microversions.
func QuotaResources() map[string]int64 {
	return map[string]int64{
		ResourceInstances: 10, ResourceCores: 20, ResourceRAM: 50 * 1024, ResourceKeyPairs: 100,
		ResourceMetadata: 128, ResourceServerGroups: 10, ResourceGroupMembers: 10,
		"injected_files": 5, "injected_file_content_bytes": 10 * 1024, "injected_file_path_bytes": 255,
		"fixed_ips": -1, "floating_ips": -1, "security_groups": -1, "security_group_rules": -1,
	}
}

// Unlimited is the limit that refuses nothing.
const Unlimited = -1

// Quotas are limits and what is used of them. Nothing is ever reserved: what
// is asked for counts as used from the first transaction.
type Quotas struct {
	Limits map[string]int64
	InUse  map[string]int64
}

// Limits returns the limits of a project, or of a user in it if userID is set.
func (s *Service) Limits(ctx context.Context, projectID, userID string) (map[string]int64, error) {
	limits := maps.Clone(s.cfg.Quota)
	rows, err := s.quotaRows(ctx, projectID, userID)
	if err != nil {
		return nil, err
	}
	// Rows come from the general to the special.
	for _, r := range rows {
		limits[r.Resource] = r.HardLimit
	}
	return limits, nil
}

func (s *Service) limit(ctx context.Context, projectID, userID, resource string) (int64, error) {
	limits, err := s.Limits(ctx, projectID, userID)
	return limits[resource], err
}

// DefaultLimits are the limits of a project that has none of its own.
func (s *Service) DefaultLimits(ctx context.Context) (map[string]int64, error) {
	return s.Limits(ctx, "", "")
}

// Quotas returns limits and usage. Only instances, cores, ram and server
// groups are counted by project.
func (s *Service) Quotas(ctx context.Context, projectID, userID string) (*Quotas, error) {
	limits, err := s.Limits(ctx, projectID, userID)
	if err != nil {
		return nil, err
	}
	used, err := s.quotaUsages(ctx, projectID)
	return &Quotas{Limits: limits, InUse: used}, err
}

// SetQuotas changes limits of a project, or of a user in it. Without force a
// limit may not go below what is used.
func (s *Service) SetQuotas(ctx context.Context, projectID, userID string, limits map[string]int64, force bool) error {
	q, err := s.Quotas(ctx, projectID, "")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		v := limits[name]
		switch _, known := s.cfg.Quota[name]; {
		case !known:
			return fault.New(fault.BadRequest, "Bad key(s) in quota set: %s", name)
		case v < -1 || v > int64(maxInt32):
			return fault.New(fault.BadRequest, "Quota limit %d for %s must be between -1 and %d.", v, name, maxInt32)
		case !force && v >= 0 && v < q.InUse[name]:
			return fault.New(fault.BadRequest, "Quota limit %d for %s must be greater than or equal to already used and reserved %d.", v, name, q.InUse[name])
		case userID != "" && v >= 0 && q.Limits[name] >= 0 && v > q.Limits[name]:
			return fault.New(fault.BadRequest, "Quota limit %d for %s must be less than or equal to %d.", v, name, q.Limits[name])
		}
	}
	return s.upsertQuotas(ctx, projectID, userID, limits)
}
