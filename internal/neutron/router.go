package neutron

import (
	"context"
	"net/netip"
	"slices"

	"github.com/uptrace/bun"

	"github.com/hastack/hastack/internal/failpoint"
)

const maxRoutes = 30

// A Router joins networks of a project, and them with an external network.
type Router struct {
	bun.BaseModel `bun:"table:routers"`
	Standard

	Name                  string      `bun:"name"`
	Status                string      `bun:"status"`
	AdminStateUp          bool        `bun:"admin_state_up"`
	Distributed           bool        `bun:"distributed"`
	HA                    bool        `bun:"ha"`
	GatewayPortID         *string     `bun:"gw_port_id"`
	GatewayNetworkID      *string     `bun:"gw_network_id"`
	EnableSNAT            bool        `bun:"enable_snat"`
	ExternalFixedIPs      []FixedIP   `bun:"external_fixed_ips"`
	Routes                []HostRoute `bun:"routes"`
	AvailabilityZoneHints Lines       `bun:"availability_zone_hints"`
}

// GatewayInfo asks for an external gateway. Nil members are for Neutron to
// choose; an empty NetworkID means no gateway.
type GatewayInfo struct {
	NetworkID        string
	EnableSNAT       *bool
	ExternalFixedIPs *[]FixedIP
}

// A RouterPatch holds the attributes of a router to change; nil leaves one.
type RouterPatch struct {
	Name, Description *string
	AdminStateUp      *bool
	Routes            *[]HostRoute
	Gateway           *GatewayInfo
	Revision          *int64
}

// CreateRouter adds a router, with its gateway if gw is given, and puts it on
// an agent if there is one.
func (s *Service) CreateRouter(ctx context.Context, c Caller, r *Router, gw *GatewayInfo) error {
	if err := failpoint.At(ctx, "neutron.router.create.before-effect"); err != nil {
		return err
	}
	now := s.clock.Now()
	r.ID, r.Status, r.RevisionNumber, r.CreatedAt, r.UpdatedAt = newID(r.ID), statusActive, 1, now, now
	r.Tags, r.AvailabilityZoneHints = sortedSet(r.Tags), sortedSet(r.AvailabilityZoneHints)
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		r.EnableSNAT, r.RevisionNumber = true, 1
		r.GatewayPortID, r.GatewayNetworkID = nil, nil
		r.ExternalFixedIPs, r.Routes = []FixedIP{}, []HostRoute{}
		if err := s.reserve(ctx, tx, r.ProjectID, quotaRouter, 1); err != nil {
			return err
		}
		if err := insert(ctx, tx, r); err != nil {
			return err
		}
		if _, err := s.scheduleRouter(ctx, tx, r.ID); err != nil {
			return err
		}
		ch.routers = append(ch.routers, r.ID)
		if gw == nil || gw.NetworkID == "" {
			return nil
		}
		if err := s.setGateway(ctx, tx, c, r, gw, ch); err != nil {
			return err
		}
		return cas(ctx, tx, r, "router", r.ID, 1)
	})
	if err != nil {
		return err
	}
	return failpoint.At(ctx, "neutron.router.create.after-effect")
}

// Router returns a router of the caller's project.
func (s *Service) Router(ctx context.Context, c Caller, id string) (*Router, error) {
	return s.router(ctx, s.db, c, id)
}

// Routers lists the routers of the caller's project.
func (s *Service) Routers(ctx context.Context, c Caller, q Query) ([]*Router, error) {
	return s.routers(ctx, s.db, c, q)
}

