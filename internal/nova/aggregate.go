package nova

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
)

// zoneKey is the aggregate metadata that makes an availability zone.
const zoneKey = "availability_zone"

// An Aggregate is a set of hosts with metadata; with the key availability_zone
// it is a zone that users may choose. A host is in one zone at most.
type Aggregate struct {
	ID        int64  `bun:"id,pk"`
	UUID      string `bun:"uuid"`
	Name      string
	Metadata  map[string]string
	Version   int64 // moves with every change
	CreatedAt time.Time
	UpdatedAt time.Time `bun:",nullzero"`
	Hosts     []string  `bun:"-"`
}

// Zone is the availability zone that the aggregate makes, "" for none.
func (a *Aggregate) Zone() string { return a.Metadata[zoneKey] }

// CreateAggregate adds a; its ID and UUID are given.
func (s *Service) CreateAggregate(ctx context.Context, a *Aggregate) error {
	if err := checkName("aggregate name", a.Name); err != nil {
		return err
	}
	if err := checkZoneName(a.Metadata); err != nil {
		return err
	}
	a.UUID, a.CreatedAt, a.Hosts = ids.UUID(), s.clock.Now(), []string{}
	return s.insertAggregate(ctx, a)
}

func checkZoneName(m map[string]string) error {
	if z, ok := m[zoneKey]; ok && (z == "" || len(z) > 255 || strings.ContainsAny(z, ":") || strings.TrimSpace(z) != z) {
		return fault.New(fault.BadRequest, "invalid input for field/attribute availability_zone: %q", z)
	}
	return nil
}

// UpdateAggregate changes name and metadata. In metadata, a nil value removes
// its key. A zone may not be changed while the aggregate's hosts have servers.
func (s *Service) UpdateAggregate(ctx context.Context, id int64, name string, metadata map[string]*string) (*Aggregate, error) {
	if name != "" {
		if err := checkName("aggregate name", name); err != nil {
			return nil, err
		}
	}
	if len(metadata) > 128 {
		return nil, fault.New(fault.BadRequest, "an aggregate may have at most 128 metadata items")
	}
	return s.changeAggregate(ctx, id, func(a *Aggregate) error {
		before := a.Zone()
		if name != "" {
			a.Name = name
		}
		for k, v := range metadata {
			switch {
			case v == nil:
				delete(a.Metadata, k)
			case !metadataKey.MatchString(k) || len(*v) > 255:
				return fault.New(fault.BadRequest, "invalid input for field/attribute metadata: %.60q", k)
			default:
				a.Metadata[k] = *v
			}
		}
		if err := checkZoneName(a.Metadata); err != nil {
			return err
		}
		if a.Zone() == before {
			return nil
		}
		return s.checkZoneChange(ctx, a, a.Hosts)
	})
}

// checkZoneChange refuses to move hosts into another zone while servers that
// asked for their zone run there, or when another zone has them.
func (s *Service) checkZoneChange(ctx context.Context, a *Aggregate, hosts []string) error {
	if len(hosts) == 0 {
		return nil
	}
	n, err := s.serversOn(ctx, hosts)
	if err != nil {
		return err
	}
	if n > 0 {
		return fault.New(fault.BadRequest, "One or more hosts contain instances in this zone, so the availability zone cannot be changed")
	}
	all, err := s.Aggregates(ctx)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.ID == a.ID || o.Zone() == "" || o.Zone() == a.Zone() || a.Zone() == "" {
			continue
		}
		for _, h := range hosts {
			if slices.Contains(o.Hosts, h) {
				return fault.New(fault.BadRequest, "One or more hosts already in availability zone(s) %s", o.Zone())
			}
		}
	}
	return nil
}

// AddAggregateHost puts a host with a nova-compute service into an aggregate.
func (s *Service) AddAggregateHost(ctx context.Context, id int64, host string) (*Aggregate, error) {
	a, err := s.Aggregate(ctx, id)
	if err != nil {
		return nil, err
	}
	if _, err := s.computeService(ctx, host); err != nil {
		return nil, err
	}
	if slices.Contains(a.Hosts, host) {
		return nil, fault.New(fault.Conflict, "Aggregate %d already has host %s.", id, host)
	}
	zones, err := s.hostZones(ctx)
	if err != nil {
		return nil, err
	}
	// A host that is in the zone already does not change it, servers or not.
	if a.Zone() != "" && a.Zone() != zones.of(host) {
		if err := s.checkZoneChange(ctx, a, []string{host}); err != nil {
			if fault.Is(err, fault.BadRequest) {
				err = fault.New(fault.Conflict, "Cannot add host %s in aggregate %d: %s", host, id, fault.As(err).Text)
			}
			return nil, err
		}
	}
	if err := s.insertAggregateHost(ctx, id, host); err != nil {
		return nil, err
	}
	return s.Aggregate(ctx, id)
}

// RemoveAggregateHost takes a host out.
func (s *Service) RemoveAggregateHost(ctx context.Context, id int64, host string) (*Aggregate, error) {
	a, err := s.Aggregate(ctx, id)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(a.Hosts, host) {
		return nil, fault.New(fault.NotFound, "Cannot remove host %s in aggregate %d: host not found", host, id)
	}
	if err := s.deleteAggregateHost(ctx, id, host); err != nil {
		return nil, err
	}
	return s.Aggregate(ctx, id)
}

// DeleteAggregate removes an aggregate that has no host.
func (s *Service) DeleteAggregate(ctx context.Context, id int64) error {
	a, err := s.Aggregate(ctx, id)
	if err != nil {
		return err
	}
	if len(a.Hosts) > 0 {
		return fault.New(fault.BadRequest, "Cannot delete aggregate %d: Host aggregate is not empty", id)
	}
	return s.deleteAggregate(ctx, id)
}

func aggregateNotFound(id int64) error {
	return fault.New(fault.NotFound, "Aggregate %d could not be found.", id)
}
