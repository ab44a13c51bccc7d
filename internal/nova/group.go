package nova

import (
	"context"
	"slices"
	"time"

	"github.com/hastack/hastack/internal/authtoken"
	"github.com/hastack/hastack/internal/fault"
	"github.com/hastack/hastack/internal/ids"
	"github.com/hastack/hastack/internal/nova/scheduler"
)

// A ServerGroup says how its members relate to hosts. Members are the servers
// that name it; a server is in one group at most and stays in it.
type ServerGroup struct {
	ID         string `bun:"id,pk"`
	ProjectID  string
	UserID     string
	Name       string
	Policy     string
	MaxPerHost int // of anti-affinity; 0 means 1
	CreatedAt  time.Time
	Members    []string `bun:"-"`
}

// CreateServerGroup adds g.
func (s *Service) CreateServerGroup(ctx context.Context, g *ServerGroup) error {
	if err := checkName("server group name", g.Name); err != nil {
		return err
	}
	policies := []string{scheduler.Affinity, scheduler.AntiAffinity, scheduler.SoftAffinity, scheduler.SoftAntiAffinity}
	if !slices.Contains(policies, g.Policy) {
		return fault.New(fault.BadRequest, "invalid input for field/attribute policy: %q is not one of %v", g.Policy, policies)
	}
	if g.MaxPerHost != 0 && g.Policy != scheduler.AntiAffinity {
		return fault.New(fault.BadRequest, "Only anti-affinity policy supports rules.")
	}
	if g.MaxPerHost < 0 {
		return fault.New(fault.BadRequest, "invalid input for field/attribute max_server_per_host: %d is less than 1", g.MaxPerHost)
	}
	limits, err := s.Limits(ctx, g.ProjectID, g.UserID)
	if err != nil {
		return err
	}
	g.ID, g.CreatedAt = ids.UUID(), s.clock.Now()
	return s.insertServerGroup(ctx, g, limits[ResourceServerGroups])
}

// hintedGroup is the group that the hint "group" names, nil without one.
func (s *Service) hintedGroup(ctx context.Context, id *authtoken.Identity, in *ServerRequest) (*ServerGroup, error) {
	hint := in.Hints["group"]
	if len(hint) == 0 {
		return nil, nil
	}
	if len(hint) > 1 || !ids.IsUUID(hint[0]) {
		return nil, fault.New(fault.BadRequest, "the hint group must be the UUID of one server group")
	}
	g, err := s.ServerGroup(ctx, hint[0])
	if fault.Is(err, fault.NotFound) || err == nil && g.ProjectID != id.ProjectID && !id.IsAdmin() {
		return nil, fault.New(fault.BadRequest, "Instance group %s could not be found.", hint[0])
	}
	return g, err
}

func groupNotFound(id string) error {
	return fault.New(fault.NotFound, "Instance group %s could not be found.", id)
}