// changeRouter runs fn on a router that nobody else changes meanwhile: raising
// the revision first makes others wait, or begin again.
func (s *Service) changeRouter(ctx context.Context, c Caller, id string, revision *int64, fn func(ctx context.Context, tx bun.Tx, r *Router, ch *change) error) (*Router, error) {
	var out *Router
	err := s.mutate(ctx, func(ctx context.Context, tx bun.Tx, ch *change) error {
		if err := s.lockRouter(ctx, tx, id); err != nil {
			return err
		}
		r, err := s.router(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if revision != nil && *revision != r.RevisionNumber-1 {
			return revisionConflict(*revision, id)
		}
		if err := fn(ctx, tx, r, ch); err != nil {
			return err
		}
		ch.routers = append(ch.routers, id)
		out = r
		return nil
	})
	return out, err
}

// UpdateRouter changes a router and returns it as it is then.
func (s *Service) UpdateRouter(ctx context.Context, c Caller, id string, p RouterPatch) (*Router, error) {
	if err := failpoint.At(ctx, "neutron.router.update.before-effect"); err != nil {
		return nil, err
	}
	r, err := s.changeRouter(ctx, c, id, p.Revision, func(ctx context.Context, tx bun.Tx, r *Router, ch *change) error {
		set(&r.Name, p.Name)
		set(&r.Description, p.Description)
		set(&r.AdminStateUp, p.AdminStateUp)
		if p.Gateway != nil {
			if err := s.setGateway(ctx, tx, c, r, p.Gateway, ch); err != nil {
				return err
			}
		}
		if p.Routes != nil {
			if err := s.setRoutes(ctx, tx, r, *p.Routes); err != nil {
				return err
			}
		}
		return s.saveRouter(ctx, tx, r)
	})
	if err != nil {
		return nil, err
	}
	return r, failpoint.At(ctx, "neutron.router.update.after-effect")
}

// ChangeRoutes adds routes to a router and takes others away in one step, so
// that several callers need not know the whole list.
func (s *Service) ChangeRoutes(ctx context.Context, c Caller, id string, add, remove []HostRoute) (*Router, error) {
	for _, l := range [][]HostRoute{add, remove} {
		if err := checkRoutes("routes", l, maxRoutes); err != nil {
			return nil, err
		}
	}
	return s.changeRouter(ctx, c, id, nil, func(ctx context.Context, tx bun.Tx, r *Router, ch *change) error {
		routes := slices.DeleteFunc(slices.Clone(r.Routes), func(x HostRoute) bool { return slices.Contains(remove, x) })
		for _, a := range add {
			if !slices.Contains(routes, a) {
				routes = append(routes, a)
			}
		}
		if err := s.setRoutes(ctx, tx, r, routes); err != nil {
			return err
		}
		return s.saveRouter(ctx, tx, r)
	})
}

// setRoutes checks that each next hop is on a subnet of the router, and not
// the router itself.
func (s *Service) setRoutes(ctx context.Context, tx bun.Tx, r *Router, routes []HostRoute) error {
	if len(routes) > maxRoutes {
		return badRequest("RoutesExhausted", "Unable to complete operation for %s. The number of routes exceeds the maximum %d.", r.ID, maxRoutes)
	}
	if err := checkRoutes("routes", routes, maxRoutes); err != nil {
		return err
	}
	subnets, own, err := s.routerReach(ctx, tx, r)
	if err != nil {
		return err
	}
	for _, route := range routes {
		hop := netip.MustParseAddr(route.NextHop) // checkRoutes has seen it
		if !slices.ContainsFunc(subnets, func(n *Subnet) bool { return n.Prefix().Contains(hop) }) {
			return badRequest("InvalidRoutes", "Invalid format for routes: %v, the nexthop is not connected with router", routes)
		}
		if own[route.NextHop] {
			return badRequest("InvalidRoutes", "Invalid format for routes: %v, the nexthop is used by router", routes)
		}
	}
	r.Routes = routes
	return nil
}

// DeleteRouter removes a router that has no interface.
func (s *Service) DeleteRouter(ctx context.Context, c Caller, id string, revision *int64) error {
	if err := failpoint.At(ctx, "neutron.router.delete.before-effect"); err != nil {
		return err
	}
	_, err := s.changeRouter(ctx, c, id, revision, func(ctx context.Context, tx bun.Tx, r *Router, ch *change) error {
		inUse := conflict("RouterInUse", "Router %s still has ports", id)
		used, err := hasInterfaces(ctx, tx, id)
		if err != nil {
			return err
		}
		if used {
			return inUse
		}
		if err := s.clearGateway(ctx, tx, r, ch); err != nil {
			return err
		}
		if err := deleteRouterRows(ctx, tx, id); err != nil {
			if isForeignKey(err) {
				return inUse
			}
			return err
		}
		return release(ctx, tx, r.ProjectID, quotaRouter)
	})
	if err != nil {
		return err
	}
	return failpoint.At(ctx, "neutron.router.delete.after-effect")
}
