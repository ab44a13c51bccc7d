package nova

import (
	"context"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/scheduler"
)

// hostStates are the candidates as the filters see them, in four statements
// however many there are.
func (s *Service) hostStates(ctx context.Context, found map[string]providerSummary, groupID, serverID string) ([]scheduler.Host, error) {
	providers := make([]string, 0, len(found))
	for id := range found {
		providers = append(providers, id)
	}
	slices.Sort(providers)
	var rows []struct {
		ID, Host, Hostname, Type string
		CPUInfo                  CPUInfo
		Disabled, ForcedDown     bool
		DisabledReason           string
		Servers                  int
	}
	err := s.db.NewRaw(`SELECT h.id, h.host, h.hostname, h.type, h.cpu_info, v.disabled, v.forced_down,
		COALESCE(v.disabled_reason, '') AS disabled_reason,
		(SELECT COUNT(*) FROM servers AS s WHERE s.host = h.host AND s.deleted_at IS NULL) AS servers
		FROM hypervisors AS h JOIN services AS v ON v.host = h.host AND v.service_name = ?
		WHERE h.id IN (?)`, BinaryCompute, bun.List(providers)).Scan(ctx, &rows)
	if err != nil {
		return nil, err
	}
	up, err := s.upHosts(ctx)
	if err != nil {
		return nil, err
	}
	aggs, err := s.Aggregates(ctx)
	if err != nil {
		return nil, err
	}
	members := map[string]int{}
	if groupID != "" {
		if members, err = s.groupHosts(ctx, groupID, serverID); err != nil {
			return nil, err
		}
	}
	zones := s.zonesOf(aggs)
	hosts := make([]scheduler.Host, 0, len(rows))
	for _, r := range rows {
		p := found[r.ID]
		h := scheduler.Host{Name: r.Host, Hypervisor: r.Hostname, ProviderID: r.ID,
			FreeVCPUs: p.free("VCPU"), FreeMemoryMB: p.free("MEMORY_MB"), FreeDiskGB: p.free("DISK_GB"),
			Up: up[r.Host] && !r.ForcedDown, Disabled: r.Disabled, DisabledReason: r.DisabledReason,
			Zone: zones.of(r.Host), Arch: r.CPUInfo.Arch, Type: r.Type, Servers: r.Servers, GroupMembers: members[r.Host],
			Capabilities: map[string]string{"hypervisor_type": r.Type, "cpu_info:arch": r.CPUInfo.Arch,
				"cpu_info:model": r.CPUInfo.Model, "hypervisor_hostname": r.Hostname}}
		for _, a := range aggs {
			if slices.Contains(a.Hosts, r.Host) {
				h.Aggregates = append(h.Aggregates, scheduler.Aggregate{Name: a.Name, Metadata: a.Metadata})
			}
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

// claimAgain moves a server's claim to the host that it is on.
func (s *Service) claimAgain(ctx context.Context, srv *Server) error {
	var provider string
	err := s.db.NewRaw("SELECT id FROM hypervisors WHERE host = ?", srv.Host).Scan(ctx, &provider)
	if db.IsNoRows(err) {
		return s.unclaim(ctx, srv.ID) // the host was removed, and its room with it
	}
	if err != nil {
		return err
	}
	ok, err := s.claim(ctx, srv, provider)
	if err == nil && !ok {
		err = fault.New(fault.Conflict, "Host %s has no room for instance %s any more.", srv.Host, srv.ID)
	}
	return err
}

// upHosts are the hosts whose nova-compute was heard of lately.
func (s *Service) upHosts(ctx context.Context) (map[string]bool, error) {
	var hosts []string
	err := s.db.NewRaw("SELECT host FROM services WHERE service_name = ? AND last_seen > ?",
		BinaryCompute, s.clock.Now().Add(-s.cfg.ServiceDownAfter)).Scan(ctx, &hosts)
	up := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		up[h] = true
	}
	return up, err
}

// hostsOf are the hosts of servers of one project: hints reach no further.
func (s *Service) hostsOf(ctx context.Context, projectID string, servers []string) (map[string]bool, error) {
	var hosts []string
	err := s.db.NewRaw("SELECT host FROM servers WHERE id IN (?) AND project_id = ? AND host IS NOT NULL AND deleted_at IS NULL",
		bun.List(servers), projectID).Scan(ctx, &hosts)
	set := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		set[h] = true
	}
	return set, err
}
