package neutron

import (
	"context"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
)

// The resources that have a quota.
const (
	quotaNetwork       = "network"
	quotaSubnet        = "subnet"
	quotaPort          = "port"
	quotaRouter        = "router"
	quotaFloatingIP    = "floatingip"
	quotaSecurityGroup = "security_group"
	quotaRule          = "security_group_rule"
	quotaRBAC          = "rbac_policy"
	quotaSubnetPool    = "subnetpool"
)

// DefaultQuotas are the limits of a project that has none of its own.
func (s *Service) DefaultQuotas() map[string]int64 {
	q := map[string]int64{
		quotaNetwork: 100, quotaSubnet: 100, quotaPort: 500, quotaRouter: 10, quotaFloatingIP: 50,
		quotaSecurityGroup: 10, quotaRule: 100, quotaRBAC: 10, quotaSubnetPool: -1,
	}
	maps.Copy(q, s.cfg.Quotas)
	return q
}

// A QuotaDetail is a limit with what is used of it.
type QuotaDetail struct {
	Limit, Used, Reserved int64
}

// Quotas returns the limits of a project.
func (s *Service) Quotas(ctx context.Context, projectID string) (map[string]int64, error) {
	rows, err := s.quotaRows(ctx, projectID)
	if err != nil {
		return nil, err
	}
	limits := s.DefaultQuotas()
	for _, r := range rows {
		limits[r.Resource] = r.HardLimit
	}
	return limits, nil
}

// ProjectQuotas returns the limits of each project that has its own.
func (s *Service) ProjectQuotas(ctx context.Context) (map[string]map[string]int64, error) {
	rows, err := s.quotaRows(ctx, "")
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]int64{}
	for _, r := range rows {
		if out[r.ProjectID] == nil {
			out[r.ProjectID] = s.DefaultQuotas()
		}
		out[r.ProjectID][r.Resource] = r.HardLimit
	}
	return out, nil
}

// QuotaDetails returns limits and use of a project.
func (s *Service) QuotaDetails(ctx context.Context, projectID string) (map[string]QuotaDetail, error) {
	limits, err := s.Quotas(ctx, projectID)
	if err != nil {
		return nil, err
	}
	used, err := s.quotaUsage(ctx, projectID)
	if err != nil {
		return nil, err
	}
	out := make(map[string]QuotaDetail, len(limits))
	for r, l := range limits {
		out[r] = QuotaDetail{Limit: l, Used: used[r]}
	}
	return out, nil
}

// SetQuotas gives a project its own limits for the named resources. With
// check, a limit below what is used is refused.
func (s *Service) SetQuotas(ctx context.Context, projectID string, limits map[string]int64, check bool) error {
	for _, r := range slices.Sorted(maps.Keys(limits)) {
		if limits[r] < -1 || limits[r] > 1<<31-1 {
			return badRequest(codeBadRequest, "Invalid input for %s. Reason: '%d' is not a valid limit.", r, limits[r])
		}
	}
	if check {
		used, err := s.quotaUsage(ctx, projectID)
		if err != nil {
			return err
		}
		for r, l := range limits {
			if l >= 0 && used[r] > l {
				return badRequest(codeInvalid, "Quota limit %d of %s is less than the %d in use", l, r, used[r])
			}
		}
	}
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, r := range slices.Sorted(maps.Keys(limits)) { // one order: two requests never wait for each other
			err := db.Upsert(ctx, tx, "UPDATE quotas SET hard_limit = ? WHERE project_id = ? AND resource = ?",
				"INSERT INTO quotas (hard_limit, project_id, resource) VALUES (?, ?, ?)", limits[r], projectID, r)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteQuotas takes a project back to the defaults.
func (s *Service) DeleteQuotas(ctx context.Context, projectID string) error {
	n, err := s.deleteQuotaRows(ctx, projectID)
	if err == nil && n == 0 {
		return notFound("TenantQuotaNotFound", "Quota for tenant %s could not be found.", projectID)
	}
	return err
}

// reserve takes n of a project's quota, or answers OverQuota. The count is
// raised by the statement that compares it, so no two requests share the last
// place.
func (s *Service) reserve(ctx context.Context, tx bun.Tx, projectID, resource string, n int) error {
	if n == 0 {
		return nil
	}
	limit := s.DefaultQuotas()[resource]
	done, err := raiseUsage(ctx, tx, projectID, resource, n, limit)
	if err != nil || done {
		return err
	}
	// Refused, or the project's first of its kind: the counter is made, perhaps
	// by another request at the same moment, and asked again.
	if err := addUsageRow(ctx, tx, projectID, resource); err != nil {
		return err
	}
	if done, err = raiseUsage(ctx, tx, projectID, resource, n, limit); err != nil || done {
		return err
	}
	return conflict(codeOverQuota, "Quota exceeded for resources: ['%s'].", resource)
}
