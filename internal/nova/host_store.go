package nova

import (
	"context"
	"strconv"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/db"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/rpc"
)

type serviceRow struct {
	bun.BaseModel `bun:"table:services"`
	HostService
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }

func (s *Service) serviceRows(ctx context.Context, host, binary string) ([]*HostService, error) {
	var rows []serviceRow
	q := s.db.NewSelect().Model(&rows).Order("seq")
	if host != "" {
		q = q.Where("host = ?", host)
	}
	if binary != "" {
		q = q.Where("service_name = ?", binary)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, err
	}
	list := make([]*HostService, len(rows))
	for i := range rows {
		list[i] = &rows[i].HostService
	}
	return list, nil
}

// touchService renews a service's lease; false means that it is not known.
func (s *Service) touchService(ctx context.Context, host, binary string) (bool, error) {
	res, err := s.db.NewRaw("UPDATE services SET last_seen = ? WHERE host = ? AND service_name = ?", s.clock.Now(), host, binary).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// touchHosts renews the leases of the compute services of several hosts.
func (s *Service) touchHosts(ctx context.Context, hosts []string) error {
	_, err := s.db.NewRaw("UPDATE services SET last_seen = ? WHERE service_name = ? AND host IN (?)", s.clock.Now(), BinaryCompute, bun.List(hosts)).Exec(ctx)
	return err
}

// ensureService makes the service's row, or renews it.
func (s *Service) ensureService(ctx context.Context, host, binary string) error {
	known, err := s.touchService(ctx, host, binary)
	if known || err != nil {
		return err
	}
	now := s.clock.Now()
	err = s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		seq, err := nextSeq(ctx, tx, "services")
		if err != nil {
			return err
		}
		row := serviceRow{HostService: HostService{ID: ids.UUID(), Seq: seq, Host: host, ServiceName: binary, LastSeen: now, CreatedAt: now}}
		_, err = tx.NewInsert().Model(&row).Exec(ctx)
		return err
	})
	if db.IsDuplicate(err) {
		return nil // another report of the same host was faster
	}
	return err
}

func (s *Service) upsertHost(ctx context.Context, in rpc.HostReport) error {
	if err := s.ensureService(ctx, in.Host, BinaryCompute); err != nil {
		return err
	}
	r := in.Resources
	if r == nil {
		return nil
	}
	now := s.clock.Now()
	h := &Hypervisor{ID: r.ProviderID, Host: in.Host, Hostname: r.Hostname, Type: r.HypervisorType, Version: r.HypervisorVersion,
		HostIP: r.HostIP, VCPUs: r.VCPUs, MemoryMB: r.MemoryMB, DiskGB: r.DiskGB,
		CPUInfo: CPUInfo{Arch: r.Arch, Model: r.CPUModel, Features: r.CPUFeatures, Accel: r.Accel},
		Traits:  r.Traits, BootTime: in.StartedAt, UpdatedAt: now, CreatedAt: now}
	if h.CPUInfo.Features == nil {
		h.CPUInfo.Features = []string{}
	}
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewUpdate().Model(h).ExcludeColumn("seq", "created_at").Where("host = ?", in.Host).Exec(ctx)
		if err != nil {
			return err
		}
		if n, _ := res.RowsAffected(); n == 1 {
			return nil
		}
		if h.Seq, err = nextSeq(ctx, tx, "hypervisors"); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(h).Exec(ctx)
		return err
	})
}

func (s *Service) hypervisorRows(ctx context.Context, hostname, marker string, limit int) ([]*Hypervisor, error) {
	var list []*Hypervisor
	q := s.db.NewSelect().Model(&list).Order("seq")
	if hostname != "" {
		q = q.Where("hostname LIKE ?", "%"+hostname+"%")
	}
	if marker != "" {
		var seq int64
		err := s.db.NewRaw("SELECT seq FROM hypervisors WHERE id = ? OR seq = ?", marker, marker).Scan(ctx, &seq)
		if db.IsNoRows(err) {
			return nil, fault.New(fault.BadRequest, "marker [%s] not found", marker)
		}
		if err != nil {
			return nil, err
		}
		q = q.Where("seq > ?", seq)
	}
	if limit > 0 {
		q = q.Limit(int64(limit))
	}
	return list, q.Scan(ctx)
}

// hostUse sums up the flavors of the servers on each host. The sizes are in the
// servers' own copy of their flavor.
func (s *Service) hostUse(ctx context.Context) (map[string]HostUse, error) {
	var rows []Server
	err := s.db.NewSelect().Model(&rows).Column("host", "flavor", "task_state").
		Where("deleted_at IS NULL AND host IS NOT NULL").Scan(ctx)
	out := map[string]HostUse{}
	for i := range rows {
		u := out[rows[i].Host]
		f := rows[i].Flavor
		u.Servers++
		u.VCPUs += f.VCPUs
		u.MemoryMB += f.MemoryMB
		u.DiskGB += f.RootGB + f.EphemeralGB
		if rows[i].TaskState != "" {
			u.Busy++
		}
		out[rows[i].Host] = u
	}
	return out, err
}

func (s *Service) briefServersOn(ctx context.Context, hosts []string) ([]Server, error) {
	var list []Server
	err := s.db.NewSelect().Model(&list).Column("id", "name", "host").
		Where("host IN (?) AND deleted_at IS NULL", bun.List(append(hosts, ""))).Order("created_at", "id").Scan(ctx)
	return list, err
}

// SetService enables, disables or forces down a service; nil leaves a field.
func (s *Service) SetService(ctx context.Context, id string, disabled *bool, reason string, forcedDown *bool) error {
	q := s.db.NewUpdate().Table("services").Where("id = ?", id).Set("id = id")
	if disabled != nil {
		q = q.Set("disabled = ?", *disabled).Set("disabled_reason = ?", reason)
		if reason == "" {
			q = q.Set("disabled_reason = NULL")
		}
	}
	if forcedDown != nil {
		q = q.Set("forced_down = ?", *forcedDown)
	}
	res, err := q.Exec(ctx)
	if err != nil {
		return err
	}
	if n, _ := res.RowsAffected(); n == 0 {
		return fault.New(fault.NotFound, "Service %s could not be found.", id)
	}
	return nil
}

// DeleteService forgets a service and its hypervisor. One that has servers
// stays.
func (s *Service) DeleteService(ctx context.Context, svc *HostService) error {
	n, err := s.serversOn(ctx, []string{svc.Host})
	if err != nil {
		return err
	}
	if svc.ServiceName == BinaryCompute && n > 0 {
		return fault.New(fault.Conflict, "Unable to delete compute service that is hosting instances. Migrate or delete the instances first.")
	}
	return s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewRaw("DELETE FROM services WHERE id = ?", svc.ID).Exec(ctx); err != nil {
			return err
		}
		if svc.ServiceName != BinaryCompute {
			return nil
		}
		if _, err := tx.NewRaw("DELETE FROM aggregate_hosts WHERE host = ?", svc.Host).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewRaw("DELETE FROM hypervisors WHERE host = ?", svc.Host).Exec(ctx)
		return err
	})
}
