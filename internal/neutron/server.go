package neutron

import (
	"context"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/bus"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/neutron/rpc"
)

// serveBus answers the agents.
func (s *Service) serveBus(ctx context.Context) (stop func(), err error) {
	m := bus.NewMux()
	bus.On(m, rpc.MethodSyncHost, s.SyncHost)
	bus.On(m, rpc.MethodPortsStatus, s.PortsStatus)
	bus.On(m, rpc.MethodRouterStatus, s.RouterStatus)
	bus.On(m, rpc.MethodHeartbeat, s.Heartbeat)
	bus.On(m, rpc.MethodMetadataLookup, s.MetadataLookup)
	bus.On(m, rpc.MethodAudit, s.Audit)
	return s.bus.Serve(ctx, rpc.Topic, ids.UUID(), m.Handle)
}

// PortsStatus takes an agent's word for what became of ports on its host, and
// leaves a note for Nova in the same transaction.
func (s *Service) PortsStatus(ctx context.Context, args rpc.PortsStatusArgs) (rpc.Empty, error) {
	all := slices.Concat(args.Up, args.Down, args.Error)
	if args.Host == "" || len(all) == 0 {
		return rpc.Empty{}, nil
	}
	status := map[string]string{}
	for want, portIDs := range map[string][]string{statusActive: args.Up, statusDown: args.Down, statusError: args.Error} {
		for _, id := range portIDs {
			status[id] = want
		}
	}
	return rpc.Empty{}, s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		ports, err := portsForStatus(ctx, tx, all)
		if err != nil {
			return err
		}
		var events []novaEvent
		for _, p := range ports {
			want := status[p.ID]
			if want == statusActive && !p.AdminStateUp {
				want = statusDown
			}
			if p.Host != args.Host || p.Status == want {
				continue
			}
			changed, err := casPortStatus(ctx, tx, p, want)
			if err != nil {
				return err
			}
			if changed {
				events = append(events, s.eventsFor(p, want)...)
			}
		}
		if len(events) == 0 {
			return nil
		}
		ch.novaEvents = true
		return insert(ctx, tx, &events)
	})
}

// RouterStatus takes an L3 agent's word for what became of its routers.
func (s *Service) RouterStatus(ctx context.Context, args rpc.RouterStatusArgs) (rpc.Empty, error) {
	return rpc.Empty{}, s.db.Tx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, r := range args.Routers {
			if r.Status != statusActive && r.Status != statusError {
				return badRequest(codeInvalid, "router status %q", r.Status)
			}
			// Statuses are not changes that others converge to: no revision.
			if err := setRouterStatus(ctx, tx, r.RouterID, r.Status); err != nil {
				return err
			}
			for id, st := range r.FloatingIPs {
				if st != statusActive && st != statusDown && st != statusError {
					return badRequest(codeInvalid, "floating ip status %q", st)
				}
				if err := setFloatingStatus(ctx, tx, id, r.RouterID, st); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// MetadataLookup finds the server that has an address on a network, or on one
// of the networks of a router.
func (s *Service) MetadataLookup(ctx context.Context, args rpc.MetadataLookupArgs) (rpc.MetadataLookupReply, error) {
	if (args.NetworkID == "") == (args.RouterID == "") || args.Address == "" {
		return rpc.MetadataLookupReply{}, badRequest(codeInvalid, "metadata lookup needs an address, and a network or a router")
	}
	ports, err := s.portsByAddress(ctx, args)
	if err != nil {
		return rpc.MetadataLookupReply{}, err
	}
	if len(ports) != 1 {
		// None, or an address that two networks of the router have: no answer is
		// better than another server's metadata.
		return rpc.MetadataLookupReply{}, fault.New(fault.NotFound, "no server has address %s here", args.Address)
	}
	p := ports[0]
	return rpc.MetadataLookupReply{PortID: p.ID, InstanceID: p.DeviceID, ProjectID: p.ProjectID}, nil
}

// Audit lists what Neutron holds, for the walk along the ownership graph.
func (s *Service) Audit(ctx context.Context, _ rpc.AuditArgs) (rpc.AuditReply, error) {
	var out rpc.AuditReply
	ports, err := s.ports(ctx, s.db, internal, Query{})
	if err != nil {
		return out, err
	}
	for _, p := range ports {
		out.Ports = append(out.Ports, rpc.AuditPort{
			ID: p.ID, NetworkID: p.NetworkID, ProjectID: p.ProjectID, DeviceID: p.DeviceID, DeviceOwner: p.DeviceOwner,
			Host: p.Host, MAC: p.MAC, Status: p.Status, Revision: p.RevisionNumber, CreatedAt: p.CreatedAt,
		})
	}
	routers, err := s.routers(ctx, s.db, internal, Query{})
	if err != nil {
		return out, err
	}
	hosts, err := s.routerHosts(ctx)
	if err != nil {
		return out, err
	}
	for _, r := range routers {
		out.Routers = append(out.Routers, rpc.AuditRouter{ID: r.ID, ProjectID: r.ProjectID, Host: hosts[r.ID], Status: r.Status})
	}
	fips, err := s.floatingIPs(ctx, s.db, internal, Query{})
	if err != nil {
		return out, err
	}
	for _, f := range fips {
		a := rpc.AuditFloatingIP{ID: f.ID, ProjectID: f.ProjectID, Address: f.Address, Status: f.Status}
		set(&a.PortID, f.PortID)
		set(&a.RouterID, f.RouterID)
		out.FloatingIPs = append(out.FloatingIPs, a)
	}
	out.Problems, err = s.auditRows(ctx)
	return out, err
}
