package nova

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/nova/rpc"
)

// Binaries that os-services lists.
const (
	BinaryCompute   = "nova-compute"
	BinaryScheduler = "nova-scheduler"
	BinaryConductor = "nova-conductor"
)

// A HostService is one part of Nova on one machine, as os-services shows it.
type HostService struct {
	ID             string `bun:"id,pk"`
	Seq            int64  // the id before microversion 2.53
	Host           string
	ServiceName    string
	Disabled       bool
	DisabledReason string `bun:",nullzero"`
	ForcedDown     bool
	LastSeen       time.Time
	CreatedAt      time.Time

	Up   bool   `bun:"-"`
	Zone string `bun:"-"`
}

// A Hypervisor is a host with what it has. What is used of it is computed from
// the servers, where it cannot drift.
type Hypervisor struct {
	ID        string `bun:"id,pk"` // also its resource provider
	Seq       int64
	Host      string
	Hostname  string
	Type      string
	Version   int
	HostIP    string `bun:"host_ip"`
	VCPUs     int    `bun:"vcpus"`
	MemoryMB  int    `bun:"memory_mb"`
	DiskGB    int    `bun:"disk_gb"`
	CPUInfo   CPUInfo
	Traits    []string
	BootTime  time.Time `bun:",nullzero"`
	CreatedAt time.Time
	UpdatedAt time.Time

	Service *HostService `bun:"-"`
	Used    HostUse      `bun:"-"`
}

// CPUInfo is the processor of a hypervisor.
type CPUInfo struct {
	Arch     string   `json:"arch"`
	Model    string   `json:"model"`
	Vendor   string   `json:"vendor"`
	Features []string `json:"features"`
	Accel    string   `json:"accel,omitempty"`
}

// HostUse is what servers use of a hypervisor.
type HostUse struct {
	Host     string
	Servers  int
	VCPUs    int `bun:"vcpus"`
	MemoryMB int `bun:"memory_mb"`
	DiskGB   int `bun:"disk_gb"`
	Busy     int // servers with a task_state
}

// HostServices lists services, of one host or binary if those are not empty,
// with whether they are up.
func (s *Service) HostServices(ctx context.Context, host, binary string) ([]*HostService, error) {
	list, err := s.serviceRows(ctx, host, binary)
	if err != nil {
		return nil, err
	}
	zones, err := s.hostZones(ctx)
	if err != nil {
		return nil, err
	}
	for _, svc := range list {
		s.judge(svc)
		svc.Zone = "internal"
		if svc.ServiceName == BinaryCompute {
			svc.Zone = zones.of(svc.Host)
		}
	}
	return list, nil
}

// judge says whether the service is up.
func (s *Service) judge(svc *HostService) {
	svc.Up = !svc.ForcedDown && s.clock.Now().Sub(svc.LastSeen) < s.cfg.ServiceDownAfter
}

// zoneMap tells the zone of each host.
type zoneMap struct {
	byHost map[string]string
	none   string
}

func (z zoneMap) of(host string) string {
	if zone := z.byHost[host]; zone != "" {
		return zone
	}
	return z.none
}

func (s *Service) hostZones(ctx context.Context) (zoneMap, error) {
	aggs, err := s.Aggregates(ctx)
	return s.zonesOf(aggs), err
}

func (s *Service) zonesOf(aggs []*Aggregate) zoneMap {
	z := zoneMap{map[string]string{}, s.cfg.Zone}
	for _, a := range aggs {
		if a.Zone() == "" {
			continue
		}
		for _, h := range a.Hosts {
			z.byHost[h] = a.Zone()
		}
	}
	return z
}

// A ZoneState is an availability zone with its services.
type ZoneState struct {
	Name      string
	Available bool
	Services  []*HostService // compute ones, internal ones in the zone "internal"
}

// Zones lists the availability zones; a zone is available when a host in it is
// enabled.
func (s *Service) Zones(ctx context.Context) ([]ZoneState, error) {
	list, err := s.HostServices(ctx, "", "")
	if err != nil {
		return nil, err
	}
	var zones []ZoneState
	for _, svc := range list {
		i := slices.IndexFunc(zones, func(z ZoneState) bool { return z.Name == svc.Zone })
		if i < 0 {
			zones = append(zones, ZoneState{Name: svc.Zone})
			i = len(zones) - 1
		}
		zones[i].Services = append(zones[i].Services, svc)
		zones[i].Available = zones[i].Available || !svc.Disabled
	}
	slices.SortFunc(zones, func(a, b ZoneState) int { return strings.Compare(a.Name, b.Name) })
	return zones, nil
}

// checkZone refuses a zone or a host that does not exist.
func (s *Service) checkZone(ctx context.Context, in *ServerRequest) error {
	if in.ForceHost != "" {
		if _, err := s.computeService(ctx, in.ForceHost); err != nil {
			return fault.New(fault.BadRequest, "Compute host %s could not be found.", in.ForceHost)
		}
	}
	if in.Zone == "" {
		return nil
	}
	zones, err := s.Zones(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(zones, func(z ZoneState) bool { return z.Name == in.Zone && z.Available && z.Name != "internal" }) {
		return fault.New(fault.BadRequest, "The requested availability zone is not available")
	}
	return nil
}

// reportHost stores a heartbeat and what the host has.
func (s *Service) reportHost(ctx context.Context, in rpc.HostReport) error {
	if in.Resources == nil {
		s.beats.add(in.Host)
		return nil
	}
	return s.upsertHost(ctx, in)
}

func (s *Service) computeService(ctx context.Context, host string) (*HostService, error) {
	list, err := s.serviceRows(ctx, host, BinaryCompute)
	if err != nil {
		return nil, err
	}
	if host == "" || len(list) == 0 {
		return nil, fault.New(fault.NotFound, "Compute host %s could not be found.", host)
	}
	s.judge(list[0])
	return list[0], nil
}

// Hypervisors lists hypervisors with their service and use: in the order of
// their id, from behind marker, at most limit (0: all); hostname, if not
// empty, must be part of theirs.
func (s *Service) Hypervisors(ctx context.Context, hostname, marker string, limit int) ([]*Hypervisor, error) {
	list, err := s.hypervisorRows(ctx, hostname, marker, limit)
	if err != nil || len(list) == 0 {
		return list, err
	}
	services, err := s.serviceRows(ctx, "", BinaryCompute)
	if err != nil {
		return nil, err
	}
	uses, err := s.hostUse(ctx)
	if err != nil {
		return nil, err
	}
	byHost := map[string]*HostService{}
	for _, svc := range services {
		s.judge(svc)
		byHost[svc.Host] = svc
	}
	for _, h := range list {
		h.Used = uses[h.Host]
		if h.Service = byHost[h.Host]; h.Service == nil {
			h.Service = &HostService{Host: h.Host, ServiceName: BinaryCompute}
		}
	}
	return list, nil
}

// Hypervisor returns one by its id, or by its number before microversion 2.53.
func (s *Service) Hypervisor(ctx context.Context, id string) (*Hypervisor, error) {
	list, err := s.Hypervisors(ctx, "", "", 0)
	if err != nil {
		return nil, err
	}
	for _, h := range list {
		if h.ID == id || formatInt(h.Seq) == id {
			return h, nil
		}
	}
	return nil, fault.New(fault.NotFound, "Compute host %s could not be found.", id)
}

// ServersOnHosts lists id and name of the servers of each host.
func (s *Service) ServersOnHosts(ctx context.Context, hosts []string) (map[string][]Server, error) {
	out := map[string][]Server{}
	list, err := s.briefServersOn(ctx, hosts)
	for _, srv := range list {
		out[srv.Host] = append(out[srv.Host], srv)
	}
	return out, err
}
